"""Samplers: places in distributions, the Sobol sequence, and trials as a Gaussian process sees them."""

import math
from itertools import product

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from search.problem import Problem
from search.sampling.places import at
from search.sampling.samplers import (
    CONTINUES,
    DIMENSIONS,
    SEEN_VALUES,
    SobolSampler,
    as_complete,
    find_sampler,
    middle,
    seed_of,
)
from spaces import Context
from spaces.architectures import fresh
from studies.known import STUDIES
from trainables.models import ConvNet
from trainables.tasks import Digits

LEFT, RIGHT = FloatDistribution(-1.0, 3.0), FloatDistribution(1e-6, 1e-3, log=True)
SPACE = {"kind": CategoricalDistribution(("a", "b")), "n": IntDistribution(1, 8), "x": LEFT, "rate": RIGHT}
DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
SHARES = st.floats(0, 1, exclude_max=True)


@given(st.sampled_from(sorted(SPACE)), SHARES, SHARES)
def test_places_lie_inside_and_in_order(name, one, other):
    distribution = SPACE[name]
    values = [at(distribution, share) for share in sorted((one, other))]
    create_trial(values=[0.0], params={name: values[0]}, distributions={name: distribution})  # it checks
    assert values == sorted(values)


def test_places_share_the_range_out_evenly():
    assert [at(SPACE["n"], share) for share in (0.0, 0.124, 0.126, 0.999)] == [1, 1, 2, 8]
    assert at(LEFT, 0.5) == 1.0
    assert at(RIGHT, 0.5) == pytest.approx(math.sqrt(1e-9))
    assert middle(SPACE) == {"kind": "b", "n": 5, "x": 1.0, "rate": at(RIGHT, 0.5)}


def drawn(number, seed=0):
    study = optuna.create_study(sampler=SobolSampler(seed, number))
    return study.ask(SPACE).params


def test_a_power_of_two_of_sobol_points_covers_evenly():
    points = [drawn(number) for number in range(32)]
    assert sorted(point["n"] for point in points) == sorted(list(range(1, 9)) * 4)
    assert sum(point["kind"] == "a" for point in points) == 16
    assert np.histogram([p["x"] for p in points], 8, (-1, 3))[0].tolist() == [4] * 8
    pairs = {(point["kind"], point["n"]) for point in points}
    assert len(pairs) == 16  # every pair, which independent draws hardly reach
    assert drawn(7) == points[7] != drawn(7, seed=1)


def test_no_space_has_more_parameters_than_the_sequence():
    for study in STUDIES:
        context = Context(Digits(), fresh(ConvNet(), ConvNet(), "0" * 16), "0" * 16, 3)
        assert len(study.space.parameters(context)) <= DIMENSIONS


def test_seeds_of_neighbours_differ():
    seeds = {seed_of(*at) for at in product(range(20), range(20), range(5))}
    assert len(seeds) == 2000


def trial(number, state, params, values=None, constraints=None, **attributes):
    kept = create_trial(
        state=state,
        values=values,
        params=params,
        distributions={name: SPACE[name] for name in params},
        user_attrs=attributes,
        constraints=constraints,
    )
    kept.number = number
    return kept


def test_a_gaussian_process_sees_whole_trials_in_two_states():
    used = {"kind": "a", "n": 3}
    trials = [
        trial(0, TrialState.COMPLETE, {**used, "x": 0.5}, [0.9, 10.0], {"size": -1.0}),
        trial(1, TrialState.PRUNED, used, None, {"size": 2.0}, **{SEEN_VALUES: [0.2, 12.0]}),
        trial(2, TrialState.PRUNED, used, None, {"size": 0.5}),
        trial(3, TrialState.FAIL, used),
        trial(4, TrialState.RUNNING, used),
    ]
    seen = as_complete(trials, DIRECTIONS, SPACE)
    assert [each.state for each in seen] == [TrialState.COMPLETE] * 4 + [TrialState.RUNNING]
    assert [each.values for each in seen] == [[0.9, 10.0], [0.2, 12.0], [0.2, 12.0], [0.2, 12.0], None]
    assert [each.constraints for each in seen] == [
        {"size": -1.0},
        {"size": 2.0},
        {"size": 0.5},
        {"size": 2.0},
        {},
    ]
    assert all(each.params.keys() == SPACE.keys() for each in seen)
    assert seen[0].params["x"] == 0.5 and seen[1].params["x"] == 1.0
    assert as_complete(trials[2:4], DIRECTIONS, SPACE) == []  # nothing to compare with yet
    goes_on = trial(5, TrialState.COMPLETE, used, [0.8, 11.0], **{CONTINUES: "00001"})
    values = [each.values for each in as_complete([*trials, goes_on], DIRECTIONS, SPACE)]
    assert [0.8, 11.0] in values and [0.2, 12.0] not in values  # what it continues is no other student


def test_an_unknown_sampler_is_told_with_those_there_are():
    with pytest.raises(
        Problem, match="'grid'; choose one of tpe, freeze-thaw, gp, nsga2, random, qmc, reinforce"
    ):
        find_sampler("grid")
