"""What the log of a sweep has told of each of its runs so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from search.log.events import SWEEP, Event


@dataclass
class ToldRun:
    """One run.

    Attributes:
        name: in lists.
        step: the last.
        ended: and not taken up again.
        files: names of its artifacts.
    """

    name: str
    step: int = 0
    ended: bool = False
    files: set[str] = field(default_factory=set)


class ToldRuns:
    """The runs of one sweep, by trial id; the sweep's own is under :data:`search.log.events.SWEEP`.

    Args:
        sweep: its name.
    """

    def __init__(self, sweep: str) -> None:
        self._sweep = sweep
        self._clock = 0
        self._runs: dict[str, ToldRun] = {}

    def __contains__(self, run: str) -> bool:
        return run in self._runs

    def __getitem__(self, run: str) -> ToldRun:
        self.check(run)
        return self._runs[run]

    def check(self, run: str) -> None:
        """Refuse a run that was never started.

        Raises:
            ValueError: it names run and sweep.
        """
        if run not in self._runs:
            raise ValueError(f"no trial {run!r} was started in the sweep {self._sweep!r}")

    def open_trials(self) -> list[str]:
        """Trials that have not ended."""
        return [key for key, run in self._runs.items() if key != SWEEP and not run.ended]

    def now(self) -> int:
        """The time of the next event in milliseconds, later than that of every one before.

        Of two values with equal step and time MLflow calls the larger one the latest.
        """
        return max(self._clock + 1, time.time_ns() // 1_000_000)

    def hear(self, event: Event) -> None:
        """Take in what the next event tells."""
        self._clock = event["time"]
        if event["kind"] in ("open", "start"):
            self._runs[event["run"]] = ToldRun(event["name"])
        run = self._runs[event["run"]]
        run.step = max(run.step, event.get("step", 0))
        run.files |= event.get("files", {}).keys()
        if event["kind"] in ("again", "end"):
            run.ended = event["kind"] == "end"

    def label(self, run: str) -> str:
        """A run for people."""
        return f"the sweep {self._sweep}" if run == SWEEP else f"the trial {self._runs[run].name} ({run})"

    def refusal(self, refused: tuple[str, str]) -> str:
        """What MLflow refused of a run, for people: the run and what the courier says."""
        run, text = refused
        return f"{self.label(run)} {text}"
