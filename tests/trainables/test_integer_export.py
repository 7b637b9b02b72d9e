"""Students of few levels leave as integers that do what the student does."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from tests.exports import to_onnx
from tests.trainables.test_trainer import trainer_of
from trainables import methods
from trainables.activations import LearnedClip, MovingRange, NoActivationQuantizer
from trainables.activations.base import ActivationQuantizer, InputQuantizer
from trainables.by_name import Where
from trainables.compression.compressed_weight import compress, compressible, stored_tensors
from trainables.compression.quantized_inputs import calibrate, input_quantizers, quantize_inputs
from trainables.exporting import checking, export, integer_graph
from trainables.exporting import integer_weight as weights
from trainables.exporting.checking import ExportError
from trainables.exporting.export import integer_kind
from trainables.exporting.integer_weight import IntegerWeight, has_wide_products, integer_weight
from trainables.folding import ChannelAffine
from trainables.models import ConvNet, ResNet
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.quantizers import LearnedStep, QuantizerByName, Symmetric, Uniform
from trainables.quantizers.base import Codes, Dense, Quantizer
from trainables.recipe import Phase
from trainables.shipping.evaluation import rebuild
from trainables.shipping.packed_file import unpack
from trainables.tasks import Digits

CONVNET = ConvNet(stages=((12,), (16,)), hidden=(24,), kernel_size=3, depth=1)
RESNET = ResNet(depth=1, width=0.5)
INTEGER = {"QLinearConv", "QLinearAdd", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat"}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def arrays():
    return Digits().load(None)


@pytest.fixture(scope="module")
def trained(arrays):
    """Trains on digits, once per kind: the rebuilt student, its tensors, and the open task."""
    made = {}

    def get(model, quantizer, activations, aware):
        key = (model, quantizer, activations, aware)
        if key not in made:
            recipe = methods.int8_post_training_quantization(
                methods.Setting(Digits(), Fresh(model), epochs=8)
            )
            phases = (Phase(8, AdamW(1e-2)),)
            if aware:
                phases = (Phase(5, AdamW(1e-2)), Phase(3, AdamW(2e-3), train="all", quantize=True))
            recipe = replace(recipe, quantizer=quantizer, activations=activations, phases=phases)
            trainer = trainer_of(recipe, arrays)
            while not trainer.finished:
                trainer.train_epoch()
            tensors = unpack(trainer.ship()).tensors
            made[key] = (rebuild(recipe, tensors), tensors, trainer.task)
        return made[key]

    return get


def session(
    data: bytes, optimized: Path | None = None, *, plain: bool = False
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def kernels(data: bytes, folder: Path) -> Counter[str]:
    """What ONNX Runtime really runs."""
    session(data, folder / "optimized.onnx")
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


def metadata(data: bytes) -> str:
    entries = {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}
    return entries["weights"]


def inputs_of(task, split: str = "validation") -> tuple[Tensor, np.ndarray]:
    batches = list(task.in_order(split))
    return torch.cat([b.inputs for b in batches]), torch.cat([b.targets for b in batches]).numpy()


@pytest.mark.parametrize("reduced", [False, True], ids=["full", "reduced"])
@pytest.mark.parametrize(
    ("model", "quantizer", "activations", "aware"),
    [
        (CONVNET, Symmetric(8), MovingRange(8), False),
        (RESNET, Symmetric(8), MovingRange(8), False),
        (RESNET, LearnedStep(8), MovingRange(8), True),
        (CONVNET, Symmetric(4), MovingRange(8), True),
        (CONVNET, LearnedStep(4), LearnedClip(4), True),
        (RESNET, LearnedStep(3, per_channel=True), LearnedClip(4), True),
    ],
    ids=str,
)
def test_trained_students(model, quantizer, activations, aware, reduced, trained, tmp_path) -> None:
    network, tensors, task = trained(model, quantizer, activations, aware)
    data = to_onnx(network, (1, 8, 8), {}, tensors, reduced_range=reduced)
    inputs, targets = inputs_of(task)
    expected = network(inputs).numpy()
    (found,) = session(data).run(None, {"input": inputs.numpy()})
    right = (expected.argmax(1) == targets).mean()
    assert right > 0.8
    assert (found.argmax(1) == expected.argmax(1)).mean() > (0.98 if activations.bits == 8 else 0.95)
    assert abs((found.argmax(1) == targets).mean() - right) <= 0.015
    difference = np.sqrt(((found - expected) ** 2).mean()) / expected.std()
    assert difference < (0.04 if activations.bits == 8 else 0.25)
    assert "int8" in metadata(data) and ("VNNI" in metadata(data)) == reduced
    ran = kernels(data, tmp_path)
    assert ran["QLinearConv"] >= 2 and ran["QLinearConv"] + ran["QGemm"] >= 4
    assert not ran.keys() & {"Conv", "FusedConv", "MatMul", "Gemm", "Add"}


def test_weights_are_bytes_and_the_file_a_quarter(trained) -> None:
    network, tensors, _ = trained(CONVNET, Symmetric(8), MovingRange(8), False)
    data = to_onnx(network, (1, 8, 8), {}, tensors, reduced_range=False)
    stored = [numpy_helper.to_array(i) for i in onnx.load_from_string(data).graph.initializer]
    weights = [array for array in stored if array.dtype == np.int8 and array.ndim > 1]
    assert sorted(w.size for w in weights) == sorted(
        t.index.numel() for t in tensors.values() if isinstance(t, Codes)
    )
    assert not [a for a in stored if a.dtype == np.float32 and a.ndim > 1 and a.size > 24]
    floats = to_onnx(network, (1, 8, 8), {})
    weight_bytes = sum(w.size for w in weights)
    assert len(floats) - len(data) > 2 * weight_bytes


@pytest.mark.parametrize("model", [CONVNET, ConvNet(stages=((8, 8),), hidden=(), kernel_size=3)], ids=str)
@pytest.mark.parametrize("quantizer", [Symmetric(8), Symmetric(3)], ids=str)
def test_what_layers_are_given_is_the_same_level_or_the_next(model, quantizer, trained) -> None:
    """Only the rounding of biases to the unit of the products tells the two apart."""
    network, tensors, task = trained(model, quantizer, MovingRange(8), False)
    data = to_onnx(network, (1, 8, 8), {}, tensors, reduced_range=False, weights="float32")
    exported = onnx.load_from_string(data)
    constants = {initializer.name for initializer in exported.graph.initializer}
    names = [n.input[0] for n in exported.graph.node if n.op_type == "DequantizeLinear"]
    names = [name for name in names if name not in constants]
    for name in names:
        exported.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None))
    expected = []

    def look(quantizer: InputQuantizer, seen: tuple[Tensor, ...]) -> None:
        scale, zero, bits = quantizer.grid()
        expected.append((torch.round(seen[0] / scale) + zero).clamp(0, 2**bits - 1))

    watched = copy.deepcopy(network)
    for _, module in input_quantizers(watched):
        module.register_forward_pre_hook(look)
    inputs, _ = inputs_of(task)
    watched(inputs)
    found = session(exported.SerializeToString()).run(names, {"input": inputs.numpy()})
    assert len(found) == len(expected) == len(list(input_quantizers(network)))
    for ours, theirs in zip(found, expected, strict=True):
        difference = np.abs(ours.astype(int) - theirs.numpy().astype(int))
        assert difference.max() <= 2
        assert (difference == 0).mean() > 0.97
        assert (difference <= 1).mean() > 0.999


def test_integer_kernels_compute_what_the_graph_says(trained) -> None:
    network, tensors, task = trained(RESNET, Symmetric(8), MovingRange(8), False)
    data = to_onnx(network, (1, 8, 8), {}, tensors, reduced_range=False)
    values = inputs_of(task)[0].numpy()
    (fast,), (plain,) = (session(data, plain=p).run(None, {"input": values}) for p in (False, True))
    assert np.sqrt(((fast - plain) ** 2).mean()) < 0.02 * plain.std()


def one_layer(layer: Any, shape: tuple[int, ...], after: nn.Module | None = None) -> tuple:
    """A network of a layer with int8 weights, calibrated; what follows it may be given."""
    recipe = methods.int8_post_training_quantization(methods.Setting(Digits(), Fresh(CONVNET), epochs=0))
    modules = [layer] if after is None else [layer, after]
    network = nn.Sequential(*modules)
    weight = layer.weight.detach()
    stored = Symmetric(8).build(weight).encode(weight, tuple(weight.shape), None)
    layer.weight.data.copy_(stored.decode())
    quantize_inputs(network, recipe, compressible(network, recipe))
    inputs = torch.randn(32, *shape)
    calibrate(network, lambda: [inputs])
    for _, quantizer in input_quantizers(network):
        quantizer.quantizing = True
    return network.eval().requires_grad_(False), {"0.weight": stored}, inputs


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(20, 7), (20,)),
        (nn.Linear(20, 7, bias=False), (20,)),
        (nn.Linear(20, 7, bias=False), (5, 20)),
        (nn.Linear(20, 7), (5, 20)),
    ],
    ids=str,
)
def test_linear_layers(layer, shape, tmp_path) -> None:
    network, tensors, inputs = one_layer(layer, shape)
    data = to_onnx(network, shape, {}, tensors, reduced_range=False)
    (found,) = session(data).run(None, {"input": inputs.numpy()})
    np.testing.assert_allclose(found, network(inputs).numpy(), atol=1e-4 * float(network(inputs).abs().max()))
    assert "in 1 of 1" in metadata(data)
    assert kernels(data, tmp_path).keys() & {"QGemm", "MatMulIntegerToFloat", "QLinearMatMul"}


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(3, 5, 3, padding=1), (3, 9)),
        (nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=4), (4, 9, 9)),
        (nn.Conv2d(4, 8, (1, 3), dilation=2, bias=False), (4, 9, 9)),
        (nn.Conv3d(2, 4, 3, padding=1), (2, 5, 5, 5)),
    ],
    ids=str,
)
def test_convolutions_between_quantizers(layer, shape, tmp_path) -> None:
    channels = layer.out_channels
    affine = ChannelAffine(channels)
    nn.init.normal_(affine.scale)
    affine.scale.data[0] = 0.0
    nn.init.normal_(affine.shift)
    size = layer(torch.zeros(1, *shape)).numel()
    head = nn.Linear(size, 3)
    network, tensors, inputs = one_layer(layer, shape, nn.Sequential(affine, nn.ReLU(), nn.Flatten(), head))
    data = to_onnx(network, shape, {}, tensors, reduced_range=False)
    assert kernels(data, tmp_path)["QLinearConv"] == 1
    assert "in 1 of 2" in metadata(data) and "float32" in metadata(data)
    assert not {"Mul", "Add"} & {
        node.op_type for node in onnx.load_from_string(data).graph.node if "rayduce" not in node.name
    }
    (found,) = session(data).run(None, {"input": inputs.numpy()})
    expected = network(inputs).numpy()
    assert np.sqrt(((found - expected) ** 2).mean()) < 0.02 * expected.std()


def test_what_cannot_be_integers_is_float_and_not_rounded_behind_our_back(tmp_path) -> None:
    """ONNX Runtime rounds float32 weights between quantizers to 8 bits per tensor, unless kept from it."""
    network, _, inputs = one_layer(
        nn.Conv2d(3, 6, 3), (3, 8, 8), nn.Sequential(nn.ReLU(), nn.Conv2d(6, 4, 3))
    )
    data = to_onnx(network, (3, 8, 8), {}, {})
    assert "float32" in metadata(data) and "rounded as in the student" in metadata(data)
    assert not kernels(data, tmp_path).keys() & INTEGER
    (found,) = session(data).run(None, {"input": inputs.numpy()})
    np.testing.assert_allclose(found, network(inputs).numpy(), atol=0.02)
    network, tensors, inputs = one_layer(nn.ConvTranspose2d(3, 6, 3), (3, 8, 8))
    data = to_onnx(network, (3, 8, 8), {}, tensors)
    (found,) = session(data).run(None, {"input": inputs.numpy()})
    np.testing.assert_allclose(found, network(inputs).numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "quantizer", [Uniform(4, 64), Symmetric(4, per_channel=False, bucket_size=32)], ids=str
)
def test_weights_in_buckets_stay_float(quantizer, trained) -> None:
    network, tensors, task = trained(CONVNET, quantizer, MovingRange(8), False)
    data = to_onnx(network, (1, 8, 8), {}, tensors)
    assert metadata(data).endswith("float32 once loaded; inputs of layers are rounded as in the student")
    inputs, _ = inputs_of(task)
    (found,) = session(data).run(None, {"input": inputs.numpy()})
    assert (found.argmax(1) == network(inputs).numpy().argmax(1)).mean() > 0.99


def test_students_of_mixed_precision_are_integers_where_they_can_be(trained) -> None:
    names = [name for name, p in CONVNET.build((1, 8, 8), 10).named_parameters() if p.dim() > 1]
    mixed = QuantizerByName((Where(names[1], Uniform(4, 64)),), Symmetric(8))
    network, tensors, task = trained(CONVNET, mixed, MovingRange(8), False)
    data = to_onnx(network, (1, 8, 8), {}, tensors)
    assert "in 3 of 4" in metadata(data) and "other layers multiply in float32" in metadata(data)
    inputs, _ = inputs_of(task)
    (found,) = session(data).run(None, {"input": inputs.numpy()})
    assert (found.argmax(1) == network(inputs).numpy().argmax(1)).mean() > 0.98


def test_the_reduced_range_never_saturates_16_bits(trained) -> None:
    network, tensors, _ = trained(CONVNET, Symmetric(8), MovingRange(8), False)
    largest = {}
    for reduced in (False, True):
        data = to_onnx(network, (1, 8, 8), {}, tensors, reduced_range=reduced)
        arrays = [numpy_helper.to_array(i) for i in onnx.load_from_string(data).graph.initializer]
        largest[reduced] = max(int(np.abs(a.astype(int)).max()) for a in arrays if a.dtype == np.int8)
    assert largest == {False: 127, True: 64}
    assert 2 * 255 * 64 < 2**15


def test_the_machine_decides_unless_told(monkeypatch, trained) -> None:
    network, tensors, _ = trained(CONVNET, Symmetric(8), MovingRange(8), False)
    for wide in (False, True):
        monkeypatch.setattr(export, "has_wide_products", lambda wide=wide: wide)
        assert ("VNNI" in metadata(to_onnx(network, (1, 8, 8), {}, tensors))) == (not wide)


@pytest.mark.parametrize(
    ("machine", "flags", "wide"),
    [
        ("x86_64", "flags : avx2 avx512_vnni", True),
        ("x86_64", "flags : avx2 avx_vnni", True),
        ("AMD64", "flags : avx2", False),
        ("aarch64", "", True),
        ("x86_64", None, False),
    ],
)
def test_processors(machine, flags, wide, monkeypatch) -> None:
    def read(path: Path) -> str:
        if flags is None:
            raise FileNotFoundError(path)
        return flags

    monkeypatch.setattr(weights.platform, "machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", read)
    assert has_wide_products() is wide


def test_another_graph_is_refused_with_the_numbers(monkeypatch, trained) -> None:
    network, tensors, _ = trained(CONVNET, Symmetric(8), MovingRange(8), False)

    def spoiled(weight: IntegerWeight, limit: int) -> IntegerWeight:
        return IntegerWeight(np.roll(weight.level, 1, axis=0), weight.scale)

    monkeypatch.setattr(integer_graph, "spread_over", spoiled)
    with pytest.raises(ExportError, match=r"differ by \d.* where .* is allowed"):
        to_onnx(network, (1, 8, 8), {}, tensors, reduced_range=False)


def test_a_graph_that_is_wrong_by_more_than_rounding_is_refused(monkeypatch, trained) -> None:
    """Five times as far off as moving every quantizer's input by 2 % of a step."""
    network, tensors, _ = trained(CONVNET, Symmetric(8), MovingRange(8), False)
    real = checking._run

    def drifting(graph, run, inputs, expected):
        moved = checking.outputs_of(graph, checking._jittered(graph.module), inputs)
        off = {name: moved[name] - values for name, values in expected.items()}
        return {name: values + 5 * off[name] for name, values in real(graph, run, inputs, expected).items()}

    to_onnx(network, (1, 8, 8), {}, tensors, reduced_range=False)
    monkeypatch.setattr(checking, "_run", drifting)
    with pytest.raises(ExportError, match="is allowed"):
        to_onnx(network, (1, 8, 8), {}, tensors, reduced_range=False)


def test_however_sensitive_a_student_is_its_export_is_near_it(monkeypatch, trained) -> None:
    network, tensors, _ = trained(CONVNET, Symmetric(8), MovingRange(8), False)
    real = checking._run

    def other(graph, run, inputs, expected):
        found = real(graph, run, inputs, expected)
        return {name: values * 1.3 for name, values in found.items()}

    monkeypatch.setattr(checking, "_run", other)
    monkeypatch.setattr(checking, "_jittered", lambda module: lambda *inputs: 10 * module(*inputs))
    with pytest.raises(ExportError, match="is allowed"):
        to_onnx(network, (1, 8, 8), {}, tensors, reduced_range=False)


def test_saturating_sums_would_be_refused(monkeypatch, trained) -> None:
    """What full-range weights do on a processor without VNNI, as far as the check can see it."""
    network, tensors, _ = trained(CONVNET, Symmetric(8), MovingRange(8), False)
    real = checking._run

    def saturating(graph, run, inputs, expected):
        found = real(graph, run, inputs, expected)
        return {name: np.clip(values, -0.3, 0.3) for name, values in found.items()}

    monkeypatch.setattr(checking, "_run", saturating)
    with pytest.raises(ExportError, match="is allowed"):
        to_onnx(network, (1, 8, 8), {}, tensors, reduced_range=False)


def test_the_student_is_left_as_it_is(trained) -> None:
    network, tensors, _ = trained(CONVNET, Symmetric(8), MovingRange(8), False)
    before = copy.deepcopy(network).state_dict()
    to_onnx(network, (1, 8, 8), {}, tensors, reduced_range=True)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(quantizer.quantizing for _, quantizer in input_quantizers(network))


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
@pytest.mark.parametrize("channels", [1, 6])
def test_integer_weights_decode_to_the_student_s(bits: int, channels: int) -> None:
    generator = torch.Generator().manual_seed(bits)
    zero = 2 ** (bits - 1) if bits > 1 else 0
    index = torch.randint(0, 2**bits, (6 * 20,), generator=generator, dtype=torch.uint8)
    scale = torch.rand(channels, generator=generator) + 0.1
    stored = Codes(index, (6, 4, 5), bits, 20 if channels > 1 else None, None, scale, zero=zero)
    found = integer_weight(stored)
    assert found is not None
    np.testing.assert_allclose(
        found.level * found.scale.reshape(-1, 1, 1), stored.decode().numpy(), rtol=1e-6, atol=0
    )
    for limit in (weights.REDUCED, weights.LARGEST_LEVEL):
        spread = weights.spread_over(found, limit)
        assert np.abs(spread.level).max() <= limit + (limit == weights.LARGEST_LEVEL)
        error = np.abs(spread.level * spread.scale.reshape(-1, 1, 1) - stored.decode().numpy())
        exact = bits < 8 or limit > weights.REDUCED
        assert (error <= (1e-5 if exact else 0.51 * spread.scale.reshape(-1, 1, 1))).all()


def test_negative_and_zero_scales() -> None:
    weight = IntegerWeight(np.array([[-128, 5], [-128, 127], [3, 4]]), np.array([1.0, 1.0, 1.0]))
    found = weights.scaled_by(weight, np.array([-2.0, 0.5, 0.0]))
    assert found.level.tolist() == [[127, -5], [-128, 127], [0, 0]]
    assert found.scale.tolist() == [2.0, 0.5, 1.0]


def test_what_is_no_integer_weight() -> None:
    codes = Symmetric(8).build(torch.ones(4, 8)).encode(torch.randn(4, 8), (4, 8), None)
    assert isinstance(codes, Codes) and integer_weight(codes) is not None
    assert integer_weight(Dense(torch.ones(4, 8))) is None
    assert integer_weight(replace(codes, zero=None, offset=torch.zeros(4))) is None
    assert integer_weight(replace(codes, bucket_size=16, scale=torch.ones(2))) is None
    assert integer_weight(replace(codes, zero=0)) is None  # 0 .. 255
    keep = torch.rand(4, 8) < 0.5
    kept = int(keep.sum())
    masked = Codes(
        torch.ones(kept, dtype=torch.uint8), (4, 8), 2, None, None, torch.ones(1), zero=0, keep=keep
    )
    found = integer_weight(masked)
    assert found is not None
    np.testing.assert_array_equal(found.level, keep.numpy())


def test_a_bias_beyond_the_unit_of_tiny_weights(tmp_path) -> None:
    layer = nn.Linear(8, 3)
    layer.weight.data[0] *= 1e-12
    network, tensors, inputs = one_layer(layer, (8,))
    network[0].bias.data.copy_(torch.tensor([1.0, -2.0, 3.0]))
    data = to_onnx(network, (8,), {}, tensors, reduced_range=False)
    (found,) = session(data).run(None, {"input": inputs.numpy()})
    np.testing.assert_allclose(found, network(inputs).numpy(), atol=2e-3)


def test_what_decides_the_latency() -> None:
    def kind(quantizer: Quantizer, activations: ActivationQuantizer) -> str:
        recipe = methods.int8_post_training_quantization(methods.Setting(Digits(), Fresh(CONVNET), epochs=0))
        recipe = replace(recipe, quantizer=quantizer, activations=activations)
        student = compress(CONVNET.build((1, 8, 8), 10), recipe)
        tensors = stored_tensors(student, recipe)
        return integer_kind(rebuild(recipe, tensors), tensors)

    assert kind(Symmetric(8), NoActivationQuantizer()) == ""
    same = {kind(Symmetric(8), MovingRange(8)), kind(LearnedStep(4), LearnedClip(8))}
    assert len(same) == 1
    assert len(same | {kind(Uniform(8), MovingRange(8)), kind(Symmetric(8), MovingRange(4))}) == 3
