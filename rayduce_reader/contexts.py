"""Symbols under several static models, one per context that is known before they are decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from rayduce_reader.ans import AnsDecoder
from rayduce_reader.binary import Reader
from rayduce_reader.frequencies import read_frequencies
from rayduce_reader.segments import COLUMN, ROW, Segments

ONE_MODEL = 0

ROWS_AND_COLUMNS = 15
"""Both at once: a table per pair of a row's class and a column's class."""

NO_TABLE = 255
"""In place of the table of a context in which no symbol lies."""

MOST_CLASSES = 16

SEGMENT_BYTES = 24
"""What reading the class of a segment takes: itself, whether it is the class in turn, and its number."""


def read_model(
    reader: Reader, count: int, size: int, segments: Mapping[int, Segments]
) -> Callable[[AnsDecoder], np.ndarray]:
    """Read the tables of a model of symbols below ``size``; the result pops the ``count`` > 0 symbols."""
    kind = reader.byte()
    if kind == ONE_MODEL:
        weights = read_frequencies(reader, size)
        return lambda stream: stream.pop(weights, count)
    kinds = (ROW, COLUMN) if kind == ROWS_AND_COLUMNS else (kind,)
    if any(k not in segments for k in kinds):
        raise ValueError(f"unknown kind of segments {kind} of {count} symbols")
    parts = []
    for k in kinds:
        number = reader.byte()
        if not 2 <= number <= MOST_CLASSES:
            raise ValueError(f"segments have 2 to {MOST_CLASSES} classes, got {number}")
        reader.memory.spend(SEGMENT_BYTES * segments[k].number, f"classes of {segments[k].number} segments")
        parts.append((segments[k], number, read_frequencies(reader, number)))
    contexts = int(np.prod([number for _, number, _ in parts]))
    tables = [_read_table(reader, size) for _ in range(contexts)]
    return lambda stream: _pop(stream, count, parts, tables)


def _read_table(reader: Reader, size: int) -> np.ndarray | None:
    if reader.peek() == NO_TABLE:
        reader.byte()
        return None
    return read_frequencies(reader, size)


def _pop(
    stream: AnsDecoder,
    count: int,
    parts: list[tuple[Segments, int, np.ndarray]],
    tables: list[np.ndarray | None],
) -> np.ndarray:
    classes = [(part, number, stream.pop(weights, part.number)) for part, number, weights in parts]
    symbols = np.empty(count, dtype=np.uint8)
    for weights, context in zip(tables, contexts_of(classes), strict=True):
        length = context.length
        if length and weights is None:
            raise ValueError(f"{length} symbols lie in a context without a frequency table")
        if weights is not None:
            context.put(symbols, stream.pop(weights, length))
    return symbols


class Context(NamedTuple):
    """The places of one context: ``rows`` of the segments ``first``, or their ``columns`` only."""

    first: Segments
    rows: np.ndarray
    columns: np.ndarray | None

    @property
    def length(self) -> int:
        if self.columns is None:
            return self.first.count(self.rows)
        return self.rows.size * self.columns.size

    def take(self, symbols: np.ndarray) -> np.ndarray:
        if self.columns is None:
            return self.first.take(symbols, self.rows)
        matrix = symbols.reshape(self.first.whole, self.first.inner)
        return matrix[self.rows][:, self.columns].reshape(-1)

    def put(self, symbols: np.ndarray, values: np.ndarray) -> None:
        if self.columns is None:
            self.first.put(symbols, self.rows, values)
            return
        matrix = symbols.reshape(self.first.whole, self.first.inner)
        matrix[np.ix_(self.rows, self.columns)] = values.reshape(self.rows.size, self.columns.size)


def contexts_of(classes: list[tuple[Segments, int, np.ndarray]]) -> Iterator[Context]:
    """The contexts in the order of their tables; that of the first kind's classes comes first."""
    first, number, chosen = classes[0]
    columns = []
    if len(classes) == 2:
        _, others, of_columns = classes[1]
        columns = [np.flatnonzero(of_columns == other) for other in range(others)]
    for one in range(number):
        rows = np.flatnonzero(chosen == one)
        if len(classes) == 1:
            yield Context(first, rows, None)
            continue
        for some in columns:
            yield Context(first, rows, some)
