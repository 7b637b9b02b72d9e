"""What a network says of each sample, in a small file that is checked where it is read. Loads no torch."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.sealed import sealed, unsealed

PREDICTIONS_FILE = "predictions.json"
"""Lies beside a packed file: what the student says of each sample, by split; of a sweep, what the teacher
says, and the true classes."""
MOST_SAMPLES = 2**24
"""Of one split; what names more is damaged."""
MOST_ROWS = 2**15
"""Samples of a table."""
MOST_NUMBERS = 2**17
"""Of a table: 256 kB of ranks before they are compressed, and a few seconds of draws."""
MOST_COLUMNS = 4
"""Of a file, and as many tables: two splits, of each what is said and what is true."""
_KINDS: dict[str, np.dtype[Any]] = {
    "uint8": np.dtype("u1"),
    "uint16": np.dtype("<u2"),
    "int32": np.dtype("<i4"),
}
_FLOAT = "float32"
_TABLE_KINDS = _KINDS | {_FLOAT: np.dtype("<f4")}

Classes = NDArray[np.int64]
"""One class per sample, in the order of the split."""
Table = NDArray[Any]
"""Numbers of at least 0 of each sample, shape (samples, numbers): int64, or float64 of single precision."""


class Answers(NamedTuple):
    """What is kept of a network on a split, in the order of its samples.

    Attributes:
        said: the class that it gives the largest number; None where samples do not have one class each.
        true: the class that the data has, likewise.
        table: what decides the quality beside classes, see :mod:`trainables.metrics.evidence`; None where
            classes are enough, or nothing is known that would be.
    """

    said: Classes | None = None
    true: Classes | None = None
    table: Table | None = None

    @property
    def right(self) -> float | None:
        """The share of samples whose class is found; None where they have none."""
        return None if self.said is None or self.true is None else float((self.said == self.true).mean())

    def rows(self, index: NDArray[np.int64]) -> Answers:
        """The same of the samples ``index`` alone."""
        return Answers(*(None if each is None else each[index] for each in self))

    @property
    def columns(self) -> list[NDArray[Any]]:
        """All that is known, one number of each sample at a time, shape (samples,) each."""
        flat = [each for each in (self.true, self.said) if each is not None]
        return flat if self.table is None else [*flat, *self.table.T]


def fits(samples: int, numbers: int) -> bool:
    """Whether a table of so many numbers of each sample is kept: larger ones cost too much."""
    return 1 <= samples <= MOST_ROWS and numbers >= 1 and samples * numbers <= MOST_NUMBERS


def predictions_json(columns: Mapping[str, Classes], tables: Mapping[str, Table] | None = None) -> bytes:
    """Classes and tables by name, such as ``validation``, as sealed JSON of compressed bytes.

    Args:
        columns: classes of at least 0.
        tables: numbers of at least 0; None (default) are none. Those that are no whole numbers are rounded to
            single precision.

    Raises:
        ValueError: a class is below 0 or above 2**31 - 1, or a table is none that could be read again.
    """
    content: dict[str, Any] = {"columns": {name: _column(name, each) for name, each in columns.items()}}
    if tables:
        content["tables"] = {name: _table(name, each) for name, each in tables.items()}
    return sealed(content)


def student_json(answers: Mapping[str, Answers]) -> bytes:
    """What a student says of each split, without what the data has, which is the teacher's file's."""
    columns = {split: each.said for split, each in answers.items() if each.said is not None}
    return predictions_json(columns, {k: each.table for k, each in answers.items() if each.table is not None})


def read_predictions(data: bytes) -> dict[str, Classes]:
    """The classes that :func:`predictions_json` was given.

    Raises:
        ValueError: anything else; the message says in which way.
    """
    columns = _entries(data, "columns")
    return {name: _read_column(each) for name, each in columns.items()}


def read_tables(data: bytes) -> dict[str, Table]:
    """The tables that :func:`predictions_json` was given; none where it was given none.

    Raises:
        ValueError: as :func:`read_predictions`.
    """
    return {name: _read_table(each) for name, each in _entries(data, "tables").items()}


def _entries(data: bytes, name: str) -> dict[str, Any]:
    content = unsealed(data)
    found = content.get(name, {} if name == "tables" else None)
    if not isinstance(found, dict):
        raise ValueError(f"it has no {name}")
    if len(found) > MOST_COLUMNS:
        raise ValueError(f"it has {len(found):,} {name}, and {MOST_COLUMNS} at most are of a network")
    return {str(key): each for key, each in found.items()}


def _column(name: str, values: Classes) -> dict[str, Any]:
    if len(values) and not 0 <= int(values.min()) <= int(values.max()) < 2**31:
        raise ValueError(f"classes must be in [0, 2**31), got {values.min()} to {values.max()} of {name}")
    kind = _smallest(values)
    return {"samples": len(values), "kind": kind, "classes": _packed(values.astype(_KINDS[kind]))}


def _table(name: str, values: Table) -> dict[str, Any]:
    whole = np.issubdtype(values.dtype, np.integer)
    if values.ndim != 2 or not fits(*values.shape) or not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(f"a table must hold 1 to {MOST_NUMBERS:,} numbers of at least 0, got that of {name}")
    if whole and values.max() >= 2**31:
        raise ValueError(f"whole numbers must be below 2**31, got {values.max()} of {name}")
    kind = _smallest(values) if whole else _FLOAT
    # One number of all samples after the other: what is alike lies together, and becomes shorter.
    packed = _packed(values.T.astype(_TABLE_KINDS[kind]))
    return {"samples": values.shape[0], "numbers": values.shape[1], "kind": kind, "values": packed}


def _smallest(values: NDArray[Any]) -> str:
    most = int(values.max()) if values.size else 0
    return "uint8" if most < 2**8 else "uint16" if most < 2**16 else "int32"


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode()


def _read_column(column: Any) -> Classes:
    if not isinstance(column, dict) or column.keys() != {"samples", "kind", "classes"}:
        raise ValueError("a column has other fields")
    samples, kind = column["samples"], _KINDS.get(str(column["kind"]))
    if type(samples) is not int or not 0 <= samples <= MOST_SAMPLES or kind is None:
        raise ValueError("a column has no such number of samples, or kind")
    found = _unpacked("a column", column["classes"], samples, kind).astype(np.int64)
    if len(found) and found.min() < 0:
        raise ValueError("a class is below 0")
    return found


def _read_table(table: Any) -> Table:
    if not isinstance(table, dict) or table.keys() != {"samples", "numbers", "kind", "values"}:
        raise ValueError("a table has other fields")
    samples, numbers, kind = table["samples"], table["numbers"], _TABLE_KINDS.get(str(table["kind"]))
    if type(samples) is not int or type(numbers) is not int or not fits(samples, numbers) or kind is None:
        raise ValueError("a table has no such numbers of samples and columns, or kind")
    found = _unpacked("a table", table["values"], samples * numbers, kind)
    if not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError("a table has a number that is below 0 or none")
    wide = np.float64 if kind.kind == "f" else np.int64
    return np.ascontiguousarray(found.reshape(numbers, samples).T.astype(wide))


def _unpacked(what: str, text: Any, count: int, kind: np.dtype[Any]) -> NDArray[Any]:
    length = count * kind.itemsize
    try:
        inflate = zlib.decompressobj()
        # Compressed bytes may say anything of their length: no more is made of them than there should be.
        data = inflate.decompress(base64.b64decode(str(text), validate=True), length + 1)
    except (zlib.error, ValueError) as error:
        raise ValueError(f"{what} cannot be decompressed: {error}") from error
    if len(data) != length:
        raise ValueError(f"{what} does not have as many samples as it says")
    return np.frombuffer(data, dtype=kind)
