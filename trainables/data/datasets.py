"""A user's datasets, one per split: decoded once into the store, or to be streamed.

Interface::

    data = decoded({"train": ..., "validation": ..., "test": ...}, store, tell)
    data.arrays                # what trials are given; pickled as a path where it is kept in the store
    data.streamed              # why the training split is not in it; empty if it is
    Items(data.arrays, split)  # trainables.data.decode: the items of a split
    Stream(dataset, "train")   # trainables.data.stream: those of a training split that is streamed
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.decode import Examined, Items, decode, examine, first_difference, sample_digest
from trainables.data.errors import DataError
from trainables.data.keeping import KEPT_FROM, CannotKeep, keep
from trainables.data.kept import KeptArrays
from trainables.data.sinks import InMemory, Sink
from trainables.data.telling import Tell

VERSION = 1
"""To be raised whenever the same items become other arrays."""
SAMPLE = 1000
"""Items of a split that name its content."""
COMPARED_SECONDS = 10.0
"""Of reading all items, below which every sweep compares all of them with what is kept."""
KEPT_SECONDS = 2.0
"""Of reading all items, from which on also few bytes are kept."""
SHARE_OF_MEMORY = 0.5
"""Of what is free, that decoded data may take where the store has no room."""


@dataclass(frozen=True)
class Decoded:
    """What became of a user's datasets.

    Attributes:
        arrays: of every split that is not streamed; see :mod:`trainables.data.decode`.
        found: by split, what a few items said.
        digests: by split, 64 hex digits that name up to 1,000 of its items.
        streamed: why the training split is streamed; empty if it is not.
    """

    arrays: Mapping[str, np.ndarray]
    found: Mapping[str, Examined]
    digests: Mapping[str, str]
    streamed: str


def decoded(datasets: Mapping[str, Any], store: Path | None, tell: Tell) -> Decoded:
    """Decode all splits, or find what an earlier sweep has decoded.

    What is kept is named by up to 1,000 items of each split. Where reading all items takes less than 10 s,
    all are compared with what is kept; where it takes more, it is told that they are not.

    Args:
        datasets: by split, ``train`` among them.
        store: folder of the sweeps' files; None keeps everything in memory.
        tell: hears of what takes long or is odd.

    Raises:
        DataError: an item cannot be used, another split than ``train`` is random, or there is no room
            anywhere.
    """
    found = {split: examine(dataset, split) for split, dataset in datasets.items()}
    streamed = _why_streamed(found)
    digests = {split: sample_digest(dataset, found[split], SAMPLE) for split, dataset in datasets.items()}
    chosen = [split for split in datasets if not (streamed and split == "train")]
    large = sum(found[split].nbytes for split in chosen) >= KEPT_FROM
    slow = sum(found[split].seconds for split in chosen) >= KEPT_SECONDS
    if store is not None and (large or slow):
        try:
            return Decoded(_kept(datasets, found, digests, chosen, store, tell), found, digests, streamed)
        except CannotKeep as error:
            why = f"the decoded data cannot be kept in the store: {error}"
        needed = sum(found[split].nbytes for split in chosen)
        if needed > SHARE_OF_MEMORY * memory_free() and "train" in chosen:
            streamed = f"{why}, and do not fit in memory"
            chosen.remove("train")
        else:
            tell(f"{why}; they are held in memory")
    sink = InMemory()
    for split in chosen:
        decode(datasets[split], found[split], sink, tell)
    return Decoded(sink.arrays, found, digests, streamed)


def memory_free() -> float:
    """Bytes that programs can have without swapping, as Linux counts them."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    [available] = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024.0 * int(available)


def _why_streamed(found: Mapping[str, Examined]) -> str:
    for split, each in found.items():
        if each.random and split != "train":
            raise DataError(
                f'data("{split}") gives other values when it is read again, so that networks could not be '
                "compared by it: switch its random transforms off"
            )
    return 'data("train") draws random numbers' if found["train"].random else ""


def _kept(
    datasets: Mapping[str, Any],
    found: Mapping[str, Examined],
    digests: Mapping[str, str],
    chosen: list[str],
    store: Path,
    tell: Tell,
) -> KeptArrays:
    """The arrays of the ``chosen`` splits, of an earlier sweep or decoded now."""
    facts = repr((VERSION, [(split, digests[split]) for split in chosen]))
    key = hashlib.sha256(facts.encode()).hexdigest()[:32]

    def make(sink: Sink) -> None:
        for split in chosen:
            decode(datasets[split], found[split], sink, tell)

    def check(arrays: KeptArrays) -> str:
        if sum(found[split].seconds for split in chosen) >= COMPARED_SECONDS:
            read, total = (
                sum(counts)
                for counts in zip(
                    *((min(SAMPLE, found[s].count), found[s].count) for s in chosen), strict=True
                )
            )
            tell(
                f"using the kept data, of which {read:,} of {total:,} items were read again and are the same"
            )
            return ""
        for split in chosen:
            number = first_difference(datasets[split], found[split], Items(arrays, split))
            if number is not None:
                return f'data("{split}")[{number}] is another one now'
        return ""

    return keep(store, key, make, tell, check)
