"""Students and fronts as Python objects."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, overload

from rayduce.reading import load

if TYPE_CHECKING:
    from torch import nn

    from search.store.store import Store

DEFAULT_STORE = "rayduce-store"


@dataclass(frozen=True)
class Student:
    """A finished trial of a sweep.

    Attributes:
        name: to read, such as ``qd-4bit-b256-d2-w0.5``; not unique.
        run_id: its run in MLflow, 32 hex digits.
        method: that made it.
        packed_bytes: length of its packed file.
        validation: quality on the validation split, as measured (accuracy in [0, 1]).
        quality: the same on the test split; None for students that are not on the front.
        latency_ms: of one use in ONNX Runtime on one thread, in milliseconds; None where it was not measured.
        metrics: all numbers of the trial by their names in MLflow, such as ``macs`` and ``sparsity``.
    """

    name: str
    run_id: str
    method: str
    packed_bytes: int
    validation: float
    quality: float | None
    latency_ms: float | None
    metrics: Mapping[str, float] = field(repr=False)
    _store: Store = field(repr=False, compare=False)

    def file(self) -> bytes:
        """The packed file.

        Raises:
            search.store.mlflow_client.StoreError: it is not there, or the store cannot be read.
        """
        return self._store.download(self.run_id, "student.rdz")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the packed file to ``path``, whole or not at all; a file that is there is replaced.

        Raises:
            OSError: it cannot be written.
            search.store.mlflow_client.StoreError: as for :meth:`file`.
        """
        from trainables.files import write_file

        write_file(Path(path), self.file())
        return Path(path)

    def load(self, *, model: str | None = None) -> nn.Module:
        """The network, as :func:`rayduce.load` reads it from the packed file."""
        return load(self.file(), model=model)


class Front(Sequence[Student]):
    """The students of a sweep that no other one beats, smallest file first.

    Of a sweep that still runs it is the front of the students so far, selected on the validation split.

    Attributes:
        sweep: name of the sweep.
        metric: name of the quality, such as ``accuracy``, ``bleu`` or that of one's own.
        teacher: the teacher's numbers: ``packed_bytes``, ``validation_<metric>`` and, of a finished sweep,
            ``<metric>`` on the test split.
        runtime_int8: those of ONNX Runtime's own 8-bit quantization of the teacher: ``onnx_bytes``, the
            qualities as above and ``latency_ms``; empty where there is none.
    """

    def __init__(
        self,
        sweep: str,
        metric: str,
        teacher: Mapping[str, float],
        students: Sequence[Student],
        runtime_int8: Mapping[str, float] | None = None,
    ) -> None:
        self.sweep, self.metric, self.teacher = sweep, metric, teacher
        self.runtime_int8: Mapping[str, float] = runtime_int8 or {}
        self._students = tuple(students)

    @overload
    def __getitem__(self, index: int) -> Student: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Student]: ...
    def __getitem__(self, index: int | slice) -> Student | Sequence[Student]:
        """One student, or several."""
        return self._students[index]

    def __len__(self) -> int:
        """How many there are."""
        return len(self._students)

    def __iter__(self) -> Iterator[Student]:
        """The students, smallest file first."""
        return iter(self._students)

    def __repr__(self) -> str:
        return f"Front({self.sweep!r}, {len(self)} students by {self.metric})"

    @classmethod
    def read(
        cls,
        sweep: str | None = None,
        *,
        store: str | os.PathLike[str] = DEFAULT_STORE,
        tracking_uri: str | None = None,
    ) -> Front:
        """The front of a sweep, finished or not.

        Args:
            sweep: its name; None (default) is the newest one.
            store: folder of the store; default ``rayduce-store``.
            tracking_uri: MLflow's store, if it is not the one in ``store``.

        Raises:
            search.store.mlflow_client.StoreError: there is no such store or sweep, or it cannot be read.
        """
        from search.store.frames import records
        from search.store.store import open_store

        opened = open_store(Path(store), tracking_uri)
        found = opened.sweep(sweep)
        quality = found.quality
        students = [
            Student(
                name=row["name"],
                run_id=row["run_id"],
                method=row["method"],
                packed_bytes=row["packed_bytes"],
                validation=row[quality.validation],
                quality=row[quality.name],
                latency_ms=row["latency_ms"],
                metrics={
                    key: float(value)
                    for key, value in row.items()
                    if isinstance(value, int | float) and not isinstance(value, bool)
                },
                _store=opened,
            )
            for row in records(opened.front(found.name))
        ]
        teacher = {
            name.removeprefix("teacher_"): value
            for name, value in found.metrics.items()
            if name.startswith("teacher_") and math.isfinite(value)
        }
        return cls(found.name, quality.name, teacher, students, found.mark.values)
