"""The programs of docs/deploy.md, as they stand there, find what the student finds."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from rayduce_reader import read, read_header
from trainables import methods
from trainables.exporting.formats import FORMATS, format_of
from trainables.shipping.evaluation import open_student

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "check_deploy.py"
FORMATS_THAT_RUN = [name for name in FORMATS if name != "safetensors"]
OWN = ["forecast_net.py", "forecast_onnx.py", "forecast_rdz.py"]
SLOW_OWN = "forecast_pt2.py"


@pytest.fixture(scope="module")
def checking():
    spec = importlib.util.spec_from_file_location("check_deploy", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses are looked for
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ways(checking):
    return checking.ways_of(checking.PAGE.read_text())


@pytest.fixture(scope="module")
def packed(checking, tmp_path_factory):
    pictures = tmp_path_factory.mktemp("deploy") / "pictures"
    checking.draw_pictures(pictures)
    return checking.train(pictures)


@pytest.fixture(scope="module")
def own(checking, tmp_path_factory):
    return checking.own_student(tmp_path_factory.mktemp("own"))


def test_the_page_has_a_way_for_every_format_that_is_run(ways):
    assert {*ways} == {*(f"predict_{name}.py" for name in FORMATS_THAT_RUN), *OWN, SLOW_OWN}
    assert [name for name, way in ways.items() if way.with_rayduce] == ["forecast_net.py"]
    assert all("numpy" in way.installs[0] for way in ways.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS_THAT_RUN)
def test_a_program_of_the_page_finds_the_student_s_classes(name, checking, ways, packed, tmp_path):
    """With nothing of Rayduce in reach; docs/check_deploy.py does it in new environments."""
    if format_of(name).lacking():
        pytest.skip(f"needs pip install 'rayduce[{format_of(name).extra}]'")
    way = ways[f"predict_{name}.py"]
    said = checking.check(way.program, packed, tmp_path, checking.this_one(way))
    assert {line.rpartition(" ")[0] for line in said} == {"bright above", "bright below"}


@pytest.mark.parametrize("method", [methods.post_training_quantization, methods.parameterized_clipping])
def test_the_reader_s_program_knows_students_of_few_bits_too(method, checking, ways, tmp_path):
    checking.draw_pictures(tmp_path / "pictures")
    packed = checking.train(tmp_path / "pictures", method)
    (tmp_path / "way").mkdir()
    way = ways["predict_rdz.py"]
    said = checking.check(way.program, packed, tmp_path / "way", checking.this_one(way))
    assert {line.rpartition(" ")[0] for line in said} == {"bright above", "bright below"}


def test_the_page_rounds_inputs_as_the_student_does(checking, tmp_path):
    checking.draw_pictures(tmp_path / "pictures")
    packed = checking.train(tmp_path / "pictures", methods.parameterized_clipping, epochs=2)
    (tmp_path / "student.rdz").write_bytes(packed)
    page = {}
    exec(checking.files_of(checking.PAGE.read_text())["levels.py"], page)
    weights = read(tmp_path / "student.rdz")
    rounded = page["rounding"](weights, read_header(tmp_path / "student.rdz"))
    network = open_student(packed)[1]
    values = torch.linspace(-9, 9, 1001)
    counts = []
    for place in (name.removesuffix(".range") for name in weights if name.endswith(".range")):
        wanted = network.get_submodule(place)(values)
        assert torch.allclose(torch.from_numpy(rounded(values.numpy(), place)), wanted, atol=1e-6), place
        counts.append(len(wanted.unique()))
    assert min(counts) <= 16 < max(counts)  # layers have 4 bits, and sums 8
    assert (rounded(values.numpy(), "elsewhere") == values.numpy()).all()


@pytest.mark.parametrize("program", [*OWN, pytest.param(SLOW_OWN, marks=pytest.mark.slow)])
def test_a_program_of_the_page_finds_what_a_student_of_ones_own_network_does(
    program, checking, ways, own, tmp_path
):
    [said] = checking.check(program, own, tmp_path, checking.this_one(ways[program]))
    assert len(said.split()) == 3


def test_a_program_of_ones_own_network_has_no_more_beside_it_than_it_names(checking):
    files = checking.files_of(checking.PAGE.read_text())
    assert {*checking.needed_by("forecast_onnx.py", files)} == {"forecast_onnx.py", "readings.py"}
    assert {*checking.needed_by("forecast_net.py", files)} == {"forecast_net.py", "net.py", "readings.py"}


@pytest.mark.parametrize("other", [("neither", 90.0), ("bright above", 1.0)], ids=["class", "share"])
def test_a_program_that_says_something_else_is_found(other, checking, ways, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "expected", lambda student, picture: other)
    way = ways["predict_onnx.py"]
    with pytest.raises(RuntimeError, match=r"predict_onnx\.py of 00\.png: bright"):
        checking.check(way.program, packed, tmp_path, checking.this_one(way))


def test_a_forecast_that_says_something_else_is_found(checking, ways, own, tmp_path, monkeypatch):
    right = checking.forecast
    monkeypatch.setattr(checking, "forecast", lambda *asked: [each + 0.1 for each in right(*asked)])
    way = ways["forecast_onnx.py"]
    with pytest.raises(RuntimeError, match=r"forecast_onnx\.py of 00\.json: "):
        checking.check(way.program, own, tmp_path, checking.this_one(way))
