"""The terminal during a sweep: trials done and running, the front so far, time left."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import TracebackType

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from search.objectives.costs import PACKED
from search.objectives.front import non_dominated
from search.store.remaining import ending_seconds
from search.tracking.record import Record, drawn
from search.units import count, show_bytes, show_seconds, show_state
from trainables.foreign import shown
from trainables.metrics import Quality, quality_of

LONGEST_LINE = 1000
"""Letters of a reason or a stage that are shown."""

WIDEST = 100
"""Columns of what is going on and of its time; on a wider terminal they would lie far apart."""


class Display:
    """A live display on a terminal; one line per finished trial elsewhere.

    It is a context manager and a :class:`search.reporter.Reporter`.
    """

    def __init__(
        self,
        console: Console,
        name: str,
        trials: int,
        costs: tuple[str, ...] = (PACKED,),
        trainings: int | None = None,
    ) -> None:
        """Show a sweep.

        Args:
            console: where.
            name: of the sweep.
            trials: how many it has.
            costs: what it minimises, the size first; default the packed size.
            trainings: its compute as that of so many whole trials; None (default) counts trials.
        """
        self._console = console
        self._costs = costs
        self._name = name
        self._trials, self._trainings = trials, trainings
        self._records: Mapping[str, Record] = {}
        self._stage = ""
        self._told: set[str] = set()
        self._started = time.monotonic()
        self._since = self._started
        self._first_trial: float | None = None
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self.rendered, transient=True)

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, text: str) -> None:
        """What is happening now."""
        self._stage, self._since = shown(text, LONGEST_LINE), time.monotonic()
        if not self._console.is_terminal:
            self._console.print(
                f"[{show_seconds(time.monotonic() - self._started)}] {self._stage}", markup=False
            )

    def remark(self, text: str) -> None:
        """What the user should still see when other things are happening; a line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=not self._console.is_terminal)

    def changed(self, records: Mapping[str, Record]) -> None:
        """A trial started, reported or ended."""
        self._records = records
        if self._first_trial is None:
            self._first_trial = time.monotonic()
        if self._console.is_terminal:
            return
        for record in records.values():
            if record.state != "running" and record.trial_id not in self._told:
                self._told.add(record.trial_id)
                place = self._place(records)
                line = f"  {'with it' if record.trained_with else place:>{len(place)}}  {self._line(record)}"
                self._console.print(line, markup=False, soft_wrap=True)  # a file has no width

    def _place(self, records: Mapping[str, Record]) -> str:
        """How far the sweep is with the trial that was told last."""
        own = drawn(records)
        if self._trainings is None:
            return f"{len(own.keys() & self._told):>4}/{self._trials}"
        done = sum(record.trainings for name, record in own.items() if name in self._told)
        return f"{done:>6.1f}/{self._trainings}"

    def _line(self, record: Record) -> str:
        name = shown(record.name)
        if record.continues:
            name += f", going on from {shown(record.continues)}"
        if record.state == "finished":
            quality, size = _quality(record), show_bytes(record.metrics["packed_bytes"])
            score = quality.text(record.metrics[quality.validation])
            over = f"  over the limits: {record.over}" if record.over else ""
            return f"{name:<28} {quality.label} {score:>8}  {size}{over}"
        state = show_state(record.state) + (":" if record.state == "pruned" else "")
        return f"{name:<28} {state} {shown(record.reason, LONGEST_LINE)}".rstrip()

    def rendered(self) -> RenderableType:
        """What the terminal shows now."""
        records = list(self._records.values())
        students = [r for r in records if r.state != "running"]
        ended = [r for r in students if not r.trained_with]
        failed = sum(r.state == "failed" for r in ended)
        done = math.fsum(record.trainings for record in records if not record.trained_with)
        head = Table.grid(padding=(0, 2), expand=True)
        head.width = min(self._console.width, WIDEST)
        head.add_column(ratio=1, no_wrap=True, overflow="ellipsis")  # the time stays whole, and beside it
        head.add_column(no_wrap=True)
        head.add_row(
            Spinner("dots", Text(f"{shown(self._name)}: {self._stage}", style="bold")),
            Text(self._time_left(len(ended), done)),
        )
        if not records:
            return head
        if self._trainings is None:
            bar = ProgressBar(total=self._trials, completed=len(ended), width=40)
            told = f"{len(ended)} of {count(self._trials, 'trial')}"
        else:
            bar = ProgressBar(total=self._trainings, completed=done, width=40)
            told = f"{done:.1f} of {count(self._trainings, 'training')}, {count(len(ended), 'trial')}"
        head.add_row(bar, Text(told + (f", {failed} failed" if failed else "")))
        running = ", ".join(
            f"{shown(r.name)} (epoch {r.metrics.get('epoch', 0):.0f} of {r.recipe.epochs})"
            for r in records
            if r.state == "running"
        )
        line = Text(f"running: {running}", style="dim", no_wrap=True, overflow="ellipsis")
        return Group(head, *([line] if running else []), self._front(students))

    def _time_left(self, ended: int, done: float) -> str:
        """Since the beginning, and to the end with measuring the front and telling MLflow.

        The pace is that of trials or, where they are counted, of trainings.
        """
        now = time.monotonic()
        text = show_seconds(now - self._started)
        if ended < 2 or self._first_trial is None:
            return text
        left = ending_seconds(sum(record.front for record in self._records.values()))
        so_far, total = (ended, self._trials) if self._trainings is None else (done, self._trainings)
        if 0 < so_far < total:
            left += (now - self._first_trial) / so_far * (total - so_far)
        else:
            left -= now - self._since
        return f"{text}, about {show_seconds(left)} left" if left > 1 else text

    def _front(self, ended: list[Record]) -> RenderableType:
        finished = [r for r in ended if r.state == "finished" and not r.over]
        if not finished:
            return Text("")
        quality = _quality(finished[0])
        names = (quality.validation, *self._costs)
        values = np.array([[r.metrics.get(name, math.nan) for name in names] for r in finished])
        ups = (quality.up, *(False for _ in self._costs))
        front = [r for r, kept in zip(finished, non_dominated(values, ups), strict=True) if kept]
        table = Table(title="front so far (validation split)", title_justify="left", box=None, padding=(0, 2))
        table.add_column("student")
        table.add_column(quality.label, justify="right")
        by_onnx = self._costs[0] != PACKED
        table.add_column("packed", justify="right")
        if by_onnx:
            table.add_column("ONNX", justify="right")
        table.add_column("ratio", justify="right")
        for r in sorted(front, key=lambda r: r.metrics[self._costs[0]])[-12:]:
            table.add_row(
                Text(shown(r.name)),
                quality.text(r.metrics[quality.validation]),
                show_bytes(r.metrics["packed_bytes"]),
                *([show_bytes(r.metrics[self._costs[0]])] if by_onnx else []),
                f"{r.metrics['compression_ratio']:.0f}x",
            )
        return table


def _quality(record: Record) -> Quality:
    return quality_of(record.recipe.task.metric)
