"""Distinct pairs in splits that share no sentence and no statement."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from trainables.tasks.base import SPLITS
from trainables.tasks.grammar.sentences import Contents, Speaker, all_contents
from trainables.tasks.grammar.words import Draw, Words

Pair = TypeVar("Pair", bound=tuple[Any, ...])

HELD_OUT_PERCENT = 10
"""Of all contents, for validation; and as many for the test."""


class Phrasebook(NamedTuple):
    """The pairs of each split, and 16 hex digits of a hash of them all."""

    pairs: dict[str, list[Words]]
    digest: str


def contents(split: str) -> Contents:
    """What the sentences of ``split`` state: each pair of words belongs to one split for good.

    Which one is a hash of the words, so that adding words moves no pair of others.
    """
    everything = all_contents()
    return Contents(
        events=_of(split, "events", everything.events),
        trips=_of(split, "trips", everything.trips),
        languages=_of(split, "languages", everything.languages),
        measures=_of(split, "measures", everything.measures),
    )


def phrasebook(seed: int, sizes: Mapping[str, int]) -> Phrasebook:
    """``sizes[split]`` pairs per split; no German and no English sentence comes twice in all of them."""
    german: set[str] = set()
    english: set[str] = set()
    pairs: dict[str, list[Words]] = {}
    digest = hashlib.sha256()
    for number, split in enumerate(SPLITS):
        speaker = Speaker(Draw(seed + number), contents(split))
        pairs[split] = []
        while len(pairs[split]) < sizes[split]:
            pair = speaker.say()
            if pair.german in german or pair.english in english:
                continue
            german.add(pair.german)
            english.add(pair.english)
            pairs[split].append(pair)
            digest.update(f"{split}\t{pair.german}\t{pair.english}\n".encode())
    return Phrasebook(pairs, digest.hexdigest()[:16])


def _of(split: str, kind: str, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
    return tuple(pair for pair in pairs if _split(kind, pair) == split)


def _split(kind: str, pair: tuple[Any, ...]) -> str:
    words = "/".join(item if isinstance(item, str) else item.english for item in pair)
    percent = int.from_bytes(hashlib.sha256(f"{kind}/{words}".encode()).digest()[:8], "big") % 100
    if percent < HELD_OUT_PERCENT:
        return "test"
    return "validation" if percent < 2 * HELD_OUT_PERCENT else "train"
