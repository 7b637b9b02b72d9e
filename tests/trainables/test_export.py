"""Exports do what the network does, or are refused."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from tests.exports import to_onnx
from trainables.exporting import export
from trainables.exporting.checking import ExportError
from trainables.exporting.export import to_safetensors
from trainables.folding import ChannelAffine, fold_batch_norms
from trainables.interfaces.base import Graph
from trainables.models import ConvNet, ResNet
from trainables.models.base import Model


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def folded(model: Model, shape: tuple[int, ...]) -> nn.Module:
    """A network in eval mode, its normalisation with statistics of its own, folded."""
    network = model.build(shape, 10).eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return fold_batch_norms(network)


def session(data: bytes, level: int = 3, optimized: str | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = level
    if optimized is not None:
        options.optimized_model_filepath = optimized
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("model", "shape"), [(ConvNet(width=0.2), (1, 8, 8)), (ResNet(depth=1, width=0.5), (3, 12, 12))], ids=str
)
def test_students(model: Model, shape: tuple[int, ...]) -> None:
    network = folded(model, shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = to_onnx(network, shape, {"recipe_id": "abc", "method": "x"})
    exported = onnx.load_from_string(data)
    assert exported.opset_import[0].version >= 17
    metadata = {entry.key: entry.value for entry in exported.metadata_props}
    assert metadata["recipe_id"] == "abc"
    assert metadata["weights"] == "float32"
    for batch in (1, 7):
        inputs = torch.randn(batch, *shape)
        (found,) = session(data).run(None, {"input": inputs.numpy()})
        np.testing.assert_allclose(found, network(inputs).numpy(force=True), rtol=1e-3, atol=1e-4)


def test_the_model_is_left_as_it_is() -> None:
    network = ConvNet(width=0.1).build((1, 8, 8), 10).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    to_onnx(network, (1, 8, 8), {})
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_runtime_fuses_what_normalisation_was_folded_into(tmp_path: Path) -> None:
    """The reason why nothing is folded before the export."""
    affine = ChannelAffine(4)
    nn.init.normal_(affine.scale)
    nn.init.normal_(affine.shift)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), affine, nn.ReLU())
    data = to_onnx(network, (1, 6, 6), {})
    assert {"Mul", "Add"} <= {node.op_type for node in onnx.load_from_string(data).graph.node}
    session(data, optimized=str(tmp_path / "optimized.onnx"))
    fused = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert not fused & {"Mul", "Add"}


class BatchDependent(nn.Module):
    """Tracing freezes the branch that the example took."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.shape[0] == 2 else x * 3


class ValueDependent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :3] if x.flatten()[0] > 0 else -x[:, :3]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("network", [BatchDependent(), ValueDependent()], ids=lambda n: type(n).__name__)
def test_frozen_control_flow_is_caught(network: nn.Module) -> None:
    with pytest.raises(ExportError, match="differ by"):
        to_onnx(network, (4,), {})


class Untraceable(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x @ x.mT).real


def test_an_operation_without_onnx_form() -> None:
    with pytest.raises(ExportError, match="cannot be exported to ONNX: ") as caught:
        to_onnx(Untraceable(), (3, 3), {})
    assert "\n" not in str(caught.value)


def test_outputs_that_are_not_finite() -> None:
    network = nn.Linear(3, 2)
    nn.init.constant_(network.weight, float("inf"))
    with pytest.raises(ExportError, match="not finite"):
        to_onnx(network, (3,), {})


def test_other_weights_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check looks at the bytes that are returned."""
    real = export._traced

    def wrong(graph: Graph, opset: int) -> bytes:
        return real(replace(graph, module=nn.Sequential(graph.module, nn.Hardtanh(-0.5, 0.5))), opset)

    monkeypatch.setattr(export, "_traced", wrong)
    with pytest.raises(ExportError, match="differ by"):
        to_onnx(nn.Linear(3, 20), (3,), {})


def test_ties_within_rounding_are_no_error() -> None:
    network = nn.Linear(3, 4)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    assert session(to_onnx(network, (3,), {})).get_outputs()[0].name == "output"


def test_safetensors(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"weight": base.T, "half": base[0].half(), "scalar": torch.tensor(3), "shared": base}
    data = to_safetensors(tensors, {"recipe_id": "abc"})
    again = safetensors.torch.load(data)
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"recipe_id": "abc"}
