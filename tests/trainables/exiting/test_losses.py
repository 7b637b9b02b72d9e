"""What exits learn, and what stands still meanwhile."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.recipes import STUDENT, setting
from tests.trainables.exiting.networks import CPU, TASK
from tests.trainables.resuming import check_resuming
from trainables import methods
from trainables.activations import MovingRange
from trainables.compression.compressed_weight import compressed_weights
from trainables.exiting.exits import Exits
from trainables.losses import ExitLoss, GateLoss
from trainables.losses.gates import hinge
from trainables.quantizers import NoQuantizer, Symmetric, Uniform
from trainables.recipe import recipe_from_dict
from trainables.schedules import Constant
from trainables.teachers.sources import NoSources
from trainables.training.learner import moments
from trainables.training.trainer import Trainer


def learner_of(recipe, data):
    trainer = Trainer(recipe, data, NoSources(), CPU)
    return trainer.learners[0]


def first_loss(learner, data):
    learner.train()
    batch = next(data.batches("train", 0))
    (recording,) = learner.recorded()
    with recording:
        (step,) = moments([learner], batch, 0.0)
        return learner.loss(step), step, batch


def test_without_weight_on_early_exits_the_loss_is_the_backbones(data):
    given = setting(TASK, STUDENT, 2)
    plain = NoQuantizer()
    alone = methods.early_exits(
        given, loss=ExitLoss(Constant(0.0)), last_weight=1.0, quantizer=plain, exits=Exits(count=1)
    )
    learner = learner_of(alone, data)
    loss, step, batch = first_loss(learner, data)
    assert float(loss.detach()) == pytest.approx(float(F.cross_entropy(step.logits, batch.targets).detach()))
    loss.backward()
    assert all(float(p.grad.abs().sum()) == 0.0 for p in learner.network.heads.parameters())
    each = methods.early_exits(given, loss=ExitLoss(weights=(0.0, 0.0)), last_weight=1.0, quantizer=plain)
    other, _, _ = first_loss(learner_of(each, data), data)
    assert float(other.detach()) == pytest.approx(float(loss.detach()))


def test_losses_of_exits_are_summed_by_their_weights(data):
    recipe = methods.early_exits(
        setting(TASK, STUDENT, 2),
        loss=ExitLoss(Constant(0.5), weights=(2.0, 3.0), from_last=0.25),
        quantizer=NoQuantizer(),
    )
    learner = learner_of(recipe, data)
    loss, step, batch = first_loss(learner, data)
    logits = [learner._probe.student[f"heads.{number}"] for number in (0, 1)]
    last = step.logits.detach().softmax(1)
    expected = 0.3 * F.cross_entropy(step.logits, batch.targets)
    for weight, each in zip((2.0, 3.0), logits, strict=True):
        soft = -(last * each.log_softmax(1)).sum(1).mean()
        expected = expected + 0.5 * weight * (0.75 * F.cross_entropy(each, batch.targets) + 0.25 * soft)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_weight_for_each_exit_is_demanded(data):
    recipe = methods.early_exits(setting(TASK, STUDENT, 2), loss=ExitLoss(weights=(1.0,)))
    with pytest.raises(ValueError, match="each of 2 early exits must have a weight"):
        learner_of(recipe, data)


def test_the_hinge_loss_is_zero_without_gradient_where_all_margins_are_kept():
    targets = torch.tensor([2, 0])
    kept = torch.tensor([[-1.0, -1.5, 1.0], [3.0, -1.0, -2.0]], requires_grad=True)
    loss = hinge(kept, targets)
    loss.backward()
    assert float(loss) == 0.0 and float(kept.grad.abs().sum()) == 0.0
    scores = torch.tensor([[0.5, -1.5, 0.2], [3.0, 0.0, -2.0]], requires_grad=True)
    loss = hinge(scores, targets)
    assert float(loss) == pytest.approx(((1 + 0.5) + 0 + (1 - 0.2) + 0 + 1.0 + 0) / 2)
    loss.backward()
    assert torch.equal(scores.grad, torch.tensor([[0.5, 0.0, -0.5], [0.0, 0.5, 0.0]]))
    assert torch.equal(hinge(scores, F.one_hot(targets, 3).float()), loss)


def test_gates_change_nothing_in_the_network_they_are_in(data):
    """The backbone ends as it would without gates, bit for bit, and stands still in their own epochs."""
    recipe = methods.decision_gates(setting(TASK, STUDENT, 4), gate_epochs=2, quantizer=NoQuantizer())
    gated = Trainer(recipe, data, NoSources(), CPU)
    quiet = replace(recipe, losses=(replace(recipe.losses[0], weight=Constant(0.0)),))
    other = Trainer(quiet, data, NoSources(), CPU)
    states = []
    for _ in range(4):
        gated.train_epoch(), other.train_epoch()
        states.append({k: v.clone() for k, v in gated.student.backbone.state_dict().items()})
    theirs = other.student.backbone.state_dict()
    assert all(torch.equal(states[3][key], theirs[key]) for key in theirs)
    assert all(torch.equal(states[1][key], states[3][key]) for key in theirs)  # statistics included
    assert any(not torch.equal(states[0][key], states[1][key]) for key in theirs)
    ours, still = gated.student.heads.state_dict(), other.student.heads.state_dict()
    assert any(not torch.equal(ours[key], still[key]) for key in ours)


def test_a_phase_of_heads_needs_some(data):
    recipe = methods.full_precision(setting(TASK, STUDENT, 2))
    phases = (replace(recipe.phases[0], train="heads"),)
    with pytest.raises(ValueError, match="trains the heads, and Sequential has none"):
        Trainer(replace(recipe, phases=phases), data, NoSources(), CPU)


@pytest.mark.slow
def test_stopping_and_resuming_changes_no_bit(tmp_path, data):
    given = setting(TASK, STUDENT, 4, sparsity=0.5)
    recipes = [
        methods.early_exits(given, loss=ExitLoss(from_last=0.5), quantizer=Symmetric(3)),
        methods.decision_gates(given, gate_epochs=2),
        methods.decision_gates(given, loss=GateLoss(hinge=0), gate_epochs=1, quantizer=NoQuantizer()),
        replace(methods.decision_gates(given), activations=MovingRange()),
    ]
    check_resuming([Trainer(recipe, data, NoSources(), CPU) for recipe in recipes], tmp_path)


def test_quantizers_see_heads_as_layers(data):
    recipe = methods.early_exits(setting(TASK, STUDENT, 1), quantizer=Uniform(2))
    names = {name for name, _, _ in compressed_weights(learner_of(recipe, data).network)}
    assert {"heads.0.1.weight", "heads.1.1.weight"} <= names
    assert recipe_from_dict(recipe.to_dict()) == recipe
