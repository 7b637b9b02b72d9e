"""Users' files: what travels with them, where it lies elsewhere, and that names are not mixed up."""

import pickle
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.own_code import CodeError, OwnCode, allow_file, code_of_file, module_of

ROOT = Path(__file__).resolve().parents[2]
FILE = """
import plain_helper
from parts_beside.blocks import block


def network():
    import late_helper

    return block(), plain_helper.VALUE, late_helper.VALUE
"""
PACKAGE = {
    "parts_beside/__init__.py": "",
    "parts_beside/blocks.py": "from .deeper.sizes import SIZE\nfrom . import names\n\n\ndef block():\n"
    "    return names.NAME * SIZE\n",
    "parts_beside/names.py": "NAME = 'b'\n",
    "parts_beside/deeper/__init__.py": "",
    "parts_beside/deeper/sizes.py": "from ..names import NAME\n\nSIZE = 3 * len(NAME)\n",
    "parts_beside/unused.py": "1 / 0\n",
    "plain_helper.py": "VALUE = 'plain'\n",
    "late_helper.py": "VALUE = 'late'\n",
}
FOUND = ["bbb", "plain", "late"]


def write(folder: Path, name: str, text: str = FILE, beside: dict[str, str] = PACKAGE) -> Path:
    for place, content in {**beside, f"{name}.py": text}.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(content)
    return folder / f"{name}.py"


ELSEWHERE = """
import os, pickle, sys
from pathlib import Path
from trainables.own_code import module_of

code = pickle.loads(Path(sys.argv[1]).read_bytes())
code.allow()
code.allow()
module = module_of(code.name)
print(list(module.network()))
folder = Path(module.__file__).parent
print(folder, oct(folder.stat().st_mode & 0o777), flush=True)
if len(sys.argv) > 2:
    os.kill(os.getpid(), 9)
"""


def run_elsewhere(code: OwnCode, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process that gets ``code`` as a node of a cluster does; its temporary folder is in ``folder``."""
    (folder / "code").write_bytes(pickle.dumps(code))
    (folder / "tmp").mkdir(exist_ok=True)
    environment = {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")}
    command = [sys.executable, "-c", ELSEWHERE, str(folder / "code"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, cwd=folder)


@pytest.fixture
def travelling(tmp_path: Path) -> OwnCode:
    """Code whose folder is not there any more, as on another machine."""
    path = write(tmp_path / "home ümlaut", "travelling_net")
    module = allow_file(path)
    assert list(module.network()) == FOUND
    code = code_of_file(path)  # after a function has imported what it needs
    for left in sorted(path.parent.rglob("*.py")):
        left.unlink()
    return code


def test_a_file_travels_with_all_that_it_imports_from_its_folder(travelling: OwnCode, tmp_path: Path) -> None:
    used = {"travelling_net.py", *PACKAGE} - {"parts_beside/unused.py"}
    assert {path for path, _ in travelling.sources} == used
    done = run_elsewhere(travelling, tmp_path)
    assert done.returncode == 0, done.stderr
    found, place = done.stdout.splitlines()
    assert found == str(FOUND)
    folder, mode = place.rsplit(" ", 1)
    assert Path(folder).parent == tmp_path / "tmp" and mode == oct(stat.S_IRWXU)
    assert not list((tmp_path / "tmp").iterdir())


def test_what_a_killed_process_left_the_next_one_removes(travelling: OwnCode, tmp_path: Path) -> None:
    killed = run_elsewhere(travelling, tmp_path, "killed")
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    assert run_elsewhere(travelling, tmp_path).returncode == 0
    assert not list((tmp_path / "tmp").iterdir())


def test_the_folder_is_used_where_it_holds_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "shared", "shared_net")
    allow_file(path).network()
    done = run_elsewhere(code_of_file(path), tmp_path)
    assert done.stdout.splitlines()[1].startswith(str(path.parent))


def test_files_of_one_name_in_two_folders_have_helpers_of_their_own(tmp_path: Path) -> None:
    text = "import helper_of_two\n\n\ndef network():\n    return helper_of_two.VALUE\n"
    paths = [
        write(tmp_path / each, "net_of_two", text, {"helper_of_two.py": f"VALUE = '{each}'\n"})
        for each in "ab"
    ]
    codes = []
    for path, expected in zip(paths, "ab", strict=True):
        assert allow_file(path).network() == expected
        codes.append(code_of_file(path))
    assert codes[0].digest != codes[1].digest
    for code, expected in zip(codes, "ab", strict=True):
        code.allow()
        assert module_of("net_of_two").network() == expected
    before = module_of("net_of_two")
    codes[1].allow()
    assert module_of("net_of_two") is before  # it is used already, and is not run once more


def test_an_edited_helper_is_imported_again(tmp_path: Path) -> None:
    text = "import edited_helper\n\n\ndef network():\n    return edited_helper.VALUE\n"
    path = write(tmp_path, "net_with_edits", text, {"edited_helper.py": "VALUE = 1\n"})
    assert allow_file(path).network() == 1
    first = code_of_file(path)
    (tmp_path / "edited_helper.py").write_text("VALUE = 1000\n")
    assert allow_file(path).network() == 1000
    assert code_of_file(path).digest != first.digest


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("random", "has the name of a module that Python knows already"),
        ("torch", "has the name of a module that Python knows already"),
        ("studies", "has the name of a module that Python knows already"),
        ("my-net", "is no name of a Python module"),
        ("class", "is no name of a Python module"),
    ],
)
def test_names_that_would_hide_a_module_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(CodeError, match=message):
        allow_file(write(tmp_path, name, "", {}))


def test_a_relative_import_of_the_file_itself_is_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path, "relative_net", "from .plain_helper import VALUE\n")
    with pytest.raises(
        CodeError, match=r"^relative_net.py cannot be imported: line 1: ImportError: .*relative"
    ):
        allow_file(path)


def test_what_is_no_python_in_a_helper_is_shown_with_its_place(tmp_path: Path) -> None:
    path = write(
        tmp_path, "whole_net", "import no_python\n", {"no_python.py": "x = 1\nif x = 1:\n    pass\n"}
    )
    message = (
        r"^whole_net.py cannot be imported: line 2 of no_python.py: SyntaxError: invalid syntax.*: if x = 1:$"
    )
    with pytest.raises(CodeError, match=message):
        allow_file(path)


def test_a_script_that_names_itself_twice_stays_the_main_module(tmp_path: Path) -> None:
    text = """
import sys
from trainables.own_code import allow_file

if __name__ == "__main__":
    allow_file(__import__("pathlib").Path(__file__))
    allow_file(__import__("pathlib").Path(__file__))
    print("__main__" in sys.modules)
"""
    path = write(tmp_path, "main_net", text, {})
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.stdout == "True\n", done.stderr
