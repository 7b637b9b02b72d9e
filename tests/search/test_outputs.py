"""Files that the user names: links are written through, and nothing but files is replaced."""

import errno
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from typer.testing import CliRunner

from rayduce.commands.app import app
from rayduce.commands.outputs import check_outputs, write_outputs
from search.problem import Problem
from tests.recipes import STUDENT
from trainables import methods
from trainables.compression.compressed_weight import compress
from trainables.exporting.formats import format_of
from trainables.origins import Fresh
from trainables.shipping.evaluation import ship
from trainables.tasks import Digits

ROOT = os.geteuid() == 0


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed file."""
    torch.manual_seed(0)
    recipe = methods.post_training_quantization(methods.Setting(Digits(), Fresh(STUDENT), epochs=1))
    path = tmp_path_factory.mktemp("student") / "student.rdz"
    path.write_bytes(ship(recipe, compress(STUDENT.build((1, 8, 8), 10), recipe)))
    return path


def test_a_link_stays_and_what_it_leads_to_gets_the_content(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "student.rdz"
    target.write_bytes(b"old")
    (tmp_path / "near").symlink_to("real/student.rdz")
    (tmp_path / "far").symlink_to(tmp_path / "near")
    for name, content in (("near", b"1"), ("far", b"2")):
        write_outputs({tmp_path / name: content}, force=True)
        assert (tmp_path / name).is_symlink() and target.read_bytes() == content
    assert not target.is_symlink() and left(target.parent) == {"student.rdz"}


def test_a_link_to_nothing_makes_the_file_where_its_folder_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/new.rdz")
    write_outputs({tmp_path / "link": b"1"}, force=False)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "new.rdz").read_bytes() == b"1"
    (tmp_path / "lost").symlink_to("gone/new.rdz")
    with pytest.raises(Problem, match=r"^The link .*lost leads to .*gone/new\.rdz, whose folder does not"):
        write_outputs({tmp_path / "lost": b"1"}, force=True)
    with pytest.raises(Problem, match=r"^The folder .*gone does not exist\.$"):
        write_outputs({tmp_path / "gone" / "new.rdz": b"1"}, force=True)


def test_a_circle_of_links_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(Problem, match=r"^The link .*a leads in a circle; name another file\.$"):
        write_outputs({tmp_path / "a": b"1"}, force=True)
    assert (tmp_path / "a").is_symlink()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    before = left(tmp_path)
    kinds = {"folder": "folder", "pipe": "pipe", "device": "device", "socket": "socket"}
    for path, kind in (
        {tmp_path / name: kind for name, kind in kinds.items()} | {Path("/dev/null"): "device"}
    ).items():
        for force in (True, False):
            with pytest.raises(Problem, match=rf"is a {kind}[,;] .*\.$"):
                write_outputs({path: b"1"}, force=force)
    listener.close()
    assert left(tmp_path) == before and stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_standard_output_is_no_file(student: Path) -> None:
    command = [sys.executable, "-m", "rayduce.commands.app", "export", str(student), "/dev/stdout", "--force"]
    done = subprocess.run([*command, "--format", "rdz"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert "/dev/stdout leads to" in done.stderr and "is a pipe" in done.stderr
    assert Path("/dev/stdout").is_symlink()


def test_nothing_is_written_if_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"old")
    files = {tmp_path / name: b"new" for name in "abc"}
    with pytest.raises(Problem, match=r"b exists; give --force to replace it\.$"):
        write_outputs(files, force=False)
    assert left(tmp_path) == {"b"} and (tmp_path / "b").read_bytes() == b"old"
    (tmp_path / "c").mkdir()
    with pytest.raises(Problem, match="c is a folder"):
        write_outputs(files, force=True)
    assert left(tmp_path) == {"b", "c"} and (tmp_path / "b").read_bytes() == b"old"


def test_two_names_of_one_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    with pytest.raises(Problem, match="is the same file as"):
        write_outputs({tmp_path / "a": b"1", tmp_path / "b": b"2"}, force=True)
    assert left(tmp_path) == {"a"}


def test_mode_and_owner_of_a_replaced_file_stay_and_other_names_keep_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(0o600)
    if ROOT:
        os.chown(path, 12_345, 12_345)
    os.link(path, tmp_path / "second")
    write_outputs({path: b"new"}, force=True)
    found = path.stat()
    assert path.read_bytes() == b"new" and stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == (12_345 if ROOT else os.geteuid())
    assert (tmp_path / "second").read_bytes() == b"old"


@pytest.mark.skipif(ROOT, reason="nothing is read-only for root")
def test_read_only_files_and_folders_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "file").chmod(0o400)
    with pytest.raises(Problem, match="is read-only"):
        write_outputs({tmp_path / "file": b"1"}, force=True)
    tmp_path.chmod(0o500)
    with pytest.raises(Problem, match="is read-only"):
        write_outputs({tmp_path / "new": b"1"}, force=True)
    tmp_path.chmod(0o700)


def test_impossible_names_are_told(tmp_path: Path) -> None:
    for name in ("x" * 300, "zero\0byte"):
        with pytest.raises(Problem, match=r"cannot be written: .*\.$"):
            check_outputs([tmp_path / name], force=True)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Problem, match=r"cannot be written: Not a directory\.$"):
        check_outputs([tmp_path / "file" / "x"], force=True)


def test_an_export_goes_through_a_link(student: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "student.rdz").write_bytes(b"")
    link = tmp_path / "latest.rdz"
    link.symlink_to("real/student.rdz")
    refused = CliRunner().invoke(app, ["export", str(student), str(link)])
    assert refused.exit_code == 2 and "exists; give --force" in refused.output
    done = CliRunner().invoke(app, ["export", str(student), str(link), "--force"])
    assert done.exit_code == 0, done.output
    assert link.is_symlink() and (tmp_path / "real" / "student.rdz").read_bytes() == student.read_bytes()


def test_an_export_does_not_replace_what_it_reads(student: Path, tmp_path: Path) -> None:
    before = student.read_bytes()
    (tmp_path / "link.onnx").symlink_to(student)
    for target in (student, tmp_path / "link.onnx"):
        done = CliRunner().invoke(app, ["export", str(student), str(target), "--format", "onnx", "--force"])
        assert done.exit_code == 2 and "is the same file as" in done.output.replace("\n", " ")
    assert student.read_bytes() == before


def test_of_several_files_none_is_there_if_the_disk_fills(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "one").write_bytes(b"old")
    real, written = os.fsync, []

    def full(file: int) -> None:
        written.append(file)
        if len(written) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file)

    monkeypatch.setattr(os, "fsync", full)
    contents = {tmp_path / "one": b"new", tmp_path / "two": b"new"}
    with pytest.raises(Problem, match=r"two cannot be written: No space left on device\.$"):
        write_outputs(contents, force=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"one": b"old"}


def test_what_cannot_be_exported_is_a_sentence(student: Path, tmp_path: Path, monkeypatch) -> None:
    def refused(*arguments: object) -> str:
        done = CliRunner().invoke(app, ["export", str(student), *map(str, arguments)])
        assert done.exit_code == 2 and not [*tmp_path.glob("out*")], done.output
        return " ".join(done.output.split())

    told = refused(tmp_path / "out.gguf")
    assert "'gguf' is no export format; end the file in .rdz, .onnx, .pt2, .pte, .xml" in told
    assert "has no suffix; end it in .rdz" in refused(tmp_path / "out")
    assert "'gguf' is no export format" in refused(tmp_path / "out.onnx", "--format", "gguf")
    (tmp_path / "folder.pt2").mkdir()
    assert "is a folder; name the file to write" in refused(tmp_path / "folder.pt2", "--force")
    assert "--weights is about ONNX and OpenVINO" in refused(tmp_path / "out.pt2", "--weights", "stored")
    monkeypatch.setattr(type(format_of("pte")), "modules", ("no_such_library",))
    assert "not installed: pip install 'rayduce[executorch]'" in refused(tmp_path / "out.pte")


def test_an_export_stores_the_bits_or_float32(student: Path, tmp_path: Path) -> None:
    def export(name: str, *options: str) -> str:
        done = CliRunner().invoke(app, ["export", str(student), str(tmp_path / name), *options])
        return done.output.replace("\n", " ") if done.exit_code == 2 else ""

    assert not export("few.onnx") and not export("wide.onnx", "--weights", "float32")
    few, wide = (tmp_path / f"{name}.onnx" for name in ("few", "wide"))
    assert few.stat().st_size < wide.stat().st_size
    assert onnx.load(wide).opset_import[0].version == 17
    assert "'int4' is no form of weights" in export("x.onnx", "--weights", "int4")
    assert "--weights is about ONNX and OpenVINO" in export("x.rdz", "--weights", "float32")
