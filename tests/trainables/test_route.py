"""Route constrained optimization: its anchors, its phases, and that it goes on bit for bit."""

import itertools
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from spaces import Context, Space
from spaces.architectures import fresh
from tests.recipes import STUDENT, TEACHER_ID
from tests.trainables.teachers import local_sources, small_route, small_teacher
from trainables import methods
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.pruners import Magnitude
from trainables.quantizers import Uniform
from trainables.shipping.evaluation import evaluate_file
from trainables.tasks import Digits
from trainables.teachers import Route
from trainables.teachers.anchors import (
    CHECKPOINTS,
    equal_anchors,
    farthest,
    hardness,
    route_epochs,
)
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
TASK = Digits(batch_size=256)
GIVEN = methods.Setting(TASK, Fresh(STUDENT), 6, teacher=TEACHER_ID, teacher_views=None)
OPTIMIZER = AdamW(5e-3)
CHECKPOINTS_OF_DOUBLE = 6


@pytest.fixture(scope="module")
def arrays():
    whole = TASK.load(None)
    return {name: values[:512] if name.startswith("train") else values for name, values in whole.items()}


def trainer_of(recipe, arrays, sources=None):
    torch.set_num_threads(1)
    return Trainer(
        recipe, recipe.task.open(arrays, CPU, recipe.seed), sources or local_sources(recipe.task), CPU
    )


def trained(recipe, arrays, sources=None):
    trainer = trainer_of(recipe, arrays, sources)
    while not trainer.finished:
        trainer.train_epoch()
    return trainer


def chosen(trainer):
    return trainer.learners[0].policy.own["anchors"].chosen.tolist()


@given(st.integers(1, 200), st.integers(1, 64))
def test_equal_anchors_go_up_to_the_trained_network(checkpoints, anchors):
    found = equal_anchors(checkpoints, anchors)
    assert len(found) == min(checkpoints, anchors)
    assert all(a < b for a, b in itertools.pairwise(found))
    assert found[0] >= 0 and found[-1] == checkpoints - 1
    if checkpoints % anchors == 0:
        assert {b - a for a, b in itertools.pairwise(found)} <= {checkpoints // anchors}


@given(st.integers(1, 1000))
def test_a_training_keeps_few_checkpoints_at_equal_distances_and_its_end(epochs):
    kept = route_epochs(epochs)
    assert len(kept) == min(epochs, CHECKPOINTS) and kept[-1] == epochs
    gaps = [b - a for a, b in zip((0, *kept), kept, strict=False)]
    assert max(gaps) - min(gaps) <= 1 and min(gaps) > 0


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=20), st.integers(0, 18), st.floats(0, 1e9))
def test_greedy_search_goes_on_and_not_farther_than_the_threshold(values, current, threshold):
    current = min(current, len(values) - 2)
    found = farthest(values, current, threshold)
    assert found > current
    beyond = [value for value in values[found + 1 :]]
    assert all(value > threshold * values[current] for value in beyond)
    assert found == current + 1 or values[found] <= threshold * values[current]
    assert farthest(values, current, 1e9) == len(values) - 1
    assert farthest(values, current, 0.0) == current + 1


def test_greedy_search_compares_with_the_first_checkpoint_at_the_start():
    assert farthest([1.0, 1.5, 2.5, 2.0, 4.0], None, 2.0) == 3
    assert farthest([1.0, 1.5, 2.5], None, 1.0) == 0
    assert farthest([1.0, 1.5, 2.5], 2, 1.0) == 2  # at the end it stays


def test_hardness_is_the_divergence_on_validation_data(arrays):
    task = TASK.open(arrays, CPU, 0)
    student, checkpoint = small_teacher(TASK), small_route(TASK)[3]
    student.train()
    found = hardness(student, checkpoint, task)
    assert student.training
    student.eval()
    inputs = torch.cat([batch.inputs for batch in task.in_order("validation")])
    with torch.no_grad():
        p, q = (torch.softmax(network(inputs).double(), 1) for network in (checkpoint, student))
    assert found == pytest.approx(float((p * (p / q).log()).sum(1).mean()), rel=1e-4)
    assert hardness(student, small_teacher(TASK), task) == pytest.approx(0.0, abs=1e-6)


def test_one_anchor_is_distillation_bit_for_bit(arrays):
    plain = trained(methods.knowledge_distillation(GIVEN, optimizer=OPTIMIZER), arrays).student.state_dict()
    for method in (methods.route_constrained_optimization, methods.greedy_route):
        ours = trained(method(GIVEN, anchors=1, optimizer=OPTIMIZER), arrays).student.state_dict()
        assert ours.keys() == plain.keys() and all(torch.equal(ours[key], plain[key]) for key in plain)


@pytest.mark.parametrize(("epochs", "anchors"), [(6, 4), (7, 3), (3, 8), (5, 5)])
@pytest.mark.parametrize("method", [methods.route_constrained_optimization, methods.greedy_route])
def test_the_epochs_are_shared_out_among_the_anchors(method, epochs, anchors):
    recipe = method(replace(GIVEN, epochs=epochs), anchors=anchors)
    lengths = [phase.epochs for phase in recipe.phases]
    assert sum(lengths) == epochs and len(lengths) == min(anchors, epochs) == recipe.teacher.anchors
    assert max(lengths) - min(lengths) <= 1 and min(lengths) > 0


def test_each_phase_imitates_its_anchor_with_a_new_optimizer(arrays):
    recipe = methods.route_constrained_optimization(GIVEN, anchors=3, optimizer=OPTIMIZER)
    trainer = trainer_of(recipe, arrays)
    policy, route = trainer.learners[0].policy, small_route(TASK)
    for phase, checkpoint in enumerate((2, 4, 6)):
        for epoch in range(2):
            wanted, now = route[checkpoint].state_dict(), policy.network.state_dict()
            assert all(torch.equal(now[name], wanted[name]) for name in wanted), (phase, epoch)
            states = trainer.learners[0]._optimizer.state_dict()["state"]
            assert bool(states) == (epoch == 1)
            trainer.train_epoch()
    assert chosen(trainer) == [1, 3, 5]
    ended = small_teacher(TASK).state_dict()
    assert all(torch.equal(value, ended[name]) for name, value in policy.network.state_dict().items())


def test_greedy_search_with_the_ends_of_its_threshold(arrays):
    def anchors_of(threshold):
        recipe = methods.greedy_route(GIVEN, anchors=4, threshold=threshold, optimizer=OPTIMIZER)
        return chosen(trained(recipe, arrays))

    assert anchors_of(1e9) == [5, 5, 5, 5]
    assert anchors_of(0.0) == [0, 1, 2, 5]
    between = anchors_of(1.2)
    assert between[-1] == 5 and all(a < b or b == 5 for a, b in itertools.pairwise(between))


def test_a_route_shorter_than_the_anchors_ends_at_the_trained_network(arrays):
    sources = LocalSources(lambda name: small_teacher(TASK), route=lambda name: small_route(TASK, 2))
    for method in (methods.route_constrained_optimization, methods.greedy_route):
        recipe = method(replace(GIVEN, epochs=4), anchors=4, optimizer=OPTIMIZER)
        trainer = trained(recipe, arrays, sources)
        assert chosen(trainer)[1:] == [1, 1, 1]


ROUTES = {
    "equal": methods.route_constrained_optimization(GIVEN, anchors=3, optimizer=OPTIMIZER),
    "greedy": methods.greedy_route(GIVEN, anchors=3, threshold=1.2, optimizer=OPTIMIZER),
    "greedy, quantized and pruned": methods.greedy_route(
        replace(GIVEN, pruner=Magnitude(0.5)),
        anchors=3,
        threshold=1.2,
        optimizer=OPTIMIZER,
        quantizer=Uniform(4),
    ),
}


@pytest.mark.parametrize("stop", [1, 2, 5])  # within a phase, as one begins, and in the last
@pytest.mark.parametrize("name", ROUTES)
def test_stopping_and_resuming_changes_no_bit(name, stop, arrays, tmp_path):
    straight = trainer_of(ROUTES[name], arrays)
    while not straight.finished:
        if straight.epoch == stop:
            straight.save(tmp_path / "half")
        straight.train_epoch()
    straight.save(tmp_path / "straight")
    resumed = trainer_of(ROUTES[name], arrays)
    resumed.load(tmp_path / "half")
    while not resumed.finished:
        resumed.train_epoch()
    resumed.save(tmp_path / "resumed")
    ours, theirs = (
        safetensors.torch.load_file(tmp_path / each / "state.safetensors") for each in ("straight", "resumed")
    )
    assert ours.keys() == theirs.keys() and "0.teacher.anchors.chosen" in ours
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    file = straight.ship()
    assert file == resumed.ship()
    assert evaluate_file(file, straight.task, "test") == straight.task.evaluate(straight.student, "test")


def test_a_teacher_that_was_given_trained_has_no_route():
    recipe = methods.route_constrained_optimization(GIVEN)
    with pytest.raises(ValueError, match="given trained"):
        methods.greedy_route(replace(GIVEN, teacher_route=None))
    context = Context(TASK, fresh(STUDENT), TEACHER_ID, 4, teacher_route=None)
    left_out = Space().left_out(context)
    assert {"route_constrained_optimization", "greedy_route"} <= left_out.keys()
    assert recipe.teacher.needs_route and not Space(methods=("kd",)).opened(context).left_out
    whole = LocalSources(lambda name: small_teacher(TASK))
    with pytest.raises(ValueError, match=f"no checkpoints along the training of {TEACHER_ID}"):
        trainer_of(recipe, TASK.load(None), whole)


def test_a_strategy_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="strategy must be one of 'equal', 'greedy', got strategy='fast'"):
        Route(TEACHER_ID, strategy="fast")
