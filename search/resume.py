"""What goes on with an earlier sweep needs to know of it. Imports neither torch nor ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.delivery import SWEEP
from search.event_log import Event
from search.mlflow_client import METRIC_TAG, check_path
from search.problem import Problem
from search.publish import publish
from search.store import own_database
from search.sweep_folder import SweepFolder
from search.tracking import SweepTracker
from trainables.foreign import shown


@dataclass(frozen=True)
class Earlier:
    """A sweep that was started before.

    Attributes:
        folder: where it is.
        events: its log, which begins with how it was asked for.
    """

    folder: SweepFolder
    events: list[Event]

    @property
    def settings(self) -> Mapping[str, Any]:
        """As :func:`search.sweep.run_sweep` wrote them."""
        found: Mapping[str, Any] = self.events[0]["settings"]
        return found

    @property
    def study(self) -> str:
        """What is searched."""
        return str(self.events[0]["study"])

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        ends = [e.get("state") for e in self.events if e["run"] == SWEEP and e["kind"] in ("again", "end")]
        return ends[-1:] == ["finished"]

    def tracking_uri(self, given: str | None) -> str:
        """MLflow's store: ``given``, else the one the sweep had.

        Raises:
            Problem: that had a password, which is written down nowhere.
        """
        kept = self.settings["options"]["tracking_uri"]
        if given is None and kept is not None and "***@" in kept:
            raise Problem(
                f"The sweep {self.folder.name} is tracked at {kept}, and its password is kept nowhere: "
                "give --tracking-uri."
            )
        return str(given or kept or own_database(self.folder.store))


def find_sweep(store: Path, name: str) -> Earlier:
    """The sweep called ``name`` in ``store``.

    Raises:
        Problem: there is none; the message names those there are.
        StoreError: its log is damaged, or there can be no store in such a folder.
    """
    if not check_path(store.absolute()).is_dir():
        raise Problem(
            f"There is no store at {shown(str(store.absolute()), 500)}; give the right folder with --store."
        )
    folder = SweepFolder(store.absolute(), name)
    events = folder.events()
    if events:
        return Earlier(folder, events)
    known = sorted(path.parent.name for path in (store / "sweeps").glob("*/events.jsonl"))
    told = f"it has {', '.join(known[-10:])}" if known else "it has none that could go on"
    raise Problem(f"The store {shown(str(store), 500)} has no sweep named {name!r}; {told}.")


def deliver(earlier: Earlier, tracking_uri: str, report: Callable[[str], str], seconds: float) -> str:
    """Deliver what MLflow lacks of a sweep that nobody is running.

    Returns:
        What it still lacks; empty if it has everything.

    Raises:
        Problem: the sweep is running.
        StoreError: MLflow's store cannot be used.
    """
    folder = earlier.folder
    with folder.claimed():
        tracker = SweepTracker(tracking_uri, folder.store, earlier.study, folder.name)
        tracker.open({}, {METRIC_TAG: earlier.events[0]["tags"][METRIC_TAG]}, resume=True)
        try:
            return publish(tracker, folder.name, report if earlier.finished else None, seconds)
        finally:
            tracker.abandon()
