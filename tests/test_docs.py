"""The pages say what the code says: those that are made from code, and the paths and links of all."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page.relative_to(ROOT).as_posix() for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
PACKAGES = "benchmarks|dashboards|docs|examples|rayduce|rayduce_reader|search|spaces|studies|tests|trainables"
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")
PATH = re.compile(rf"`((?:{PACKAGES})/[\w/.-]+)`")


def test_the_methods_page_is_up_to_date():
    spec = importlib.util.spec_from_file_location("build_methods", DOCS / "build_methods.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "methods.md").read_text() == module.page(), "run: python docs/build_methods.py"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_or_names_is_there(page):
    text = (ROOT / page).read_text()
    missing = [link for link in LINK.findall(text) if not ((ROOT / page).parent / link).exists()]
    missing += [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    assert not missing


def test_a_page_that_names_a_file_that_is_not_there_is_found():
    text = "[why](decisions/0000-nothing.md) is decided in `search/nothing.py`, see [Ray](https://ray.io)."
    assert LINK.findall(text) == ["decisions/0000-nothing.md"]
    assert PATH.findall(text) == ["search/nothing.py"]


def test_decisions_have_numbers_of_their_own():
    pages = sorted(DOCS.glob("decisions/*.md"))
    assert [page.name[:4] for page in pages] == [f"{i:04}" for i in range(1, len(pages) + 1)]
    assert [page.read_text().partition(".")[0] for page in pages] == [
        f"# {i}" for i in range(1, len(pages) + 1)
    ]


def test_every_room_is_on_the_map():
    text = (DOCS / "architecture.md").read_text()
    for package in ("search", "trainables"):
        rooms = re.search(rf"## The rooms of `{package}/`\n(.*?)\n## ", text, re.DOTALL)[1]
        folders = [path.parent.name for path in (ROOT / package).glob("*/__init__.py")]
        assert [name for name in folders if f"`{name}/`" not in rooms] == []


ROW = re.compile(r"\| (`.*?) \| ([^|]*`[\w/]+[\w/.]*`[^|]*) \|")
"""A row of a table that says of names in which files they are."""


def names_that_are_not_where_a_row_says(text):
    for names, places in ROW.findall(text):
        paths = [ROOT / place for place in PATH.findall(places)]
        files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))]
        said = "\n".join(file.read_text() for file in files)
        for code in re.findall(r"`([^`]+)`", names) if files else ():
            for name in re.findall(r"[A-Za-z_]\w+", re.split(r"\(| ->", code)[0]):
                if not re.search(rf"\b{name}\b", said) and not any(name in path.parts for path in paths):
                    yield name


def test_names_are_in_the_files_that_the_map_says():
    assert list(names_that_are_not_where_a_row_says((DOCS / "architecture.md").read_text())) == []


def test_a_name_that_is_not_in_its_file_is_found():
    row = "| `pack(recipe) -> bytes`, `squeeze` | `trainables/shipping/packed_file.py` | one file |"
    assert list(names_that_are_not_where_a_row_says(row)) == ["squeeze"]
