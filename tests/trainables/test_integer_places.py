"""Whatever integers can compute is found in anybody's network, without a module of ours in it."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import Tensor, nn

from tests.exports import to_onnx
from trainables import methods
from trainables.activations import LearnedClip, MovingRange
from trainables.calling import call
from trainables.compression.compressed_weight import (
    compress,
    compressed_weights,
    compressible,
    stored_tensors,
)
from trainables.compression.operands import CALLS
from trainables.compression.places import layout
from trainables.compression.quantized_inputs import calibrate, input_quantizers, quantize_inputs
from trainables.folding import ChannelAffine, fold_batch_norms
from trainables.models import ResNet
from trainables.models.published import published
from trainables.origins import Fresh
from trainables.quantizers.base import Codes
from trainables.tasks import Digits
from trainables.torchvision_guard import import_torchvision

FLOATING = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "Add"}
SHAPE = (3, 16, 16)


def recipe_of(exempt=(), activations=None):
    recipe = methods.int8_post_training_quantization(methods.Setting(Digits(), Fresh(ResNet()), epochs=0))
    return replace(recipe, exempt=exempt, activations=activations or recipe.activations)


def lively(network):
    """Normalisations that do something, also with negative factors and with one of zero."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            with torch.no_grad():
                module.weight[0] *= -1
                module.weight[1] = 0
    return network


def student_of(make, recipe, inputs):
    """What a packed file of the student would be rebuilt as, and the tensors in it."""
    torch.manual_seed(0)
    network = lively(make())
    tensors = stored_tensors(compress(copy.deepcopy(network), recipe), recipe)
    names = compressible(network, recipe)
    rebuilt = quantize_inputs(fold_batch_norms(network), recipe, names, quantizing=True)
    missing = rebuilt.load_state_dict({k: v.decode() for k, v in tensors.items()}, strict=False).missing_keys
    assert not missing
    rebuilt.eval().requires_grad_(False)
    calibrate(rebuilt, lambda: [inputs])
    return rebuilt, tensors


def left_in_float(data: bytes, folder: Path) -> Counter[str]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    graph = onnx.shape_inference.infer_shapes(onnx.load(folder / "optimized.onnx")).graph
    sizes = {
        value.name for value in graph.value_info if value.type.tensor_type.elem_type == TensorProto.INT64
    }
    found = Counter(node.op_type for node in graph.node if sizes.isdisjoint(node.output))
    return Counter({kind: count for kind, count in found.items() if kind in FLOATING})


def convolution(channels: int, outputs: int, kernel: int = 3, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Headed(nn.Module):
    """A body of 8 channels between a stem and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*convolution(3, 8), nn.ReLU())
        self.first, self.second = convolution(8, 8), convolution(8, 8)
        self.make()
        self.head = nn.Linear(self.width, 5)

    width = 8

    def make(self) -> None:
        """Add what else there is."""

    def body(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class Residual(Headed):
    def body(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x)))
        y += x
        return F.relu(y, inplace=True)


class Pooled(Residual):
    """Its stem is pooled, and the pooled tensor read twice: by a layer and by a sum."""

    def body(self, x: Tensor) -> Tensor:
        return super().body(F.max_pool2d(x, 3, 2, 1))


class Bottleneck(Headed):
    """As MobileNetV2's: ReLU6, a depthwise layer, and a sum that nothing cuts off."""

    def make(self) -> None:
        self.deep = convolution(8, 8, groups=8)
        self.last = convolution(8, 8, 1)

    def body(self, x: Tensor) -> Tensor:
        y = F.relu6(self.deep(F.relu6(self.first(x))))
        return self.last(torch.add(x, self.second(y)))


class Concatenated(Headed):
    width = 16

    def body(self, x: Tensor) -> Tensor:
        left, right = self.first(x).relu(), F.leaky_relu(self.second(x), 0.1)
        both = torch.cat([left, right], dim=1)
        return F.max_pool2d(F.avg_pool2d(both, 2), 2)


class Squeezed(Headed):
    """Squeeze and excitation, with SiLU."""

    def make(self) -> None:
        self.down, self.up = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)

    def body(self, x: Tensor) -> Tensor:
        x = F.silu(self.first(x))
        scale = torch.sigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))
        return self.second(scale * x)


class Mobile(Headed):
    def body(self, x: Tensor) -> Tensor:
        return F.hardswish(self.second(F.hardswish(self.first(x))))


class Shuffled(Headed):
    """As ShuffleNet's: a part goes by, channels are shuffled, by sizes that are asked for."""

    def make(self) -> None:
        self.branch = convolution(4, 4)

    def body(self, x: Tensor) -> Tensor:
        for _ in range(2):  # a layer that is called twice
            left, right = x.chunk(2, dim=1)
            x = torch.cat((left, F.relu(self.branch(right))), dim=1)
            n, channels, height, width = x.size()
            x = x.view(n, 2, channels // 2, height, width).transpose(1, 2).reshape(n, -1, height, width)
        return self.second(self.first(x) - x)


class ByHand(Headed):
    """An activation of plain arithmetic, with numbers on both sides."""

    def body(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.second(0.5 * (y * F.hardtanh(1 - y / -3, 0, 6)))


class Enlarged(Headed):
    def body(self, x: Tensor) -> Tensor:
        return self.second(F.interpolate(self.first(x), scale_factor=2.0))


class Plain(nn.Module):
    """A network of matrix products alone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(16)
        self.layers = nn.ModuleList([nn.Linear(3 * 16 * 16, 16), nn.Linear(16, 16), nn.Linear(16, 5)])

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.layers[0](x.flatten(1))))
        x = F.relu(x + self.layers[1](x))
        return self.layers[2](x)


class Dense_(nn.ModuleDict):
    """Goes through its children, one after the other, as torchvision's DenseNet does."""

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for layer in self.values():
            found.append(layer(torch.cat(found, 1)).relu())
        return torch.cat(found, 1)


class Grown(Headed):
    width = 16

    def make(self) -> None:
        self.block = Dense_({"a": nn.Conv2d(8, 4, 1), "b": nn.Conv2d(12, 4, 1)})

    def body(self, x: Tensor) -> Tensor:
        return self.block(x)


PUBLISHED = ("resnet18", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "densenet121")
ALL = [Residual, Pooled, Bottleneck, Concatenated, Squeezed, Mobile, Plain, Grown, Shuffled, Enlarged, ByHand]


@pytest.mark.parametrize("make", ALL)
def test_no_layer_and_no_sum_is_left_in_float(make, tmp_path):
    inputs = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(1))
    network, tensors = student_of(make, recipe_of(), inputs)
    data = to_onnx(network, SHAPE, {}, tensors, reduced_range=False)
    assert not left_in_float(data, tmp_path)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": inputs.numpy()})
    expected = network(inputs).numpy()
    assert np.sqrt(((found - expected) ** 2).mean()) < 0.05 * expected.std()


def test_an_exempt_layer_alone_is_left_in_float(tmp_path):
    inputs = torch.randn(32, *SHAPE)
    network, tensors = student_of(Residual, recipe_of(("second.0.*",)), inputs)
    data = to_onnx(network, SHAPE, {}, tensors, reduced_range=False)
    assert sum(left_in_float(data, tmp_path).values()) == 1


def test_networks_of_torchvision(tmp_path):
    models = import_torchvision().models
    inputs = torch.randn(16, *SHAPE)
    network, tensors = student_of(lambda: models.MobileNetV2(5, width_mult=0.25), recipe_of(), inputs)
    assert not left_in_float(to_onnx(network, SHAPE, {}, tensors, reduced_range=False), tmp_path)


def test_one_tensor_has_one_quantizer():
    network = quantize_inputs(Residual(), recipe_of(), {"stem.0.weight", "first.0.weight", "second.0.weight"})
    names = [name for name, _ in input_quantizers(network)]
    # The sum's second operand is what the first layer reads; nothing quantizes the head's input, which the
    # mean makes, but the sum has to end in levels, so the mean reads some.
    assert names == [
        "stem.0.input_quantizer",
        "stem.0.operand_quantizers.add0-0",
        "stem.0.operand_quantizers.mean0-0",
        "first.0.input_quantizer",
        "second.0.input_quantizer",
    ]


def test_layers_of_few_bits_read_what_sums_write():
    """A kernel writes its output once: the layer's 4 bits are taken of the sum's 8."""
    recipe = recipe_of(activations=LearnedClip(4))
    network = quantize_inputs(Residual(), recipe, {"stem.0.weight", "first.0.weight", "second.0.weight"})
    inputs = torch.randn(8, *SHAPE)
    calibrate(network, lambda: [inputs])
    quantizers = dict(input_quantizers(network))
    for quantizer in quantizers.values():
        quantizer.quantizing = True
    seen: list[Tensor] = []
    network.first[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    network.eval()(inputs)
    stem = network.stem(inputs)
    wide, narrow = quantizers["stem.0.operand_quantizers.add0-1"], quantizers["first.0.input_quantizer"]
    assert (wide.bits, narrow.bits) == (8, 4)
    assert torch.equal(seen[0], narrow(wide(stem)))


class Halved(nn.Module):
    """Reads a tensor in parts, of which the last has the smaller values."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide, self.narrow = nn.Conv2d(3, 8, 1), nn.Conv2d(4, 5, 1), nn.Conv2d(4, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.stem(x).chunk(2, 1)
        return (self.wide(left) + self.narrow(right)).mean((2, 3))


@pytest.mark.parametrize("training", [False, True], ids=["calibrated", "trained"])
def test_a_range_holds_all_parts_of_a_tensor(training):
    network = Halved()
    with torch.no_grad():
        network.stem.weight[:4] *= 10
    recipe = recipe_of(activations=MovingRange(momentum=0.0))
    quantize_inputs(network, recipe, {f"{name}.weight" for name in ("stem", "wide", "narrow")})
    inputs = torch.randn(8, *SHAPE)
    calibrate(network, lambda: [inputs])
    quantizers = dict(input_quantizers(network))
    assert "wide.input_quantizer" not in quantizers
    if training:
        for quantizer in quantizers.values():
            quantizer.quantizing = True
        network.train()(inputs)
        inputs = quantizers["stem.input_quantizer"](inputs)
    seen = network.stem(inputs) if not training else nn.functional.conv2d(inputs, *network.stem.parameters())
    found = quantizers["narrow.input_quantizer"].range
    torch.testing.assert_close(found, torch.stack([seen.amin(), seen.amax()]).detach())


class Branching(Residual):
    """Decides by the values of a tensor, which no trace follows."""

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 1e9:
            return self.head(x.mean((2, 3)))
        return super().forward(x)


class Inner(Headed):
    """The part that decides is a module of its own."""

    def make(self) -> None:
        self.block = Residual()
        self.part = _Deciding(self.first, self.second)

    def body(self, x: Tensor) -> Tensor:
        return self.part(x) + x


class _Deciding(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)) if x.amax() > -1e9 else x


def test_what_branches_has_quantized_layers_and_says_why_no_more():
    inputs = torch.randn(16, *SHAPE)
    network, tensors = student_of(Branching, recipe_of(), inputs)
    names = [name for name, _ in input_quantizers(network)]
    assert sorted(names) == sorted(f"{n}.input_quantizer" for n in ("stem.0", "first.0", "second.0", "head"))
    data = to_onnx(network, SHAPE, {}, tensors, reduced_range=False)
    note = {each.key: each.value for each in onnx.load_from_string(data).metadata_props}["weights"]
    assert "the network as a whole are in float32, for it cannot be traced: symbolically traced" in note


def test_only_the_part_that_branches_is_left_alone():
    network = Inner()
    del network.block
    found = layout(network, {name for name, p in network.named_parameters() if p.dim() > 1})
    assert list(found.unfollowed) == ["part"]
    # The part's own children are looked into: their normalisation is folded.
    assert found.norms == {"stem.0": "stem.1", "first.0": "first.1", "second.0": "second.1"}


class Otherwise(Residual):
    def body(self, x: Tensor) -> Tensor:
        if self.training:
            x = x + x
        return super().body(x)


def test_what_computes_otherwise_in_training_is_left_alone():
    network = Otherwise()
    found = layout(network, {name for name, p in network.named_parameters() if p.dim() > 1})
    assert "otherwise in training" in found.unfollowed[""]
    assert {place.where for place in found.places} == {"stem.0", "first.0", "second.0", "head"}


def test_a_call_that_was_not_there_is_an_error():
    class Changing(Residual):
        more = False

        def body(self, x: Tensor) -> Tensor:
            return super().body(x + x if self.more else x)

    network = quantize_inputs(Changing(), recipe_of(), {"stem.0.weight", "first.0.weight", "second.0.weight"})
    assert call(network, torch.randn(2, *SHAPE)).shape == (2, 5)
    network.more = True
    with pytest.raises(ValueError, match="let it call the same ones every time"):
        network(torch.randn(2, *SHAPE))


def test_unquantized_a_network_does_what_it_did():
    torch.manual_seed(0)
    for make in ALL:
        plain = lively(make()).train()
        watched = compress(copy.deepcopy(plain), recipe_of())
        assert any(CALLS in module.__dict__ for module in watched.modules())
        inputs = torch.randn(4, *SHAPE)
        assert torch.equal(plain(inputs), watched(inputs)), make


def test_copies_quantize_with_their_own():
    network, _ = student_of(Residual, recipe_of(), torch.randn(8, *SHAPE))
    inputs = torch.randn(4, *SHAPE)
    before, copied = network(inputs), copy.deepcopy(network)
    assert torch.equal(copied(inputs), before)
    dict(input_quantizers(copied))["stem.0.operand_quantizers.add0-0"].range.mul_(0.1)
    assert torch.equal(network(inputs), before) and not torch.equal(copied(inputs), before)


def test_the_weights_that_are_trained_are_those_that_ship():
    """PyTorch's own fake quantization of folded weights is the oracle."""
    torch.manual_seed(0)
    network = lively(Residual())
    recipe = recipe_of()
    student = compress(copy.deepcopy(network), recipe)
    for _, compressed, original in compressed_weights(student):
        compressed.start_quantizing(original)
    tensors = stored_tensors(student, recipe)
    for name in ("stem", "first", "second"):
        layer, norm = network.get_submodule(f"{name}.0"), network.get_submodule(f"{name}.1")
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        inside = torch.where(factor == 0, torch.ones(()), factor).detach()
        folded = layer.weight.detach() * inside.view(-1, 1, 1, 1)
        step = (folded.abs().amax((1, 2, 3)) / 127).half().float()
        zeros = torch.zeros(len(step), dtype=torch.int32)
        expected = torch.fake_quantize_per_channel_affine(folded, step, zeros, 0, -127, 127)
        stored = tensors[f"{name}.0.weight"].decode()
        torch.testing.assert_close(stored, expected, atol=0, rtol=1e-5)
        used = student.get_submodule(f"{name}.0").weight
        torch.testing.assert_close(used * inside.view(-1, 1, 1, 1), stored, atol=1e-7, rtol=1e-6)
        scale = tensors[f"{name}.1.scale"].decode()
        assert scale[1] == 0 and bool((scale[2:] == 1).all())


def test_integer_arithmetic_written_out(tmp_path):
    """A residual sum in 64-bit integers, of the levels, scales and biases in the file."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = convolution(3, 4), convolution(3, 4, 1)
            self.c = nn.Linear(4 * 8 * 8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(F.relu(self.a(x) + self.b(x)).flatten(1))

    inputs = torch.randn(32, 3, 8, 8)
    network, tensors = student_of(Sum, recipe_of(), inputs)
    exported = onnx.load_from_string(to_onnx(network, (3, 8, 8), {}, tensors, reduced_range=False))
    grids = {name: quantizer.grid() for name, quantizer in input_quantizers(network)}

    def level(values: np.ndarray, name: str) -> np.ndarray:
        scale, zero, _ = grids[name]
        return np.clip(np.rint(values / float(scale)) + float(zero), 0, 255).astype(np.int64) - int(zero)

    x = level(inputs.numpy(), "a.0.input_quantizer")
    unit = float(grids["a.0.input_quantizer"].scale)
    sides = []
    for number, name in enumerate("ab"):
        stored = tensors[f"{name}.0.weight"]
        assert isinstance(stored, Codes)
        levels = stored.index.view(stored.shape).long() - stored.zero
        # Of a factor below zero or of zero, the rest stands behind.
        scale, shift = (tensors[f"{name}.1.{part}"].decode().double() for part in ("scale", "shift"))
        assert bool((levels == levels.round()).all())
        sums = F.conv2d(torch.from_numpy(x).double(), levels.double(), padding=1 - number)
        step = stored.scale.double() * scale * unit
        made = sums * step.view(-1, 1, 1) + shift.view(-1, 1, 1)
        grid = f"a.0.operand_quantizers.add0-{number}"
        sides.append(level(made.numpy(), grid) * float(grids[grid].scale))
    head = level(np.maximum(sides[0] + sides[1], 0), "c.input_quantizer").reshape(32, -1)
    stored = tensors["c.weight"]
    assert isinstance(stored, Codes)
    weight = (stored.index.view(stored.shape).long() - stored.zero).numpy() * stored.scale.numpy()[:, None]
    expected = head * float(grids["c.input_quantizer"].scale) @ weight.T + tensors["c.bias"].decode().numpy()
    session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": inputs.numpy()})
    assert np.sqrt(((found - expected) ** 2).mean()) < 0.01 * expected.std()


def test_names_are_the_same_before_and_after_folding():
    for make in ALL:
        recipe = recipe_of()
        student = compress(make(), recipe)
        network = make()
        names = compressible(network, recipe)
        quantize_inputs(fold_batch_norms(network), recipe, names)
        ours, theirs = ([name for name, _ in input_quantizers(each)] for each in (student, network))
        assert ours == theirs and len(ours) > 2, make


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks(name, tmp_path):
    """Layers of networks as they are published; normalisation before a layer is arithmetic of its own."""
    inputs = torch.randn(16, 3, 32, 32)
    network, tensors = student_of(lambda: published("torchvision", name, 3, 10), recipe_of(), inputs)
    data = to_onnx(network, (3, 32, 32), {}, tensors, reduced_range=False)
    left = left_in_float(data, tmp_path)
    alone = sum(isinstance(module, ChannelAffine) for module in network.modules())
    assert not left or (name == "densenet121" and left.keys() == {"Add"} and left["Add"] < alone)
