"""The background thread that brings a sweep's log to MLflow, however long that does not answer."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass

from search.log.event_log import START, EventLog, Place
from search.log.events import Event
from search.log.folder import DeliveryMark
from search.store.mlflow_client import StoreError, reason
from search.tracking.delivery import Delivery
from search.tracking.trouble import Away, NoRoom

OPEN_SECONDS = 60.0
LINGER_SECONDS = 2.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0  # between attempts at a store that does not answer
EVENTS_PER_BATCH = 500
ATTEMPTS = 5
"""At what a server says it fails at; then that is left out, for the rest cannot wait."""


@dataclass(frozen=True)
class Arrears:
    """What a wait for everything to be delivered came to.

    Attributes:
        refused: since the last wait, what MLflow refused for good: a run's key and why.
        late: keys of runs of which something is not delivered.
        trouble: why, as far as is known.
    """

    refused: list[tuple[str, str]]
    late: list[str]
    trouble: str


class Courier:
    """Delivers a sweep's log in order, and remembers durably how far it came.

    While the store does not answer it tries again, until it is stopped.

    Args:
        delivery: turns events into calls of MLflow.
        mark: where it is kept how far the log was delivered.
        address: of MLflow's store, for messages.
        on_server: whether that is a server, which may come back.
    """

    def __init__(self, delivery: Delivery, mark: DeliveryMark, address: str, *, on_server: bool) -> None:
        self._delivery = delivery
        self._mark = mark
        self._address = address
        self._on_server = on_server
        self._log: EventLog | None = None
        # Shared with the thread, under the condition.
        self._changed = threading.Condition()
        self._delivered = START
        self._whole = True
        self._refused: list[tuple[str, str]] = []
        self._told = 0
        self._trouble = ""
        self._no_room = ""
        self._urgent = False
        self._stopped = False
        self._late = False

    @property
    def refused(self) -> list[tuple[str, str]]:
        """What MLflow refused for good: a run's key and why."""
        return list(self._refused)

    @property
    def no_room(self) -> str:
        """Why MLflow's database or artifacts on this machine cannot be written now; empty if they can."""
        return self._no_room

    @property
    def behind(self) -> bool:
        """Whether events wait to be delivered."""
        with self._changed:
            return self._has_more()

    @property
    def stopped(self) -> bool:
        """Whether it delivers nothing any more."""
        return self._stopped

    def start(self, *, resume: bool) -> bool:
        """Connect to the store, and wait until it has answered.

        Args:
            resume: whether a store that does not answer is one that will later.

        Returns:
            Whether the store has the sweep; False too while it does not answer.

        Raises:
            StoreError: the store cannot be opened or, without ``resume``, does not answer.
        """
        ready: Future[bool] = Future()
        threading.Thread(target=self._work, args=(ready, resume), name="mlflow", daemon=True).start()
        try:
            return ready.result(timeout=OPEN_SECONDS)
        except TimeoutError:
            self._late = True
            if resume:
                return False
            self.stop()
            raise StoreError(
                f"The MLflow store at {self._address} did not answer within {OPEN_SECONDS:.0f} s."
            ) from None

    def follow(self, log: EventLog) -> None:
        """Deliver what ``log`` has, and what will be appended to it."""
        with self._changed:
            self._log = log
            self._changed.notify_all()

    def wake(self) -> None:
        """The log has got longer."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, timeout: float) -> Arrears:
        """Let everything be delivered at once, and wait for it, ``timeout`` seconds at most."""
        log = self._log
        assert log is not None
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._delivered.bytes >= log.end.bytes, timeout)
            delivered, trouble = self._delivered, self._trouble
            new, self._told = self._refused[self._told :], len(self._refused)
        if delivered.bytes >= log.end.bytes:
            return Arrears(new, [], "")
        events, _ = log.read(delivered)
        return Arrears(new, list(dict.fromkeys(event["run"] for event in events)), trouble)

    def stop(self) -> None:
        """End as it is, and close the log. Harmless when repeated."""
        with self._changed:
            if self._log is not None and not self._stopped:
                self._log.close()
            self._stopped = True
            self._changed.notify_all()

    # Below: the thread.

    def _work(self, ready: Future[bool], resume: bool) -> None:
        there = self._connect(ready, resume)
        if there is None:
            return
        with self._changed:
            self._trouble = ""
            # A store that knows nothing gets all.
            self._delivered = self._mark.read() if there and resume else START
        if not ready.done():
            ready.set_result(there)
        while self._awaited():
            self._deliver()

    def _connect(self, ready: Future[bool], resume: bool) -> bool | None:
        """Whether the store has the sweep; None if it cannot be known, or nobody waits any more."""
        pause = FIRST_PAUSE_SECONDS
        while not self._stopped:
            try:
                return self._delivery.connect()
            except Exception as error:  # whatever it is, the caller waits in start() to be told
                text = f"Cannot start the sweep in the MLflow store at {self._address}: {reason(error)}."
                if not (resume and (self._on_server or self._late)):
                    ready.set_exception(error if isinstance(error, StoreError) else StoreError(text))
                    return None
                with self._changed:
                    self._trouble = reason(error)
            if not ready.done():
                ready.set_result(False)
            self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        return None

    def _awaited(self) -> bool:
        """Wait for something to deliver; False once it was stopped."""
        with self._changed:
            if not self._has_more():
                self._urgent = False
            self._changed.wait_for(lambda: self._stopped or self._has_more())
            self._changed.wait_for(lambda: self._urgent or self._stopped, LINGER_SECONDS)
            return not self._stopped

    def _has_more(self) -> bool:
        return self._log is not None and self._delivered.bytes < self._log.end.bytes

    def _next_events(self) -> tuple[list[Event], Place] | None:
        """The next batch, once the disk has it; None if it was stopped before."""
        assert self._log is not None
        while not self._stopped:
            try:
                return self._log.read(self._delivered, EVENTS_PER_BATCH)
            except (OSError, StoreError) as error:
                with self._changed:
                    self._trouble = self._no_room = reason(error)
                self._sleep(LONGEST_PAUSE_SECONDS)
        return None

    def _deliver(self) -> None:
        """Deliver one batch, however long the store does not answer."""
        batch = self._next_events()
        if batch is None:
            return
        events, end = batch
        steps = self._delivery.steps(events)
        refused: list[tuple[str, str]] = []
        pause, attempts, left = FIRST_PAUSE_SECONDS, 0, len(steps)
        while not self._stopped:
            try:
                self._delivery.deliver(steps, refused, at_any_price=attempts >= ATTEMPTS)
            except (Away, NoRoom) as error:
                if len(steps) < left:
                    pause, attempts, left = FIRST_PAUSE_SECONDS, 0, len(steps)
                with self._changed:
                    self._trouble = str(error)
                    self._no_room = self._trouble if isinstance(error, NoRoom) else ""
                attempts += isinstance(error, Away) and error.answered
                self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            self._note_delivered(end, refused)
            return

    def _note_delivered(self, end: Place, refused: list[tuple[str, str]]) -> None:
        """Everything up to ``end`` is delivered, but for what was ``refused``."""
        with self._changed:
            self._trouble = self._no_room = ""
            self._refused += refused
        self._whole &= not refused
        try:
            self._mark.write(end, whole=self._whole)
        except OSError as error:
            with self._changed:
                self._no_room = reason(error)
        with self._changed:
            self._delivered = end
            self._changed.notify_all()

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, seconds)
