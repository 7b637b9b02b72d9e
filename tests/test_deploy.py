"""The programs of docs/deploy.md, as they stand there, find what the student finds."""

import importlib.util
import sys
from pathlib import Path

import pytest

from trainables import methods
from trainables.exporting.formats import FORMATS, format_of

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "check_deploy.py"


@pytest.fixture(scope="module")
def checking():
    spec = importlib.util.spec_from_file_location("check_deploy", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses are looked for
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def packed(checking, tmp_path_factory):
    pictures = tmp_path_factory.mktemp("deploy") / "pictures"
    checking.draw_pictures(pictures)
    return checking.train(pictures)


def test_the_page_has_a_way_for_every_format_that_is_run(checking):
    ways = checking.ways_of(checking.PAGE.read_text())
    assert {*ways} == {*FORMATS} - {"safetensors"}
    assert all("rayduce" not in way.packages and "numpy" in way.packages for way in ways.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "safetensors"])
def test_a_program_of_the_page_finds_the_student_s_classes(name, checking, packed, tmp_path):
    """With nothing of Rayduce in reach; docs/check_deploy.py does it in new environments."""
    if format_of(name).lacking():
        pytest.skip(f"needs pip install 'rayduce[{format_of(name).extra}]'")
    said = checking.check(name, packed, tmp_path, checking.without_ours())
    assert {line.rpartition(" ")[0] for line in said} == {"bright above", "bright below"}


def test_the_reader_s_program_knows_students_of_few_bits_too(checking, tmp_path):
    checking.draw_pictures(tmp_path / "pictures")
    packed = checking.train(tmp_path / "pictures", methods.post_training_quantization)
    (tmp_path / "way").mkdir()
    said = checking.check("rdz", packed, tmp_path / "way", checking.without_ours())
    assert {line.rpartition(" ")[0] for line in said} == {"bright above", "bright below"}


@pytest.mark.parametrize("other", [("neither", 90.0), ("bright above", 1.0)], ids=["class", "share"])
def test_a_program_that_says_something_else_is_found(other, checking, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "expected", lambda student, picture: other)
    with pytest.raises(RuntimeError, match=r"predict_onnx\.py of 00\.png: bright"):
        checking.check("onnx", packed, tmp_path, checking.without_ours())
