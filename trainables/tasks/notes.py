"""What was found about a user's data: used, left out, changed, and worth a second look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trainables.foreign import shown

EXAMPLES = 3
"""Names that are said of a kind."""
MOST_KINDS = 8
"""Kinds that are told apart; all further ones are one kind."""
LONGEST_NAME = 60
"""Letters of an example."""


@dataclass(frozen=True)
class Tally:
    """How many things of one kind there are, and some of them.

    Attributes:
        kind: what they are, such as ``.heic files``.
        count: how many, at least 1.
        examples: names of the first ones, fit to be shown, at most three.
    """

    kind: str
    count: int
    examples: tuple[str, ...]

    @property
    def text(self) -> str:
        """``.heic files (20: cat/1.heic, cat/2.heic, cat/3.heic, ...)``."""
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.kind} ({self.count:,}: {', '.join(self.examples)}{more})"


@dataclass(frozen=True)
class DataNotes:
    """What reading a user's data found that the user should know; empty where there is nothing to say.

    Attributes:
        used: samples that are used, of all splits; 0 where nobody counted.
        entered: folders that were entered because they hold all the data, relative to the one given.
        left_out: what is not used.
        changed: what is used, but not as it is stored.
        doubtful: what is used as it is and may be a mistake.
    """

    used: int = 0
    entered: tuple[str, ...] = ()
    left_out: tuple[Tally, ...] = ()
    changed: tuple[Tally, ...] = ()
    doubtful: tuple[Tally, ...] = ()

    @property
    def rows(self) -> dict[str, str]:
        """Title -> what is to be said under it; only those with something to say."""
        found = {
            "read from": " and ".join(self.entered),
            "left out": "; ".join(tally.text for tally in self.left_out),
            "changed": "; ".join(tally.text for tally in self.changed),
            "doubtful": "; ".join(tally.text for tally in self.doubtful),
        }
        return {title: text for title, text in found.items() if text}

    @property
    def sentences(self) -> tuple[str, ...]:
        """The rows as lines, to be said one after the other."""
        return tuple(f"{title}: {text}" for title, text in self.rows.items())


class Tallies:
    """Counts things by kind as they are met."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, example: str) -> None:
        """One more of ``kind``; ``example`` is its name, from anywhere."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(shown(example, LONGEST_NAME))

    def join(self, other: Tallies) -> None:
        """All that ``other`` has counted, too."""
        for kind, count in other._counts.items():
            self._counts[kind] = self._counts.get(kind, 0) + count
            examples = self._examples.setdefault(kind, [])
            examples += other._examples[kind][: EXAMPLES - len(examples)]

    def all(self) -> tuple[Tally, ...]:
        """Every kind, the most frequent ones first; those beyond :data:`MOST_KINDS` together."""
        tallies = [Tally(kind, count, tuple(self._examples[kind])) for kind, count in self._counts.items()]
        tallies.sort(key=lambda tally: (-tally.count, tally.kind))
        return (*tallies[:MOST_KINDS], *_joined(tallies[MOST_KINDS:]))


def _joined(tallies: Iterable[Tally]) -> Iterable[Tally]:
    rest = list(tallies)
    if rest:
        examples = tuple(tally.examples[0] for tally in rest[:EXAMPLES])
        yield Tally("files of other kinds", sum(tally.count for tally in rest), examples)
