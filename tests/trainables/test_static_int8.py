"""What ONNX Runtime's own quantization makes of a network is really int8, and is measured as it runs."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from studies.job import study_of_file
from tests.studies.own_files import REGRESSION, plain, write
from tests.trainables.translation import STUDENTS, write_pairs
from trainables import methods
from trainables.exporting import static_int8
from trainables.exporting.export import to_onnx
from trainables.exporting.static_int8 import (
    NotQuantized,
    calibration_inputs,
    evaluate_graphs,
    runtime_int8,
)
from trainables.models import ResNet
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.runtime import load, quantization
from trainables.shipping.evaluation import open_student
from trainables.tasks import Digits
from trainables.teachers.sources import NoSources
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def arrays() -> Any:
    return Digits().load(None)


@pytest.fixture(scope="module")
def task(arrays: Any) -> Any:
    return Digits().open(arrays, CPU, 0)


@pytest.fixture(scope="module")
def network(task: Any) -> nn.Module:
    """A residual network that has learnt something."""
    torch.set_num_threads(1)
    given = methods.Setting(Digits(), Fresh(ResNet(depth=1, width=0.5)), epochs=2)
    trainer = Trainer(methods.full_precision(given, optimizer=AdamW(5e-3)), task, NoSources(), CPU)
    while not trainer.finished:
        trainer.train_epoch()
    return open_student(trainer.ship())[1]


@pytest.fixture(scope="module")
def made(network: nn.Module, task: Any) -> static_int8.RuntimeInt8:
    return runtime_int8(network, Digits().interface, partial(calibration_inputs, task), reduced_range=False)


def optimized(graph: bytes, folder: Path) -> Counter[str]:
    """The operators that ONNX Runtime runs of a file."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


def test_every_convolution_and_sum_runs_in_integers(made: Any, network: nn.Module, tmp_path: Path) -> None:
    assert made.way == "static"
    found = optimized(made.graphs["network"], tmp_path)
    assert found["QLinearConv"] == sum(isinstance(each, nn.Conv2d) for each in network.modules())
    assert found["QLinearAdd"] > 0 and found["QGemm"] == 1
    assert not {"Conv", "Add", "Gemm", "MatMul"} & found.keys()


def test_weights_are_int8_per_channel_and_activations_uint8(made: Any, network: nn.Module) -> None:
    graph = onnx.load_from_string(made.graphs["network"]).graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    weights = [
        (constants[node.input[0]], constants[node.input[1]])
        for node in graph.node
        if node.op_type == "DequantizeLinear" and constants.get(node.input[0], np.zeros(0)).dtype == np.int8
    ]
    layers = [each for each in network.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    assert len(weights) == len(layers)
    for level, scale in weights:
        assert scale.shape == (len(level),) and np.abs(level.astype(int)).max() <= 127
    zeros = {constants[node.input[2]].dtype for node in graph.node if node.op_type == "QuantizeLinear"}
    assert zeros == {np.dtype(np.uint8)}


def test_the_first_range_is_that_of_the_calibration_inputs(made: Any, task: Any) -> None:
    graph = onnx.load_from_string(made.graphs["network"]).graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    [first] = [node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "input"]
    seen = torch.cat(list(calibration_inputs(task)))
    span = float(seen.max().clamp(min=0) - seen.min().clamp(max=0))
    assert constants[first.input[1]] == pytest.approx(span / 255, rel=1e-6)


def test_without_wide_products_weights_have_seven_bits(network: nn.Module, task: Any) -> None:
    found = runtime_int8(network, Digits().interface, lambda: calibration_inputs(task, 8), reduced_range=True)
    graph = onnx.load_from_string(found.graphs["network"]).graph
    levels = [numpy_helper.to_array(each) for each in graph.initializer if len(each.dims) > 1]
    assert levels and all(each.dtype == np.int8 and np.abs(each.astype(int)).max() <= 64 for each in levels)


def test_calibration_inputs_are_training_images_as_they_are(task: Any, arrays: Any) -> None:
    seen = torch.cat(list(calibration_inputs(task)))
    assert torch.equal(seen, torch.cat(list(calibration_inputs(task)))) and len(seen) == 512
    images = arrays["train_images"].astype(np.float32) / 127.5 - 1
    numbers = {image.tobytes(): number for number, image in enumerate(images)}
    drawn = [numbers[each.numpy().astype(np.float32).tobytes()] for each in seen]
    assert drawn == sorted(set(drawn)) and drawn[-1] > 1000  # not the first 512 of the split
    few = torch.cat(list(calibration_inputs(task, 5000)))
    assert len(few) == task.samples("train")


@pytest.mark.parametrize("split", ["validation", "test"])
def test_quality_is_that_of_a_plain_loop_over_the_file(
    made: Any, network: nn.Module, task: Any, arrays: Any, split: str
) -> None:
    session = onnxruntime.InferenceSession(made.graphs["network"], providers=["CPUExecutionProvider"])
    images = arrays[f"{split}_images"].astype(np.float32) / 127.5 - 1
    right = [
        session.run(None, {"input": image[None]})[0].argmax() == label
        for image, label in zip(images, arrays[f"{split}_labels"], strict=True)
    ]
    found = evaluate_graphs(made.graphs, network, Digits().interface, task, split)
    assert found == {"accuracy": float(np.mean(right))} and found["accuracy"] > 0.5


def test_a_file_is_less_than_half_as_large_and_close_to_the_network(
    made: Any, network: nn.Module, task: Any
) -> None:
    exported = to_onnx(network, Digits().interface, {}, weights="float32")
    assert made.onnx_bytes == sum(map(len, made.graphs.values())) < sum(map(len, exported.values())) / 2
    assert "weights" not in {
        each.key for each in onnx.load_from_string(made.graphs["network"]).metadata_props
    }
    inputs = next(task.in_order("test")).inputs
    with torch.no_grad():
        expected = network(inputs.clone()).numpy()
    logits = load(made.graphs)["network"]({"input": np.ascontiguousarray(inputs.numpy())})["output"]
    assert 0 < np.abs(logits - expected).max() < 0.2 * np.abs(expected).max()


def test_nothing_is_said_and_nothing_stays_behind(
    network: nn.Module, task: Any, tmp_path: Path, monkeypatch: Any, capfd: Any, caplog: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    runtime_int8(network, Digits().interface, lambda: calibration_inputs(task, 4))
    assert capfd.readouterr() == ("", "") and caplog.records == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", STUDENTS, ids=lambda model: type(model).__name__)
def test_translators_are_quantized_dynamically(model: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    task = write_pairs(tmp_path / "data")
    opened = task.open(task.load(tmp_path / "data"), CPU, 0)
    torch.manual_seed(0)
    network = model.build(task.input_shape, task.outputs).eval().requires_grad_(False)
    made = runtime_int8(network, task.interface, lambda: calibration_inputs(opened))
    assert made.way == "dynamic" and made.graphs.keys() == {"encoder", "step"}
    found = sum((optimized(graph, tmp_path) for graph in made.graphs.values()), Counter[str]())
    assert {"DynamicQuantizeLSTM", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"} & found.keys()
    quality = evaluate_graphs(made.graphs, network, task.interface, opened, "validation")
    assert quality.keys() == {"bleu", "chrf", "perplexity"}
    exact = evaluate_graphs(to_onnx(network, task.interface, {}), network, task.interface, opened, "test")
    assert exact == pytest.approx(opened.evaluate(network, "test"), rel=1e-3)


class _Sine(nn.Module):
    """A network without a layer that ONNX Runtime quantizes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x).flatten(1)


class _Unexported(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.matrix_exp(self.layer(x.flatten(1)).diag_embed()).sum(-1)


@pytest.mark.parametrize(
    ("module", "why"),
    [(_Sine, "quantizes none of its layers"), (_Unexported, "cannot be exported to ONNX")],
)
def test_why_there_is_none_is_told(module: type[nn.Module], why: str, task: Any) -> None:
    network = module().eval().requires_grad_(False)
    with pytest.raises(NotQuantized, match=why):
        runtime_int8(network, Digits().interface, lambda: calibration_inputs(task, 4))


def test_what_the_tools_raise_is_told_in_one_line(network: nn.Module, task: Any, monkeypatch: Any) -> None:
    tools = quantization()

    def refuse(*arguments: Any, **options: Any) -> None:
        raise NotImplementedError("Unsupported operator Foo.\nmore lines")

    broken = {name: getattr(tools, name) for name in ("QuantFormat", "QuantType", "CalibrationMethod")}
    broken |= {"shape_inference": tools.shape_inference, "quantize_static": refuse}
    monkeypatch.setattr(static_int8, "quantization", lambda: SimpleNamespace(**broken))
    with pytest.raises(NotQuantized) as error:
        runtime_int8(network, Digits().interface, lambda: calibration_inputs(task, 4))
    assert str(error.value) == "ONNX Runtime cannot quantize it: Unsupported operator Foo"


def test_a_network_of_two_inputs_is_measured_by_its_own_quality(tmp_path: Path) -> None:
    study = study_of_file(write(tmp_path, REGRESSION, "marked_net"))
    task = study.make_task(None, {})
    opened = task.open(task.load(None), CPU, 0)
    network = plain(REGRESSION).eval().requires_grad_(False)
    made = runtime_int8(network, task.interface, lambda: calibration_inputs(opened))
    [exact] = opened.evaluate(network, "test").values()
    [found] = evaluate_graphs(made.graphs, network, task.interface, opened, "test").values()
    session = onnxruntime.InferenceSession(made.graphs["network"], providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    errors = []
    for batch in opened.in_order("test"):
        feed = dict(zip(names, (each.numpy() for each in batch.inputs), strict=True))
        errors.append(((session.run(None, feed)[0] - batch.targets.numpy()) ** 2).mean(1))
    assert found == pytest.approx(float(np.sqrt(np.concatenate(errors).mean())), rel=1e-5)
    assert found != exact and found == pytest.approx(exact, rel=0.1)
