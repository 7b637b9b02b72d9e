"""A recorded table of a grid as one compressed file, without pickles and checked on reading."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.grid import Point


@dataclass(frozen=True)
class Facts:
    """What a table tells beside courses.

    Attributes:
        teacher_bytes: length of the teacher's packed file.
        teacher_quality: on the validation split, as a share of the quality's range, in [0, 1].
        validation_parts: in so many the file tells such a share: samples of that split for an accuracy.
        test_parts: the same of the other split that is held out.
    """

    teacher_bytes: int
    teacher_quality: float
    validation_parts: int
    test_parts: int

    def __post_init__(self) -> None:
        for name in ("teacher_bytes", "validation_parts", "test_parts"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {getattr(self, name)}")
        if not 0 <= self.teacher_quality <= 1 or math.isnan(self.teacher_quality):
            raise ValueError(f"teacher_quality must be in [0, 1], got {self.teacher_quality}")


@dataclass
class Table:
    """What each of n recipes did, before training and after each of its epochs.

    Recipes may have different numbers of epochs; the longest has ``m``. After its last one a recipe stays as
    it is and takes no time, so that the last column is what ships. More recipes may be added.

    Attributes:
        points: the recipes, n.
        epochs: int64, shape (n,): how many each has; 0 where nothing is trained.
        packed_bytes: int64, shape (n, m + 1).
        validation: quality of the student as it would have been shipped, as a share of its range: accuracy,
            or a hundredth of BLEU; same shape.
        seconds: processor time from the result before, same shape.
        test: quality of the finished student on the test split, likewise, shape (n,).
        teacher_bytes: length of the teacher's packed file.
        teacher_quality: its quality on the validation split, likewise.
    """

    points: tuple[Point, ...]
    epochs: NDArray[np.int64]
    packed_bytes: NDArray[np.int64]
    validation: NDArray[np.float64]
    seconds: NDArray[np.float64]
    test: NDArray[np.float64]
    teacher_bytes: int
    teacher_quality: float

    @classmethod
    def empty(cls, longest: int, facts: Facts) -> Self:
        """One to which recipes of at most ``longest`` epochs may be added."""
        none = np.empty((0, longest + 1))
        counts = none.astype(np.int64)
        of_each = (counts[:, 0], counts, none, none, none[:, 0])
        return cls((), *of_each, facts.teacher_bytes, facts.teacher_quality)

    def add(self, course: Mapping[str, Any], facts: Facts) -> int:
        """One more recipe, by what was recorded of it; where it stands.

        Raises:
            ValueError: it is not whole, or longer than the table is wide.
        """
        last, width = _last_epoch(course), self.seconds.shape[1]
        if last >= width:
            raise ValueError(f"{course['point']} has {last} epochs, the table {width - 1}")
        more = (0, width - 1 - last)
        self.points += (course["point"],)
        self.epochs = np.r_[self.epochs, last]
        self.packed_bytes = np.vstack([self.packed_bytes, np.pad(course["bytes"], more, "edge")])
        quality = np.pad(course["quality"], more, "edge") / facts.validation_parts
        self.validation = np.vstack([self.validation, quality])
        self.seconds = np.vstack([self.seconds, np.pad(course["seconds"], more)])
        self.test = np.r_[self.test, course["test"] / facts.test_parts]
        return len(self.points) - 1


def _last_epoch(course: Mapping[str, Any]) -> int:
    """How many epochs a recorded course has.

    Raises:
        ValueError: it is not whole.
    """
    lengths = {name: len(course[name]) for name in ("bytes", "quality", "seconds")}
    if len(set(lengths.values())) > 1 or not lengths["bytes"] or course["test"] < 0:
        raise ValueError(f"the recording of {course['point']} is not whole: {lengths}, test {course['test']}")
    return lengths["bytes"] - 1


def pack_table(
    path: Path, courses: Sequence[Mapping[str, Any]], points: Sequence[Point], facts: Facts
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
        _last_epoch(course)
        rows.append(course)
    longest = max(len(course["bytes"]) for course in rows)

    def padded(name: str, share: int) -> NDArray[Any]:
        """All rows as long as the longest, with ``share`` times what was last there."""
        return np.array([row[name] + [share * row[name][-1]] * (longest - len(row[name])) for row in rows])

    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"points": list(points), **asdict(facts)})
    np.savez_compressed(
        path,
        facts=np.frombuffer(text.encode(), dtype=np.uint8),
        epochs=np.array([len(row["bytes"]) - 1 for row in rows], dtype=np.int16),
        bytes=padded("bytes", 1).astype(np.int32),
        quality=padded("quality", 1).astype(np.int16),
        # Milliseconds: finer differences are the machine's.
        milliseconds=np.rint(1e3 * padded("seconds", 0)).astype(np.int32),
        test=np.array([row["test"] for row in rows], dtype=np.int16),
    )


def load_table(path: Path) -> Table:
    """What :func:`pack_table` wrote.

    Raises:
        ValueError: the file is not such a table.
    """
    with np.load(path, allow_pickle=False) as file:
        told = json.loads(file["facts"].tobytes())
        points = tuple(told.pop("points"))
        facts, epochs, test = Facts(**told), file["epochs"].astype(np.int64), file["test"]
        if not points or not epochs.shape == test.shape == (len(points),) or epochs.min() < 0:
            told_of = f"{epochs.shape} and {test.shape}"
            raise ValueError(f"epochs and test in {path} must be of {len(points)} points, got {told_of}")
        shape = (len(points), int(epochs.max()) + 1)
        over = np.arange(shape[1]) > epochs[:, None]
        for name in ("bytes", "quality", "milliseconds"):
            values = file[name]
            if values.shape != shape:
                raise ValueError(f"{name} in {path} must have shape {shape}, got {values.shape}")
            rest = 0 if name == "milliseconds" else np.take_along_axis(values, epochs[:, None], 1)
            if (over & (values != rest)).any():
                raise ValueError(f"{name} in {path} goes on after the last epoch of a recipe")
        return Table(
            points=points,
            epochs=epochs,
            packed_bytes=file["bytes"].astype(np.int64),
            validation=file["quality"] / facts.validation_parts,
            seconds=file["milliseconds"] / 1e3,
            test=test / facts.test_parts,
            teacher_bytes=facts.teacher_bytes,
            teacher_quality=facts.teacher_quality,
        )
