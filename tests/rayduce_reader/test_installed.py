"""The reader as others install it: a wheel in an environment with NumPy and constriction alone."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz_packed_file import files
from benchmarks.reader import BROUGHT, MEGABYTES, fresh_environment, installed_bytes
from rayduce_reader import read

SAVED = """
import sys, numpy, rayduce_reader
for name in ("torch", "trainables", "search", "spaces", "pandas"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} can be imported")
for path in sys.argv[1:]:
    arrays = rayduce_reader.read(path)
    numpy.savez(path + ".npz", **{str(number): array for number, array in enumerate(arrays.values())})
    print(*(repr(name) for name in arrays))
"""


@pytest.mark.slow
def test_a_clean_environment_reads_what_the_trainers_write(tmp_path: Path) -> None:
    try:
        packages = fresh_environment(tmp_path)
    except OSError as error:
        pytest.skip(str(error))
    ours = [path.name for path in packages.iterdir() if not path.name.startswith(BROUGHT)]
    assert {name.split("-")[0].split(".")[0] for name in ours} == {"numpy", "constriction", "rayduce_reader"}
    assert installed_bytes(packages) < MEGABYTES * 1e6
    written = [(tmp_path / f"{number}.rdz", data) for number, data in enumerate(files())]
    for path, data in written:
        path.write_bytes(data)
    # -I: neither PYTHONPATH nor this folder; what is not installed is not found.
    command = [str(tmp_path / "venv" / "bin" / "python"), "-I", "-c", SAVED]
    done = subprocess.run(
        [*command, *(str(path) for path, _ in written)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for (path, data), names in zip(written, done.stdout.splitlines(), strict=True):
        expected = read(data)
        assert names == " ".join(map(repr, expected))
        with np.load(f"{path}.npz") as found:
            for number, array in enumerate(expected.values()):
                again = found[str(number)]
                assert (again.dtype, again.shape) == (array.dtype, array.shape)
                assert again.tobytes() == array.tobytes()
