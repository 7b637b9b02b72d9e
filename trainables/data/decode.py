"""Anybody's dataset, read once: every item as a row of a few arrays.

Interface::

    found = examine(dataset, "train")               # reads a few items
    if found.random: ...                                  # stream it: trainables.data.stream
    decode(dataset, found, sink, tell)                    # writes the arrays of the split into the sink
    items = Items(arrays, "train")                        # in a trial, from what the sink became
    inputs, targets = items.batch(index)                  # tensors on the CPU, bit for bit the dataset's

and for all splits of a job at once, kept in the store: :func:`trainables.data.datasets.decoded`.

The arrays of a split are ``train/input`` (or ``train/input.0``, ``train/input.mask``, ...), ``train/target``
and ``train/layout`` (JSON, as bytes). Floats become float32, whole numbers stay what they are, Python's are
int64. An array of float32 images that have at most 256 values per channel, as ``ToTensor()`` and
``Normalize`` make them of 8-bit images, is kept as uint8, with a table ``train/input:values`` that gives the
same floats back exactly, which is verified for every value while decoding.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.arrays import shared_tensor
from trainables.data import codes
from trainables.data.errors import ItemError
from trainables.data.items import Layout, Leaf, length_of, read_item, read_items
from trainables.data.kept import touched
from trainables.data.order import drawing_from, item_key
from trainables.data.pool import DEATHS, checked, died, pool_of
from trainables.data.sinks import Sink, put
from trainables.data.telling import Tell, Teller

CHUNK_BYTES = 4_000_000
MOST_IN_CHUNK = 256
PROBES = 5
"""Items that are read twice, to see whether the dataset draws random numbers."""
POOL_SECONDS = 2.0
"""Of reading all items in one process, above which several do."""
_LAYOUT, _VALUES = "layout", ":values"


@dataclass(frozen=True)
class Examined:
    """What a few items say about a dataset.

    Attributes:
        split: whose items they are.
        count: of all items.
        layout: what they look like.
        random: whether an item read again, with other random numbers, was another one.
        seconds: that reading all of them takes in one process, about.
    """

    split: str
    count: int
    layout: Layout
    random: bool
    seconds: float

    @property
    def nbytes(self) -> int:
        """Of all items, decoded; a quarter of it where images become bytes."""
        return self.count * self.layout.nbytes


def examine(dataset: Any, split: str) -> Examined:
    """Read a few items of ``dataset``, each twice.

    Args:
        dataset: map-style, with ``__len__`` and ``__getitem__`` -> (input, target): a tensor, an array, a
            number, or a tuple or a dict of them; and a tensor, an array or a number.
        split: for messages, and the prefix of the arrays' names.

    Raises:
        DataError: it is empty, or an item cannot be used.
    """
    count = length_of(dataset, split)
    chosen = spread(count, PROBES)
    with drawing_from(0):
        begun = time.perf_counter()
        first, _ = read_item(dataset, split, 0, 0)  # imports, opens files: not what the others take
        warm = time.perf_counter()
        read = read_items(dataset, split, chosen, [1] * len(chosen), first)
        seconds = (time.perf_counter() - warm) / len(chosen) * count + (warm - begun)
        again = read_items(dataset, split, chosen, [2] * len(chosen), first)
    random = any(one.tobytes() != other.tobytes() for one, other in zip(read, again, strict=True))
    return Examined(split, count, first, random, seconds)


def sample_digest(dataset: Any, found: Examined, most: int) -> str:
    """64 hex digits: SHA-256 of the number of items, and of up to ``most``, the first and the last included.

    Args:
        dataset: as it was examined.
        found: by :func:`examine`.
        most: items that are read, spread evenly; at least 2.

    Raises:
        ItemError: one cannot be used.
    """
    digest = hashlib.sha256(f"{found.count} {found.layout.to_json()}".encode())
    for values in _chunks(dataset, found, spread(found.count, most)):
        for array in values:
            digest.update(array.tobytes())
    return digest.hexdigest()


def spread(count: int, most: int) -> list[int]:
    """At most ``most`` of the numbers below ``count``, spread evenly, the first and the last included."""
    return [int(number) for number in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def decode(dataset: Any, found: Examined, sink: Sink, tell: Tell) -> None:
    """Write all items into ``sink``, whose arrays :class:`Items` reads.

    Memory stays bounded: items are read in chunks of about 4 MB, by a process per processor where it takes
    long.

    Args:
        dataset: as it was examined.
        found: by :func:`examine`; the dataset must not be random.
        sink: takes the arrays.
        tell: hears of the progress, every few seconds.

    Raises:
        ItemError: an item cannot be used: it names the first one.
        OSError: the sink has no room.
    """
    if found.random:
        raise ValueError(f"a dataset that draws random numbers cannot be decoded once, got {found.split=}")
    put(sink, f"{found.split}/{_LAYOUT}", np.frombuffer(found.layout.to_json().encode(), np.uint8))
    writers = [_Writer(sink, found, leaf) for leaf in found.layout.leaves]
    teller = Teller(tell, f"decoding {found.split}", found.count)
    start = 0
    for values in _chunks(dataset, found, range(found.count)):
        for writer, rows in zip(writers, values, strict=True):
            writer.write(start, rows)
        start += len(values[0])
        teller.at(start)
    for writer in writers:
        writer.finish()


def first_difference(dataset: Any, found: Examined, items: Items) -> int | None:
    """The first item of ``dataset`` that is not, bit for bit, what ``items`` have of it; None if all are.

    Raises:
        ItemError: one cannot be used.
    """
    if found.count != len(items) or found.layout != items.layout:
        return 0
    start = 0
    for values in _chunks(dataset, found, range(found.count)):
        rows = torch.arange(start, start + len(values[0]))
        for now, kept in zip(values, items.leaves(rows), strict=True):
            if now.tobytes() != kept.numpy().tobytes():  # by bits: a NaN is itself
                pairs = enumerate(zip(now, kept.numpy(), strict=True))
                return start + next(row for row, (one, two) in pairs if one.tobytes() != two.tobytes())
        start += len(values[0])
    return None


class Items:
    """The items of a split, from decoded arrays, which may be mapped files: only what is asked for is read.

    Args:
        arrays: with those that :func:`decode` wrote.
        split: whose items.

    Attributes:
        layout: what they look like.
    """

    def __init__(self, arrays: Any, split: str) -> None:
        self.layout = Layout.from_json(arrays[f"{split}/{_LAYOUT}"].tobytes().decode())
        self._arrays = arrays
        self._rows = [shared_tensor(arrays[f"{split}/{leaf.name}"]) for leaf in self.layout.leaves]
        self._tables = [
            torch.from_numpy(arrays[name].copy())
            if (name := f"{split}/{leaf.name}{_VALUES}") in arrays
            else None
            for leaf in self.layout.leaves
        ]

    def __len__(self) -> int:
        """How many items there are."""
        return len(self._rows[0])

    def leaves(self, index: Tensor) -> list[Tensor]:
        """New tensors, one per leaf of the layout, of the items ``index`` (int64, shape (n,), on the CPU)."""
        found = [rows.index_select(0, index) for rows in self._rows]
        for rows in found:
            touched(self._arrays, rows.nbytes, len(index))
        return [
            rows if table is None else codes.decode(rows, table)
            for rows, table in zip(found, self._tables, strict=True)
        ]

    def whole(self, name: str) -> Tensor:
        """The leaf ``name`` of all items, one after the other."""
        number = [leaf.name for leaf in self.layout.leaves].index(name)
        rows, table = self._rows[number], self._tables[number]
        return rows if table is None else codes.decode(rows, table)

    def batch(self, index: Tensor) -> tuple[Any, Tensor]:
        """(inputs, targets) of the items ``index``, as :func:`trainables.calling.call` takes them."""
        return self.layout.joined(self.leaves(index))


class _Writer:
    """Writes one leaf of all items; images as bytes as long as these tell all values apart."""

    def __init__(self, sink: Sink, found: Examined, leaf: Leaf) -> None:
        self._sink, self._leaf = sink, leaf
        self._name = f"{found.split}/{leaf.name}"
        self._count = found.count
        self._encoder = codes.Encoder(leaf.shape[0]) if codes.can_be_encoded(leaf.dtype, leaf.shape) else None
        self._begun = False

    def write(self, start: int, rows: np.ndarray) -> None:
        if self._encoder is not None:
            try:
                encoded = self._encoder.encode(rows)
            except codes.TooMany:
                self._give_up_bytes(start)
            else:
                self._put(start, encoded)
                return
        self._put(start, rows)

    def finish(self) -> None:
        if self._encoder is not None:
            put(self._sink, f"{self._name}{_VALUES}", self._encoder.table)

    def _put(self, start: int, rows: np.ndarray) -> None:
        if not self._begun:
            self._sink.create(self._name, (self._count, *self._leaf.shape), rows.dtype.name)
            self._begun = True
        self._sink.write(self._name, start, rows)

    def _give_up_bytes(self, written: int) -> None:
        """Write as floats from here on, and again what was ``written`` as bytes."""
        assert self._encoder is not None
        table, self._encoder, self._begun = torch.from_numpy(self._encoder.table), None, False
        if not written:
            return
        bytes_name, self._name = self._name, f"{self._name}:floats"
        step = chunk_size(self._leaf.nbytes)
        for start in range(0, written, step):
            rows = torch.from_numpy(self._sink.read(bytes_name, start, min(start + step, written)))
            self._put(start, codes.decode(rows, table).numpy())
        self._sink.drop(bytes_name)
        self._sink.rename(self._name, bytes_name)
        self._name = bytes_name


def chunk_size(item_bytes: int) -> int:
    """How many items of so many bytes are read at a time."""
    return max(1, min(MOST_IN_CHUNK, CHUNK_BYTES // max(1, item_bytes)))


def _chunks(dataset: Any, found: Examined, chosen: Sequence[int]) -> Iterator[list[np.ndarray]]:
    """The ``chosen`` items in order: per chunk an array per leaf."""
    reader = _Reader(dataset, found)
    step = chunk_size(found.layout.nbytes)
    chunks = [chosen[start : start + step] for start in range(0, len(chosen), step)]
    processors = len(os.sched_getaffinity(0))
    if processors < 2 or found.seconds * len(chosen) / found.count < POOL_SECONDS:
        for chunk in chunks:
            with drawing_from(0):
                values = reader[chunk]
            yield [values.numpy() for values in checked(values)]
        return
    try:
        for values in pool_of(reader, chunks, processors):
            yield [values.numpy() for values in checked(values)]
    except DEATHS as error:
        raise died(found.split, error) from error


class _Reader:
    """A dataset whose items are whole chunks; an error is given back, and not raised through a process."""

    def __init__(self, dataset: Any, found: Examined) -> None:
        self._dataset, self._found = dataset, found

    def __getitem__(self, chosen: Sequence[int]) -> list[Tensor] | ItemError:
        found, keys = self._found, [item_key(0, index) for index in chosen]
        try:
            stacked = read_items(self._dataset, found.split, chosen, keys, found.layout)
        except ItemError as error:
            return ItemError(str(error))  # without its traceback, whose frames cannot be sent
        return [torch.from_numpy(values) for values in stacked]
