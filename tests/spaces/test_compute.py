"""Students with trained weights have equal compute: the smaller one is, the longer it trains."""

from dataclasses import replace

import optuna
import pytest

from search.planning.compute import epochs_in_words, with_compute
from search.problem import Problem
from spaces import Context, Space
from spaces.architectures import FRESH, SLICE, TEACHER, fresh
from spaces.compute import epochs_for
from studies.known import find_study
from tests.recipes import STUDENT, TEACHER_ID
from trainables.methods.computation import dense_and_sliced_macs, work_share
from trainables.models import ConvNet
from trainables.origins import Fresh, Slice, Trained
from trainables.slicing.cut import Cut
from trainables.tasks import Digits

TASK = Digits()
TEACHER_NETWORK = ConvNet(stages=((32, 32), (64, 64)), hidden=(64,), kernel_size=3, depth=1)
WHOLE = Trained(TEACHER_NETWORK, TEACHER_ID)
SLICED = Slice(WHOLE, Cut(round_to=1))


def slice_of(width, **cut):
    return replace(SLICED, cut=replace(SLICED.cut, width=width, **cut))


@pytest.mark.parametrize(
    "cut", [{"width": 0.2}, {"width": 0.6}, {"width": 0.5, "first": 1.6}, {"width": 0.5, "last": 0.6}]
)
def test_the_work_of_a_slice_is_known_without_cutting_it(cut):
    whole, left = dense_and_sliced_macs(slice_of(**cut), TASK)
    assert work_share(slice_of(**cut), TASK) == pytest.approx(left / whole, rel=0.25)


def test_what_is_no_slice_computes_all_and_narrower_ones_less():
    assert work_share(WHOLE, TASK) == 1
    assert work_share(slice_of(1.0), TASK) == 1
    shares = [work_share(slice_of(width), TASK) for width in (0.1, 0.3, 0.5, 0.9)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.05


def test_equal_compute_is_more_epochs_for_narrower_students():
    share = work_share(slice_of(0.5), TASK)
    assert epochs_for(slice_of(0.5), TASK, 20, 1.8) == round(1.8 / share) == 7
    assert epochs_for(WHOLE, TASK, 20, 1.8) == 2
    assert epochs_for(slice_of(0.1), TASK, 20, 1.8) == 20  # no more than all
    assert epochs_for(WHOLE, TASK, 20, 0.1) == 1  # and at least one
    assert epochs_for(Fresh(STUDENT), TASK, 20, 1.8) == 20  # begins with no trained weights
    assert epochs_for(replace(slice_of(0.5), restart=True), TASK, 20, 1.8) == 20
    assert epochs_for(slice_of(0.5), TASK, 20, None) == 20


def drawn(method, start, width, compute=1.8):
    origins = (*fresh(STUDENT), (SLICE, SLICED), (TEACHER, WHOLE))
    context = Context(TASK, origins, TEACHER_ID, 20, compute=compute)
    space = Space(methods=(method,), fixed={"start": start, "prune": False, "depth_share": 1.0})
    point = next(iter(space.starting_points(context)))
    wanted = {**point, "width": width, "width_first": 1.0, "width_last": 1.0}
    return space(optuna.trial.FixedTrial(wanted), context)


def test_recipes_hold_the_epochs_that_they_have():
    recipe = drawn("quantized_distillation", SLICE, 0.5)
    assert recipe.epochs == 7
    assert drawn("quantized_distillation", SLICE, 0.5, None).epochs == 20
    assert drawn("quantized_distillation", TEACHER, 0.5).epochs == 2
    late = drawn("quantization_aware_training", SLICE, 0.5)
    assert [phase.epochs for phase in late.phases] == [6, 1]


def test_a_method_has_the_fewest_epochs_that_its_phases_need():
    assert drawn("quantization_aware_training", TEACHER, 1.0, 0.5).epochs == 2
    assert drawn("alternating_quantization", TEACHER, 1.0, 0.5).epochs == 3


def test_students_with_new_weights_have_all_epochs():
    assert drawn("quantized_distillation", FRESH, 0.5).epochs == 20
    assert drawn("scratch_e", SLICE, 0.5).epochs == 20  # the shape of a slice, and nothing of its weights


def test_a_layer_that_nobody_may_cut_computes_what_it_did():
    kept = replace(SLICED, cut=replace(SLICED.cut, keep=("*",), width=0.5))
    assert work_share(kept, TASK) == 1


def test_a_study_says_how_much_and_the_command_line_something_else():
    said = []
    study = replace(find_study("digits"), compute=0.09, epochs=20)
    context = Context(TASK, ((SLICE, SLICED),), TEACHER_ID, 20)
    assert with_compute(context, study, None, said.append).compute == pytest.approx(1.8)
    assert with_compute(context, study, 0.5, said.append).compute == 0.5
    assert with_compute(context, study, 0.0, said.append).compute is None
    assert with_compute(context, replace(study, compute=None), None, said.append).compute is None
    assert not said


def test_what_cannot_be_counted_is_told(monkeypatch):
    def fail(origin, task):
        raise ValueError("nobody can count it")

    said = []
    study = replace(find_study("digits"), compute=0.09, epochs=20)
    context = Context(TASK, ((SLICE, SLICED),), TEACHER_ID, 20)
    monkeypatch.setattr("search.planning.compute.work_share", fail)
    assert with_compute(context, study, None, said.append).compute is None
    assert said == ["every student trains 20 epochs, as its compute cannot be told: nobody can count it"]
    with pytest.raises(Problem, match="cannot be kept: nobody can count it; leave it out"):
        with_compute(context, study, 2.0, said.append)
    with pytest.raises(Problem, match="--budget is for students that begin with trained weights"):
        with_compute(replace(context, origins=fresh(STUDENT)), study, 1.0, said.append)


def test_how_long_students_train_in_words():
    assert epochs_in_words(20, None) == "20 epochs"
    assert epochs_in_words(20, 1.8) == (
        "at most 20 epochs, with the compute of 1.8 epochs of the whole network"
    )


def test_the_learning_rate_of_a_slice_is_the_networks_divided_by_its_width():
    def rate(start, width):
        (phase,) = drawn("quantized_distillation", start, width).phases
        return phase.optimizer.learning_rate

    whole = rate(TEACHER, 1.0)
    assert rate(SLICE, 1.0) == whole
    assert rate(SLICE, 0.25) == pytest.approx(4 * whole)
    assert rate(FRESH, 0.25) == whole  # whose study says what is right for it


def test_a_learning_rate_stays_within_what_is_accepted():
    origins = ((SLICE, SLICED), (TEACHER, WHOLE))
    context = Context(TASK, origins, TEACHER_ID, 20)
    fixed = {"start": SLICE, "prune": False, "learning_rate": 50.0, "width": 0.1}
    space = Space(methods=("full_precision",), fixed=fixed)
    recipe = space(optuna.trial.FixedTrial(space.starting_points(context)[0]), context)
    assert recipe.phases[0].optimizer.learning_rate == 100
