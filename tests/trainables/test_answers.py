"""Whole answers and those of the most probable classes: outcomes, divergences, gradients, sizes."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainables.steps import imitation
from trainables.answers import Logits, TopClasses, merge
from trainables.losses import SoftTargets
from trainables.memory import Top, Whole
from trainables.schedules import Constant

HARD = SoftTargets(Constant(1.0))


def logits(rows, classes, seed, scale=3.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, classes, generator=generator, dtype=dtype)


def full_divergence(teacher, student):
    """Of lists of logits, by the definition."""
    p, q = ([math.exp(v) for v in row] for row in (teacher, student))
    p, q = ([v / sum(row) for v in row] for row in (p, q))
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def exactly(teacher, count):
    """The answers of the ``count`` most probable classes, without rounding."""
    classes = teacher.topk(count, 1).indices
    return TopClasses(merge(teacher, classes), classes)


@given(st.integers(0, 2**31), st.integers(2, 9), st.floats(0.1, 8.0))
@settings(max_examples=50)
def test_with_all_classes_kept_the_divergence_is_the_whole_one(seed, classes, scale):
    teacher, student = logits(3, classes, seed, scale), logits(3, classes, seed + 1, scale)
    expected = sum(map(full_divergence, teacher.tolist(), student.tolist())) / 3
    whole = float(imitation(HARD, student, Logits(teacher)))
    merged = float(imitation(HARD, student, exactly(teacher, classes)))
    assert whole == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert merged == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.integers(0, 2**31), st.integers(3, 12), st.data())
@settings(max_examples=50)
def test_merging_classes_never_raises_the_divergence(seed, classes, data):
    """The data processing inequality, and its chain: the more classes are kept, the more is left of it."""
    teacher, student = logits(4, classes, seed), logits(4, classes, seed + 1)
    count = data.draw(st.integers(1, classes - 1))
    fewer, more = (float(imitation(HARD, student, exactly(teacher, k))) for k in (count, count + 1))
    whole = float(imitation(HARD, student, Logits(teacher)))
    assert -1e-12 <= fewer <= more + 1e-12 <= whole + 2e-12


@pytest.mark.parametrize("count", [1, 3, 6, 7])
def test_gradients_in_float64(count):
    teacher, student = logits(4, 7, 0), logits(4, 7, 1).requires_grad_()
    answers = exactly(teacher, count)
    assert torch.autograd.gradcheck(lambda s: imitation(HARD, s, answers), (student,))
    loss = imitation(HARD, student, answers)
    (gradient,) = torch.autograd.grad(loss, student)
    # Softmax cross entropy on merged outcomes: q_i - p_i of a kept class; the others share in proportion.
    q = student.detach().softmax(1)
    kept = torch.zeros_like(q).scatter(1, answers.classes, 1.0).bool()
    p = answers.log_probabilities.exp()
    expected = q.clone()
    expected[kept] -= torch.zeros_like(q).scatter(1, answers.classes, p[:, :count])[kept]
    if count < 7:
        rest = (q * ~kept).sum(1, keepdim=True)
        expected = torch.where(kept, expected, q - q / rest * p[:, count:])
    torch.testing.assert_close(gradient, expected / 4)


def test_a_student_that_gives_the_others_nothing_still_has_a_loss_and_a_gradient():
    """Where the kept classes have all but e^-70, 1 minus their sum is zero in single precision."""
    teacher = torch.tensor([[2.0, 1.0, 0.0, 0.0, 0.0]])
    answers = Top(2).recall(Top(2).keep(teacher))
    student = torch.tensor([[70.0, 69.0, 0.0, 0.0, 0.0]], requires_grad=True)
    loss = imitation(HARD, student, answers)
    p = answers.log_probabilities.double().exp()[0].tolist()
    exact = sum(a * (math.log(a) - b) for a, b in zip(p, _merged([70.0, 69.0, 0.0, 0.0, 0.0]), strict=True))
    assert loss.item() == pytest.approx(exact, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, student)
    assert bool(torch.isfinite(gradient).all())
    assert gradient[0, 2:].tolist() == pytest.approx([-p[2] / 3] * 3, rel=1e-3)


def _merged(row):
    total = math.log(sum(math.exp(v - max(row)) for v in row)) + max(row)
    return [row[0] - total, row[1] - total, math.log(sum(map(math.exp, row[2:]))) - total]


@pytest.mark.parametrize("classes", [5, 32, 33, 256, 257, 3000, 65_536, 65_537])
def test_what_is_kept(classes):
    teacher = logits(6, classes, 2, dtype=torch.float32)
    for memory in (Top(), Top(3)):
        kept = memory.keep(teacher)
        assert memory.row_bytes(classes) == sum(t[0].numel() * t.itemsize for t in kept.values())
        smallest = 1 if classes <= 256 else 2 if classes <= 65_536 else 4
        assert kept["classes"].itemsize == smallest and kept["log_probabilities"].dtype == torch.float16
        answers = memory.recall(kept)
        torch.testing.assert_close(answers.log_probabilities.exp().sum(1), torch.ones(6))
        exact = teacher.double().log_softmax(1)
        values, numbers = exact.sort(1, descending=True)
        count = min(memory.count, classes)
        assert torch.equal(answers.classes, numbers[:, :count])
        torch.testing.assert_close(answers.log_probabilities[:, :count].double(), values[:, :count], **HALF)
        if classes > count:
            rest = values[:, count:].logsumexp(1)
            torch.testing.assert_close(answers.log_probabilities[:, count].double(), rest, **HALF)
        else:
            assert answers.log_probabilities.shape[1] == classes
    (whole,) = Whole().keep(teacher).values()
    assert Whole().row_bytes(classes) == whole[0].numel() * whole.itemsize


HALF = {"rtol": 2e-3, "atol": 2e-3}


def test_a_teacher_that_is_sure_beyond_any_doubt_is_kept():
    answers = Top(1).recall(Top(1).keep(torch.tensor([[1e6, 0.0, 0.0]])))
    assert answers.log_probabilities.exp().tolist() == [[1.0, 0.0]]
    student = torch.zeros(1, 3, requires_grad=True)
    loss = imitation(HARD, student, answers)
    assert loss.item() == pytest.approx(math.log(3.0))
    (gradient,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(gradient, torch.tensor([[1 / 3 - 1, 1 / 3, 1 / 3]]))


def test_half_precision_students_are_computed_in_single():
    teacher, student = (logits(4, 50, seed, dtype=torch.float32) for seed in (0, 1))
    answers = exactly(teacher, 8)
    ours = imitation(HARD, student.bfloat16(), answers)
    assert ours.dtype == torch.float32
    assert float(ours) == pytest.approx(float(imitation(HARD, student.bfloat16().float(), answers)))


def test_another_temperature_is_refused_with_both_values():
    teacher = logits(2, 5, 0)
    with pytest.raises(ValueError, match=r"temperature 1\.0.*temperature=2\.0"):
        imitation(SoftTargets(Constant(2.0)), teacher, exactly(teacher, 2))


def test_foreign_rows_are_refused():
    with pytest.raises(ValueError, match=r"differ in shape"):
        imitation(HARD, logits(2, 5, 0), Logits(logits(3, 5, 0)))
    with pytest.raises(ValueError, match=r"differ in shape: \(2, 5\) and \(2, 4\)"):
        answers = TopClasses(F.log_softmax(logits(2, 4, 0), 1), torch.tensor([[0, 1, 2, 3]] * 2))
        imitation(HARD, logits(2, 9, 0), answers)


@pytest.mark.parametrize("memory", [Whole(), Top(2)], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_not_kept(memory, value):
    with pytest.raises(ValueError, match="float16's range"):
        memory.keep(torch.tensor([[0.0, 1.0, value]]))


def test_ranges():
    with pytest.raises(ValueError, match="count=0"):
        Top(0)
    assert (Top().name, Top(5).name, Whole().name) == ("top32", "top5", "whole")
