"""Studies as the command line asks for them, and what is refused before anything is trained."""

import json
import re
from pathlib import Path

import optuna
import pytest
import torch

from search.objectives.budget import NO_LIMITS, Budget
from search.objectives.costs import option_of
from search.options import Options
from search.planning.limits import check_students, smallest_student, untrained
from search.problem import Problem
from search.sweeps.settings import from_json, to_json
from studies.known import find_study
from studies.names import StudyError
from tests.trainables.translation import write_pairs
from trainables.compression.compressed_weight import compress
from trainables.models import Custom
from trainables.shipping.evaluation import open_student, ship
from trainables.tasks import Digits
from trainables.training.export_costs import counted_export


def test_what_ships_with_every_student_counts_in_the_smallest_size(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    study = find_study("text_pairs")
    task = study.make_task(tmp_path, {"vocabulary": 64})
    opened = task.open(task.load(tmp_path), torch.device("cpu"), 0)
    context = study.context(task, "0" * 16, 0)
    recipe, _ = smallest_student(study.space, context, opened)
    sizes = [
        len(ship(recipe, compress(recipe.build(), recipe), assets=each)) for each in ({}, opened.assets())
    ]
    assert sizes[1] > sizes[0] + 100
    # How well fresh weights pack varies.
    check_students(study.space, context, opened, Budget({"packed_bytes": sizes[1] + 100}))
    for bytes_ in (sizes[0] + 10, sizes[0] - 100):
        with pytest.raises(
            Problem, match=f"No student of this study keeps its packed size to {bytes_:,} bytes"
        ):
            check_students(study.space, context, opened, Budget({"packed_bytes": bytes_}))


def test_memory_that_no_student_keeps_to_is_refused_before_anything_is_trained() -> None:
    study = find_study("digits").narrowed(("qd", "int8"), (), ())
    task = study.make_task(None, {})
    opened = task.open(task.load(None), torch.device("cpu"), 0)
    context = study.context(task, "0" * 16, 0)
    files = [untrained(recipe, opened) for recipe in study.space.fastest(context)]
    measured = [counted_export(recipe, data, net) for data in files for recipe, net in [open_student(data)]]
    least = int(min(each.numbers["ram_bytes"] for each in measured))
    check_students(study.space, context, opened, Budget({"ram_bytes": least}))
    told = (
        f"keeps its activation memory to {least - 1:,} bytes: the least is about {least:,} bytes; .*--max-ram"
    )
    with pytest.raises(Problem, match=told):
        check_students(study.space, context, opened, Budget({"ram_bytes": least - 1}))


@pytest.mark.parametrize(
    "methods", [(), ("int8", "qat", "pact"), ("lsq", "pact"), ("pact", "lsq"), ("int8",)]
)
def test_the_smallest_student_is_the_one_that_is_found_when_all_are_packed(methods):
    study = find_study("digits").narrowed(methods, (), ())
    task = study.make_task(None, {})
    opened = task.open(task.load(None), torch.device("cpu"), 0)
    context = study.context(task, "0" * 16, 0)
    recipe, bytes_ = smallest_student(study.space, context, opened)
    sizes = {each: len(untrained(each, opened)) for each in study.space.smallest(context)}
    assert len(sizes) > 1 or methods == ("int8",)
    assert bytes_ == sizes[recipe] == min(sizes.values())


def test_ranges_of_inputs_are_not_measured_for_the_smallest_student_where_another_is_smaller(monkeypatch):
    study = find_study("digits")
    task = study.make_task(None, {})
    opened = task.open(task.load(None), torch.device("cpu"), 0)
    monkeypatch.setattr("trainables.shipping.evaluation.calibrate", None)
    recipe, _ = smallest_student(study.space, study.context(task, "0" * 16, 0), opened)
    assert recipe.method == "learned_step_quantization"


@pytest.mark.parametrize("name", ["macs", "ram_bytes", "onnx_bytes", "parameters"])
def test_what_is_known_of_untrained_students_is_refused_where_none_keeps_it(name):
    study = find_study("digits")
    task = study.make_task(None, {})
    opened = task.open(task.load(None), torch.device("cpu"), 0)
    context = study.context(task, "0" * 16, 0)
    with pytest.raises(
        Problem, match=r"^No student of this study keeps its .* to 1.*: the least is about"
    ) as told:
        check_students(study.space, context, opened, Budget({name: 1}))
    assert f"give a larger {option_of(name)}." in str(told.value)
    least = int(re.search(r"about ([\d,]+)", str(told.value))[1].replace(",", ""))
    check_students(study.space, context, opened, Budget({name: least}))
    with pytest.raises(Problem, match="No student"):
        check_students(study.space, context, opened, Budget({name: least - 1}))


def test_a_cost_that_no_student_can_be_measured_for_is_told_before_all_of_them_train(monkeypatch):
    study = find_study("digits")
    task = study.make_task(None, {})
    opened = task.open(task.load(None), torch.device("cpu"), 0)
    context = study.context(task, "0" * 16, 0)
    monkeypatch.setattr("search.planning.limits.cost_before", lambda data, name: None)
    with pytest.raises(Problem, match=r"^--max-ram cannot be used: no student's activation memory can be"):
        check_students(study.space, context, opened, Budget({"ram_bytes": 10**9}))
    with pytest.raises(Problem, match=r"^--size-of cannot be used: no student's ONNX size can be measured"):
        check_students(study.space, context, opened, NO_LIMITS, "onnx_bytes")
    check_students(study.space, context, opened, Budget({"mean_bits": 0.001}))  # training decides it


@pytest.mark.parametrize("name", ["digits", "phrases", "multi30k"])
def test_with_a_model_of_ones_own_every_student_is_of_it(name: str) -> None:
    own = "examples.own_translator:Translator"
    study = find_study(name, own_model=own)
    task = study.make_task(None, {})
    context = study.context(task, "0" * 16, 0)
    sampled = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [*map(optuna.trial.FixedTrial, study.space.starting_points(context))]
    for trial in (*trials, *(sampled.ask() for _ in range(20))):
        model = study.space(trial, context).model
        assert isinstance(model, Custom) and model.target == own


def test_what_a_user_asks_of_the_space_is_kept_and_means_the_same_when_a_sweep_goes_on():
    options = Options(
        "a",
        3,
        0,
        Path("store"),
        "",
        methods=("qd", "lsq"),
        fixed=("prune=no",),
        ranges=("bits=2:4",),
        budget=Budget({"packed_bytes": 16_000, "macs": 2e6, "latency_ms": 0.5}, 1.0),
        size="onnx_bytes",
        minimized=("latency_ms", "ram_bytes"),
    )
    again = from_json(Options, json.loads(json.dumps(to_json(options))))
    assert again == options
    study = find_study("digits").narrowed(again.methods, again.fixed, again.ranges)
    parameters = study.space.parameters(study.context(Digits(), "0" * 16, 0))
    assert parameters["method"].choices == ("quantized_distillation", "learned_step_quantization")
    assert (parameters["bits"].low, parameters["bits"].high) == (2, 4) and "prune" not in parameters
    with pytest.raises(
        StudyError, match=r"^The space cannot be searched so: bits must be in \[1, 8\], got bits=9\.$"
    ):
        study.narrowed((), ("bits=9",), ())


def test_nobody_asks_the_teacher_where_no_method_imitates_it() -> None:
    study = find_study("digits")
    context = study.context(Digits(), "0" * 16, 0)
    assert study.space.imitates(context)
    assert not study.narrowed(("ptq", "qat"), (), ()).space.imitates(context)


def test_a_space_without_a_method_is_refused_before_anything_is_trained() -> None:
    task = Digits()
    study = find_study("digits").narrowed(("seqkd",), (), ())
    opened = task.open(task.load(None), torch.device("cpu"), 0)
    with pytest.raises(Problem, match=r"^The space cannot be searched so: no method is left: sequence_level"):
        check_students(study.space, study.context(task, "0" * 16, 0), opened, NO_LIMITS)
