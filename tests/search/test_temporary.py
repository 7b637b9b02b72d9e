"""Temporary folders: ours alone, checked, gone afterwards, refused in one sentence where they cannot be."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.clusters import temporary
from search.clusters.temporary import LOCK, RAY, TORCH, check_own, own_folder
from search.problem import Problem

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty temporary folder; pytest's own paths are too long for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder)


def test_the_folder_is_shut_to_others_and_goes(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TORCH, raising=False)
    before = os.umask(0)
    try:
        with own_folder() as folder:
            assert folder.parent == base and stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert os.environ[TORCH] == str(folder / "torch")
            (folder / RAY).mkdir()
            with own_folder() as other:  # who uses one is left alone
                assert other != folder
            assert (folder / RAY).is_dir()
    finally:
        os.umask(before)
    assert list(base.iterdir()) == []


def test_a_place_that_the_user_chose_for_torch_stays(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TORCH, "/chosen")
    with own_folder():
        assert os.environ[TORCH] == "/chosen"


def test_what_a_killed_process_left_is_removed_and_nothing_else(base: Path) -> None:
    code = (
        "import os, signal\n"
        "from search.clusters.temporary import own_folder\n"
        "with own_folder() as folder:\n"
        "    (folder / 'r').mkdir()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60)
    [left] = base.iterdir()
    (base / "rayduce-other").mkdir()
    (base / "rayduce.link").symlink_to(base / "rayduce-other")
    young, old = base / "rayduce.young", base / "rayduce.old"
    for folder in (young, old):
        folder.mkdir(mode=0o700)
    os.utime(old, (time.time() - 2 * temporary.ABANDONED_SECONDS,) * 2)
    with own_folder():
        assert not left.exists()
    assert {path.name for path in base.iterdir()} == {"rayduce-other", "rayduce.link", "rayduce.young"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_touched(base: Path) -> None:
    theirs = base / "rayduce.theirs"
    theirs.mkdir(mode=0o700)
    (theirs / LOCK).touch()
    os.chown(theirs, 65534, 65534)
    with own_folder():
        pass
    assert (theirs / LOCK).exists()
    with pytest.raises(Problem, match="is not a folder of this user alone any more"):
        check_own(theirs)


@pytest.mark.parametrize("kind", ["link", "file", "open"])
def test_what_is_not_ours_alone_is_refused(base: Path, kind: str) -> None:
    path = base / "it"
    if kind == "link":
        (base / "target").mkdir(mode=0o700)
        path.symlink_to(base / "target")
    elif kind == "file":
        path.touch(mode=0o600)
    else:
        path.mkdir()
        path.chmod(0o750)
    with pytest.raises(Problem, match="set TMPDIR to a folder of your own"):
        check_own(path)


def test_a_temporary_folder_that_will_not_do_is_told_in_a_sentence(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: Path, match: str) -> None:
        monkeypatch.setenv("TMPDIR", str(folder))
        with pytest.raises(Problem, match=match), own_folder():
            raise AssertionError

    refused(base / "missing", r"^TMPDIR=.*missing is no folder; set it to a folder for temporary files")
    (base / "file").touch()
    refused(base / "file", "is no folder")
    shared = base / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    refused(shared, r"every user can replace what others put there \(its mode is 0777\)")
    shared.chmod(0o1777)
    monkeypatch.setenv("TMPDIR", str(shared))
    with own_folder() as folder:
        assert folder.parent == shared
    long = base / ("x" * 40)
    long.mkdir()
    refused(long, r"is \d+ bytes too long for Ray's sockets; set RAY_TMPDIR to a shorter one")
    assert list(long.iterdir()) == []
    monkeypatch.setenv("RAY_TMPDIR", str(base))
    with own_folder() as folder:
        assert folder.parent == base


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_temporary_folder_that_cannot_be_written_is_told(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut = base / "shut"
    shut.mkdir(mode=0o500)
    monkeypatch.setenv("TMPDIR", str(shut))
    with pytest.raises(Problem, match="cannot be written"), own_folder():
        raise AssertionError


def test_no_other_user_can_take_the_name_that_torch_would_make(base: Path) -> None:
    """A file in the place of torch's folder would end every training."""
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    (base / f"torchinductor_{user}").write_text("taken")
    code = (
        "import sys\n"
        "sys.argv = ['rayduce', '--help']\n"
        "from rayduce.commands import app\n"
        "try:\n    app.main()\nexcept SystemExit:\n    pass\n"
        "import torch\n"
        "torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != TORCH}
    environment |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in base.iterdir()] == [f"torchinductor_{user}"]
