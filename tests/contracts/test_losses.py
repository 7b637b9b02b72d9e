"""What every loss promises, and the closed forms of soft targets."""

import math
import re
from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.trainables.steps import NO_FEATURES, imitation, step_of
from trainables import methods
from trainables.answers import Logits
from trainables.lesson import Lesson
from trainables.losses import LOSSES, SoftTargets
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.probe import Features, Probe
from trainables.schedules import Constant, Cosine, Linear
from trainables.tasks import Digits

MEMBERS = [cls() for cls in LOSSES if not cls().looks_at()]
IMITATING = [part for part in MEMBERS if part.imitates]
INSIDE = [cls() for cls in LOSSES if cls().looks_at()]


@pytest.mark.parametrize("part", IMITATING, ids=str)
def test_a_loss_is_a_scalar_with_a_gradient_and_zero_at_equality(part):
    teacher = torch.randn(7, 5)
    student = torch.randn(7, 5, requires_grad=True)
    loss = imitation(part, student, Logits(teacher))
    assert loss.shape == () and loss.item() > 0
    loss.backward()
    assert bool(student.grad.abs().sum() > 0)
    assert float(imitation(part, teacher.clone(), Logits(teacher))) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("part", IMITATING, ids=str)
def test_where_the_teacher_is_silent_there_is_no_loss_and_no_gradient(part):
    student = torch.randn(2, 3, requires_grad=True)
    silent = imitation(part, student, None)
    assert silent.shape == () and float(silent) == 0.0
    (student.sum() + silent).backward()
    assert torch.equal(student.grad, torch.ones(2, 3))


@pytest.mark.parametrize("part", IMITATING, ids=str)
def test_a_foreign_teacher_is_an_error(part):
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        imitation(part, torch.randn(2, 3), Logits(torch.randn(2, 4)))


@pytest.mark.parametrize("part", INSIDE, ids=lambda part: type(part).__name__)
def test_a_loss_that_looks_inside_is_a_scalar_that_moves_the_student_alone(part):
    task = Digits(batch_size=32)
    loaded = task.open(task.load(None), torch.device("cpu"), 0)
    batch = next(loaded.batches("train", 0))
    networks = [ConvNet(depth=1).build((1, 8, 8), 10), ConvNet(depth=1, width=0.5).build((1, 8, 8), 10)]
    teacher, student = (Features(network, lambda: batch.inputs) for network in networks)
    probe = Probe(student, teacher, loaded)
    term = part.build(probe)
    with ExitStack() as recording:
        for context in probe.recorded():
            recording.enter_context(context)
        said, logits = (network(batch.inputs) for network in networks)
        loss = term(step_of(logits, batch), Lesson(Logits(said.detach())))
    assert loss.shape == () and loss.item() > 0
    loss.backward()
    moved = [[p.grad is not None and bool(p.grad.any()) for p in each.parameters()] for each in networks]
    assert not any(moved[0]) and any(moved[1])
    with pytest.raises(ValueError, match="asks none"):
        part.build(replace(probe, imitated=None))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 8.0])
def test_soft_targets_against_the_definition_in_float64(temperature):
    student, teacher = torch.randn(6, 10), 3 * torch.randn(6, 10)
    total = 0.0
    for s, t in zip(student.double().tolist(), teacher.double().tolist(), strict=True):
        p = [math.exp(v / temperature) for v in t]
        q = [math.exp(v / temperature) for v in s]
        p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    expected = temperature**2 * total / 6  # the mean over the batch, not over the classes
    ours = float(imitation(SoftTargets(Constant(temperature)), student, Logits(teacher)))
    assert ours == pytest.approx(expected, rel=1e-4)


def test_soft_targets_do_not_see_a_constant_added_to_the_logits():
    student, teacher = torch.randn(4, 6), torch.randn(4, 6)
    loss = SoftTargets(Constant(3.0))
    shifted = imitation(loss, student + 5.0, Logits(teacher - 2.0))
    assert float(shifted) == pytest.approx(float(imitation(loss, student, Logits(teacher))), rel=1e-4)


def test_at_high_temperature_the_gradient_is_logit_regression():
    """d/dz_i -> (z_i - v_i) / C for logits of zero mean (Hinton et al. 2015, eq. 4, times T^2)."""
    student = torch.randn(3, 8, dtype=torch.float64)
    student = (student - student.mean(1, keepdim=True)).requires_grad_()
    teacher = torch.randn(3, 8, dtype=torch.float64)
    teacher = teacher - teacher.mean(1, keepdim=True)
    imitation(SoftTargets(Constant(100.0)), student, Logits(teacher)).backward()
    expected = (student - teacher).detach() / 8 / 3
    assert F.cosine_similarity(student.grad.flatten(), expected.flatten(), dim=0) > 0.9999
    assert torch.allclose(student.grad, expected, atol=0.02 * float(expected.abs().max()))


def test_weight_and_temperature_are_schedules():
    assert SoftTargets(weight=Linear(1.0, 0.0)).weight(0.25) == 0.75
    assert SoftTargets() == SoftTargets(Constant(2.0), Constant(0.7))
    student, teacher = torch.randn(4, 6), Logits(torch.randn(4, 6))
    cooling = SoftTargets(Linear(4.0, 1.0))
    for progress, temperature in ((0.0, 4.0), (0.5, 2.5), (1.0, 1.0)):
        still = SoftTargets(Constant(temperature))
        assert torch.equal(imitation(cooling, student, teacher, progress), imitation(still, student, teacher))


@pytest.mark.parametrize("schedule", [Constant(0.0), Linear(2.0, 0.0), Linear(0.05, 2.0), Cosine(2.0, 200.0)])
def test_a_temperature_that_leaves_its_range_is_refused(schedule):
    with pytest.raises(ValueError, match=re.escape(f"temperature={schedule}")):
        SoftTargets(temperature=schedule)


def test_a_weight_that_becomes_negative_is_refused():
    with pytest.raises(ValueError, match="weight must stay in"):
        SoftTargets(weight=Linear(1.0, -0.1))


def test_teacher_annealing_has_the_gradient_of_mixed_targets():
    """The paper's loss is the cross entropy with p * onehot + (1 - p) * teacher (Clark et al. 2019)."""
    recipe = methods.teacher_annealing(
        methods.Setting(Digits(), Fresh(ConvNet()), epochs=4, teacher="0" * 16)
    )
    (part,) = recipe.losses
    term = part.build(NO_FEATURES)
    labels = torch.tensor([3, 0, 9, 5])
    teacher = 3 * torch.randn(4, 10)
    for progress in (0.0, 0.3, 1.0):
        student = torch.randn(4, 10, requires_grad=True)
        ours = recipe.task_weight(progress) * F.cross_entropy(student, labels)
        ours = ours + part.weight(progress) * term(
            step_of(student, progress=progress), Lesson(Logits(teacher))
        )
        target = progress * F.one_hot(labels, 10) + (1 - progress) * teacher.softmax(1)
        published = -(target * student.log_softmax(1)).sum(1).mean()
        (a,), (b,) = torch.autograd.grad(ours, student), torch.autograd.grad(published, student)
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
