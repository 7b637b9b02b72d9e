"""Every format holds what the student does, or says in a sentence why not."""

from __future__ import annotations

import io
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tests.trainables.exiting.networks import at_thresholds, wrapped
from tests.trainables.test_trainer import trainer_of
from trainables import methods
from trainables.activations import MovingRange, NoActivationQuantizer
from trainables.exporting.checking import ExportError
from trainables.exporting.export import to_onnx
from trainables.exporting.formats import FORMATS, format_of, pt2
from trainables.exporting.formats.base import GraphFormat, NotInstalled, Shipped, Wishes
from trainables.exporting.integer_program import to_integer_program
from trainables.exporting.openvino_runtime import is_installed, load_openvino, without_two_bits
from trainables.exporting.programs import SignedLevels, traced, with_levels
from trainables.exporting.refusals import explained
from trainables.interfaces import Classifier
from trainables.models import LSTM, ConvNet, ResNet, Transformer
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.quantizers import Symmetric, Uniform
from trainables.recipe import Phase
from trainables.shipping.evaluation import rebuild
from trainables.shipping.packed_file import unpack
from trainables.tasks import Digits
from trainables.training.export_costs import facts_of

ROOT = Path(__file__).resolve().parents[3]
NO_WISHES = Wishes()
CONVNET = ConvNet(stages=((8,), (12,)), hidden=(16,), kernel_size=3, depth=1)
KINDS = {
    "float32": (Uniform(8, 256), NoActivationQuantizer(), CONVNET),
    "4-bit": (Uniform(4, 64), NoActivationQuantizer(), ResNet(depth=1, width=0.5)),
    "int8": (Symmetric(8), MovingRange(8), ResNet(depth=1, width=0.5)),
    "int8 of 4-bit weights": (Symmetric(4), MovingRange(8), CONVNET),
}
RUN = tuple(name for name in FORMATS if name not in ("rdz", "onnx", "safetensors"))
"""Formats that are run here, where their libraries are."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def students():
    """Trained on digits, once per kind: the student, and the inputs of the whole test split."""
    arrays = Digits().load(None)
    made = {}

    def get(kind):
        if kind not in made:
            quantizer, activations, model = KINDS[kind]
            recipe = replace(
                methods.int8_post_training_quantization(methods.Setting(Digits(), Fresh(model), epochs=6)),
                quantizer=quantizer,
                activations=activations,
                phases=(Phase(6, AdamW(1e-2)),),
            )
            trainer = trainer_of(recipe, arrays)
            while not trainer.finished:
                trainer.train_epoch()
            batches = list(trainer.task.in_order("test"))
            made[kind] = (shipped(trainer.ship()), torch.cat([batch.inputs for batch in batches]))
        return made[kind]

    return get


def shipped(content: bytes) -> Shipped:
    recipe, tensors, model = unpack(content)
    facts = facts_of(recipe, len(content))
    return Shipped(recipe, tensors, content, facts, {}, lambda: rebuild(recipe, tensors, model))


def runs_of(name: str, student: Shipped) -> dict[str, Any]:
    """The graphs of a student in a format, ready to be run; skips where a library is missing."""
    chosen = format_of(name)
    if chosen.lacking():
        pytest.skip(f"needs pip install 'rayduce[{chosen.extra}]'")
    assert isinstance(chosen, GraphFormat)
    made = chosen.make(student, student.build(), NO_WISHES)
    return {graph: each.run for graph, each in made.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_called_as_the_table_says(name: str) -> None:
    chosen = format_of(name)
    assert (chosen.name, chosen.suffix) == (name, FORMATS[name])
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert (chosen.extra is None) == (not chosen.modules)
    assert chosen.extra is None or chosen.extra in extras


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RUN)
def test_the_whole_test_split_gets_the_student_s_classes(name, kind, students, tmp_path) -> None:
    student, inputs = students(kind)
    run = runs_of(name, student)["network"]
    expected = student.build()(inputs).numpy()
    found = run({"input": inputs.numpy()})["output"]
    margins = np.sort(expected, axis=1)
    clear = margins[:, -1] - margins[:, -2] > (1e-3 if "int8" not in kind else 0.05 * np.abs(expected).max())
    assert clear.sum() > 250
    assert (found.argmax(1) == expected.argmax(1))[clear].all()
    if "int8" not in kind:
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["4-bit", "int8"])
def test_a_program_holds_the_student_and_what_it_is(kind, students, tmp_path) -> None:
    student, inputs = students(kind)
    export = format_of("pt2").write(student, tmp_path / "student.pt2", NO_WISHES)
    assert [path.name for path in export.files] == ["student.pt2"] and export.checked == {*export.files}
    (data,) = export.files.values()
    facts = {pt2.FACTS: ""}
    program = torch.export.load(io.BytesIO(data), extra_files=facts).module()
    told = json.loads(facts[pt2.FACTS])
    assert told["recipe_id"] == student.recipe.recipe_id and json.loads(told["task"])["type"] == "Digits"
    for count in (1, 9):
        expected = student.build()(inputs[:count])
        torch.testing.assert_close(program(inputs[:count]), expected, rtol=1e-4, atol=1e-4)
    assert str(ROOT).encode() not in data


def test_another_network_is_refused(students, monkeypatch, tmp_path) -> None:
    """The check looks at the bytes that are written."""
    student, _ = students("float32")
    real = pt2.traced
    monkeypatch.setattr(
        pt2, "traced", lambda graph, free: real(replace(graph, module=_Other(graph.module)), free=free)
    )
    with pytest.raises(ExportError, match=r"student\.pt2 is not written: .* differ by"):
        format_of("pt2").write(student, tmp_path / "student.pt2", NO_WISHES)


class _Other(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network(x).clamp(-0.5, 0.5)
        return found


def test_layers_become_integers_on_the_student_s_own_grids(students) -> None:
    """What is quantized on both sides is, with normalisation multiplied in; values are as before."""
    for kind, floats in (("int8", 1), ("int8 of 4-bit weights", 1)):
        student, inputs = students(kind)
        network = with_levels(student.build(), SignedLevels)
        (graph,) = student.recipe.task.interface.graphs(network).values()
        module = traced(graph, free=False).module()
        before = module(inputs[:1])
        counted = to_integer_program(module, student.tensors)
        # The last layer's output is nobody's input, so it is not quantized.
        assert counted.layers - counted.integer == floats
        torch.testing.assert_close(module(inputs[:1]), before, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(student.build()(inputs[:1]), before, rtol=1e-4, atol=1e-4)
        stored = [values for values in module.state_dict().values() if values.dtype == torch.int8]
        assert len(stored) == counted.integer
        operators = [str(node.target) for node in module.graph.nodes]
        assert operators.count("aten.mul.Tensor") == 0


def test_a_missing_library_is_a_sentence_with_the_command(students, monkeypatch, tmp_path) -> None:
    student, _ = students("float32")
    for name in FORMATS:
        chosen = format_of(name)
        if chosen.extra is not None:
            monkeypatch.setattr(type(chosen), "modules", ("no_such_library.inside",))
            with pytest.raises(NotInstalled) as told:
                chosen.write(student, tmp_path / f"student{chosen.suffix}", NO_WISHES)
            assert str(told.value).endswith(f"pip install 'rayduce[{chosen.extra}]'.")
            assert "no_such_library," in str(told.value)


class _Eigenvalues(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x @ x.transpose(1, 2)).real


class _Inside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.spectrum = _Eigenvalues()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.spectrum(x)
        return found


def test_an_operator_without_a_form_is_named_with_its_layer() -> None:
    graphs = Classifier((3, 3)).graphs(_Inside().eval())
    with pytest.raises(ExportError) as raised:
        to_onnx(_Inside(), Classifier((3, 3)), {})
    told = explained(raised.value, ".onnx", graphs)
    assert "the operator linalg_eigvals in the layer spectrum; .pt2 has" in told and "\n" not in told
    assert "one thing" in explained(ValueError("one thing\nand more"), ".pte", graphs)


@pytest.mark.parametrize("thresholds", [(0.0, 0.0), (0.3, 0.5)], ids=str)
def test_early_exits_answer_as_in_the_student(thresholds) -> None:
    network = at_thresholds(wrapped(), *thresholds)
    (graph,) = Digits().interface.graphs(network).values()
    program = traced(graph, free=True).module()
    (inputs,) = graph.draw(7)
    torch.testing.assert_close(program(inputs), network(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in RUN if name in ("pte", "tflite")])
def test_sizes_that_change_are_refused_where_sizes_are_fixed(name, monkeypatch, tmp_path) -> None:
    from tests.search.test_export_translator import LINES, packed
    from trainables.tasks.vocabulary import learn

    chosen = format_of(name)
    monkeypatch.setattr(type(chosen), "modules", ())
    student = shipped(packed(LSTM(depth=1, units=8, embedding=8), learn(LINES, 64, "bpe")))
    with pytest.raises(ExportError, match=r"its input source has any source_length; \.onnx and \.pt2"):
        chosen.write(student, tmp_path / f"student{chosen.suffix}", NO_WISHES)


def test_a_translator_is_several_programs(tmp_path) -> None:
    from tests.search.test_export_translator import LINES, packed
    from trainables.tasks.vocabulary import learn

    words = learn(LINES, 64, "bpe")
    student = shipped(packed(Transformer(depth=1, units=8, heads=2), words))
    student = replace(student, companions={"vocabulary.model": b"words"})
    export = format_of("pt2").write(student, tmp_path / "student.pt2", NO_WISHES)
    graphs = {"student-encoder.pt2", "student-step.pt2"}
    assert {path.name for path in export.files} == {*graphs, "student-vocabulary.model"}
    assert {path.name for path in export.checked} == graphs

    recurrent = shipped(packed(LSTM(depth=1, units=8, embedding=8), words))
    with pytest.raises(ExportError, match=r"decides by the values of its inputs; \.onnx"):
        format_of("pt2").write(recurrent, tmp_path / "student.pt2", NO_WISHES)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RUN if getattr(format_of(name), "parts", ())])
def test_files_that_belong_together_are_named_after_one(name, students, tmp_path) -> None:
    student, _ = students("float32")
    chosen = format_of(name)
    if chosen.lacking():
        pytest.skip(f"needs pip install 'rayduce[{chosen.extra}]'")
    assert isinstance(chosen, GraphFormat)
    export = chosen.write(student, tmp_path / f"student{chosen.suffix}", NO_WISHES)
    assert [path.name for path in export.files] == [f"student{part}" for part in chosen.parts]
    assert {path.suffix for path in export.files.keys() - export.checked} == {*chosen.described}
    told = b"".join(export.files.values())
    assert student.recipe.recipe_id.encode() in told and str(ROOT).encode() not in told
    with pytest.raises(ExportError, match=rf"together: end student\.ir in {re.escape(chosen.suffix)}"):
        chosen.write(student, tmp_path / "student.ir", NO_WISHES)


def test_weights_of_two_bits_are_four_wide_and_the_same() -> None:
    levels = np.array([[-2, -1, 0, 1], [1, 0, -1, -2]])
    kind = helper.tensor_dtype_to_np_dtype(TensorProto.INT2)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["levels"], ["weights"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["input", "weights"], ["output"]),
        ],
        "few",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(levels.astype(np.int8).astype(kind), "levels")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)])
    wider = onnx.load_from_string(without_two_bits(model.SerializeToString()))
    (stored,) = wider.graph.initializer
    assert stored.data_type == TensorProto.INT4
    assert (numpy_helper.to_array(stored).astype(int) == levels).all()
    if is_installed():
        given = np.array([[1.0, 10.0]], np.float32)
        found = load_openvino(wider.SerializeToString())({"input": given})["output"]
        np.testing.assert_allclose(found, given @ levels)
