"""How much of their trainings a sweep's trials have done: what a budget of compute is counted in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BEGINNING = 0.1
"""Share of a training that each trial counts at least: to begin, to be measured and packed take time, too."""

SHARED_EPOCHS = "shared_epochs"
"""In a report: how many epochs the trial took over from another one, at once."""


@dataclass
class Trained:
    """What a trial has trained by itself, as its reports say.

    Attributes:
        standing: where the trial stood that it takes up; 0 (default) if it takes up none.
        first: epoch of its first report; below 0 until it reports.
        last: epoch of its last report.
        taken: epochs that it took over from first phases that another trial had trained.
    """

    standing: int = 0
    first: int = -1
    last: int = -1
    taken: int = 0

    def hear(self, epoch: int, result: Mapping[str, Any]) -> None:
        """It reported; what it had reported before changes nothing."""
        if epoch <= self.last:
            return
        if self.first < 0:
            self.first = epoch
        self.last = epoch
        taken = result.get(SHARED_EPOCHS)
        if isinstance(taken, int | float) and math.isfinite(taken):
            self.taken = int(taken)

    def share(self, epochs: int) -> float:
        """Of a training of so many ``epochs`` that was done by itself, in [:data:`BEGINNING`, 1]."""
        return _counted(self.last - self.first - self.taken, epochs)

    def most(self, epochs: int) -> float:
        """The share that it will have done if it trains to the end, as far as it is known, likewise."""
        begun = self.standing if self.first < 0 else self.first
        return _counted(epochs - begun - self.taken, epochs)


def _counted(done: int, epochs: int) -> float:
    return min(max(done / epochs, BEGINNING), 1.0) if epochs else BEGINNING


class Ledger:
    """Counts what a sweep's trials train, in whole trainings: each by the share of its own that it does.

    What trains nothing counts as :data:`BEGINNING`, or a sweep would not end before all of it is tried.

    It hears what the sweep's log says, in whatever order trials report, and knows nothing else.
    """

    def __init__(self) -> None:
        self._trials: dict[str, Trained] = {}
        self._epochs: dict[str, int] = {}
        self._open: set[str] = set()

    @property
    def trials(self) -> int:
        """How many have begun."""
        return len(self._trials)

    def begin(self, name: str, epochs: int) -> None:
        """The trial ``name`` of so many ``epochs`` begins; saying so again changes nothing."""
        self._enter(name, epochs, Trained())

    def take_up(self, name: str, as_name: str) -> None:
        """The ended trial ``name`` goes on as another one; saying so again changes nothing."""
        if name in self._trials:
            self._enter(as_name, self._epochs[name], Trained(max(self._trials[name].last, 0)))

    def hear(self, name: str, epoch: int, result: Mapping[str, Any]) -> None:
        """The trial ``name`` reported."""
        if name in self._trials:
            self._trials[name].hear(epoch, result)

    def end(self, name: str) -> None:
        """The trial ``name`` has ended."""
        self._open.discard(name)

    def spent(self) -> float:
        """Trainings that were done."""
        return math.fsum(each.share(self._epochs[name]) for name, each in self._trials.items())

    def bound(self) -> float:
        """Trainings that were done by trials that have ended, or will be if all that run train to the end."""
        return math.fsum(
            each.most(self._epochs[name]) if name in self._open else each.share(self._epochs[name])
            for name, each in self._trials.items()
        )

    def _enter(self, name: str, epochs: int, trained: Trained) -> None:
        if name not in self._trials:
            self._trials[name], self._epochs[name] = trained, epochs
            self._open.add(name)


@dataclass(frozen=True)
class Allowance:
    """What a sweep may train.

    Attributes:
        ledger: what its trials have trained.
        trainings: as much as so many whole trials would; None (default) limits the number of trials alone.
        trials: so many, at most.
    """

    ledger: Ledger
    trainings: float | None = None
    trials: float = math.inf

    def left(self) -> float:
        """Trainings that nobody has done or is at; may be below 0, as the last trial trains to its end."""
        return math.inf if self.trainings is None else self.trainings - self.ledger.bound()

    def used_up(self) -> bool:
        """Whether no further trial begins, unless one that runs ends early."""
        return self.left() < LEAST

    def trials_left(self) -> float:
        """Trials that may still begin."""
        return self.trials - self.ledger.trials


LEAST = 1e-6
"""Of a training: what is left if sums of shares should be whole."""
