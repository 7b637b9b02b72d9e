"""What every teacher promises: detached outputs, and nothing of it moves; and what is special to each."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.trainables.steps import STUDENT, step_of
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.tasks import Digits
from trainables.tasks.images import EVALUATION_BATCH_SIZE, LoadedImages
from trainables.teachers import (
    TEACHERS,
    Ensemble,
    Fixed,
    GatedEnsemble,
    Joint,
    NoTeacher,
    Peers,
    Remembered,
    Route,
    Several,
    Unpruned,
)
from trainables.teachers.remembered import remember
from trainables.teachers.sources import LocalSources, NoSources

CPU = torch.device("cpu")
ID = "0" * 16
VIEWS = 3
MEMBERS = [NoTeacher(), Fixed(ID), Remembered(ID, VIEWS), Route(ID, 1)]
SMALL = ConvNet(stages=((4,),), hidden=(8,), kernel_size=3, depth=1)
LEARNING = [Joint(Fresh(SMALL), Digits()), Unpruned()]
"""Those that learn while the student does."""
OF_STUDENTS = [Peers(), Ensemble(), GatedEnsemble(1, 7)]
"""Those that repeat what students of the same training say; see tests/trainables/test_together.py."""


def opened(count=37, seed=0, batch_size=8, padding=2, shift=0):
    random = np.random.RandomState(0)
    data = {}
    for split, size in (("train", count), ("validation", 5), ("test", 5)):
        images = random.randint(0, 256, (size, 3, 4, 4), dtype=np.uint8)
        data[f"{split}_images"] = images + np.uint8(shift)
        data[f"{split}_labels"] = random.randint(0, 7, size).astype(np.int64)
    return LoadedImages(data, CPU, seed, batch_size=batch_size, padding=padding, flip=True)


def network(recipe_id):
    with torch.random.fork_rng():
        torch.manual_seed(int(recipe_id, 16))
        layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 7))
        made = nn.Sequential(*layers)
        nn.init.normal_(made[1].running_mean)
    return made


def test_every_member_is_tried():
    # A teacher of several tasks is tried in tests/trainables/test_several.py: here there is one.
    assert {type(part) for part in (*MEMBERS, *LEARNING, *OF_STUDENTS)} == set(TEACHERS) - {Several}


@pytest.mark.parametrize("part", LEARNING, ids=lambda part: type(part).__name__)
def test_one_that_learns_says_what_it_learns_by_and_the_student_gets_no_gradient_of_it(part):
    task = Digits(batch_size=8).open(Digits().load(None), CPU, 0)
    student = SMALL.build((1, 8, 8), 10)
    policy = part.build(NoSources(), task, student)
    batch = next(task.batches("train", 0, part.view(0)))
    output = student(batch.inputs)
    lesson = policy(step_of(output, batch, 0.5))
    assert not lesson.answers.values.requires_grad and lesson.answers.values.shape == output.shape
    learned = [*policy.own.parameters()] or [*student.parameters()]  # its own, or those that it shares
    gradients = torch.autograd.grad(lesson.loss, learned, retain_graph=True)
    assert all(bool(each.any()) for each in gradients)
    said = torch.autograd.grad(lesson.loss, output, allow_unused=True)
    assert said == (None,)


@pytest.mark.parametrize("part", MEMBERS, ids=str)
def test_outputs_are_detached_and_the_teacher_stands_still(part):
    task = opened()
    sources = LocalSources(network, route=lambda recipe_id: {1: network(recipe_id)})
    policy = part.build(sources, task, STUDENT)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    policy.train()  # as a trainer would do to everything it holds
    batch = next(task.batches("train", 1, part.view(1)))
    said = torch.zeros(len(batch.index), 7)
    first, second = (policy(step_of(said, batch, progress)).answers for progress in (0.0, 1.0))
    if isinstance(part, NoTeacher):
        assert first is None
        return
    assert not first.values.requires_grad and first.values.dtype == torch.float32
    assert torch.equal(first.values, second.values)
    torch.testing.assert_close(first.values, network(ID).eval()(batch.inputs), rtol=1e-3, atol=1e-3)
    assert all(torch.equal(before[name], value) for name, value in policy.state_dict().items())
    assert not any(parameter.requires_grad for parameter in policy.parameters())


@pytest.mark.parametrize("part", MEMBERS + OF_STUDENTS, ids=str)
def test_without_sources_no_trained_network_is_imitated(part):
    if part in [NoTeacher(), *OF_STUDENTS]:
        part.build(NoSources(), opened(), STUDENT)
        return
    with pytest.raises(ValueError, match=ID):
        part.build(NoSources(), opened(), STUDENT)


def test_the_network_is_asked_for_by_id():
    asked = []
    sources = LocalSources(lambda recipe_id: asked.append(recipe_id) or network(recipe_id))
    for part in (Fixed("00000000000000ab"), Remembered("00000000000000cd", 1)):
        part.build(sources, opened(), STUDENT)
    assert asked == ["00000000000000ab", "00000000000000cd"]


def test_only_remembered_outputs_are_of_shared_views():
    assert [MEMBERS[0].view(5), MEMBERS[1].view(5)] == [None, None]
    assert [Remembered(ID, VIEWS).view(epoch) for epoch in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    for views in (0, 1025):
        with pytest.raises(ValueError, match=f"views={views}"):
            Remembered(ID, views)


@pytest.mark.parametrize("count", [33, 35, EVALUATION_BATCH_SIZE + 1])
def test_remembered_outputs_are_the_live_teachers_but_for_rounding(count):
    """Of the same inputs, in every epoch and every batch, the last short one and a lone sample included."""
    task = opened(count, batch_size=8)
    sources = LocalSources(network)
    part = Remembered(ID, VIEWS)
    remembered, live = (each.build(sources, task, STUDENT) for each in (part, Fixed(ID)))
    answers, sizes = {}, set()
    for epoch in range(2 * VIEWS + 1):
        for batch in task.batches("train", epoch, part.view(epoch)):
            step = step_of(torch.zeros(len(batch.index), 7), batch)
            looked_up, asked = remembered(step).answers.values, live(step).answers.values
            # Half a unit of float16's last place, and some of float32's: batches are of other sizes.
            bound = asked.abs() * 2**-11 + 2**-20
            assert bool(((looked_up - asked).abs() <= bound).all())
            answers.setdefault((epoch, batch.index.tolist()[0]), looked_up[0])
            sizes.add(len(batch.index))
    assert len(sizes) == 2
    # The views do differ, so that a lookup in the wrong one would not have passed.
    first = [sources.outputs(ID, VIEWS, task)["outputs"][view] for view in range(VIEWS)]
    assert not torch.allclose(first[0], first[1], atol=0.05)
    assert not torch.allclose(first[1], first[2], atol=0.05)


@given(st.integers(0, 2**31 - 1), st.integers(2, 64))
def test_outputs_depend_on_neither_the_runs_seed_nor_its_batches(seed, batch_size):
    (ours,) = remember(network(ID), opened(), VIEWS).values()
    assert ours.shape == (VIEWS, 37, 7) and ours.dtype == torch.float16
    again = remember(network(ID), opened(seed=seed, batch_size=batch_size), VIEWS)
    assert torch.equal(ours, again["outputs"])


def test_outputs_are_computed_once_per_teacher_views_and_inputs():
    asked = []
    sources = LocalSources(lambda recipe_id: asked.append(recipe_id) or network(recipe_id))
    kept = sources.outputs(ID, VIEWS, opened())
    assert sources.outputs(ID, VIEWS, opened(seed=5, batch_size=3)) is kept
    assert asked == [ID]
    for other in (
        sources.outputs("0" * 15 + "1", VIEWS, opened()),
        sources.outputs(ID, VIEWS + 1, opened()),
        sources.outputs(ID, VIEWS, opened(padding=0)),
        sources.outputs(ID, VIEWS, opened(shift=1)),
    ):
        assert other["outputs"].shape != kept["outputs"].shape or not torch.equal(
            other["outputs"], kept["outputs"]
        )
    assert len(asked) == 5


def test_a_batch_of_another_view_is_refused():
    task = opened()
    policy = Remembered(ID, VIEWS).build(LocalSources(network), task, STUDENT)
    for view in (None, VIEWS):
        with pytest.raises(ValueError, match=rf"views 0 to 2, got a batch of view={view}"):
            policy(step_of(torch.zeros(8, 7), next(task.batches("train", 0, view))))


def test_outputs_beyond_float16_are_refused():
    loud = network(ID)
    nn.init.constant_(loud[-1].bias, 1e5)
    with pytest.raises(ValueError, match="float16's range"):
        remember(loud, opened(), 1)
