"""Pruning methods in training: they stop and resume, ship what they report, and prune as published."""

from dataclasses import replace

import pytest
import safetensors.torch
import torch

from tests.recipes import STUDENT
from tests.trainables.teachers import local_sources
from trainables import methods
from trainables.by_name import Where
from trainables.compression.compressed_weight import compressed_weights
from trainables.methods.computation import dense_and_sliced_macs
from trainables.metrics.macs import macs
from trainables.models import ResNet
from trainables.optimizers import AdamW
from trainables.origins import Fresh, Slice
from trainables.pruners import Magnitude, PrunerByName, Saliency, TargetedDropout
from trainables.quantizers import LearnedPoints, LearnedStep, Symmetric, Uniform
from trainables.schedules import Constant
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.slicing.cut import Cut
from trainables.tasks import Digits
from trainables.training.trainer import Trainer

CPU, EPOCHS = torch.device("cpu"), 4
TASK = Digits(batch_size=128)
GIVEN = methods.Setting(TASK, Fresh(STUDENT), EPOCHS)
RATE = AdamW(5e-3)
CHANNELS = Saliency("fisher", by="channels", updates=8)
SLICED = replace(GIVEN, origin=Slice(Fresh(STUDENT), Cut(width=0.5)))
PLAIN = methods.full_precision(GIVEN, optimizer=RATE)

RECIPES = {
    "dropout of weights": methods.targeted_dropout(GIVEN, optimizer=RATE),
    "dropout of units, ramping": methods.targeted_dropout(
        GIVEN, pruner=TargetedDropout(0.75, 0.9, "units", ramp=0.8), optimizer=RATE
    ),
    "dropout of whole units": methods.targeted_dropout(
        GIVEN, pruner=TargetedDropout(0.5, 0.5, "whole_units"), optimizer=RATE
    ),
    "snip": methods.snip_pruning(GIVEN, pruner=Saliency(sparsity=0.8, batches=3), optimizer=RATE),
    "snip while it trains": methods.snip_pruning(
        GIVEN, pruner=Saliency(sparsity=0.8, updates=8), optimizer=RATE
    ),
    "snip by channel": methods.snip_pruning(GIVEN, pruner=Saliency(by="channels"), optimizer=RATE),
    "fisher": methods.fisher_pruning(GIVEN, pruner=CHANNELS, optimizer=RATE),
    "fisher by weight": methods.fisher_pruning(GIVEN, pruner=Saliency("fisher", updates=8), optimizer=RATE),
    "fisher here, dropout there": replace(
        PLAIN,
        pruner=PrunerByName((Where("0*", CHANNELS),), TargetedDropout()),
        phases=(replace(PLAIN.phases[0], prune=True),),
    ),
    "deep compression": methods.deep_compression(GIVEN, points_learning_rate=1e-3, optimizer=RATE),
    "scratch-E": methods.scratch_e(SLICED, optimizer=RATE),
}


@pytest.fixture(scope="module")
def arrays():
    whole = TASK.load(None)
    return {name: values[:512] if name.startswith("train") else values for name, values in whole.items()}


def trainer_of(recipe, arrays):
    torch.set_num_threads(1)
    return Trainer(recipe, recipe.task.open(arrays, CPU, recipe.seed), local_sources(recipe.task), CPU)


def trained(recipe, arrays):
    trainer = trainer_of(recipe, arrays)
    while not trainer.finished:
        trainer.train_epoch()
    return trainer


@pytest.mark.parametrize("name", RECIPES)
def test_stopping_and_resuming_changes_no_bit(name, arrays, tmp_path):
    straight = trainer_of(RECIPES[name], arrays)
    for epoch in range(EPOCHS):
        if epoch == 2:
            straight.save(tmp_path / "half")
        straight.train_epoch()
    straight.save(tmp_path / "straight")
    resumed = trainer_of(RECIPES[name], arrays)
    resumed.load(tmp_path / "half")
    while not resumed.finished:
        resumed.train_epoch()
    resumed.save(tmp_path / "resumed")
    ours, theirs = (
        safetensors.torch.load_file(tmp_path / each / "state.safetensors") for each in ("straight", "resumed")
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    packed = straight.ship()
    assert packed == resumed.ship()
    _, student = open_student(packed)
    straight.student.eval()
    inputs = next(straight.task.batches("validation", 0)).inputs
    tolerance = 2e-2 if straight.recipe.quantizes else 1e-4  # what is exempt is stored in float16 then
    assert torch.allclose(student(inputs), straight.student(inputs), atol=tolerance)
    found = evaluate_file(packed, straight.task, "validation")
    assert found == straight.task.evaluate(student, "validation")


def test_dropout_at_rate_0_is_plain_training(arrays):
    plain = trained(methods.full_precision(GIVEN, optimizer=RATE), arrays)
    still = trained(methods.targeted_dropout(GIVEN, pruner=TargetedDropout(0.5, 0.0), optimizer=RATE), arrays)
    ours, theirs = (
        {name: original for name, _, original in compressed_weights(each.student)} for each in (still, plain)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_step_drops_candidates_alone_and_evaluation_all_of_them(arrays):
    trainer = trainer_of(
        methods.targeted_dropout(GIVEN, pruner=TargetedDropout(0.5, 0.5), optimizer=RATE), arrays
    )
    trainer.train_epoch()
    for _, compressed, original in compressed_weights(trainer.student):
        training = compressed(original)
        state = torch.get_rng_state()
        compressed.eval()
        kept = compressed(original) != 0
        compressed.encode(original)
        assert torch.equal(state, torch.get_rng_state()), "nothing is drawn by evaluating or packing"
        rows = (~kept).flatten(1).sum(1)
        assert rows.tolist() == [int(0.5 * kept[0].numel())] * len(kept)
        dropped = training == 0
        assert not (dropped & kept).any()
        if dropped.numel() > 500:
            assert 0.3 < float(dropped.sum() / (~kept).sum()) < 0.7


def test_the_global_threshold_of_snip_is_in_force_before_the_first_step(arrays):
    trainer = trainer_of(RECIPES["snip"], arrays)
    fresh = trainer_of(methods.full_precision(GIVEN, optimizer=RATE), arrays)
    weights = list(compressed_weights(trainer.student))
    plain = {name: original for name, _, original in compressed_weights(fresh.student)}
    # By hand: the mean gradient of the first three batches in training mode, on a network that nothing moved.
    fresh.student.train()
    total = {name: torch.zeros_like(original) for name, original in plain.items()}
    batches = fresh.task.batches("train", 0)
    for _ in range(3):
        batch = next(batches)
        fresh.student.zero_grad()
        fresh.task.loss(fresh.student(batch.inputs), batch).backward()
        for name, original in plain.items():
            total[name] += original.grad
    scores = torch.cat([(original * total[name]).abs().flatten() for name, original in plain.items()])
    kept = int(len(scores) * 0.2)
    threshold = scores.sort(descending=True).values[kept - 1]
    found = torch.cat([compressed.mask.current().flatten() for _, compressed, _ in weights])
    assert int(found.sum()) == kept
    clear = (scores / threshold - 1).abs() > 1e-4
    assert torch.equal(found[clear], (scores >= threshold)[clear])
    for name, _, original in weights:
        assert torch.equal(original, plain[name]), "looking moves no weight"
    untouched = trainer_of(methods.full_precision(GIVEN, optimizer=RATE), arrays)
    theirs = dict(untouched.student.named_buffers())
    for name, buffer in trainer.student.named_buffers():
        if "parametrizations" not in name:
            assert torch.equal(buffer, theirs[name]), "and no statistic"


def test_channels_that_went_by_fisher_do_not_ship(arrays):
    trainer = trained(RECIPES["fisher"], arrays)
    recipe, student = open_student(trainer.ship())
    whole = trained(methods.full_precision(GIVEN, optimizer=RATE), arrays)
    _, dense = open_student(whole.ship())
    interface = recipe.task.interface
    assert macs(student, interface) < macs(dense, interface)
    shapes = {name: tensor.shape for name, tensor in student.state_dict().items()}
    assert any(shapes[name] != tensor.shape for name, tensor in dense.state_dict().items())
    gone = sum(
        int((~compressed.mask.keep.transpose(0, 1).flatten(1).any(1)).sum())
        for _, compressed, _ in compressed_weights(trainer.student)
    )
    judged = sum(original.shape[1] for _, _, original in list(compressed_weights(trainer.student))[1:])
    assert gone == judged - int(judged * 0.5)


@pytest.mark.parametrize(
    "quantizer", [Symmetric(), LearnedStep(4, per_channel=True), Uniform(6, 64)], ids=str
)
def test_quantized_students_lose_channels_too(quantizer, arrays):
    plain = methods.fisher_pruning(GIVEN, pruner=Saliency("fisher", 0.6, "channels", 2), optimizer=RATE)
    phase = replace(plain.phases[0], epochs=2, quantize=True, train="all")
    trainer = trained(replace(plain, quantizer=quantizer, phases=(phase,), exempt=("0.0.weight",)), arrays)
    _, student = open_student(trainer.ship())
    masked = trainer.student.eval()
    inputs = next(trainer.task.batches("validation", 0)).inputs
    sizes = [sum(p.numel() for p in each.parameters()) for each in (student, masked)]
    assert sizes[0] < 0.9 * sizes[1]
    # Buckets of what ships hold other weights than in training, where channels that nobody reads are in them.
    tolerance = 1e-3 if quantizer.build(torch.ones(2, 2)).exact_zero else 0.5
    assert torch.allclose(student(inputs), masked(inputs), atol=tolerance)


def test_the_middle_of_residual_blocks_shrinks(arrays):
    given = replace(GIVEN, origin=Fresh(ResNet(depth=1, width=0.5)))
    part = Saliency("fisher", 0.5, "channels", 2)
    trainer = trainer_of(methods.fisher_pruning(given, pruner=part, optimizer=RATE), arrays)
    trainer.train_epoch()
    for _, compressed, original in compressed_weights(trainer.student):
        shipped = compressed.mask.shipped(original)
        compressed.mask.keep.copy_(shipped)  # as it would be at the end
        compressed.mask.gone.fill_(0.5)
    _, student = open_student(trainer.ship())
    inputs = next(trainer.task.batches("validation", 0)).inputs
    assert torch.allclose(student(inputs), trainer.student.eval()(inputs), atol=1e-3)
    shapes = {name: tensor.shape for name, tensor in student.state_dict().items()}
    whole = {name: original.shape for name, _, original in compressed_weights(trainer.student)}
    assert any(shapes[name] != shape for name, shape in whole.items())


@pytest.mark.slow
def test_less_is_lost_by_hard_pruning_after_targeted_dropout():
    """Three seeds of digits: accuracy at 75 % sparsity, pruned after plain and after targeted training."""
    found = {}
    for rate in (0.0, 0.9):
        part = TargetedDropout(0.75, rate)
        scores = []
        for seed in range(3):
            given = methods.Setting(TASK, Fresh(STUDENT), 15, seed=seed)
            trainer = trained(methods.targeted_dropout(given, pruner=part, optimizer=RATE), TASK.load(None))
            scores.append(evaluate_file(trainer.ship(), trainer.task, "validation")["accuracy"])
        found[rate] = sum(scores) / 3
    assert found[0.9] > found[0.0] + 0.1, found


def test_scratch_trains_the_slices_shape_anew_in_matched_budgets():
    recipe = methods.scratch_e(SLICED)
    assert recipe.origin == replace(SLICED.origin, restart=True) and recipe.epochs == EPOCHS
    whole, left = dense_and_sliced_macs(recipe.origin, TASK)
    assert 1.5 * left < whole
    half, most = (
        replace(SLICED, epochs=100, origin=replace(SLICED.origin, cut=Cut(width))) for width in (0.8, 0.2)
    )
    whole, left = dense_and_sliced_macs(methods.scratch_b(half).origin, TASK)
    assert methods.scratch_b(half).epochs == int(100 * whole / left) < 200
    assert methods.scratch_b(most).epochs == 200
    for method in (methods.scratch_e, methods.scratch_b):
        with pytest.raises(ValueError, match="these students are none"):
            method(GIVEN)


def test_deep_compression_prunes_then_shares_then_trains_what_is_shared(arrays):
    recipe = methods.deep_compression(replace(GIVEN, epochs=6), bits=3, pruner=Magnitude(0.8, Constant(1.0)))
    assert [phase.epochs for phase in recipe.phases] == [2, 2, 2]
    trainer = trainer_of(recipe, arrays)
    for epoch in range(6):
        masks = [compressed.mask.current() for _, compressed, _ in compressed_weights(trainer.student)]
        assert all(mask is None for mask in masks) == (epoch < 3 and epoch <= 2)
        trainer.train_epoch()
    for _, compressed, original in compressed_weights(trainer.student):
        stored = compressed.encode(original).decode()
        assert len(stored[stored != 0].unique()) <= 8
        kept = int((~compressed.mask.current()).sum())
        assert kept == round(0.8 * original.numel())
    trained_already = replace(GIVEN, epochs=6, origin=Slice(Fresh(STUDENT)))
    assert methods.deep_compression(trained_already).phases[0].epochs == 2
    assert recipe.quantizer == LearnedPoints(3, None, "kmeans_published", "float32")
    with pytest.raises(ValueError, match="epochs=1"):
        methods.deep_compression(replace(GIVEN, epochs=1))


def test_a_pruner_of_channels_needs_layers_that_read_channels():
    part = Saliency(by="channels")
    masks = {"weight": part.build(torch.ones(4, 3))}
    with pytest.raises(ValueError, match="nothing to prune"):
        part.decide(masks, 0.0)
