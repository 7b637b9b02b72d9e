"""What a sweep's log says of the code that it ran with."""

import shutil
from pathlib import Path

import pytest

from search.sweeps import settings
from search.sweeps.settings import PACKAGES, code_version

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The packages' first modules, copied, in place of the packages."""
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        shutil.copy(ROOT / package / "__init__.py", tmp_path / package)
    monkeypatch.setattr(settings, "_folder_of", lambda package: tmp_path / package)
    return tmp_path


def test_every_package_is_found_where_it_is():
    assert [settings._folder_of(package) for package in PACKAGES] == [ROOT / package for package in PACKAGES]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_line_in_any_package_is_other_code(copied, package):
    before = code_version()
    assert code_version() == before
    with (copied / package / "__init__.py").open("a") as file:
        file.write("# another line\n")
    after = code_version()
    assert after.pop("rayduce") != before.pop("rayduce") and after == before


def test_a_module_that_moves_is_other_code(copied):
    before = code_version()
    (copied / "search" / "__init__.py").rename(copied / "search" / "begin.py")
    assert code_version() != before
