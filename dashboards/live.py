"""What the pages show, read in the background, so that no page waits for the store and no two read it
twice."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pandas as pd

from dashboards.text import fit_sweep, fit_trials, told
from search.store.answers import answers_of, not_told_apart
from search.store.samples import samples_of
from search.store.store import Store, StoreError
from search.store.sweep import Sweep
from trainables.predictions import Classes
from trainables.samples import Samples

READ_SECONDS = 1.0
"""How long after one reading the next begins; on sqlite a reading that finds nothing new takes under 1 ms."""
RETRY_SECONDS = 10.0
"""The longest pause while the store cannot be read."""
MOST_ANSWERS = 200
"""Runs whose answers are kept in memory."""
MOST_SHOWN = 4
"""Sweeps whose samples are kept in memory."""
WATCHED_SECONDS = 600.0
"""How long after it was last asked for a sweep's trials are read on."""


@dataclass
class _Watched:
    sweep: Sweep
    changes: int
    trials: pd.DataFrame
    asked: float = field(default_factory=time.monotonic)


class Live:
    """Sweeps and trials as they were at the last reading that succeeded.

    Args:
        store: what is read.
        seconds: between readings.
    """

    def __init__(self, store: Store, seconds: float = READ_SECONDS) -> None:
        self.store = store
        self._seconds = seconds
        self._lock = threading.Lock()
        self._sweeps: list[Sweep] = []
        self._watched: dict[str, _Watched] = {}
        self._answers: dict[str, dict[str, Classes]] = {}
        self._samples: dict[str, tuple[int, Samples | None]] = {}
        self._version = 0
        self._problem = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)

    def start(self) -> None:
        """Read once, and on in the background until :meth:`stop`."""
        self.read()
        self._thread.start()

    def stop(self, patience: float = 30) -> None:
        """End the background reading; a reading that goes on is waited for ``patience`` seconds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(patience)

    @property
    def version(self) -> int:
        """Another number whenever something else is to be shown."""
        return self._version

    @property
    def problem(self) -> str:
        """Why the last reading failed, in a sentence; empty if it did not."""
        return self._problem

    @property
    def sweeps(self) -> list[Sweep]:
        """All sweeps, newest first."""
        return self._sweeps

    def sweep(self, name: str | None) -> Sweep | None:
        """The sweep called ``name``, else the newest that runs or came to its end, else the newest.

        None if there is none at all.
        """
        sweeps = self._sweeps
        named = [sweep for sweep in sweeps if sweep.name == name]
        whole = [sweep for sweep in sweeps if sweep.state in ("running", "finished")]
        return next(iter([*named, *whole, *sweeps]), None)

    def trials(self, sweep: Sweep) -> pd.DataFrame:
        """Of a sweep, as :meth:`search.store.store.Store.trials` returns them; read on from now on.

        Raises:
            StoreError: they were never read, and cannot be now; or the sweep's metric is unknown.
        """
        with self._lock:
            watched = self._watched.get(sweep.run_id)
            if watched is not None:
                watched.asked = time.monotonic()
                return watched.trials
        changes, trials = self.store.trials_of(sweep)
        trials = fit_trials(trials)
        with self._lock:
            self._watched[sweep.run_id] = _Watched(sweep, changes, trials)
        return trials

    def answers(self, run_id: str) -> dict[str, Classes]:
        """What a finished trial, or a sweep's teacher, says of each sample; see :func:`answers_of`.

        What a run of the front has of the test split comes later, so only what has both is kept.

        Raises:
            StoreError: it has none, or they cannot be read.
        """
        with self._lock:
            known = self._answers.get(run_id)
        if known is not None:
            return known
        found = answers_of(self.store, run_id)
        with self._lock:
            if "test" in found:
                self._answers[run_id] = found
                while len(self._answers) > MOST_ANSWERS:
                    del self._answers[next(iter(self._answers))]
        return found

    def samples(self, sweep: Sweep) -> Samples | None:
        """What is shown of a sweep's samples; None if nothing is kept of them.

        Raises:
            StoreError: what is kept cannot be read.
        """
        version = self._version
        with self._lock:
            when, known = self._samples.get(sweep.run_id, (-1, None))
        if when == version:
            return known
        found = samples_of(self.store.folder, sweep.name)
        with self._lock:
            self._samples[sweep.run_id] = version, found
            while len(self._samples) > MOST_SHOWN:
                del self._samples[next(iter(self._samples))]
        return found

    def alike(self, sweep: Sweep) -> frozenset[str]:
        """Run ids of a finished sweep's front that cannot be told from the next smaller student.

        Raises:
            StoreError: as :meth:`trials`.
        """
        if sweep.state == "running":  # every reading would look into every file
            return frozenset()
        trials = self.trials(sweep)
        front = trials[trials["front"]].sort_values(sweep.size)["run_id"]
        return not_told_apart(self.answers, sweep.run_id, [str(run) for run in front][:MOST_ANSWERS])

    def find(self, run_id: str) -> tuple[Sweep, pd.DataFrame, int] | None:
        """The sweep of a trial, its trials, and the trial's place among them; None if there is no such trial.

        Raises:
            StoreError: the store cannot be read.
        """
        for sweep in self._sweeps:
            try:
                trials = self.trials(sweep)
            except StoreError:
                continue
            places = (trials["run_id"] == run_id).to_numpy().nonzero()[0]
            if len(places):
                return sweep, trials, int(places[0])
        return None

    def read(self) -> None:
        """Read what is new; a failure becomes :attr:`problem`, and what is known stays."""
        try:
            changed = self._read()
            problem = ""
        except StoreError as error:
            changed, problem = False, told(error)
        with self._lock:
            if changed or problem != self._problem:
                self._version += 1
            self._problem = problem

    def _read(self) -> bool:
        sweeps = [fit_sweep(sweep) for sweep in self.store.all_sweeps()]
        changed = sweeps != self._sweeps
        self._sweeps = sweeps
        by_id = {sweep.run_id: sweep for sweep in sweeps}
        with self._lock:
            watched = dict(self._watched)
        for run_id, known in watched.items():
            if run_id not in by_id or time.monotonic() - known.asked > WATCHED_SECONDS:
                with self._lock:
                    del self._watched[run_id]
                continue
            sweep = by_id[run_id]
            changes, trials = self.store.trials_of(sweep)
            # What the sweep itself measured, its teacher's quality, decides what is feasible.
            if changes != known.changes or sweep != known.sweep:
                changed = changed or changes != known.changes
                known.sweep, known.changes, known.trials = sweep, changes, fit_trials(trials)
        return changed

    def _work(self) -> None:
        pause = self._seconds
        while not self._stop.wait(pause):
            self.read()
            pause = min(2 * pause, RETRY_SECONDS) if self._problem else self._seconds
