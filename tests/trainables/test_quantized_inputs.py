"""Quantizers hang before the layers whose weights are compressed, and come back from a file bit for bit."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from tests.recipes import STUDENT
from tests.trainables.test_trainer import trainer_of
from trainables import methods
from trainables.activations import LearnedClip, MovingRange, NoActivationQuantizer
from trainables.calibration import CALIBRATION_INPUTS
from trainables.compression.compressed_weight import NotFinite, compress, compressed_weights
from trainables.compression.quantized_inputs import calibrate, input_quantizers, quantize_inputs
from trainables.models import ResNet
from trainables.optimizers import SGD, AdamW
from trainables.origins import Fresh
from trainables.quantizers import LearnedStep, Symmetric, Uniform
from trainables.quantizers.base import Dense
from trainables.recipe import Phase
from trainables.shipping.evaluation import open_student, rebuild, ship
from trainables.shipping.packed_file import PackedFileError, pack, unpack
from trainables.tasks import Digits

RESNET = ResNet(depth=1, width=0.25)


@pytest.fixture(scope="module")
def arrays():
    return Digits().load(None)


def recipe_of(activations, phases=None, model=STUDENT, **changes):
    recipe = methods.int8_post_training_quantization(
        methods.Setting(Digits(), Fresh(model), epochs=2), optimizer=AdamW(1e-2)
    )
    phases = recipe.phases if phases is None else phases
    return replace(recipe, activations=activations, phases=phases, **changes)


def quantized(*more):
    return (Phase(1, AdamW(1e-2)), Phase(1, AdamW(1e-3), quantize=True), *more)


def test_they_stand_before_compressed_layers_and_sums():
    recipe = recipe_of(MovingRange(4), model=RESNET)
    student = compress(RESNET.build((1, 8, 8), 10), recipe)
    found = dict(input_quantizers(student))
    layers = {name for name, m in student.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    sums = {f"0.0.operand_quantizers.0-{block}-add0-{side}" for block in (3, 4, 5) for side in (0, 1)}
    assert len(layers) == 8 and len(sums) == 6
    assert found.keys() == {f"{name}.input_quantizer" for name in (*layers, "1")} | sums
    assert {found[f"{name}.input_quantizer"].bits for name in layers} == {4}
    assert {found[name].bits for name in (*sums, "1.input_quantizer")} == {8}
    assert not any(quantizer.quantizing for quantizer in found.values())


def test_exempt_layers_and_plain_recipes_have_none():
    first = next(name for name, _ in STUDENT.build((1, 8, 8), 10).named_parameters())
    student = compress(STUDENT.build((1, 8, 8), 10), recipe_of(MovingRange(), exempt=(first,)))
    names = [name for name, _ in input_quantizers(student)]
    assert names and first.replace("weight", "input_quantizer") not in names
    student = compress(RESNET.build((1, 8, 8), 10), recipe_of(MovingRange(), model=RESNET, exempt=("*",)))
    assert not list(input_quantizers(student))
    student = compress(STUDENT.build((1, 8, 8), 10), recipe_of(NoActivationQuantizer()))
    assert not list(input_quantizers(student))


def test_a_taken_name_is_an_error():
    network = nn.Sequential(nn.Linear(3, 2))
    network[0].input_quantizer = nn.Identity()
    with pytest.raises(ValueError, match="input_quantizer already"):
        quantize_inputs(network, recipe_of(MovingRange()), {"0.weight"})


def test_layers_called_by_keyword_and_copies_quantize_with_their_own():
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            return self.layer(input=x)

    network = quantize_inputs(Keyword(), recipe_of(MovingRange(2)), {"layer.weight"}, quantizing=True).eval()
    x = torch.randn(6, 3)
    calibrate(network, lambda: [x])
    copied = copy.deepcopy(network)
    before = network(x)
    assert torch.equal(
        before, nn.functional.linear(network.layer.input_quantizer(x), *network.layer.parameters())
    )
    copied.layer.input_quantizer.range.zero_()
    assert torch.equal(network(x), before) and not torch.equal(copied(x), before)


@pytest.mark.parametrize("training", [True, False])
def test_calibrating_changes_ranges_and_nothing_else(training):
    recipe = recipe_of(MovingRange())
    student = compress(STUDENT.build((1, 8, 8), 10), recipe).train(training)
    for _, compressed, original in compressed_weights(student):
        compressed.start_quantizing(original)
    before = {k: v.clone() for k, v in student.state_dict().items()}
    batches = [torch.randn(100, 1, 8, 8) for _ in range(3)]
    generator = torch.random.get_rng_state()
    calibrate(student, lambda: batches)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert all(module.training == training for module in student.modules())
    after = student.state_dict()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed == {key for key in after if key.endswith("input_quantizer.range")}
    assert not any(q.quantizing or q.observing for _, q in input_quantizers(student))
    first = after["0.0.input_quantizer.range"].clone()
    calibrate(student, lambda: batches)
    assert torch.equal(student.state_dict()["0.0.input_quantizer.range"], first)


def test_batch_normalisation_takes_the_statistics_of_each_batch():
    network = nn.Sequential(nn.Linear(2, 3, bias=False), nn.BatchNorm1d(3), nn.Linear(3, 2))
    network[1].running_mean.fill_(1e4)  # a network that is not trained yet: far from what it sees
    quantize_inputs(network, recipe_of(MovingRange()), {"0.weight", "2.weight"})
    calibrate(network, lambda: [torch.randn(256, 2)])
    low, high = network[2].input_quantizer.range.tolist()
    assert -6 < low < -1 and 1 < high < 6  # of standard normal values, not of ones around -10^4


def test_it_looks_at_512_inputs():
    seen = []
    network = quantize_inputs(nn.Sequential(nn.Linear(2, 2)), recipe_of(MovingRange()), {"0.weight"})
    network[0].register_forward_hook(lambda module, args, output: seen.append(len(output)))
    calibrate(network, lambda: (torch.randn(200, 2) for _ in range(10**9)))
    assert sum(seen) == CALIBRATION_INPUTS


@pytest.mark.parametrize("activations", [MovingRange(8), MovingRange(3), LearnedClip(4)], ids=str)
@pytest.mark.parametrize("exempt_dtype", ["float16", "float32"])
@pytest.mark.parametrize("model", [STUDENT, RESNET], ids=["convnet", "resnet"])
def test_the_file_quantizes_as_the_student_does(activations, exempt_dtype, model, arrays):
    """In float32 all but normalisation, which is folded, is the student's own; in float16 the ranges are."""
    recipe = recipe_of(activations, quantized(), model, exempt_dtype=exempt_dtype)
    trainer = trainer_of(recipe, arrays)
    trainer.train_epoch()
    trainer.train_epoch()
    _, network = open_student(trainer.ship())
    ours, theirs = dict(input_quantizers(trainer.student)), dict(input_quantizers(network))
    assert ours.keys() == theirs.keys()
    x = 3 * torch.randn(1000)
    for name, quantizer in ours.items():
        assert theirs[name].quantizing and not theirs[name].training
        assert torch.equal(theirs[name](x), quantizer.eval()(x)), name
    inputs = next(trainer.task.batches("validation", 0)).inputs
    with torch.no_grad():
        live, shipped = trainer.student.eval()(inputs), network(inputs)
    allowed = 0.1 if exempt_dtype == "float32" else 0.3
    assert float((live - shipped).square().mean().sqrt()) < allowed * float(live.std())


def test_shipping_before_they_are_in_force_calibrates_the_network_that_is_shipped(arrays):
    trainer = trainer_of(recipe_of(MovingRange()), arrays)
    trainer.train_epoch()
    before = {k: v.clone() for k, v in trainer.student.state_dict().items()}
    data = trainer.ship()
    assert trainer.ship() == data
    assert all(torch.equal(v, before[k]) for k, v in trainer.student.state_dict().items())
    recipe, tensors, _ = unpack(data)
    network = rebuild(recipe, tensors)
    again = copy.deepcopy(network)
    calibrate(again, trainer.learners[0].inputs)
    for (name, quantizer), (_, other) in zip(input_quantizers(network), input_quantizers(again), strict=True):
        assert quantizer.range[1] > 0
        assert torch.equal(quantizer.grid().scale, other.grid().scale), name


def test_shipping_without_inputs_is_an_error_only_where_they_are_needed():
    student = STUDENT.build((1, 8, 8), 10)
    with pytest.raises(ValueError, match="needs inputs"):
        ship(recipe_of(MovingRange()), compress(copy.deepcopy(student), recipe_of(MovingRange())))
    plain = recipe_of(NoActivationQuantizer())
    assert ship(plain, compress(student, plain))


def test_a_range_that_is_not_finite_is_named():
    recipe = recipe_of(MovingRange())
    student = compress(STUDENT.build((1, 8, 8), 10), recipe)
    with pytest.raises(NotFinite, match=r"input_quantizer\.range"):
        ship(recipe, student, lambda: [torch.full((4, 1, 8, 8), float("inf"))])


def test_a_file_without_its_ranges_is_refused(arrays):
    recipe, tensors, _ = unpack(trainer_of(recipe_of(MovingRange()), arrays).ship())
    name = next(name for name in tensors if name.endswith("range"))
    missing = {k: v for k, v in tensors.items() if k != name}
    with pytest.raises(PackedFileError, match="do not fit"):
        rebuild(*unpack(pack(recipe, missing)))
    with pytest.raises(PackedFileError, match="shape"):
        rebuild(*unpack(pack(recipe, {**tensors, name: Dense(torch.zeros(3))})))
    with pytest.raises(PackedFileError, match="nonsense"):
        rebuild(replace(recipe, exempt=("nonsense.*",)), tensors)


def test_a_phase_that_does_not_quantize_switches_them_off_and_the_next_calibrates_anew(arrays):
    phases = (*quantized(), Phase(1, AdamW(1e-2)), Phase(1, AdamW(1e-3), quantize=True))
    trainer = trainer_of(recipe_of(MovingRange(), phases), arrays)
    in_force = []
    for _ in range(4):
        in_force.append({quantizer.quantizing for _, quantizer in input_quantizers(trainer.student)})
        ranges = [quantizer.range.clone() for _, quantizer in input_quantizers(trainer.student)]
        trainer.train_epoch()
        moved = [
            not torch.equal(old, quantizer.range)
            for old, (_, quantizer) in zip(ranges, input_quantizers(trainer.student), strict=True)
        ]
        assert any(moved) == (in_force[-1] == {True} or trainer.epoch in (1, 3))  # or the next one begins
    assert in_force == [{False}, {True}, {False}, {True}]


@pytest.mark.parametrize("train", ["weights", "quantizer", "all"])
def test_clips_are_trained_in_every_quantized_phase_without_weight_decay(train, arrays):
    phases = (Phase(1, SGD(1e-2, weight_decay=0.5), train=train, quantize=True),)
    recipe = recipe_of(LearnedClip(4), phases, quantizer=LearnedStep(4))
    trainer = trainer_of(recipe, arrays)
    before = {k: v.clone() for k, v in trainer.student.state_dict().items()}
    ends = {id(q.range) for _, q in input_quantizers(trainer.student)}
    for group in trainer.learners[0]._optimizer.param_groups:
        held = {id(p) for p in group["params"]} & ends
        assert held in (set(), ends)
        assert not held or group["weight_decay"] == 0.0
    trainer.train_epoch()
    moved = {k for k, v in trainer.student.state_dict().items() if not torch.equal(v, before[k])}
    assert any(k.endswith("input_quantizer.range") for k in moved)
    assert any(k.endswith("original") for k in moved) == (train != "quantizer")
    assert any(k.endswith("step") for k in moved) == (train != "weights")


def test_clips_stand_still_while_inputs_are_not_quantized(arrays):
    trainer = trainer_of(recipe_of(LearnedClip(4), (Phase(1, AdamW(1e-2)),)), arrays)
    trainer.train_epoch()
    for _, quantizer in input_quantizers(trainer.student):
        assert quantizer.range.tolist() == [0.0, 0.0] and not quantizer.range.requires_grad


def test_the_penalty_shrinks_clips(arrays):
    """With inputs that no clip touches, the penalty alone moves it."""
    ranges = {}
    for decay in (0.0, 0.5):
        recipe = recipe_of(LearnedClip(8, initial=500.0, decay=decay), (Phase(1, SGD(1e-2), quantize=True),))
        trainer = trainer_of(recipe, arrays)
        trainer.train_epoch()
        ranges[decay] = [float(q.range.detach()[1]) for _, q in input_quantizers(trainer.student)]
    assert all(high == 500.0 for high in ranges[0.0])
    assert all(high < 500.0 for high in ranges[0.5])


def test_stochastic_weights_are_calibrated_without_randomness():
    recipe = recipe_of(MovingRange(), quantizer=Uniform(2, 64, rounding="stochastic"))
    student = compress(STUDENT.build((1, 8, 8), 10), recipe).train()
    for _, compressed, original in compressed_weights(student):
        compressed.start_quantizing(original)
    inputs = torch.randn(16, 1, 8, 8)
    generator = torch.random.get_rng_state()
    calibrate(student, lambda: [inputs])
    assert torch.equal(torch.random.get_rng_state(), generator)


def test_symmetric_weights_of_a_quantized_phase_are_in_force_while_it_calibrates(arrays):
    recipe = recipe_of(MovingRange(), (Phase(1, AdamW(1e-3), quantize=True),), quantizer=Symmetric(2))
    trainer = trainer_of(recipe, arrays)
    ranges = [q.range.clone() for _, q in input_quantizers(trainer.student)]
    with parametrize.cached():
        for _, compressed, _ in compressed_weights(trainer.student):
            compressed.quantizing = False
        calibrate(trainer.student, trainer.learners[0].inputs)
    others = [q.range for _, q in input_quantizers(trainer.student)]
    assert torch.equal(ranges[0], others[0]) and not torch.equal(ranges[-1], others[-1])
