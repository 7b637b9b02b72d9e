"""A warning where Python finds another project's package in place of ours; and which version this is."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rayduce.commands.app import app
from rayduce.own_packages import PACKAGES, strangers

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_that_of_the_package():
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"rayduce {version('rayduce')}\n")


def test_our_own_packages_are_no_strangers():
    assert strangers() == ""


@pytest.mark.parametrize("init", [True, False], ids=["a package", "a folder"])
@pytest.mark.parametrize("name", ["spaces", "trainables", "dashboards"])
def test_a_package_from_elsewhere_is_warned_of(tmp_path, name, init):
    (tmp_path / name).mkdir()
    if init:
        (tmp_path / name / "__init__.py").touch()
    said = asked(f"import sys; sys.path.insert(0, {str(tmp_path)!r})", ROOT)
    if not init:  # a folder without __init__.py does not hide a package further on
        assert said == ""
        return
    assert said.startswith(f"the package {name} comes from {tmp_path / name}")
    assert said.endswith(".") and "\n" not in said


def test_the_command_warns_and_goes_on(tmp_path):
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "__init__.py").touch()
    command = [sys.executable, "-m", "rayduce.commands.app", "front", "--store", str(tmp_path / "none")]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    warning, error = done.stderr.splitlines()
    assert warning.startswith("Warning: the package spaces comes from ")
    assert done.returncode == 2 and error.startswith("Error: There is no store")


def test_a_package_that_was_overwritten_is_warned_of(tmp_path):
    """As installed by pip: what was installed stands in RECORD."""
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / name / "__init__.py", tmp_path / name)
    shutil.copy(ROOT / "rayduce" / "own_packages.py", tmp_path / "rayduce")
    folder = tmp_path / "rayduce-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: rayduce\nVersion: 0.1.0\n")
    rows = [f"{name}/__init__.py,sha256={digest(tmp_path / name / '__init__.py')},1" for name in PACKAGES]
    (folder / "RECORD").write_text("\n".join(rows) + "\n")
    assert asked("", tmp_path) == ""
    (tmp_path / "spaces" / "__init__.py").write_text("# another project's\n")
    assert asked("", tmp_path).startswith(f"the package spaces in {tmp_path} has been overwritten")


def digest(path):
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()


def asked(before, path):
    """What a fresh Python says that finds our packages in ``path``."""
    command = [
        sys.executable,
        "-c",
        f"{before}\nfrom rayduce.own_packages import strangers\nprint(strangers())",
    ]
    environment = {**os.environ, "PYTHONPATH": str(path)}
    done = subprocess.run(command, env=environment, cwd=path, capture_output=True, text=True, check=True)
    return done.stdout.strip()
