"""Weights leave as ONNX in the bits of the packed file, and runtimes make exactly their values of them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from tests.contracts.test_codecs import codes, dense, mixed
from tests.contracts.test_quantizers import SHAPES, VARIANTS
from tests.exports import to_onnx
from tests.trainables.interfaces.test_encoder_decoder import INTERFACE
from tests.trainables.models.test_translators import built
from trainables.exiting.leaving import leave_or
from trainables.exporting import checking, export
from trainables.exporting.few_bits import write_tensor
from trainables.exporting.opsets import nodes_of, raised
from trainables.exporting.pieces import FLOAT, INT32, Pieces
from trainables.exporting.whole_numbers import write_mask, write_numbers
from trainables.models import LSTM, Transformer
from trainables.models.base import Model
from trainables.quantizers.base import NO_GROUP, Codes, Dense, Grouped, MixedCodes, Stored

TYPES = {
    TensorProto.UINT4: (21, 10),
    TensorProto.INT4: (21, 10),
    TensorProto.UINT2: (25, 13),
    TensorProto.INT2: (25, 13),
}
"""The opset and the version of the format from which on ONNX has a type."""


def evaluated(made: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What ONNX's own reference makes of it."""
    found: Any = ReferenceEvaluator(made).run(None, inputs)
    return found


def fresh_pieces() -> Pieces:
    numbers = itertools.count()
    pieces = Pieces(lambda: f"n{next(numbers)}")
    pieces.label("w")
    return pieces


def model_of(pieces: Pieces, name: str, kind: int = FLOAT) -> onnx.ModelProto:
    output = helper.make_tensor_value_info(name, kind, [None])
    graph = helper.make_graph(pieces.nodes, "g", [], [output], list(pieces.stored.values()))
    made = raised(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9))
    onnx.checker.check_model(made, full_check=True)
    return made


def computed(pieces: Pieces, name: str, kind: int = FLOAT) -> np.ndarray:
    """What ONNX Runtime and ONNX's own reference make of it, which is the same."""
    made = model_of(pieces, name, kind)
    (found,) = evaluated(made, {})
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (again,) = session.run(None, {})
    np.testing.assert_array_equal(again, found)
    return found


def left_for_each_run(pieces: Pieces, name: str, shape: list[int], folder: Path) -> list[str]:
    """Operations that ONNX Runtime carries out in each run of a product with what is made."""
    product = helper.make_node("Mul", [name, "x"], ["y"])
    values = [helper.make_tensor_value_info(each, FLOAT, size) for each, size in (("x", [1]), ("y", shape))]
    graph = helper.make_graph(
        [*pieces.nodes, product], "g", values[:1], values[1:], list(pieces.stored.values())
    )
    made = raised(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9))
    return optimized(made.SerializeToString(), folder)


@pytest.mark.parametrize("kept", [None, 0.9, 0.3, 0.02])
@pytest.mark.parametrize("kind", ["even", "centred", "book", "mixed", "grouped", "values"])
def test_whatever_the_form_it_is_computed_once(kind: str, kept: float | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    keep = None if kept is None else torch.rand(60, 50) < kept
    count = 3000 if keep is None else int(keep.sum())
    index = (8 + 2 * torch.randn(count)).round().clamp(0, 15).to(torch.uint8)
    scale, offset = torch.rand(-(-count // 32)), torch.rand(-(-count // 32))
    stored: Stored | Grouped
    if kind == "mixed":
        bits = torch.randint(1, 5, (60,), dtype=torch.uint8)
        stored = MixedCodes(index.short(), (60, 50), bits, 50, torch.rand(1), torch.rand(1), keep)
        most = 2 ** stored.widths().short() - 1
        stored = replace(stored, index=torch.minimum(stored.index, most.short()))
    elif kind == "values":
        values = torch.randn(60, 50)
        stored = Dense(values if keep is None else values * keep)
    else:
        book = torch.rand(16) if kind == "book" else None
        even = kind == "even"
        stored = Codes(
            index,
            (60, 50),
            4,
            32,
            offset if even else None,
            scale,
            book,
            keep,
            None if even or book is not None else 8,
        )
        if kind == "book":
            stored = replace(stored, offset=offset)
        if kind == "grouped":
            rows = torch.randint(0, 2, (150,), dtype=torch.uint8)
            rows[:60] = 0
            rows[60:120] = 1
            rows[120:] = NO_GROUP
            stored = Grouped(rows, (stored, stored))
    check_values(stored)
    pieces = fresh_pieces()
    name = pieces.reshaped(write_tensor(pieces, stored) or "", [-1])
    assert left_for_each_run(pieces, name, [stored.decode().numel()], tmp_path) == ["Mul"]


def check_values(stored: Stored | Grouped) -> int:
    """Compare what comes out of the bits with what they stand for; how many bytes they take."""
    pieces = fresh_pieces()
    name = write_tensor(pieces, stored)
    assert name
    name = pieces.reshaped(name, [-1])
    np.testing.assert_array_equal(computed(pieces, name), stored.decode().float().numpy().reshape(-1))
    return pieces.size()


@pytest.mark.parametrize("part", VARIANTS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_all_quantizers(part, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape)
    module = part.build(weight, "weight").eval()
    for keep in (None, torch.rand(shape) < 0.4):
        mask = None if module.exact_zero else keep
        values = weight if keep is None else weight * keep if mask is None else weight[keep]
        if mask is None and not module.exact_zero:
            values = values.reshape(-1)
        module.initialize(values)
        check_values(module.encode(values, tuple(shape), mask))


@settings(max_examples=60, deadline=None)
@given(st.booleans().flatmap(lambda masked: codes(masked) | mixed(masked)))
def test_any_codes(stored: Codes | MixedCodes) -> None:
    if stored.decode().numel():
        check_values(stored)


@settings(max_examples=20, deadline=None)
@given(st.booleans().flatmap(dense))
def test_any_values(stored: Dense) -> None:
    pieces = fresh_pieces()
    if write_tensor(pieces, stored) is not None:
        check_values(stored)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-5, 300) | st.integers(0, 2), min_size=1, max_size=400),
    st.sampled_from([FLOAT, INT32]),
    st.integers(0, 3000),
)
def test_any_whole_numbers(numbers: list[int], kind: int, zeros: int) -> None:
    pieces = fresh_pieces()
    values = np.array([*numbers, *[0] * zeros, *numbers])
    found = computed(pieces, write_numbers(pieces, values, kind), kind)
    np.testing.assert_array_equal(found, values)
    assert found.dtype == helper.tensor_dtype_to_np_dtype(kind)


@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 0.3, 0.5])
def test_masks(share: float) -> None:
    chosen = np.random.default_rng(0).random(20_000) < share
    pieces = fresh_pieces()
    name = write_mask(pieces, chosen)
    np.testing.assert_array_equal(computed(pieces, name, INT32), chosen)
    information = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    assert pieces.size() < min(1 / 8, 1.35 * information / 8) * len(chosen) + 400


@pytest.mark.parametrize(
    ("levels", "bits"),
    [(2, 1), (3, 1.6), (4, 2), (5, 8 / 3), (7, 3), (8, 3), (16, 4), (31, 5), (64, 6), (100, 7), (256, 8)],
)
def test_each_width_takes_its_bits(levels: int, bits: float) -> None:
    numbers = np.random.default_rng(0).integers(0, levels, 80_000)
    pieces = fresh_pieces()
    write_numbers(pieces, numbers, FLOAT)
    assert pieces.size() < bits * 10_000 + 600


def test_sparse_levels_take_less_than_their_bits() -> None:
    generator = np.random.default_rng(0)
    numbers = np.where(generator.random(40_000) < 0.05, generator.integers(-7, 8, 40_000), 0)
    pieces = fresh_pieces()
    name = write_numbers(pieces, numbers, FLOAT)
    np.testing.assert_array_equal(computed(pieces, name), numbers)
    assert pieces.size() < 0.08 * numbers.size


@pytest.mark.parametrize("bits", [2, 4])
def test_types_are_those_of_onnx(bits: int) -> None:
    """Decoded with nothing but numpy from the stored bytes."""
    torch.manual_seed(0)
    index = torch.randint(0, 2**bits, (600,), dtype=torch.uint8)
    stored = Codes(index, (6, 100), bits, 100, None, torch.rand(6), zero=2 ** (bits - 1))
    pieces = fresh_pieces()
    made = model_of(pieces, pieces.reshaped(write_tensor(pieces, stored) or "", [-1]))
    narrow = [each for each in made.graph.initializer if each.data_type in TYPES]
    assert [each.data_type for each in narrow] == [{2: TensorProto.INT2, 4: TensorProto.INT4}[bits]]
    assert (made.opset_import[0].version, made.ir_version) == TYPES[narrow[0].data_type]
    packed = np.frombuffer(narrow[0].raw_data, np.uint8)
    parts = [packed >> shift & 2**bits - 1 for shift in range(0, 8, bits)]
    numbers = np.stack(parts, 1).reshape(-1)[:600].astype(np.int8)
    numbers[numbers >= 2 ** (bits - 1)] -= 2**bits
    (scale,) = (
        onnx.numpy_helper.to_array(each) for each in made.graph.initializer if list(each.dims) == [6, 1]
    )
    np.testing.assert_array_equal(numbers.reshape(6, 100) * scale, stored.decode().numpy())


def test_an_operation_that_changed_is_refused() -> None:
    """GroupNormalization has its scale per channel, and not per group, since opset 21."""
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=1)
    values = [helper.make_tensor_value_info(name, FLOAT, [1, 2, 3]) for name in "xy"]
    few = TensorProto(name="few", data_type=TensorProto.INT4, dims=[4], raw_data=b"\0\0")
    graph = helper.make_graph([node], "g", values[:1], values[1:], [few])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    with pytest.raises(ValueError, match="GroupNormalization of opset 20 is another"):
        raised(made)


class Turned(nn.Module):
    """Uses one matrix as it is, turned, in part, and once more under another name."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(24, 24)
        self.again = self.first
        self.whole = nn.MultiheadAttention(24, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.again(torch.relu(self.first(x))) @ self.first.weight
        return self.whole(hidden[:, None], hidden[:, None], hidden[:, None], need_weights=False)[0][:, 0]


def four_bits(values: Tensor) -> Codes:
    scale = values.reshape(len(values), -1).abs().amax(1) / 7
    index = (values.reshape(len(values), -1) / scale[:, None]).round() + 8
    return Codes(
        index.to(torch.uint8).reshape(-1), tuple(values.shape), 4, values[0].numel(), None, scale, zero=8
    )


def compressed(network: nn.Module) -> dict[str, Stored]:
    """The network's matrices in 4 bits, which it now holds, and its vectors as they are."""
    tensors: dict[str, Stored] = {}
    for name, values in network.named_parameters():
        tensors[name] = four_bits(values.detach()) if values.dim() > 1 else Dense(values.detach())
        values.data.copy_(tensors[name].decode())
    return tensors


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (Turned(), (24,)),
        (
            nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.ConvTranspose2d(16, 20, 3), nn.Flatten(1)),
            (1, 6, 6),
        ),
        (nn.Sequential(nn.Linear(30, 40), nn.GELU(), nn.LayerNorm(40), nn.Linear(40, 5)), (30,)),
    ],
    ids=["turned", "convolutions", "linear"],
)
def test_weights_are_found_and_the_network_is_the_same(network: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    tensors = compressed(network.eval())
    data = to_onnx(network, shape, {}, tensors)
    plain = to_onnx(network, shape, {}, tensors, weights="float32")
    made = onnx.load_from_string(data)
    matrices = {name for name, stored in tensors.items() if isinstance(stored, Codes)}
    narrow = [each for each in made.graph.initializer if each.data_type in TYPES]
    assert len(narrow) == len(matrices)
    assert not [
        each for each in made.graph.initializer if each.data_type == FLOAT and len(each.raw_data) > 400
    ]
    assert len(data) < len(plain)
    inputs = {"input": torch.randn(5, *shape).numpy()}
    results = [
        onnxruntime.InferenceSession(each, providers=["CPUExecutionProvider"]).run(None, inputs)[0]
        for each in (data, plain)
    ]
    np.testing.assert_array_equal(*results)
    (reference,) = evaluated(made, inputs)
    np.testing.assert_allclose(reference, results[0], rtol=1e-4, atol=1e-4)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.layer = kind(12, 24, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0].flatten(1)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_gates_in_another_order(kind: type[nn.LSTM | nn.GRU]) -> None:
    torch.manual_seed(0)
    network = Recurrent(kind).eval()
    tensors = compressed(network)
    made = onnx.load_from_string(to_onnx(network, (5, 12), {}, tensors))
    assert sum(each.data_type == TensorProto.INT4 for each in made.graph.initializer) == 4


@pytest.mark.parametrize(
    "model", [LSTM(depth=2, units=16, embedding=12), Transformer(depth=1, units=16)], ids=str
)
def test_translators(model: Model) -> None:
    """All matrices of both files are in 4 bits, an embedding that is tied to the last layer once in each."""
    torch.manual_seed(0)
    network = built(model, torch.float32).eval()
    tensors = compressed(network)
    for data in export.to_onnx(network, INTERFACE, {}, tensors).values():
        stored = onnx.load_from_string(data).graph.initializer
        large = [each for each in stored if np.prod(each.dims) > 100]
        assert len([each for each in large if each.data_type == TensorProto.INT4]) > 2
        matrices = [each for each in large if len(each.dims) > 1 and each.dims[-2] > 2]
        assert not [each.name for each in matrices if each.data_type == FLOAT]


class Early(nn.Module):
    """Answers early where it is certain."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(30, 40)
        self.exit = nn.Linear(40, 5)
        self.rest = nn.Sequential(nn.Linear(40, 60), nn.ReLU(), nn.Linear(60, 5))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        early = self.exit(hidden)
        return leave_or(early.amax(1) > 0.3, early, self.rest(hidden))


def test_weights_of_a_branch_are_in_it_and_computed_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Early().eval()
    data = to_onnx(network, (30,), {}, compressed(network))
    (choice,) = (node for node in onnx.load_from_string(data).graph.node if node.op_type == "If")
    inner = [tensor for a in choice.attribute for tensor in a.g.initializer]
    assert [list(each.dims) for each in inner if each.data_type == TensorProto.INT4] == [[60, 40]]
    left = optimized(data, tmp_path)
    assert left.count("Gemm") == 4 and not {"Mul", "Reshape", "Transpose"} & {*left}


def test_the_old_form_stays_old() -> None:
    network = nn.Sequential(nn.Linear(30, 40)).eval()
    tensors = compressed(network)
    made = onnx.load_from_string(to_onnx(network, (30,), {}, tensors, weights="float32"))
    assert made.opset_import[0].version == 17
    assert {each.data_type for each in made.graph.initializer} <= {FLOAT, TensorProto.INT64}


def test_wrong_bits_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.exporting import stored_weights

    def wrong(pieces: Pieces, stored: Stored | Grouped) -> str | None:
        name = write_tensor(pieces, stored)
        return name and pieces.number("Mul", name, 1 + 2**-23, FLOAT)

    monkeypatch.setattr(stored_weights, "write_tensor", wrong)
    network = nn.Sequential(nn.Linear(30, 40)).eval()
    with pytest.raises(checking.ExportError, match="does not come out of its few bits"):
        to_onnx(network, (30,), {}, compressed(network))


def test_runtimes_compute_weights_once(tmp_path: Path) -> None:
    """No option is needed: what is left in the graph that runs is the network."""
    network = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)).eval()
    data = to_onnx(network, (1, 6, 6), {}, compressed(network))
    assert sorted(optimized(data, tmp_path)) == ["Conv", "Flatten", "Gemm", "Relu"]


def optimized(data: bytes, tmp_path: Path) -> list[str]:
    """The operations that ONNX Runtime carries out in each run."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in nodes_of(onnx.load(tmp_path / "optimized.onnx").graph)]
