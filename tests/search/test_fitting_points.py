"""What a sweep with a limit of bytes tries first."""

import math

import pytest
import torch
from optuna.trial import FixedTrial

from search.objectives.budget import NO_LIMITS, Budget
from search.objectives.costs import PACKED
from search.planning.limits import SURE_SHARE, cost_before, fitting_points, untrained
from spaces.architectures import SLICE
from studies.job import study_of_file
from studies.known import find_study
from tests.studies.own_files import write

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    study = find_study("digits")
    task = study.make_task(None, {})
    return study.space, study.context(task, "0" * 16, 0), task.open(task.load(None), CPU, 0)


def test_without_a_limit_they_are_the_methods_defaults(digits):
    assert fitting_points(*digits, NO_LIMITS) == digits[0].starting_points(digits[1])
    assert fitting_points(*digits, Budget({PACKED: 10**9})) == digits[0].starting_points(digits[1])


@pytest.mark.parametrize("limit", [3_000, 20_000])
def test_they_fit_or_are_as_small_as_they_get(digits, limit):
    space, context, task = digits
    fitted = fitting_points(space, context, task, Budget({PACKED: limit}))
    defaults = space.starting_points(context)
    assert {point["method"] for point in fitted} == {point["method"] for point in defaults}
    smallest = space.opened(context).smaller(defaults[0], 1.0)
    fit = 0
    for point in fitted:
        size = len(untrained(space(FixedTrial(point), context), task))
        within = size * SURE_SHARE <= limit * 1.02  # ranges of inputs were not counted
        fit += within
        assert within or (point["width"], point["depth"]) == (smallest["width"], smallest["depth"])
        assert math.isfinite(point["width"]) and point in ([*defaults, point])
    assert fit >= len(fitted) // 2
    if limit == 20_000:
        assert any(point in defaults for point in fitted)  # what fits stays as it is


def test_limits_of_a_devices_numbers_move_none(digits):
    known, device = {"macs": 60_000}, {"device_latency_ms": 1.0}
    fitted = fitting_points(*digits, Budget(known | device))
    assert fitted == fitting_points(*digits, Budget(known))
    assert fitting_points(*digits, Budget(device)) == digits[0].starting_points(digits[1])


def test_they_keep_a_limit_of_work_that_is_known_before_training(digits):
    space, context, task = digits
    fitted = fitting_points(space, context, task, Budget({"macs": 60_000}))
    found = [cost_before(untrained(space(FixedTrial(point), context), task), "macs") for point in fitted]
    assert (
        max(found)
        <= 60_000
        < max(
            cost_before(untrained(space(FixedTrial(point), context), task), "macs")
            for point in space.starting_points(context)
        )
    )


def test_of_ones_own_network_slices_are_tried_where_the_whole_does_not_fit(tmp_path):
    study = study_of_file(write(tmp_path, name="own_net_of_points"))
    task = study.make_task(None, {})
    opened, context = task.open(study.arrays, CPU, 0), study.context(task, "0" * 16, 0)
    assert any(point["start"] == "teacher" for point in study.space.starting_points(context))
    fitted = fitting_points(study.space, context, opened, Budget({PACKED: 700}))
    sizes = [len(untrained(study.space(FixedTrial(point), context), opened)) for point in fitted]
    whole = [size for point, size in zip(fitted, sizes, strict=True) if point["start"] != SLICE]
    assert len(whole) < len(fitted) / 2 and all(size * SURE_SHARE <= 700 for size in whole)
    assert min(sizes) * SURE_SHARE <= 700
