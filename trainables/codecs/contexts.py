"""Symbols coded under several static models, one per context that the decoder knows beforehand.

The weights of a trained network are not drawn from one distribution: filters, input channels, places in
a kernel and buckets differ. A model of the symbols therefore names a kind of segments and gives each
segment a class; each class has a frequency table of its own. Classes are coded before the symbols, so that
all symbols of a context come in one run and are decoded at full speed. Whether that pays is decided by
length: the segments' histograms (of a sample, where the tensor is large) say what each kind would
save, and only the best is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rayduce_reader.contexts import NO_TABLE, ONE_MODEL, ROWS_AND_COLUMNS, contexts_of
from rayduce_reader.segments import COLUMN, ROW, Segments
from trainables.codecs.clusters import cluster, entropy_bits
from trainables.codecs.frequencies import count_symbols, fit_frequencies

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
    for context in contexts_of([(part.segments, part.number, part.chosen) for part in best]):
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
