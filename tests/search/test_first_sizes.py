"""In which sizes a search that learns from few begins."""

import pytest
import torch

from search.objectives.budget import Budget
from search.objectives.costs import PACKED
from search.planning.first_sizes import SHARES, WHOLE, spread_sizes
from search.planning.limits import fitting_points
from spaces.architectures import SLICE, TEACHER
from studies.job import study_of_file
from studies.known import find_study
from tests.studies.own_files import write


def opened(study):
    task = study.make_task(None, {})
    return study.space, study.context(task, "0" * 16, 0)


def test_sizes_lie_between_the_smallest_and_the_studys():
    space, context = opened(find_study("digits"))
    points = space.starting_points(context)
    spread = spread_sizes(space, context, points)
    assert [point["method"] for point in spread] == [point["method"] for point in points]
    smallest = space.opened(context).smaller(points[0], 1.0)
    assert spread[0] == smallest and SHARES[0] == 1.0
    assert len({point["width"] for point in spread}) == len(SHARES)
    for point, before in zip(spread, points, strict=True):
        assert smallest["width"] <= point["width"] <= before["width"]


def test_most_that_would_be_the_whole_of_a_network_are_slices_of_it(tmp_path):
    space, context = opened(study_of_file(write(tmp_path, name="own_net_of_sizes")))
    points = space.starting_points(context)
    whole = [point["method"] for point in points if point["start"] == TEACHER]
    spread = spread_sizes(space, context, points)
    kept = [point for point in spread if point["start"] == TEACHER]
    assert [point["method"] for point in kept] == whole[::WHOLE] and len(whole) > WHOLE
    first, rest = kept[0]["method"], [point["method"] for point in points]
    rest.remove(first)
    assert [point["method"] for point in spread] == [first, *rest], "the network as it is comes first"
    slices = [point for point in spread if point["start"] == SLICE]
    assert len(slices) == len(points) - len(kept)
    widths = [point["width"] for point in slices if point["method"] in whole]
    assert widths[:4] == pytest.approx([0.1**0.75, 0.1**0.25, 0.1, 0.1**0.5]), "from the whole network on"


def test_what_fits_into_a_limit_is_not_made_larger():
    study = find_study("digits")
    task = study.make_task(None, {})
    space, context = study.space, study.context(task, "0" * 16, 0)
    loaded = task.open(task.load(None), torch.device("cpu"), 0)
    fitted = fitting_points(space, context, loaded, Budget({PACKED: 4000}))
    spread = spread_sizes(space, context, fitted)
    assert [point["method"] for point in spread] == [point["method"] for point in fitted]
    for after, before in zip(spread, fitted, strict=True):
        assert after["width"] <= before["width"] and after["depth"] <= before["depth"]
