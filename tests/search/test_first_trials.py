"""With which trials a search that learns from few begins."""

from dataclasses import replace

import pytest
import torch

from search.objectives.budget import Budget
from search.objectives.costs import PACKED
from search.planning.first_trials import FEW, SHARES, SLICES, WHOLE, first_trials
from search.planning.limits import fitting_points
from spaces.architectures import SLICE, TEACHER
from studies.job import study_of_file
from studies.known import find_study
from tests.studies.own_files import write


def opened(study, **narrower):
    task = study.make_task(None, {})
    space = study.space if not narrower else replace(study.space, **narrower)
    return space, study.context(task, "0" * 16, 0)


def own(tmp_path, **narrower):
    return opened(study_of_file(write(tmp_path, name="own_net_of_sizes")), **narrower)


def test_few_that_quantize_in_sizes_between_the_smallest_and_the_studys():
    space, context = opened(find_study("digits"))
    points = space.starting_points(context)
    found = first_trials(space, context, points)
    assert len(found) == FEW < len(points)
    defaults = space.opened(context).defaults
    assert all(defaults[point["method"]].quantizes for point in found)
    before = {point["method"]: point for point in reversed(points)}
    smallest = space.opened(context).smaller(before[found[0]["method"]], 1.0)
    assert found[0] == smallest and SHARES[:2] == (1.0, 0.0)
    own = before[found[1]["method"]]
    assert (found[1]["width"], found[1]["depth"]) == pytest.approx((own["width"], own["depth"]))
    assert len({point["width"] for point in found}) == len(SHARES)
    assert all(smallest["width"] <= each["width"] <= before[each["method"]]["width"] for each in found)


def test_every_method_that_was_chosen_is_tried():
    names = ("full_precision", "quantized_distillation", "learned_step_quantization", "early_exits")
    names += ("knowledge_distillation", "apprentice_joint")
    space, context = opened(find_study("digits"), methods=names)
    found = first_trials(space, context, space.starting_points(context))
    assert {point["method"] for point in found} == set(names)


def test_every_architecture_is_tried():
    space, context = opened(find_study("keywords"))
    found = first_trials(space, context, space.starting_points(context))
    assert {point["start"] for point in found} == set(space.opened(context).fresh)


def test_a_network_of_ones_own_comes_first_in_few_bits_and_in_eight_and_then_slices_of_it(tmp_path):
    space, context = own(tmp_path)
    found = first_trials(space, context, space.starting_points(context))
    told = [(point["method"], point["start"], point.get("bits")) for point in found[:3]]
    rounded, distilled = "post_training_quantization", "quantized_distillation"
    assert told == [(rounded, TEACHER, 4), (rounded, TEACHER, 8), (distilled, TEACHER, 4)]
    assert [point["start"] for point in found[3:]] == [SLICE] * (FEW - WHOLE)
    widths = [0.1**share for share in SLICES]
    assert [point["width"] for point in found[3:]] == pytest.approx(widths)


def test_eight_bits_are_left_out_where_they_are_not_searched(tmp_path):
    space, context = own(tmp_path, ranges={"bits": (2, 4)})
    found = first_trials(space, context, space.starting_points(context))
    assert [point["start"] for point in found] == [TEACHER] * WHOLE + [SLICE] * (FEW - WHOLE)


def test_eight_bits_are_left_out_where_there_are_limits(tmp_path):
    space, context = own(tmp_path)
    found = first_trials(space, context, space.starting_points(context), limited=True)
    assert [point["start"] for point in found] == [TEACHER] * WHOLE + [SLICE] * (FEW - WHOLE)


def test_of_two_chosen_methods_one_has_a_slice(tmp_path):
    space, context = own(
        tmp_path, methods=("post_training_quantization", "learned_step_quantization"), also=()
    )
    found = first_trials(space, context, space.starting_points(context))
    assert [point["start"] for point in found] == [TEACHER, SLICE]
    alone, context = own(tmp_path, methods=("learned_step_quantization",), also=())
    found = first_trials(alone, context, alone.starting_points(context))
    assert [point["start"] for point in found] == [TEACHER]


def test_where_only_the_whole_network_is_a_student_it_is_all_there_is(tmp_path):
    space, context = own(tmp_path, fixed={"start": TEACHER})
    found = first_trials(space, context, space.starting_points(context))
    assert len(found) == FEW and not any("width" in point for point in found)


def test_students_that_may_begin_with_the_teachers_weights_are_small_ones_too():
    study = find_study("phrases")
    space, context = opened(study)
    found = first_trials(space, context, space.starting_points(context))
    starts = [point["start"] for point in found]
    assert starts.count(TEACHER) == WHOLE and len(found) == FEW
    assert all("width" in point for point in found if point["start"] != TEACHER)


def test_of_chosen_methods_the_first_two_have_the_whole_network_and_the_others_slices(tmp_path):
    names = (
        "quantized_distillation",
        "learned_step_quantization",
        "knowledge_distillation",
        "apprentice_joint",
    )
    space, context = own(tmp_path, methods=names)
    found = first_trials(space, context, space.starting_points(context))
    assert [point["start"] for point in found] == [TEACHER] * WHOLE + [SLICE] * (len(found) - WHOLE)
    assert {point["method"] for point in found} == set(names)


def test_what_fits_into_a_limit_is_not_made_larger():
    study = find_study("digits")
    task = study.make_task(None, {})
    space, context = study.space, study.context(task, "0" * 16, 0)
    loaded = task.open(task.load(None), torch.device("cpu"), 0)
    fitted = fitting_points(space, context, loaded, Budget({PACKED: 4000}))
    of = {point["method"]: point for point in reversed(fitted)}
    for after in first_trials(space, context, fitted):
        before = of[after["method"]]
        assert after["width"] <= before["width"] and after["depth"] <= before["depth"]
