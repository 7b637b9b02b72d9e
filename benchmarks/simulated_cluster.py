"""A cluster of workers with a clock, replaying the recorded table: searches compared in simulated time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from benchmarks.recorded_table import Table
from trainables.recipe import Recipe

START_SECONDS = 0.05
"""Of a trial that trains nothing, as it was when the grid was recorded; now it is 0.08
(benchmarks/results/2026-11-22-trial-overhead.md)."""


@dataclass(frozen=True)
class Asked:
    """A trial as the search suggests it.

    Attributes:
        number: of the trial.
        row: of the table: its recipe.
        epoch: where it begins: 0, or where a trial that was ended is taken up again.
    """

    number: int
    row: int
    epoch: int = 0


class Search(Protocol):
    """What suggests trials and hears how they went."""

    def ask(self) -> Asked | None:
        """The next trial; None if there is none left."""
        ...

    def tell(self, asked: Asked, epoch: int, finished: bool) -> None:
        """The trial ended after ``epoch``: finished, or pruned."""
        ...


class Judge(Protocol):
    """What ends trials early."""

    def judge(self, asked: Asked, epoch: int) -> bool:
        """Whether a trial that has reported ``epoch``, not its last, goes on."""
        ...

    def finish(self, asked: Asked) -> None:
        """The trial has reported its last epoch."""
        ...

    def begin(self, name: str, recipe: Recipe) -> None:
        """A trial begins that takes no other up."""
        ...

    def promising(self) -> str | None:
        """A trial that was ended and should go on, by its number as a searcher names it."""
        ...

    def take_up(self, name: str, as_name: str) -> None:
        """That one goes on as another."""
        ...


@dataclass(frozen=True)
class Ended:
    """A trial's end.

    Attributes:
        compute: seconds that all workers together had been given by then.
        row: of the table.
        epoch: how far it came.
        finished: whether that was its last.
        began: epoch that it began at; not 0 where it took another trial up, or its first phase was there.
    """

    compute: float
    row: int
    epoch: int
    finished: bool
    began: int = 0


def simulate(
    table: Table,
    search: Search,
    judge: Judge,
    *,
    workers: int,
    compute: float,
    prefix_of: Callable[[int], tuple[str, int] | None] | None = None,
) -> list[Ended]:
    """Search until the workers have been given ``compute`` seconds in all.

    Each worker takes a trial, reports it untrained and after each of its epochs, and goes on to the next
    trial when it ends, or rests if there is none. Suggesting takes no time. Trials that still run at the end
    are lost.

    Args:
        table: what recipes do.
        search: suggests.
        judge: ends trials early.
        workers: how many trials run at a time.
        compute: seconds of all workers together.
        prefix_of: of a row what its first phases are called and how long they last, None if there are none:
            where another trial trained them, it begins behind them. None (default) keeps no first phases.
    """
    kept: dict[str, int] = {}
    ended: list[Ended] = []
    # When, a number that breaks ties, the trial, and the epoch that it reports then.
    events: list[tuple[float, int, Asked, int]] = []
    count = 0

    def schedule(when: float, asked: Asked, epoch: int) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (when + float(table.seconds[asked.row, epoch]), count, asked, epoch))

    def start(when: float) -> None:
        nonlocal count
        asked = search.ask()
        if asked is not None:
            count += 1
            prefix = None if prefix_of is None else prefix_of(asked.row)
            if prefix is not None:
                asked = replace(asked, epoch=max(asked.epoch, kept.get(prefix[0], 0)))
            # Wherever it begins, it reports where it stands, which takes as long as it does at the beginning.
            begun = when + START_SECONDS + float(table.seconds[asked.row, 0])
            heapq.heappush(events, (begun, count, asked, asked.epoch))

    for _ in range(workers):
        start(0.0)
    while events:
        when, _, asked, epoch = heapq.heappop(events)
        if when * workers > compute:
            break
        prefix, last = None if prefix_of is None else prefix_of(asked.row), int(table.epochs[asked.row])
        if prefix is not None and epoch == prefix[1]:
            kept[prefix[0]] = epoch
        if epoch == last:
            judge.finish(asked)
        elif judge.judge(asked, epoch):
            schedule(when, asked, epoch + 1)
            continue
        search.tell(asked, epoch, epoch == last)
        ended.append(Ended(when * workers, asked.row, epoch, epoch == last, asked.epoch))
        start(when)
    return ended
