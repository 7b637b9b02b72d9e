"""A small sweep told to MLflow by what tells of real ones; no network is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from search.objectives.budget import Budget
from search.objectives.mark import NO_MARK, RuntimeMark
from search.objectives.yardstick import Yardstick
from search.store.mlflow_client import NOTE_TAG
from search.sweeps.conclusion import asked, finish_sweep, tell_front, tell_settings
from search.sweeps.measuring import choose_front
from search.sweeps.publish import publish
from search.sweeps.trial_events import TrialEvents
from search.tracking.delivery import SWEEP
from search.tracking.record import Record
from search.tracking.tracker import SweepTracker
from studies.known import find_study
from tests.recipes import STUDENT, TEACHER_ID
from trainables import methods
from trainables.metrics import quality_of
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.recipe import Recipe, canonical_json
from trainables.tasks import Digits
from trainables.tasks.notes import DataNotes

ACCURACY = quality_of("accuracy")
SETTINGS: dict[str, Any] = {
    "teacher": TEACHER_ID, "data": "00", "trials": 6, "seed": 0, "epochs": 2, "max_drop": None,
    "limits": {"packed_bytes": 30_000}, "sampler": "tpe", "earlier": (), "size": "packed_bytes",
    "minimized": (), "device": None, "device_numbers": (),
    "own_model": None, "methods": (), "fixed": (), "ranges": (), "scheduler": "pareto",
}  # fmt: skip
TEACHER = {"validation_accuracy": 0.99, "packed_bytes": 100_000.0}
COSTS = {
    "onnx_bytes": 9_000, "ram_bytes": 2_048, "latency_ms": 0.25, "macs": 12_000, "sparsity": 0.1,
    "mean_bits": 4.5, "parameters": 900,
}  # fmt: skip

Planned = tuple[Recipe, str, float, int]
"""Recipe, end, validation accuracy, bytes."""


class Silent:
    def changed(self, records: Any) -> None:
        pass


def _quantized(bits: int, bucket_size: int = 256) -> Recipe:
    return methods.quantized_distillation(
        methods.Setting(Digits(), Fresh(STUDENT), epochs=2, teacher=TEACHER_ID),
        quantizer=Uniform(bits, bucket_size),
    )


STUDENTS: tuple[Planned, ...] = (
    (_quantized(4), "finished", 0.95, 8_000),
    (_quantized(2), "finished", 0.90, 4_000),
    (
        methods.post_training_quantization(
            methods.Setting(Digits(), Fresh(STUDENT), epochs=2), quantizer=Uniform(4)
        ),
        "finished",
        0.93,
        8_500,
    ),
    (_quantized(8), "finished", 0.985, 16_000),  # puts the first off no place, and keeps its own
    (
        methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=2)),
        "finished",
        0.99,
        60_000,
    ),  # over the limits
    (_quantized(6), "pruned", 0.5, 12_000),
    (_quantized(3), "failed", 0.0, 0),
    (_quantized(4, 64), "finished", 0.955, 7_900),  # dominates the first
)
FRONT = ["00001", "00007", "00003"]
"""Of :data:`STUDENTS`, smallest first."""


def open_sweep(uri: str, store: Path, name: str = "digits-1") -> tuple[SweepTracker, TrialEvents, str]:
    """A sweep that has begun: its tracker, its events, what it was asked for."""
    tracker = SweepTracker(uri, store, "digits", name)
    study = find_study("digits")
    yardstick = Yardstick(ACCURACY, TEACHER, Budget({"packed_bytes": 30_000}))
    teacher = study.teacher_recipe(Digits())
    about = asked(study, SETTINGS, teacher, yardstick, {})
    tracker.open(SETTINGS, {"rayduce.metric": "accuracy", NOTE_TAG: about})
    tell_settings(tracker, study, study.context(Digits(), TEACHER_ID, 0), SETTINGS, teacher, DataNotes())
    tracker.annotate(SWEEP, {f"teacher_{name}": value for name, value in TEACHER.items()}, {})
    return tracker, TrialEvents(tracker, Silent(), yardstick), about


def run_trial(events: TrialEvents, tracker: SweepTracker, number: int, student: Planned) -> None:
    """One trial of two epochs, as Ray would tell of it."""
    recipe, state, quality, size = student
    trial_id = f"{number:05d}"
    trial: Any = SimpleNamespace(
        trial_id=f"ray-{number}",
        config={"recipe": canonical_json(recipe), "trial": trial_id},
        error_file=None,
    )
    events.on_step_begin(0, [trial])
    events.on_trial_start(0, [], trial)
    if state == "failed":
        events.ended(
            trial.trial_id, {"state": "failed", "reason": "ValueError: <b>|no|</b> *way*"}, error=False
        )
        return
    last = {
        "epoch": 2, "loss": 0.5, "validation_accuracy": quality, "packed_bytes": size, "seconds": 1.5,
        "state": state,
    }  # fmt: skip
    events.on_trial_result(0, [], trial, last)
    if state == "finished":
        folder = tracker.folder.trials / trial_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "student.rdz").write_bytes(trial_id.encode() * 3)
        (folder / "tensors.json").write_text("[]")
        last |= {**COSTS, "compression_ratio": TEACHER["packed_bytes"] / size, "latency_machine": "{}"}
    events.ended(trial.trial_id, last | {"reason": "too large" if state == "pruned" else ""}, error=False)


def conclude(
    tracker: SweepTracker, events: TrialEvents, about: str, mark: RuntimeMark = NO_MARK
) -> tuple[dict[str, Record], list[str]]:
    """What the end of a sweep does, with a test split on which all lose a point."""
    yardstick = Yardstick(ACCURACY, {**TEACHER, "accuracy": 0.98}, Budget({"packed_bytes": 30_000}))
    front = choose_front(events.records, yardstick)
    for trial_id in front:
        record = events.records[trial_id]
        record.metrics |= {"accuracy": record.metrics["validation_accuracy"] - 0.01, "latency_ms": 0.125}
    tell_front(tracker, events.records, front, yardstick)
    finish_sweep(tracker, events.records, front, yardstick, about, short="", mark=mark)
    return events.records, front


def small_sweep(
    uri: str,
    store: Path,
    name: str = "digits-1",
    students: tuple[Planned, ...] = STUDENTS,
    mark: RuntimeMark = NO_MARK,
) -> dict[str, str]:
    """The whole of it, delivered; trial id -> run id."""
    tracker, events, about = open_sweep(uri, store, name)
    for number, student in enumerate(students):
        run_trial(events, tracker, number, student)
    conclude(tracker, events, about, mark)
    assert publish(tracker, name, lambda name: f"<html>{name}") == ""
    run_ids = tracker.run_ids
    tracker.close()
    return run_ids


def other_students(seed: int, bytes_less: int) -> tuple[Planned, ...]:
    """:data:`STUDENTS` of another seed, whose files are so much smaller."""
    return tuple(
        (replace(recipe, seed=seed), state, quality, size - bytes_less)
        for recipe, state, quality, size in STUDENTS
    )
