"""PQK: pruned and quantized at once, then taught by the same network with its pruned weights put back."""

from dataclasses import replace

import pytest
import safetensors.torch
import torch
from torch import nn

from tests.recipes import STUDENT
from tests.trainables.steps import step_of
from tests.trainables.test_odd_networks import FINE
from tests.trainables.translation import STUDENTS, write_pairs
from trainables import methods
from trainables.compression.compressed_weight import compressed_weights
from trainables.losses import SoftTargets
from trainables.models import ConvNet
from trainables.models.custom import Custom, allow
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.pruners import Magnitude, NoPruner
from trainables.quantizers import LearnedPoints, LearnedStep, Symmetric, Uniform
from trainables.schedules import Constant, Cubic
from trainables.shipping.evaluation import evaluate_file
from trainables.shipping.packed_file import unpack
from trainables.tasks import Digits
from trainables.teachers import NoTeacher, Unpruned
from trainables.teachers.sources import NoSources
from trainables.training.learner import moments
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
TASK = Digits(batch_size=128)


@pytest.fixture(scope="module")
def arrays():
    whole = Digits().load(None)
    return {name: values[:512] if name.startswith("train") else values for name, values in whole.items()}


def recipe_of(model=STUDENT, epochs=4, task=TASK, **arguments):
    given = methods.Setting(task, Fresh(model), epochs)
    return methods.in_place_distillation(given, **{"optimizer": AdamW(5e-3), **arguments})


def trainer_of(recipe, arrays):
    torch.set_num_threads(1)
    return Trainer(recipe, recipe.task.open(arrays, CPU, recipe.seed), NoSources(), CPU)


def in_phase_2(recipe, arrays):
    trainer = trainer_of(recipe, arrays)
    while trainer.epoch < recipe.phases[0].epochs:
        trainer.train_epoch()
    return trainer


def terms(trainer, index=0):
    """At a step of the present epoch: the labels' loss, the soft targets', and the teacher's own."""
    (learner,) = trainer.learners
    learner.train()
    batch = list(trainer.task.batches("train", trainer.epoch))[index]
    (step,) = moments(trainer.learners, batch, trainer.epoch / trainer.recipe.epochs)
    lesson = learner.policy(step)
    return trainer.task.loss(step.output, batch), learner.losses[0](step, lesson), lesson


def own(name):
    target = f"tests.trainables.odd_networks:{name}"
    allow(target)
    return Custom(target)


@pytest.mark.parametrize(
    "quantizer", [LearnedStep(4), Symmetric(3), Symmetric(2, per_channel=False)], ids=str
)
@pytest.mark.parametrize("model", [STUDENT, own("TiedWeights")], ids=["normalised", "without normalisation"])
def test_no_gradient_of_the_students_loss_reaches_pruned_weights(model, quantizer, arrays):
    trainer = in_phase_2(recipe_of(model, quantizer=quantizer), arrays)
    labels, imitated, lesson = terms(trainer)
    assert float(imitated.detach()) > 0 and not lesson.answers.values.requires_grad
    for _, compressed, original in compressed_weights(trainer.student):
        pruned = ~compressed.mask.current()
        assert bool(pruned.any()) and bool((original[pruned] != 0).any())
        (ours,) = torch.autograd.grad(labels + imitated, original, retain_graph=True)
        (theirs,) = torch.autograd.grad(lesson.loss, original, retain_graph=True)
        assert torch.equal(ours[pruned], torch.zeros_like(ours[pruned])) and bool(ours[~pruned].any())
        assert bool(theirs[pruned].any()) and bool(theirs[~pruned].any())


@pytest.mark.parametrize("name", FINE)
def test_with_nothing_pruned_there_is_nothing_to_imitate(name, arrays):
    """Whatever the network is made of, both passes then compute the same, but for what each drops."""
    trainer = in_phase_2(recipe_of(own(name), pruner=Magnitude(0.0)), arrays)
    for module in (*trainer.student.modules(), *trainer.learners[0].policy.own.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    labels, imitated, lesson = terms(trainer)
    imitated, labels, own_loss = (each.detach() for each in (imitated, labels, lesson.loss))
    assert float(imitated) == pytest.approx(0.0, abs=1e-6)
    assert float(own_loss) == pytest.approx(0.7 * float(labels), rel=1e-6)


def test_nothing_pruned_and_other_tasks(tmp_path):
    task = write_pairs(tmp_path)
    arrays = task.load(tmp_path)
    for model in STUDENTS:
        imitation = SoftTargets(Constant(1.0))
        recipe = recipe_of(replace(model, dropout=0.0), task=task, pruner=NoPruner(), imitation=imitation)
        _, imitated, _ = terms(in_phase_2(recipe, arrays))
        assert float(imitated.detach()) == pytest.approx(0.0, abs=2e-7)
        recipe = replace(recipe, pruner=Magnitude(0.8))
        recipe = replace(recipe, phases=(replace(recipe.phases[0], prune=True), recipe.phases[1]))
        _, imitated, _ = terms(in_phase_2(recipe, arrays))
        assert float(imitated.detach()) > 1e-6


def test_a_full_precision_teacher_is_the_network_without_grid_and_mask(arrays):
    trainer = in_phase_2(recipe_of(quantized_teacher=False), arrays)
    _, _, lesson = terms(trainer)
    batch = next(trainer.task.batches("train", trainer.epoch))
    plain = STUDENT.build((1, 8, 8), 10)
    wanted = dict(plain.named_parameters())
    with torch.no_grad():
        for name, _, original in compressed_weights(trainer.student):
            wanted.pop(name).copy_(original)
        for name, parameter in wanted.items():
            parameter.copy_(trainer.student.get_parameter(name))
    torch.testing.assert_close(lesson.answers.values, plain.train()(batch.inputs))


def test_each_pass_has_statistics_of_its_own_and_both_are_kept(arrays, tmp_path):
    recipe = recipe_of()
    trainer = in_phase_2(recipe, arrays)
    (learner,) = trainer.learners
    for sparse in (True, False):  # what one pass moves, the other does not
        before = {k: v.clone() for k, v in trainer.student.named_buffers() if "running" in k}
        twin = learner.policy.own["unpruned"].body
        theirs = {k: v.clone() for k, v in twin.named_buffers() if "running" in k}
        assert before.keys() == theirs.keys() and before
        learner.train()
        batch = next(trainer.task.batches("train", trainer.epoch))
        (step,) = moments(trainer.learners, batch, 0.9)
        if not sparse:
            ours = {k: v.clone() for k, v in trainer.student.named_buffers() if "running" in k}
            learner.policy(step)
            assert all(torch.equal(trainer.student.get_buffer(k), v) for k, v in ours.items())
            assert not any(torch.equal(twin.get_buffer(k), v) for k, v in theirs.items())
        else:
            assert all(torch.equal(twin.get_buffer(k), v) for k, v in theirs.items())
            assert not any(torch.equal(trainer.student.get_buffer(k), v) for k, v in before.items())
    trainer.save(tmp_path)
    names = set(safetensors.torch.load_file(tmp_path / "state.safetensors"))
    assert {f"0.student.{name}" for name in before} <= names
    assert {f"0.teacher.unpruned.body.{name}" for name in before} <= names
    assert not any(name.endswith(("weight", "bias")) for name in names if ".teacher." in name)


def test_at_weight_0_the_second_phase_is_fine_tuning(arrays):
    recipe = recipe_of(imitation=SoftTargets(weight=Constant(0.0)))
    taught, alone = (
        trainer_of(each, arrays) for each in (recipe, replace(recipe, teacher=NoTeacher(), losses=()))
    )
    while not taught.finished:
        taught.train_epoch()
        alone.train_epoch()
    ours, theirs = taught.student.state_dict(), alone.student.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    # The recipe's name is in the file, so its tensors are compared.
    ours, theirs = (unpack(each.ship()).tensors for each in (taught, alone))
    assert all(torch.equal(ours[name].decode(), theirs[name].decode()) for name in ours)


def test_the_first_phase_hears_nobody(arrays):
    trainer = trainer_of(recipe_of(), arrays)
    for epoch in range(4):
        batch = next(trainer.task.batches("train", epoch))
        (step,) = moments(trainer.learners, batch, epoch / 4)
        lesson = trainer.learners[0].policy(step)
        assert (lesson.answers is None and lesson.loss is None) == (epoch < 2)
        trainer.train_epoch()


@pytest.mark.parametrize("quantizer", [LearnedStep(3), Symmetric(2), Uniform(4)], ids=str)
def test_sparsity_follows_the_ramp_and_what_ships_is_exactly_zero(quantizer, arrays):
    recipe = recipe_of(epochs=8, quantizer=quantizer, pruner=Magnitude(0.9))
    trainer = trainer_of(recipe, arrays)
    masks = {}
    while not trainer.finished:
        trainer.train_epoch()
        stage = int(min(trainer.epoch / 4, 1.0) * 40) / 40  # of 40 updates in the 4 epochs of phase 1
        expected = 0.9 * recipe.pruner.ramp(stage)
        for name, compressed, original in compressed_weights(trainer.student):
            keep = compressed.mask.current()
            pruned = 0 if keep is None else int((~keep).sum())
            assert pruned == round(expected * original.numel())
            if trainer.epoch > 4:
                assert torch.equal(keep, masks[name])
            masks[name] = None if keep is None else keep.clone()
    tensors = unpack(trainer.ship()).tensors
    for name, keep in masks.items():
        assert not tensors[name].decode()[~keep].any() and tensors[name].decode()[keep].any()


@pytest.mark.parametrize("decayed", [False, True])
def test_pruned_weights_keep_what_they_were_until_the_second_phase(decayed, arrays):
    """Old momentum moves them a little; weight decay would wear them away where the first phase is long."""
    early = Magnitude(0.8, Cubic(0.0, 1.0, 0.0, 0.2))
    recipe = recipe_of(
        task=Digits(batch_size=32), epochs=12, distilled_epochs=1, pruner=early, optimizer=AdamW(5e-3, 1.0)
    )
    first, second = recipe.phases
    assert (first.optimizer.weight_decay, second.optimizer.weight_decay) == (0.0, 1.0)
    if decayed:  # what the method does not do
        recipe = replace(recipe, phases=(replace(first, optimizer=second.optimizer), second))
    trainer = trainer_of(recipe, arrays)
    while trainer.epoch < 4:  # the ramp is over, and momentum of before too
        trainer.train_epoch()
    found = list(compressed_weights(trainer.student))
    masks = [~compressed.mask.current() for _, compressed, _ in found]
    before = [original.detach()[pruned].norm() for (_, _, original), pruned in zip(found, masks, strict=True)]
    while trainer.epoch < 11:
        trainer.train_epoch()
    for (_, compressed, original), pruned, old in zip(found, masks, before, strict=True):
        assert torch.equal(pruned, ~compressed.mask.current())
        left = float(original.detach()[pruned].norm() / old)
        assert left < 0.9 if decayed else left == pytest.approx(1.0, abs=0.02)


def test_stopping_and_resuming_changes_no_bit(arrays, tmp_path):
    dropout = ConvNet(stages=((6,), (8,)), hidden=(16,), kernel_size=3, depth=1, dropout=(0.3, 0.3, 0.3))
    recipes = [
        recipe_of(distilled_epochs=3, quantizer=Symmetric(3)),
        recipe_of(dropout, distilled_epochs=1, quantized_teacher=False),
        replace(recipe_of(quantizer=LearnedPoints()), seed=3),
    ]
    for number, recipe in enumerate(recipes):
        straight, resumed = trainer_of(recipe, arrays), trainer_of(recipe, arrays)
        for epoch in range(4):
            if epoch == 2:
                straight.save(tmp_path / f"half-{number}")
            straight.train_epoch()
        resumed.load(tmp_path / f"half-{number}")
        while not resumed.finished:
            resumed.train_epoch()
        ours, theirs = (each.learners[0].state()[0] for each in (straight, resumed))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
        assert straight.ship() == resumed.ship()


def test_the_packed_file_computes_what_is_reported():
    recipe = recipe_of(replace(STUDENT, width=2.0), epochs=6, pruner=Magnitude(0.6), optimizer=AdamW(1e-2))
    trainer = trainer_of(recipe, Digits().load(None))
    while not trainer.finished:
        trainer.train_epoch()
    live = trainer.task.evaluate(trainer.student, "validation")["accuracy"]
    shipped = evaluate_file(trainer.ship(), trainer.task, "validation")["accuracy"]
    assert shipped == pytest.approx(live, abs=0.003) and shipped > 0.6


def test_it_needs_two_epochs_and_its_own_pruner(arrays):
    with pytest.raises(ValueError, match="distilled_epochs must be in"):
        recipe_of(epochs=1)
    given = methods.Setting(TASK, Fresh(STUDENT), 4, pruner=Magnitude())
    with pytest.raises(ValueError, match="give it as the method's pruner"):
        methods.in_place_distillation(given)


def test_copies_and_features_of_the_student_know_nothing_of_the_second_pass(arrays):
    """Hooks on the student see its own pass alone, and gradients of shared weights are of both."""
    trainer = in_phase_2(recipe_of(), arrays)
    seen = []
    hook = trainer.student.register_forward_hook(lambda *each: seen.append(each))
    terms(trainer)
    hook.remove()
    assert len(seen) == 1
    parameters = [name for name, _ in trainer.learners[0].policy.own.named_parameters()]
    assert parameters == []


def test_a_policy_beside_a_network_that_is_not_compressed_is_the_network(arrays):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    task = TASK.open(arrays, CPU, 0)
    policy = Unpruned().build(NoSources(), task, network)
    batch = next(task.batches("train", 0))
    lesson = policy(step_of(network(batch.inputs), batch, 0.5))
    torch.testing.assert_close(lesson.answers.values, network(batch.inputs))
