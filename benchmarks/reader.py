"""The light reader: what it takes to install, to start and to read, beside the trainers' reader.

    python -m benchmarks.reader [--before CHECKOUT] [--rounds 5] [--install]

- decode: MB of float32 in a second of processor time, one thread, of files of about 1 MB, each in a fresh
  process that imports first, warms up once and reads ``READS`` times; the median of rounds that take all
  readers in turn. ``trainers`` is ``unpack`` and ``decode`` of this checkout, ``before`` that of another one,
  such as ``git worktree add ../before 3cfe743``; ``/ before`` is the light reader's time over its time.
- start: processor seconds of a fresh Python that imports the reader and reads the file.
- install (with ``--install``, which asks the package index): MB on disk of a fresh site-packages,
  without pip and setuptools: as ``pip install --no-compile`` leaves it, and with all modules compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from trainables.methods import Setting, post_training_quantization
from trainables.metrics.latency import fingerprint
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.quantizers.base import Codes, Dense, MixedCodes, Stored
from trainables.shipping.packed_file import pack, unpack
from trainables.tasks import Digits

ROOT = Path(__file__).resolve().parents[1]
READS = 3
SECONDS, RATIO, MEGABYTES = 0.5, 1.5, 70
"""The bars: to start and to read 1 MB; the light reader's time over that of before; installed."""

TIMED = """
import json, sys, time
{imports}
def seconds(path):
    data = open(path, "rb").read()
    {read}
    started = time.process_time()
    for _ in range({reads}):
        {read}
    return (time.process_time() - started) / {reads}
print(json.dumps([seconds(path) for path in sys.argv[1:]]))
"""
LIGHT = {"imports": "from rayduce_reader import read", "read": "read(data)"}
TRAINERS = {
    "imports": "import torch; from trainables.shipping.packed_file import unpack; torch.set_num_threads(1)",
    "read": "[tensor.decode() for tensor in unpack(data)[1].values()]",
}
START = "import sys, time, rayduce_reader; rayduce_reader.read(sys.argv[1]); print(time.process_time())"


def files() -> dict[str, bytes]:
    """Packed files of about 1 MB, one tensor of (rows, 1000) each."""
    recipe = post_training_quantization(Setting(Digits(), Fresh(ConvNet()), epochs=1))
    tensors: dict[str, Stored] = {f"{bits} bits": _quantized(bits, rows) for bits, rows in _ROWS.items()}
    tensors["4 bits, 90 % pruned"] = _quantized(4, 8000, 0.9)
    tensors["4 bits, buckets of 32"] = _quantized(4, 1600, bucket_size=32)
    tensors["mixed bits"] = _mixed(1600)
    tensors["float16"] = Dense(_weight(500).half())
    return {name: pack(recipe, {"weight": tensor}) for name, tensor in tensors.items()}


_ROWS = {1: 8000, 2: 4000, 4: 2100, 8: 1100}


def _weight(rows: int) -> torch.Tensor:
    return torch.randn(rows, 1000, generator=torch.Generator().manual_seed(0))


def _quantized(bits: int, rows: int, sparsity: float = 0.0, bucket_size: int = 256) -> Codes:
    weight, keep = _weight(rows), None
    if sparsity:
        keep = weight.abs() > weight.abs().reshape(-1).kthvalue(int(sparsity * weight.numel())).values
    values = weight.reshape(-1) if keep is None else weight[keep]
    stored = Uniform(bits, bucket_size, scale_dtype="float16").build(values)
    codes = stored.encode(values, tuple(weight.shape), keep)
    assert isinstance(codes, Codes)
    return codes


def _mixed(rows: int) -> MixedCodes:
    generator = np.random.default_rng(0)
    bits = generator.integers(2, 8, rows * 125).astype(np.uint8)
    unit = np.clip(generator.normal(0.5, 0.15, rows * 1000), 0, 1)
    index = torch.from_numpy(np.rint(unit * (2.0 ** np.repeat(bits, 8) - 1)).astype(np.int16))
    return MixedCodes(
        index, (rows, 1000), torch.from_numpy(bits), 8, torch.tensor([-0.5]), torch.tensor([1.0])
    )


def ask(program: str, paths: list[str], checkout: Path = ROOT) -> str:
    """What ``program`` prints in a fresh Python of one thread that finds the packages of ``checkout``."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, *paths]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def fresh_environment(folder: Path) -> Path:
    """A virtual environment in ``folder`` with the reader, built from this checkout, and what it needs.

    Returns:
        Its site-packages.

    Raises:
        OSError: the package index does not answer, or gives neither numpy nor constriction.
        subprocess.CalledProcessError: the reader cannot be built or installed.
    """
    shutil.copytree(
        ROOT / "rayduce_reader",
        folder / "rayduce_reader",
        ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
    )
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    _run(sys.executable, "-m", "pip", *build, str(folder / "rayduce_reader"))
    _run(sys.executable, "-m", "venv", str(folder / "venv"))
    pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    try:
        _run(*pip, "--retries", "1", *constraints, "numpy", "constriction")
    except subprocess.CalledProcessError as error:
        raise OSError(f"numpy and constriction cannot be installed: {error.stderr.strip()[-300:]}") from error
    (wheel,) = folder.glob("rayduce_reader-*.whl")
    _run(*pip, "--no-index", str(wheel))
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    return packages


def _run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


BROUGHT = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
"""By every new environment of Python 3.11."""


def installed_bytes(packages: Path) -> int:
    """Bytes on disk of an environment's site-packages, without pip's own."""
    ours = [path for path in packages.iterdir() if not path.name.startswith(BROUGHT)]
    inside = [file for path in ours for file in (path.rglob("*") if path.is_dir() else [path])]
    return sum(512 * file.lstat().st_blocks for file in inside if not file.is_dir())


def main() -> None:
    """Print the tables, and which bars are missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="a checkout whose trainers' reader is compared")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--install", action="store_true", help="install into a fresh environment")
    asked = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in fingerprint().items() if name != "onnxruntime"))
    versions = {name: version(name) for name in ("constriction", "numpy", "torch")}
    print(f"python {platform.python_version()}, {versions}, {asked.rounds} rounds\n")
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        data = files()
        paths = [str(Path(folder) / f"{number}.rdz") for number in range(len(data))]
        for path, content in zip(paths, data.values(), strict=True):
            Path(path).write_bytes(content)
        missed += _speeds(data, paths, asked.before, asked.rounds)
        starts = [float(ask(START, [paths[2]])) for _ in range(asked.rounds)]
        start = statistics.median(starts)
        print(f"\nstart and read {len(data['4 bits']):,} bytes: {start:.3f} s of processor time")
        missed += [f"starts in {start:.3f} s"] if start > SECONDS else []
    if asked.install:
        with tempfile.TemporaryDirectory() as folder:
            packages = fresh_environment(Path(folder))
            size = installed_bytes(packages) / 1e6
            _run(sys.executable, "-m", "compileall", "-q", str(packages))
            compiled = installed_bytes(packages) / 1e6
        print(f"installed: {size:.1f} MB, {compiled:.1f} MB with all modules compiled")
        missed += [f"installs {size:.1f} MB"] if size > MEGABYTES else []
    print("\nmissed: " + ("; ".join(missed) or "nothing"))


def _speeds(data: dict[str, bytes], paths: list[str], before: Path | None, rounds: int) -> list[str]:
    """Print how fast the readers are; what is missed."""
    readers = {"light": (LIGHT, ROOT), "trainers": (TRAINERS, ROOT)}
    if before is not None:
        readers["before"] = (TRAINERS, before.resolve())
    seconds: dict[str, list[list[float]]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, (texts, checkout) in readers.items():
            program = TIMED.format(**texts, reads=READS)
            seconds[name].append(json.loads(ask(program, paths, checkout)))
    missed = []
    print(
        f"{'':<24}{'bytes':>10}" + "".join(f"{name + ' MB/s':>16}" for name in readers) + f"{'/ before':>10}"
    )
    for number, (name, content) in enumerate(data.items()):
        medians = {
            reader: statistics.median(each[number] for each in times) for reader, times in seconds.items()
        }
        decoded = sum(tensor.decode().nbytes for tensor in unpack(content).tensors.values())
        line = f"{name:<24}{len(content):>10,}"
        line += "".join(f"{1e-6 * decoded / median:>16.0f}" for median in medians.values())
        ratio = medians["light"] / medians.get("before", medians["trainers"])
        print(line + f"{ratio:>10.2f}")
        missed += [f"{name}: {ratio:.2f} times as long"] if ratio > RATIO else []
    return missed


if __name__ == "__main__":
    main()
