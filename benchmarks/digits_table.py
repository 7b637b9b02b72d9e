"""The recorded table of the digits grid as one compressed file, without pickles and checked on reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.digits_grid import EPOCHS, Point

VALIDATION_IMAGES = 360
TEST_IMAGES = 360


@dataclass(frozen=True)
class Table:
    """What each of n recipes did, before training and after each of ``EPOCHS`` epochs.

    Attributes:
        points: the recipes, n.
        packed_bytes: int64, shape (n, EPOCHS + 1).
        validation: accuracy in [0, 1] of the student as it would have been shipped, same shape.
        seconds: processor time from the result before, same shape.
        test: accuracy of the finished student on the test split, shape (n,).
        teacher_bytes: length of the teacher's packed file.
    """

    points: tuple[Point, ...]
    packed_bytes: NDArray[np.int64]
    validation: NDArray[np.float64]
    seconds: NDArray[np.float64]
    test: NDArray[np.float64]
    teacher_bytes: int


def pack_table(
    path: Path, courses: Sequence[Mapping[str, Any]], points: Sequence[Point], teacher_bytes: int
) -> None:
    """Write the recorded ``courses`` of all ``points``, in their order.

    Raises:
        ValueError: a point was not recorded, or not to its end.
    """
    found = {json.dumps(course["point"], sort_keys=True): course for course in courses}
    rows = []
    for point in points:
        course = found.get(json.dumps(point, sort_keys=True))
        if course is None:
            raise ValueError(f"the recording holds nothing of {point}")
        if not len(course["bytes"]) == len(course["correct"]) == len(course["seconds"]) == EPOCHS + 1:
            raise ValueError(f"the recording of {point} does not hold {EPOCHS} epochs")
        rows.append(course)
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"points": list(points), "teacher_bytes": teacher_bytes}
    np.savez_compressed(
        path,
        facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8),
        bytes=np.array([course["bytes"] for course in rows], dtype=np.int32),
        correct=np.array([course["correct"] for course in rows], dtype=np.int16),
        # Milliseconds: finer differences are the machine's.
        milliseconds=np.rint(1e3 * np.array([course["seconds"] for course in rows])).astype(np.int32),
        test=np.array([course["test"] for course in rows], dtype=np.int16),
    )


def load_table(path: Path) -> Table:
    """What :func:`pack_table` wrote.

    Raises:
        ValueError: the file is not such a table.
    """
    with np.load(path, allow_pickle=False) as file:
        facts = json.loads(file["facts"].tobytes())
        shape = (len(facts["points"]), EPOCHS + 1)
        for name in ("bytes", "correct", "milliseconds"):
            if file[name].shape != shape:
                raise ValueError(f"{name} in {path} must have shape {shape}, got {file[name].shape}")
        return Table(
            points=tuple(facts["points"]),
            packed_bytes=file["bytes"].astype(np.int64),
            validation=file["correct"] / VALIDATION_IMAGES,
            seconds=file["milliseconds"] / 1e3,
            test=file["test"] / TEST_IMAGES,
            teacher_bytes=int(facts["teacher_bytes"]),
        )
