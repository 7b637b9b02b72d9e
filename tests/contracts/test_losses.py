"""What every loss promises, and the closed forms of soft targets."""

import math

import pytest
import torch
import torch.nn.functional as F

from trainables.losses import LOSSES, SoftTargets
from trainables.schedules import Constant, Linear

MEMBERS = [cls() for cls in LOSSES]


@pytest.mark.parametrize("part", MEMBERS, ids=str)
def test_a_loss_is_a_scalar_with_a_gradient_and_zero_at_equality(part):
    teacher = torch.randn(7, 5)
    student = torch.randn(7, 5, requires_grad=True)
    module = part.build()
    loss = module(student, teacher, None)
    assert loss.shape == () and loss.item() > 0
    loss.backward()
    assert bool(student.grad.abs().sum() > 0)
    assert float(module(teacher.clone(), teacher, None)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("part", MEMBERS, ids=str)
def test_a_missing_or_foreign_teacher_is_an_error(part):
    module = part.build()
    with pytest.raises(ValueError, match="NoTeacher"):
        module(torch.randn(2, 3), None, None)
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        module(torch.randn(2, 3), torch.randn(2, 4), None)


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
    ours = float(SoftTargets(temperature).build()(student, teacher, None))
    assert ours == pytest.approx(expected, rel=1e-4)


def test_soft_targets_do_not_see_a_constant_added_to_the_logits():
    student, teacher = torch.randn(4, 6), torch.randn(4, 6)
    loss = SoftTargets(3.0).build()
    shifted = loss(student + 5.0, teacher - 2.0, None)
    assert float(shifted) == pytest.approx(float(loss(student, teacher, None)), rel=1e-4)


def test_at_high_temperature_the_gradient_is_logit_regression():
    """d/dz_i -> (z_i - v_i) / C for logits of zero mean (Hinton et al. 2015, eq. 4, times T^2)."""
    student = torch.randn(3, 8, dtype=torch.float64)
    student = (student - student.mean(1, keepdim=True)).requires_grad_()
    teacher = torch.randn(3, 8, dtype=torch.float64)
    teacher = teacher - teacher.mean(1, keepdim=True)
    SoftTargets(100.0).build()(student, teacher, None).backward()
    expected = (student - teacher).detach() / 8 / 3
    assert F.cosine_similarity(student.grad.flatten(), expected.flatten(), dim=0) > 0.9999
    assert torch.allclose(student.grad, expected, atol=0.02 * float(expected.abs().max()))


def test_weights_are_schedules():
    assert SoftTargets(weight=Linear(1.0, 0.0)).weight(0.25) == 0.75
    assert SoftTargets().weight == Constant(0.7)
    with pytest.raises(ValueError, match=r"temperature=0\.0"):
        SoftTargets(temperature=0.0)
