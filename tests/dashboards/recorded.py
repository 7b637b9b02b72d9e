"""A recorded sweep whose students' answers are known, told to MLflow by what tells of real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from search.objectives.certainty import Paired, counts_of
from search.store.answers import TRUE
from search.tracking.delivery import SWEEP
from tests.stores import FACTS, RECIPE, add_trial, copy_blank, final, kept, tracker
from trainables.files import TENSORS_FILE
from trainables.predictions import PREDICTIONS_FILE, predictions_json
from trainables.samples import Samples, mark_of, picture, samples_json
from trainables.sealed import sealed
from trainables.tracebacks import TRACEBACK_FILE

SAMPLES = 1000
TEACHER_WRONG = 20
TRACEBACK_TEXT = (
    'Traceback (most recent call last):\n  File "net.py", line 3, in forward\nValueError: no room <b>'
)
PICTURES = 60
"""Samples that are kept; of those behind them only numbers are known."""
STUDENTS = {
    # trial: bytes, samples it gets wrong that the teacher gets right, the reverse, latency, method
    "00000": (4_000, 90, 2, 0.10, "in_place_distillation"),
    "00001": (9_000, 14, 3, 0.20, "quantized_distillation"),
    "00002": (15_000, 2, 1, 0.40, "quantized_distillation"),
    "00003": (40_000, 1, 1, 0.90, "full_precision"),
}
"""The third is the smallest that is 95 % sure within a point; the last cannot be told from it."""


def answers_of_student(lost: int, gained: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The true classes, the teacher's answers and a student's."""
    true = np.arange(SAMPLES) % 10
    teacher, student = true.copy(), true.copy()
    teacher[:TEACHER_WRONG] = (true[:TEACHER_WRONG] + 1) % 10
    student[gained:TEACHER_WRONG] = teacher[gained:TEACHER_WRONG]
    student[TEACHER_WRONG : TEACHER_WRONG + lost] = (true[TEACHER_WRONG : TEACHER_WRONG + lost] + 3) % 10
    return true, teacher, student


def contents(size: int) -> bytes:
    """What a student's file of so many bytes holds: a head that is most of it."""
    shares = {"stem.weight": 0.25, "head.weight": 0.75}
    tensors = [
        {
            "name": name,
            "shape": [2, 2],
            "codec": "Packed",
            "bits": 4.0,
            "sparsity": 0.0,
            "bytes": share * size,
            "entropy_bytes": share * size,
            "share": share,
            "levels": [[0.0, 3], [1.0, 1]],
        }
        for name, share in shares.items()
    ]
    costs: dict[str, Any] = {
        "macs": 100,
        "weights": 4,
        "onnx_bytes": 50,
        "activation_bytes": 10,
        "latency_share": None,
    }
    layers = [
        {"name": name.removesuffix(".weight"), "packed_bytes": int(share * size), **costs}
        for name, share in shares.items()
    ]
    return sealed({"tensors": tensors, "layers": layers})


def pictures(true: np.ndarray) -> Samples:
    """A picture of each of the first samples: a bright pixel in the column of its class."""
    shown = {}
    for number in range(PICTURES):
        pixels = np.zeros((1, 8, 10), dtype=np.uint8)
        pixels[0, :, true[number]] = 255
        shown[number] = picture(pixels)
    names = tuple(f"digit {each}" for each in range(10))
    splits = dict.fromkeys(("validation", "test"), shown)
    return Samples("image", names, splits, dict.fromkeys(splits, mark_of(true)))


def recorded(blank: Path, folder: Path) -> Path:
    """A store with the sweep ``digits-1``: four students, one trial that ended early, one that failed."""
    copy_blank(blank, folder)
    sweep = tracker(folder)
    sweep.open({"trials": 6}, {"rayduce.metric": "accuracy"})
    true, teacher, _ = answers_of_student(0, 0)
    known = {"validation": teacher, f"validation{TRUE}": true, "test": teacher, f"test{TRUE}": true}
    sweep.folder.predictions.write_bytes(predictions_json(known))
    value = 1 - TEACHER_WRONG / SAMPLES
    numbers = {
        "teacher_validation_accuracy": value,
        "teacher_accuracy": value,
        "teacher_packed_bytes": 400_000,
    }
    numbers |= {"teacher_validation_samples": SAMPLES, "teacher_samples": SAMPLES}
    sweep.annotate(SWEEP, numbers, {}, {PREDICTIONS_FILE: sweep.folder.predictions})
    sweep.folder.samples.write_bytes(samples_json(pictures(true)))
    for trial, (size, lost, gained, latency, method) in STUDENTS.items():
        _, _, said = answers_of_student(lost, gained)
        pair = Paired.of(teacher == true, said == true)
        assert (pair.lost, pair.gained) == (lost, gained)
        quality = float((said == true).mean())
        metrics = {**final(quality, size), "latency_ms": latency, "accuracy": quality, "ram_bytes": 2_000}
        metrics |= counts_of(pair, "validation_") | counts_of(pair, "")
        add_trial(
            sweep,
            trial,
            metrics,
            recipe={**RECIPE, "method": method},
            facts={**FACTS, "method": method},
            tags={"front": "true"},
        )
        content = predictions_json({"validation": said, "test": said})
        files = {PREDICTIONS_FILE: content, TENSORS_FILE: contents(size)}
        sweep.annotate(trial, {}, {}, kept(sweep, trial, files))
    add_trial(
        sweep,
        "00004",
        {"validation_accuracy": 0.5, "packed_bytes": 5_000},
        state="pruned",
        tags={"reason": "after epoch 2, it is number 4 of 4"},
    )
    add_trial(sweep, "00005", {}, state="failed", tags={"reason": "ValueError: no room"})
    sweep.annotate("00005", {}, {}, kept(sweep, "00005", {TRACEBACK_FILE: TRACEBACK_TEXT.encode()}))
    sweep.finish_sweep("finished", {}, {}, {})
    sweep.close()
    return folder
