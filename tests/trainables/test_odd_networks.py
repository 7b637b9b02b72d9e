"""Networks unlike ours, from training to ONNX: right, or refused before training in one sentence."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from tests.recipes import IMAGE_METHODS, TEACHER_ID
from tests.trainables import odd_networks
from trainables import methods
from trainables.compression.compressed_weight import compress, compressed_weights
from trainables.exporting.export import to_onnx
from trainables.metrics.macs import macs
from trainables.models import ConvNet
from trainables.models.custom import Custom, allow
from trainables.origins import Fresh
from trainables.pruners import Magnitude, NoPruner
from trainables.quantizers import Symmetric
from trainables.recipe import Recipe
from trainables.runtime import load
from trainables.shipping.accounting import FP32, account
from trainables.shipping.evaluation import evaluate_file, open_student, ship
from trainables.shipping.packed_file import describe, unpack
from trainables.shipping.sizes import mean_bits, parameters, sparsity
from trainables.tasks import Digits
from trainables.tasks.base import LoadedTask
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training.learner import moments
from trainables.training.trainer import Trainer

TASK = Digits(batch_size=50)
CPU = torch.device("cpu")

FINE = (
    "Frozen", "StillNorm", "TiedWeights", "SharedModule", "TiedFrozen", "InPlace", "InPlaceInTraining",
    "Attention", "Encoder", "Recurrent", "Gated", "Normalised", "LastNorm", "PlainNorm", "OwnNorm", "Buffers",
    "AuxiliaryTuple", "AuxiliaryNamed", "AuxiliaryDict",
)  # fmt: skip

REFUSED = {
    "RandomInEval": "answers at random in eval mode",
    "Counting": "changes the buffer calls in eval mode",
    "Growing": "adds seen when it is called: register it in __init__",
    "ByBatch": "answers otherwise to the same input in a batch of 1 and of 2",
    "OnlyPairs": r"fails on an input of shape \(1, 1, 8, 8\) in eval mode: RuntimeError",
    "NoStatistics": "norm keeps no running statistics",
    "Double": r"the parameter head.weight is float64.*call network.float\(\)",
    "Half": "the parameter head.weight is bfloat16",
    "Complex": "the parameter filter is complex64.*view_as_real",
    "WholeParameter": "the parameter shift is int64.*make it a buffer",
    "DoubleBuffer": "the buffer mean is float64",
    "Infinite": "mask holds values that are not finite.*persistent=False",
    "Lazy": "head is a LazyLinear that does not know its sizes yet",
    "Synchronised": "norm is a SyncBatchNorm",
    "OldWeightNorm": "head has a hook of WeightNorm.*remove_weight_norm",
    "OldSpectralNorm": "head has a hook of SpectralNorm.*remove_spectral_norm",
    "NewWeightNorm": "head is parametrized already.*remove_parametrizations",
    "Pruned": "head has a hook of L1Unstructured.*prune.remove",
    "Renormalised": "words rewrites its weights.*max_norm",
    "PlainTensor": "scale holds a tensor that the network does not know of.*register_buffer",
    "PlainList": "layers holds modules that the network does not know of.*ModuleList",
    "RandomConstant": "the buffer projection is another one each time",
    "Overlapping": "body.weight and turned are two tensors in the same memory",
    "Moved": "the parameter body.weight is on meta",
}


@pytest.fixture(scope="module")
def data() -> LoadedTask:
    """The first 200 training digits and a few others."""
    arrays = TASK.load(None)
    return TASK.open({name: values[:200] for name, values in arrays.items()}, CPU, seed=0)


def own(name: str) -> Custom:
    target = f"tests.trainables.odd_networks:{name}"
    allow(target)
    return Custom(target)


def setting(name: str, epochs: int = 2, sparsity: float = 0.0) -> methods.Setting:
    pruner = Magnitude(sparsity) if sparsity else NoPruner()
    return methods.Setting(TASK, Fresh(own(name)), epochs, teacher=TEACHER_ID, pruner=pruner)


def trained(recipe: Recipe, data: LoadedTask) -> Trainer:
    teacher = ConvNet(stages=((4,),), kernel_size=3, hidden=(8,)).build((1, 8, 8), 10)
    trainer = Trainer(recipe, data, LocalSources(lambda _: teacher, route=lambda _: {1: teacher}), CPU)
    while not trainer.finished:
        trainer.train_epoch()
    return trainer


def original(network: nn.Module, name: str) -> torch.Tensor:
    """A parameter as it is trained, whether it is compressed or not."""
    prefix, _, child = name.rpartition(".")
    module = network.get_submodule(prefix)
    if parametrize.is_parametrized(module, child):
        return module.parametrizations[child].original  # type: ignore[index,union-attr]
    return module.get_parameter(child)


@pytest.mark.parametrize(
    "method", ["full_precision", "learned_step_quantization", "int8_post_training_quantization"]
)
@pytest.mark.parametrize("name", FINE)
def test_it_trains_ships_is_rebuilt_and_exported(name: str, method: str, data: LoadedTask) -> None:
    pruned = 0.5 if method == "learned_step_quantization" else 0.0
    trainer = trained(getattr(methods, method)(setting(name, sparsity=pruned)), data)
    file = trainer.ship()
    _, student = open_student(file)
    assert not any(module.training for module in student.modules())
    inputs = torch.randn(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = student(inputs.clone())
        if method == "learned_step_quantization":  # what trained is what was shipped, but for float16
            trainer.student.eval()
            torch.testing.assert_close(trainer.student(inputs.clone()), expected, rtol=0.03, atol=0.03)
    graphs = to_onnx(student, TASK.interface, {}, unpack(file).tensors)
    found = load(graphs)["network"]({"input": inputs.numpy()})["output"]
    tolerance = 1e-3 if method != "int8_post_training_quantization" else 0.1 * float(expected.abs().max())
    np.testing.assert_allclose(found, expected.numpy(), atol=tolerance)
    assert evaluate_file(file, data, "validation") == data.evaluate(student, "validation")


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_sentence_before_training(name: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[name]) as error:
        methods.full_precision(setting(name)).build()
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


UNFIT = {
    "fisher_pruning": "needs gradients of the weights, and body.weight gets none",
    "hint_distillation": "no ends of stages",
    "attention_transfer": "no ends of stages",
}
"""Methods that do not take this network, and why."""


def without_exits(network: nn.Module) -> nn.Module:
    """The network behind the exits that a method gave it, if it gave it any."""
    return getattr(network, "backbone", network)


@pytest.mark.parametrize("method", IMAGE_METHODS, ids=lambda method: method.__name__)
def test_what_the_network_froze_is_not_trained(method: Any, data: LoadedTask) -> None:
    brings_one = "pruner" in inspect.signature(method).parameters
    recipe = method(setting("Frozen", epochs=4, sparsity=0.0 if brings_one else 0.4))
    if method.__name__ in UNFIT:
        with pytest.raises(ValueError, match=UNFIT[method.__name__]):
            trained(recipe, data)
        return
    names = ("body.weight", "body.bias", "norm.weight", "norm.bias", "head.bias")
    teacher = ConvNet().build((1, 8, 8), 10)
    sources = LocalSources(lambda _: teacher, route=lambda _: {1: teacher})
    fresh = without_exits(Trainer(recipe, data, sources, CPU).student)
    before = {name: original(fresh, name).detach().clone() for name in names}
    head = original(fresh, "head.weight").detach().clone()
    student = without_exits(trained(recipe, data).student)
    for name, value in before.items():
        assert torch.equal(original(student, name), value), name
    assert not torch.equal(original(student, "head.weight"), head)


def test_a_method_that_has_nothing_to_train_says_so(data: LoadedTask) -> None:
    with pytest.raises(ValueError, match="nothing to train: the network has frozen all of its parameters"):
        Trainer(methods.full_precision(setting("AllFrozen")), data, NoSources(), CPU)


def test_steps_of_frozen_weights_are_learned(data: LoadedTask) -> None:
    trainer = Trainer(methods.parameterized_clipping(setting("AllFrozen")), data, NoSources(), CPU)
    network: Any = trainer.student
    weight, (step,) = (
        original(network, "body.weight"),
        network.body.parametrizations.weight[0].quantizer.parameters(),
    )
    before = weight.detach().clone(), step.detach().clone()
    trainer.train_epoch()
    assert torch.equal(weight, before[0]) and not torch.equal(step, before[1])


def test_normalisation_that_the_network_holds_in_eval_mode_keeps_its_statistics(data: LoadedTask) -> None:
    trainer = trained(methods.quantization_aware_training(setting("StillNorm", epochs=4)), data)
    network: Any = trainer.student
    assert torch.equal(network.norm.running_mean, torch.full((odd_networks.HIDDEN,), 0.25))
    assert network.training and not network.norm.training


@pytest.mark.parametrize("name", ["TiedWeights", "SharedModule", "TiedFrozen"])
def test_what_is_tied_is_one_thing_everywhere(name: str, data: LoadedTask) -> None:
    recipe = methods.learned_step_quantization(setting(name, sparsity=0.5))
    trainer = trained(recipe, data)
    network: Any = trainer.student
    a, b = network.a.parametrizations.weight, network.b.parametrizations.weight
    assert a[0] is b[0] and a.original is b.original
    assert [each for each, _, _ in compressed_weights(network)] == ["body.weight", "head.weight", "a.weight"]
    file = trainer.ship()
    tensors, hidden = unpack(file).tensors, odd_networks.HIDDEN
    assert "a.weight" in tensors and "b.weight" not in tensors
    rows = {row["name"]: row for row in describe(file)}
    assert "b.weight" not in rows and "b.bias" in rows if name != "SharedModule" else "b.bias" not in rows
    weights = 64 * hidden + hidden * 10 + hidden * hidden
    biases = hidden + 10 + hidden + (hidden if name != "SharedModule" else 2 * hidden)  # scale and shift
    assert parameters(tensors) == weights + biases
    assert sparsity(tensors) == pytest.approx(0.5, abs=0.02)
    matrices = [row for row in rows.values() if row["shape"] is not None and len(row["shape"]) == 2]
    assert mean_bits(file) == 8 * sum(row["bytes"] for row in matrices) / weights
    assert account(tensors, describe(file))[0].accounting is FP32
    assert account(tensors, describe(file))[0].total == 4 * (weights + biases)
    _, student = open_student(file)
    rebuilt: Any = student
    assert rebuilt.a.weight is rebuilt.b.weight
    assert torch.equal(rebuilt.a.weight, tensors["a.weight"].decode())


def test_a_tied_weight_is_exempt_where_one_of_its_names_is() -> None:
    recipe = methods.quantization_aware_training(setting("TiedWeights"))
    recipe = Recipe(**{**vars(recipe), "exempt": ("b.*",)})
    network = compress(recipe.build(), recipe)
    assert [name for name, _, _ in compressed_weights(network)] == ["body.weight", "head.weight"]


class _Watched:
    """A task that remembers its batches and what was in them."""

    def __init__(self, task: LoadedTask) -> None:
        self._task = task
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def batches(self, split: str, epoch: int, view: int | None = None) -> Iterator[Any]:
        for batch in self._task.batches(split, epoch, view):
            self.seen.append((batch.inputs, batch.inputs.clone()))
            yield batch


@pytest.mark.parametrize("name", ["InPlace", "InPlaceInTraining"])
def test_a_network_that_writes_into_its_inputs_changes_nobody_elses(name: str, data: LoadedTask) -> None:
    recipe = methods.int8_post_training_quantization(setting(name))
    peer = methods.full_precision(setting("Attention"))
    watched: Any = _Watched(data)
    trainer = Trainer(Recipe(**{**vars(recipe), "peers": (peer,)}), watched, NoSources(), CPU)
    trainer.train_epoch()
    trainer.ship()
    assert len(watched.seen) > 4
    for inputs, before in watched.seen:
        assert torch.equal(inputs, before)


@pytest.mark.parametrize("name", ["Recurrent", "Gated", "Attention", "Encoder"])
def test_quantized_weights_are_what_the_forward_pass_uses(name: str) -> None:
    """PyTorch's recurrent layers and attention read their weights in ways of their own."""
    recipe = methods.quantization_aware_training(setting(name), quantizer=Symmetric(bits=2))
    plain = recipe.build()
    state = {key: value.clone() for key, value in plain.state_dict().items()}
    network = compress(plain, recipe)
    inputs = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for each, compressed, weight in compressed_weights(network):
        compressed.start_quantizing(weight)
        state[each] = compressed(weight).detach()
    expected = recipe.build()
    expected.load_state_dict(state)
    for mode in (True, False):
        torch.manual_seed(0)
        ours = network.train(mode)(inputs)
        torch.manual_seed(0)
        torch.testing.assert_close(ours, expected.train(mode)(inputs))
    with torch.no_grad():  # where attention takes its fused kernel
        torch.testing.assert_close(network.eval()(inputs), expected.eval()(inputs), rtol=1e-4, atol=1e-5)


def test_multiplications_of_attention_and_recurrence_are_counted() -> None:
    features, head = 64 * 16, 16 * 10
    attention = 4 * 4 * 12 + 2 * 4 * 4 * 4 + 4 * 4 * 4  # four tokens of four features
    assert macs(own("Attention").build((1, 8, 8), 10), TASK.interface) == features + head + attention
    layer = attention + 2 * 4 * 4 * 8
    assert macs(own("Encoder").build((1, 8, 8), 10), TASK.interface) == features + head + 2 * layer
    assert macs(own("Recurrent").build((1, 8, 8), 10), TASK.interface) == features + head + 4 * 64 * (4 + 16)


def test_attentions_projections_have_no_quantizers_of_inputs_that_nothing_reaches(data: LoadedTask) -> None:
    file = trained(methods.int8_post_training_quantization(setting("Encoder")), data).ship()
    ranges = {name for name in unpack(file).tensors if name.endswith("input_quantizer.range")}
    layers = ("linear1", "linear2")
    inner = {f"encode.layers.{i}.{layer}.input_quantizer.range" for i in (0, 1) for layer in layers}
    assert ranges == {"body.input_quantizer.range", "head.input_quantizer.range"} | inner


@pytest.mark.parametrize("name", ["AuxiliaryTuple", "AuxiliaryNamed", "AuxiliaryDict"])
def test_the_first_output_is_the_one_that_is_trained(name: str, data: LoadedTask) -> None:
    trainer = Trainer(methods.full_precision(setting(name)), data, NoSources(), CPU)
    network: Any = trainer.student
    batch = next(data.batches("train", 0))
    features = network.body(batch.inputs.flatten(1)).relu()
    expected = F.cross_entropy(network.head(features), batch.targets)
    (learner,) = trainer.learners
    (step,) = moments(trainer.learners, batch, 0.0)
    assert torch.equal(step.logits, network.head(features))
    assert type(step.output) is not torch.Tensor  # all of it
    torch.testing.assert_close(learner.loss(step), expected)


@functools.cache
def _buffers() -> dict[str, torch.Tensor]:
    network = own("Buffers").build((1, 8, 8), 10)
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def test_buffers_of_every_kind_ship_exactly(data: LoadedTask) -> None:
    file = trained(methods.full_precision(setting("Buffers")), data).ship()
    _, student = open_student(file)
    found = dict(student.named_buffers())
    assert set(found) == set(_buffers()) and math.isinf(float(found["mask"][0]))
    for name, value in _buffers().items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name
    assert "mask" not in unpack(file).tensors


def test_normalisation_with_a_forward_pass_of_its_own_is_shipped_as_it_is(data: LoadedTask) -> None:
    """Folded into a scale and a shift, it would lose what it does beside."""
    trainer = trained(methods.full_precision(setting("OwnNorm", epochs=3)), data)
    _, student = open_student(ship(trainer.recipe, trainer.student))
    inputs = 5 * torch.randn(9, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(student(inputs), trainer.student.eval()(inputs), rtol=0.02, atol=0.02)
    assert type(student.norm).__name__ == "_ClippedNorm"
