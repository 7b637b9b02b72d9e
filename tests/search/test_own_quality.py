"""A sweep by a quality of one's own, of which less is better: what is judged, stored and printed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner

from rayduce import Front
from rayduce.commands.app import app
from search.log.event_log import read_log
from search.objectives.aliases import Candidate, aliases
from search.objectives.budget import Budget
from search.objectives.front import front_so_far, worth
from search.objectives.yardstick import Yardstick
from search.planning.limits import _check_drop
from search.problem import Problem
from search.sampling.warm_start import check_kinds
from search.stopping.halving import Rules
from search.stopping.scheduler import ParetoScheduler
from search.store.frames import records
from search.store.mlflow_client import StoreError, connect
from search.store.store import open_store
from search.sweeps.records import records_of
from search.tracking.delivery import SWEEP
from search.tracking.notes import Student, sweep_note, trial_note
from tests.recipes import STUDENT
from tests.stores import add_trial, copy_blank, final, make_blank, read_lines, tracker, write_lines
from trainables import methods
from trainables.metrics import Quality, own_quality, quality_of, spelled
from trainables.metrics.own import TAKEN
from trainables.origins import Fresh
from trainables.tasks import Digits
from trainables.trainable import StudentTrial
from trainables.training.trainer import Diverged

RMSE = own_quality("rmse", "down", label="RMSE", unit="m")
RECIPE = methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), 4))
VALUES = st.integers(-8, 8).map(lambda n: n / 7)


@st.composite
def mirrored(draw: st.DrawFn) -> tuple[Quality, Quality]:
    """A quality of which less is better, and the same with all signs changed, of which more is."""
    end, scale = draw(st.sampled_from([None, -2.0, 0.0])), draw(st.sampled_from([1.0, 100.0]))
    worst = draw(st.sampled_from([None, 1.0]))
    down = own_quality("error", "down", scale=scale, unit="m", lowest=end, highest=worst)
    best, least = (None if each is None else -each for each in (end, worst))
    return down, own_quality("error", "up", scale=scale, unit="m", lowest=least, highest=best)


MEASURED = st.lists(st.tuples(VALUES, st.integers(1, 9).map(float)), min_size=1, max_size=10)


@given(mirrored(), MEASURED, VALUES, st.none() | st.sampled_from([0.0, 0.5, 30.0]))
def test_a_quality_and_its_mirror_image_are_judged_alike(
    pair: tuple[Quality, Quality], measured: list[tuple[float, float]], teacher: float, drop: float | None
) -> None:
    found = []
    for quality, sign in zip(pair, (1.0, -1.0), strict=True):
        yardstick = Yardstick(quality, {quality.validation: sign * teacher}, Budget(max_drop=drop))
        students = {
            str(i): {quality.validation: sign * value, "packed_bytes": size}
            for i, (value, size) in enumerate(measured)
        }
        frame = pd.DataFrame([*students.values()]).assign(state="finished", feasible=True)
        members = yardstick.front(students)
        candidates = {
            key: Candidate(key, students[key]["packed_bytes"], students[key][quality.validation])
            for key in members
        }
        found.append(
            (
                members,
                aliases(candidates, quality, sign * teacher),
                front_so_far(frame, quality, ["packed_bytes"]).tolist(),
                [yardstick.over(each) for each in students.values()],
                [yardstick.constraints(each) for each in students.values()],
                worth([sign * value for value, _ in measured], quality, sign * teacher).tolist(),
            )
        )
    assert found[0] == found[1]


@given(mirrored(), st.lists(st.tuples(VALUES, st.integers(1, 9)), min_size=40, max_size=40))
def test_a_quality_and_its_mirror_image_end_the_same_trials(
    pair: tuple[Quality, Quality], drawn: list[tuple[float, int]]
) -> None:
    reasons: list[list[str]] = []
    for quality, sign in zip(pair, (1.0, -1.0), strict=True):
        scheduler = ParetoScheduler(quality, ("packed_bytes",), Rules(grace=1, revive=True))
        reasons.append([])
        for number, (value, size) in enumerate(drawn):
            name, epoch = f"{number // 5:05d}", number % 5
            result = {"epoch": epoch, quality.validation: sign * value, "packed_bytes": 100 * size}
            reasons[-1].append(scheduler.learn(name, RECIPE, result))
            if reasons[-1][-1]:
                scheduler.ended(name, "pruned")
            reasons[-1].append(str(scheduler.promising()))
    assert reasons[0] == reasons[1]


@given(st.lists(st.tuples(VALUES, st.integers(1, 9)), min_size=40, max_size=40), st.integers(-3, 3))
def test_without_an_end_of_the_range_where_zero_lies_decides_nothing(
    drawn: list[tuple[float, int]], moved: int
) -> None:
    reasons: list[list[str]] = []
    for by in (0, 2**20 * moved):  # exact, as the values are: sevenths would round
        scheduler = ParetoScheduler(RMSE, ("packed_bytes",), Rules(grace=1))
        reasons.append([])
        for number, (value, size) in enumerate(drawn):
            result = {"epoch": number % 5, RMSE.validation: round(7 * value) + by, "packed_bytes": 100 * size}
            reasons[-1].append(scheduler.learn(f"{number // 5:05d}", RECIPE, result))
    assert reasons[0] == reasons[1]


def test_a_worse_course_ends_early_and_a_better_one_goes_on() -> None:
    scheduler = ParetoScheduler(RMSE, ("packed_bytes",), Rules())
    for number in range(8):
        for epoch, error in enumerate((0.9, 0.3, 0.1, 0.06, 0.05)):
            result = {"epoch": epoch, RMSE.validation: error, "packed_bytes": 500 + number}
            scheduler.learn(f"{number:05d}", RECIPE, result)
    bad = {"epoch": 3, RMSE.validation: 0.5, "packed_bytes": 600}
    good = {"epoch": 3, RMSE.validation: 0.01, "packed_bytes": 600}
    assert "none of 8 finished students improved" in scheduler.learn("bad", RECIPE, bad)
    assert scheduler.learn("good", RECIPE, good) == ""


def test_optuna_is_told_to_minimise_it() -> None:
    yardstick = Yardstick(RMSE)
    assert yardstick.directions == ["minimize", "minimize"]
    assert yardstick.objectives({RMSE.validation: 0.5, "packed_bytes": 1024}) == [0.5, 10.0]
    diverged = {"a": {RMSE.validation: math.inf, "packed_bytes": 1.0}, "b": {RMSE.validation: math.nan}}
    assert yardstick.front({**diverged, "c": {RMSE.validation: 9.0, "packed_bytes": 2.0}}) == ["c"]
    share = own_quality("error_rate", "down", lowest=0, highest=1)
    worst = {"a": {share.validation: 1.0, "packed_bytes": 1.0}}
    assert Yardstick(share).front(worst) == [], "it has learnt nothing"


def test_the_sentences_are_in_the_quality_s_own_words() -> None:
    budget = Budget(max_drop=0.01)
    assert budget.text(RMSE) == "at most 0.01 m of validation RMSE above the teacher"
    assert budget.exceeded({RMSE.validation: 0.05, "packed_bytes": 1}, RMSE, 0.03) == (
        "it loses 0.02 m of RMSE to the teacher, 0.01 more than 0.01"
    )
    yardstick = Yardstick(RMSE, {"rmse": 0.03, RMSE.validation: 0.03, "packed_bytes": 100_000})
    measured = {RMSE.validation: 0.05, "rmse": 0.02, "packed_bytes": 9_000, "compression_ratio": 11.1}
    student = Student("s", "a recipe", "finished", measured)
    assert trial_note(student, yardstick) == (
        "**0.02000 m test RMSE in 9 kB, 11.1 times smaller than the teacher.**\n\n"
        "- test RMSE 0.02000 m, 0.01000 m below the teacher's\n"
        "- validation RMSE 0.05000 m, 0.02000 m above the teacher's\n\n"
        "a recipe"
    )
    assert "validation RMSE | test RMSE" in sweep_note("", {"a": student}, ["a"], yardstick, {})


def test_names_of_columns_are_taken() -> None:
    """A quality that is called as a column would stand in its place."""
    from search.store.frames import _AFTER_METRICS, _BEFORE_METRICS, SWEEP_COLUMNS
    from trainables.metrics import METRICS

    taken = TAKEN | {metric.name for metric in METRICS}
    columns = {*_AFTER_METRICS, *_BEFORE_METRICS, *SWEEP_COLUMNS} - {
        name for name in SWEEP_COLUMNS if name.startswith("teacher_")
    }
    assert columns | {"packed_file", "epoch", "state", "done", "source", "method", "split"} <= taken


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a finished sweep by RMSE."""
    blank = make_blank(tmp_path_factory.mktemp("blank") / "mlflow.db")
    folder = copy_blank(blank, tmp_path_factory.mktemp("own"))
    made = tracker(folder, "depth-1", "depth")
    made.open(Budget(max_drop=0.02).params(), {"rayduce.metric": spelled(RMSE)})
    made.annotate(SWEEP, {"teacher_validation_rmse": 0.0123, "teacher_packed_bytes": 100_000}, {})
    for number, (error, size) in enumerate([(0.0299, 1_000), (0.0150, 4_000), (0.0140, 9_000), (0.05, 500)]):
        add_trial(made, f"{number:05d}", final(error, size, "rmse"), name=f"qd-4bit-b256-d2-w0.{number}")
    yardstick = Yardstick(RMSE, {"rmse": 0.0125, RMSE.validation: 0.0123, "packed_bytes": 100_000.0})
    known = {
        f"{number:05d}": {**final(error, size, "rmse")}
        for number, (error, size) in enumerate([(0.0299, 1_000), (0.0150, 4_000), (0.0140, 9_000)])
    }
    front = yardstick.front(known)
    for trial_id in front:
        test = {"rmse": 1.1 * known[trial_id]["validation_rmse"]}
        made.annotate(trial_id, test, {"front": "true", "feasible": "true"})
    end_sweep(made, yardstick, known, front)
    made.close()
    return folder


def end_sweep(made: Any, yardstick: Yardstick, known: dict[str, Any], front: list[str]) -> None:
    candidates = {
        key: Candidate(key, known[key]["packed_bytes"], known[key][RMSE.validation]) for key in front
    }
    chosen = aliases(candidates, RMSE, yardstick.teacher_validation)
    facts = {f"teacher_{name}": value for name, value in yardstick.teacher.items()}
    descriptions = {trial_id: "A student." for trial_id in sorted(set(chosen.values()))}
    made.finish_sweep("finished", facts, {}, {}, aliases=chosen, descriptions=descriptions)


def test_the_tag_spells_it_and_metrics_go_by_its_name(folder: Path) -> None:
    client = connect(f"sqlite:///{folder / 'mlflow.db'}", create=False)
    found = open_store(folder).sweep("depth-1")
    run = client.get_run(found.run_id)
    assert run.data.tags["rayduce.metric"] == spelled(RMSE)
    assert run.data.metrics["teacher_rmse"] == 0.0125
    assert found.quality == RMSE
    assert (found.teacher_quality, found.teacher_validation) == (0.0125, 0.0123)
    rows = records(open_store(folder).front("depth-1"))
    assert [row["packed_bytes"] for row in rows] == [1_000, 4_000, 9_000]
    assert [row["validation_rmse"] for row in rows] == [0.0299, 0.0150, 0.0140]
    assert client.get_run(rows[0]["run_id"]).data.metrics["validation_rmse"] == 0.0299
    trials = open_store(folder).trials("depth-1")
    assert trials["feasible"].tolist() == [True, True, True, False]


def test_python_has_it_by_its_name(folder: Path) -> None:
    front = Front.read("depth-1", store=folder)
    assert front.metric == "rmse" and front.teacher["rmse"] == 0.0125
    assert [student.validation for student in front] == [0.0299, 0.0150, 0.0140]
    assert front[0].quality == pytest.approx(0.03289)
    assert repr(front) == "Front('depth-1', 3 students by rmse)"


def test_the_front_is_printed_in_eighty_columns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rayduce.commands import console, front

    monkeypatch.setattr(console.out, "_width", 80)
    assert front.out is console.out
    done = CliRunner().invoke(app, ["front", "--store", str(folder)])
    lines = done.output.splitlines()
    assert done.exit_code == 0
    assert lines[1].split() == ["run", "student", "RMSE", "validation", "packed", "ratio", "latency"]
    assert [line.split()[1:] for line in lines[2:5]] == [
        ["qd-4bit-b256-d2-w0.0", "0.03289", "m", "0.02990", "m", "1", "kB", "100.0x", "0.250", "ms"],
        ["qd-4bit-b256-d2-w0.1", "0.01650", "m", "0.01500", "m", "4", "kB", "25.0x", "0.250", "ms"],
        ["qd-4bit-b256-d2-w0.2", "0.01540", "m", "0.01400", "m", "9", "kB", "11.1x", "0.250", "ms"],
    ]
    assert "at most 0.02 m of validation RMSE above the teacher" in " ".join(done.output.split())
    assert max(map(len, lines[:5])) <= 80
    rows = json.loads(CliRunner().invoke(app, ["front", "--store", str(folder), "--json"]).output)
    assert rows[0]["validation_rmse"] == 0.0299


def test_long_words_leave_the_table_its_columns() -> None:
    from rayduce.commands.results import quality_head, score_text

    long = own_quality("error", "down", label="Mean absolute percentage error of energy", unit="kWh per day")
    assert quality_head(long).split("\n") == [
        "Mean",
        "absolute",
        "percentage",
        "error of",
        "energy (kWh",
        "per day)",
    ]
    assert (score_text(long, 0.5), score_text(RMSE, 0.5), score_text(RMSE, None)) == (
        "0.5000",
        "0.5000 m",
        "-",
    )


def test_the_log_says_it_and_no_other(folder: Path, tmp_path: Path) -> None:
    path = folder / "sweeps" / "depth-1" / "events.jsonl"
    read = read_log(path, "depth-1")
    assert read.events[0]["tags"]["rayduce.metric"] == spelled(RMSE)
    events = read_lines(path)
    for metric in (
        "<b>",
        "x" * 100_000,
        spelled(RMSE).replace("RMSE", "<b>"),
        spelled(RMSE)[:-1],
        "{}",
        "f1",
    ):
        events[0]["tags"]["rayduce.metric"] = metric
        write_lines(tmp_path / "events.jsonl", events)
        with pytest.raises(StoreError) as caught:
            read_log(tmp_path / "events.jsonl", "depth-1")
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 700 + len(str(tmp_path))
        assert caught.value.__cause__ is None or "quality_of" not in str(caught.value)


def test_a_store_with_a_hostile_metric_is_told_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    blank = make_blank(tmp_path / "mlflow.db")
    client = connect(f"sqlite:///{blank}", create=True)
    experiment = client.create_experiment("rayduce-new")
    hostile = spelled(RMSE).replace("RMSE", "<script>alert(1)</script>")
    client.create_run(
        experiment,
        tags={"rayduce.kind": "sweep", "sweep": "new-1", "rayduce.metric": hostile},
        run_name="new-1",
    )
    assert open_store(tmp_path).sweeps()["teacher_quality"].isna().all()
    done = CliRunner().invoke(app, ["front", "new-1", "--store", str(tmp_path)])
    told = " ".join(done.output.split())
    assert done.exit_code == 2
    assert told.removeprefix("Error: ").startswith(
        "The sweep new-1 cannot be read with this version of Rayduce: the label of a quality"
    )


def test_sweeps_by_another_quality_are_told_apart(folder: Path) -> None:
    sweep = open_store(folder).sweep("depth-1")
    settings = {**sweep.params, "study": "depth", "teacher": "None", "data": "None", "epochs": "None"}
    settings |= {"own_model": "None", "metric": sweep.metric}
    check_kinds([sweep], settings)
    millimetres = spelled(own_quality("rmse", "down", label="RMSE", unit="mm", scale=1000))
    for metric, told in (("accuracy", "by rmse, not by accuracy"), (millimetres, '"unit":"m"}, not by {')):
        with pytest.raises(Exception, match=told):
            check_kinds([sweep], {**settings, "metric": metric})


def test_known_qualities_are_spelled_as_ever() -> None:
    assert spelled(quality_of("accuracy")) == Digits().metric == "accuracy"
    assert records_of([], Path(), quality_of("accuracy")) == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.5])
def test_a_student_whose_quality_is_no_number_has_diverged(value: float) -> None:
    trial: Any = SimpleNamespace(_settings=SimpleNamespace(device="cpu"))
    recipe: Any = SimpleNamespace(task=SimpleNamespace(metric=spelled(RMSE)))
    task: Any = SimpleNamespace(evaluate=lambda network, split: {"rmse": value})
    if math.isfinite(value):
        found = StudentTrial._tried(trial, recipe, task, 3, b"1234", nn.Identity())
        assert found == {"validation_rmse": 0.5, "epoch": 3, "packed_bytes": 4}
        return
    with pytest.raises(Diverged, match=f"^rmse became {value} in epoch 3$"):
        StudentTrial._tried(trial, recipe, task, 3, b"1234", nn.Identity())


def test_no_more_can_be_asked_for_than_there_is() -> None:
    with pytest.raises(
        Problem, match=r"^--max-drop must be at most 100, all that there is of accuracy, got 101\.$"
    ):
        _check_drop(quality_of("accuracy"), Budget(max_drop=101))
    _check_drop(quality_of("accuracy"), Budget(max_drop=100))
    _check_drop(RMSE, Budget(max_drop=1e6))
