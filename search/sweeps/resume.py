"""What goes on with an earlier sweep needs to know of it. Imports neither torch nor ray."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search.log.event_log import read_log
from search.log.events import Event
from search.log.folder import PAGE_FILE, DeliveryMark, SweepFolder
from search.options import Options, command, go_on_with
from search.problem import Problem
from search.store.mlflow_client import METRIC_TAG, check_path, masked
from search.store.store import own_database
from search.sweeps.publish import publish
from search.sweeps.settings import from_json
from search.tracking.delivery import SWEEP
from search.tracking.tracker import SweepTracker
from trainables.foreign import shown


@dataclass(frozen=True)
class Earlier:
    """A sweep that was started before.

    Attributes:
        folder: where it is.
        events: its log, which begins with how it was asked for; each was checked when it was read.
    """

    folder: SweepFolder
    events: list[Event]

    @property
    def epochs(self) -> int:
        """Of each trial."""
        found: int = self._settings()["study"]["epochs"]
        return found

    @property
    def study(self) -> str:
        """What is searched."""
        return self.events[0]["study"]

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        ends = [e.get("state") for e in self.events if e["run"] == SWEEP and e["kind"] in ("again", "end")]
        return ends[-1:] == ["finished"]

    def tracking_uri(self, what: str, given: str | None) -> str:
        """MLflow's store: ``given``, else the one that the sweep had, if the user names it or it is our own.

        A log may come from somebody else, who would get what the sweep's folders hold.

        Args:
            what: the command that asks, to be typed again.
            given: by the user.

        Raises:
            Problem: it is named in the log, and neither by ``given`` nor by MLFLOW_TRACKING_URI.
        """
        options = self._settings()["options"] if self.events[0]["settings"] else {}
        kept: str | None = options.get("tracking_uri")
        named = given or os.environ.get("MLFLOW_TRACKING_URI")
        if given is None and kept is None:
            return own_database(self.folder.store)
        if named is None or (given is None and masked(named) != kept):
            again = command(what, self.folder.name, self.folder.store, tracking_uri=kept)
            if what == "resume":
                again = go_on_with(self.options(str(kept)))
            raise Problem(
                f"The sweep {self.folder.name} was tracked at {shown(str(kept))}, which only its log "
                f"says: nothing is sent there unless you name it: {again}"
            )
        return named

    def going_on(
        self, tracking_uri: str | None, *, address: str | None, model: str | None, measured: bool = False
    ) -> Options:
        """How the sweep was asked for, if the user names what only its log names otherwise.

        Args:
            tracking_uri: MLflow's store, as the user gave it.
            address: of a Ray cluster, as the user gave it.
            model: ``module:Class`` of the user's student, as the user gave it.
            measured: whether the user gave a command that measures students.

        Raises:
            Problem: it was tracked at another store, ran on a cluster, had students of a class or was
                measured by a command that the user does not name; or it had no such command.
        """
        name = self.folder.name
        uri = self.tracking_uri("resume", tracking_uri)
        options = self.options(uri)
        again = go_on_with(options)
        if address is None and options.address is not None:
            raise Problem(
                f"The sweep {name} ran on the Ray cluster {options.address}, which only its log says: it is "
                f"not joined unless you name it: {again}"
            )
        if _code(model) != _code(options.own_model):
            own = options.own_model
            raise Problem(
                f"The students of {name} are of {own}, which is imported only if you name it: {again}"
                if own
                else f"The students of {name} are Rayduce's own; leave out --model."
            )
        if measured != (options.device is not None):
            raise Problem(
                f"The sweep {name} measures students on the device {options.device}, by a command that is "
                f"kept nowhere: give it again: {again}"
                if options.device is not None
                else f"The sweep {name} measures its students on no device; leave out --measure."
            )
        return replace(options, own_model=model)

    def options(self, tracking_uri: str) -> Options:
        """How the sweep was asked for. Nothing is fetched again, as what was fetched is there.

        Raises:
            Problem: another version wrote it, or it makes no sense.
        """
        here = {"store": str(self.folder.store), "tracking_uri": tracking_uri}
        try:
            return replace(from_json(Options, {**self._settings()["options"], **here}), download=False)
        except ValueError as error:
            raise Problem(f"The settings of {self.folder.name} cannot be used: {error}.") from error

    def has_arrived(self, given: str | None) -> bool:
        """Whether MLflow has everything of a sweep that came to its end, its page too.

        Args:
            given: the address of MLflow's store; None for the one that it was delivered to last.
        """
        pages = (PAGE_FILE in event.get("files", {}) for event in self.events if event["run"] == SWEEP)
        end = read_log(self.folder.log, self.folder.name).end
        return any(pages) and DeliveryMark(self.folder, given).read() == end

    def _settings(self) -> Mapping[str, Any]:
        found = self.events[0]["settings"]
        if not found:
            raise Problem(f"The log of {self.folder.name} does not say how it was asked for.")
        return found


def _code(model: str | None) -> str | None:
    """What the user's code is called; a file may lie in another folder than it did."""
    return Path(model).name if model is not None and model.endswith(".py") else model


def find_sweep(store: Path, name: str) -> Earlier:
    """The sweep called ``name`` in ``store``.

    Raises:
        Problem: there is none; the message names those there are.
        StoreError: its log is damaged or leads out of the store, or there can be no store in such a folder.
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
