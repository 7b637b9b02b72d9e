"""The pages that are made from code say what the code says."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_methods_page_is_up_to_date():
    spec = importlib.util.spec_from_file_location("build_methods", DOCS / "build_methods.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "methods.md").read_text() == module.page(), "run: python docs/build_methods.py"
