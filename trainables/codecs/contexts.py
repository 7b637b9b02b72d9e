"""Symbols coded under several static models, one per context that the decoder knows beforehand.

The weights of a trained network are not drawn from one distribution: filters, input channels, places in
a kernel and buckets differ. A model of the symbols therefore names a kind of segments and gives each
segment a class; each class has a frequency table of its own. Classes are coded before the symbols, so that
all symbols of a context come in one run and are decoded at full speed. Whether that pays is decided by
length: the segments' histograms (of a sample, where the tensor is large) say what each kind would
save, and only the best is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from trainables.codecs.ans import AnsDecoder
from trainables.codecs.binary import Reader
from trainables.codecs.clusters import MOST_CLASSES, cluster, entropy_bits
from trainables.codecs.frequencies import count_symbols, fit_frequencies, read_frequencies
from trainables.codecs.segments import COLUMN, ROW, Segments

ONE_MODEL = 0
ROWS_AND_COLUMNS = 15
"""Both at once: a table per pair of a row's class and a column's class."""

NO_TABLE = 255
"""In place of the table of a context in which no symbol lies."""

FEWEST_SYMBOLS = 1500
"""Of a tensor that is tried with more than one model: below, tables and classes never pay."""

FEWEST_PER_SEGMENT = 24
"""Symbols per segment on average, below which its class would cost too much."""

COARSE = 16
"""Symbols are counted in so many groups to find out which segments are alike."""

SHARE_TRIED = 64
FEWEST_TRIED = 2**14
"""Which segments to use is found out from a 64th of the symbols, or from so many if that is more."""

PER_SEGMENT = 48
"""Symbols of a segment that say to which class it belongs."""

SEGMENT_BYTES = 24
"""What reading the class of a segment takes: itself, whether it is the class in turn, and its number."""

LARGE = 2**18
USUAL_CLASSES = 4
CLASS_COUNTS = (2, 4, 8)

Streams = list[tuple[np.ndarray, np.ndarray]]


class Model(NamedTuple):
    """Symbols under a model: its tables, the streams to code, and the length of both in bits."""

    table: bytes
    streams: Streams
    bits: float


class Classes(NamedTuple):
    """A class for each of some segments."""

    kind: int
    segments: Segments
    chosen: np.ndarray

    @property
    def number(self) -> int:
        """How many there are; two at least, because a frequency table has two symbols or more."""
        return max(2, int(self.chosen.max()) + 1)


def fit_model(
    candidates: Sequence[np.ndarray], size: int, segments: Mapping[int, Segments]
) -> tuple[int, Model]:
    """The shortest model found for one of several ways to write the same symbols, and which way that is.

    Args:
        candidates: uint8, shape (n,) each, n > 0, each symbol below ``size``.
        size: at least 2.
        segments: the kinds of segments that the decoder can tell apart.
    """
    count = candidates[0].size
    number, classes = _choose(candidates, size, segments) if count >= FEWEST_SYMBOLS else (0, ())
    found: list[tuple[int, Model]] = []
    if classes:
        several, alone = _several(candidates[number], size, classes)
        if count >= LARGE and several.bits < alone:  # which no single table of these symbols can reach
            return number, several
        found.append((number, several))
    # Which candidate is better, the sample of a large tensor has told for certain.
    numbers = [number] if count >= LARGE else range(len(candidates))
    found += [(each, _single(candidates[each], size)) for each in numbers]
    return min(found, key=lambda pair: pair[1].bits)


def read_model(
    reader: Reader, count: int, size: int, segments: Mapping[int, Segments]
) -> Callable[[AnsDecoder], np.ndarray]:
    """Read the ``table`` of :func:`fit_model`; the result pops the ``count`` > 0 symbols."""
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
    for weights, context in zip(tables, _contexts(classes), strict=True):
        length = context.length
        if length and weights is None:
            raise ValueError(f"{length} symbols lie in a context without a frequency table")
        if weights is not None:
            context.put(symbols, stream.pop(weights, length))
    return symbols


class _Context(NamedTuple):
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


def _contexts(classes: list[tuple[Segments, int, np.ndarray]]) -> Iterator[_Context]:
    """The contexts in the order of their tables; that of the first kind's classes comes first."""
    first, number, chosen = classes[0]
    columns = []
    if len(classes) == 2:
        _, others, of_columns = classes[1]
        columns = [np.flatnonzero(of_columns == other) for other in range(others)]
    for one in range(number):
        rows = np.flatnonzero(chosen == one)
        if len(classes) == 1:
            yield _Context(first, rows, None)
            continue
        for some in columns:
            yield _Context(first, rows, some)


def _single(symbols: np.ndarray, size: int) -> Model:
    frequencies = fit_frequencies(count_symbols(symbols, size))
    return Model(
        bytes([ONE_MODEL]) + frequencies.table, [(symbols, frequencies.weights)], 8 + frequencies.bits
    )


def _several(symbols: np.ndarray, size: int, best: tuple[Classes, ...]) -> tuple[Model, float]:
    """The model of chosen classes, built in full, and the order-0 entropy of the symbols (bits)."""
    pooled = np.zeros(size)
    table = bytes([best[0].kind if len(best) == 1 else ROWS_AND_COLUMNS])
    streams: Streams = []
    bits = 8.0
    for part in best:
        frequencies = fit_frequencies(np.bincount(part.chosen, minlength=part.number))
        table += bytes([part.number]) + frequencies.table
        streams.append((part.chosen.astype(np.uint8), frequencies.weights))
        bits += 8 + frequencies.bits
    for context in _contexts([(part.segments, part.number, part.chosen) for part in best]):
        inside = context.take(symbols)
        if not inside.size:
            table += bytes([NO_TABLE])
            bits += 8
            continue
        counts = count_symbols(inside, size)
        pooled += counts
        frequencies = fit_frequencies(counts)
        table += frequencies.table
        bits += frequencies.bits
        streams.append((inside, frequencies.weights))
    return Model(table, streams, bits), entropy_bits(pooled[None])


def _choose(
    candidates: Sequence[np.ndarray], size: int, segments: Mapping[int, Segments]
) -> tuple[int, tuple[Classes, ...]]:
    """The candidate and the classes that promise the shortest code; no classes if none promises to pay."""
    segments = {k: s for k, s in segments.items() if s.number * FEWEST_PER_SEGMENT <= candidates[0].size}
    trials = [_Trial(symbols, size, segments) for symbols in candidates]
    kinds = list(segments)
    # Which candidate, is told by the models that cost little to try: one table, and classes of one kind.
    number = min(range(len(trials)), key=lambda each: trials[each].alone + trials[each].best(kinds[:1]))
    trial = trials[number]
    gains = {kind: trial.bits(kind, USUAL_CLASSES) for kind in kinds}
    if not gains:
        return number, ()
    kind = min(gains, key=lambda each: gains[each])
    options: dict[tuple[tuple[int, int], ...], float] = {}
    for count in CLASS_COUNTS:
        options[((kind, count),)] = trial.bits(kind, count)
    if ROW in gains and COLUMN in gains:  # as if rows and columns told nothing about each other
        pair = ((ROW, USUAL_CLASSES), (COLUMN, USUAL_CLASSES))
        options[pair] = gains[ROW] + gains[COLUMN] + (USUAL_CLASSES - 1) ** 2 * trial.table_bits
    chosen = min(options, key=lambda each: options[each])
    if options[chosen] >= 0:
        return number, ()
    symbols = candidates[number]
    return number, tuple(
        Classes(kind, segments[kind], cluster(_histograms(symbols, size, segments[kind]), count))
        for kind, count in chosen
    )


class _Trial:
    """What classes of segments would change in the length of ``symbols``, estimated from a sample.

    Attributes:
        alone: order-0 entropy, bits.
        table_bits: what one more frequency table costs, roughly.
    """

    def __init__(self, symbols: np.ndarray, size: int, segments: Mapping[int, Segments]) -> None:
        self._symbols, self._size, self._segments = symbols, size, segments
        self._tried = max(FEWEST_TRIED, symbols.size // SHARE_TRIED)
        coarse, groups = _coarse(size)
        step = -(-symbols.size // self._tried)
        picked = symbols[::step]
        counts = np.bincount(coarse[picked], minlength=groups).astype(np.float64)
        self.alone = entropy_bits(counts[None]) * symbols.size / picked.size
        self.table_bits = 8 + 4 * min(size, 2 * COARSE)
        self._known: dict[int, np.ndarray] = {}
        self._found: dict[tuple[int, int], float] = {}

    def best(self, kinds: Sequence[int]) -> float:
        """Of the usual number of classes; 0 if none of ``kinds`` pays."""
        return min([0.0, *(self.bits(kind, USUAL_CLASSES) for kind in kinds)])

    def bits(self, kind: int, classes: int) -> float:
        """The length with so many classes less the length without, bits; 0 if there are too few segments."""
        if (kind, classes) not in self._found:
            self._found[kind, classes] = self._estimated(kind, classes)
        return self._found[kind, classes]

    def _estimated(self, kind: int, classes: int) -> float:
        part = self._segments[kind]
        if kind not in self._known:
            length = self._symbols.size // part.number
            per_segment = max(PER_SEGMENT, min(length, self._tried // part.number))
            self._known[kind] = _histograms(
                self._symbols, self._size, part, max(self._tried // per_segment, 2), per_segment
            )
        histograms = self._known[kind]
        if 2 * classes > len(histograms):
            return 0.0
        chosen = cluster(histograms, classes)
        members = np.zeros((classes, chosen.size))
        members[chosen, np.arange(chosen.size)] = 1.0
        pooled = members @ histograms
        gain = entropy_bits(pooled.sum(axis=0, keepdims=True)) - entropy_bits(pooled)
        told = entropy_bits(members.sum(axis=1)[None]) * part.number / chosen.size + 16 + 4 * classes
        return told + (classes - 1) * self.table_bits - gain * self._symbols.size / pooled.sum()


def _histograms(
    symbols: np.ndarray,
    size: int,
    part: Segments,
    most: int | None = None,
    per_segment: int = PER_SEGMENT,
) -> np.ndarray:
    """Coarse histograms of ``most`` (None: all) segments: float64, shape (segments, groups)."""
    coarse, groups = _coarse(size)
    some, places, picked = part.sample(symbols, part.number if most is None else most, per_segment)
    keys = places * groups + coarse[picked]
    return np.bincount(keys, minlength=some.size * groups).reshape(-1, groups).astype(np.float64)


def _coarse(size: int) -> tuple[np.ndarray, int]:
    """The group of each symbol, and how many there are."""
    groups = min(size, COARSE)
    return np.arange(size) * groups // size, groups
