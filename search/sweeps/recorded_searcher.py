"""The order of two memories: what ends is in the sweep's log before Optuna hears of it."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

from search.sweeps.trial_events import TrialEvents
from search.tracking.record import Record, result_of


class RecordedSearcher(Searcher):
    """Stands between Ray and the sweep's searcher.

    Ray tells the searcher of an end first, and callbacks afterwards. A driver that is killed in between
    would leave a trial that Optuna takes for ended, so that nobody would start it again, and that has no end
    in the log. The other way round there is nothing to lose: a trial that the log knows as ended and that
    the searcher hands out again is answered from the log.

    Args:
        searcher: suggests.
        events: keeps the records.
    """

    def __init__(self, searcher: Searcher, events: TrialEvents) -> None:
        super().__init__()
        self._searcher = searcher
        self._events = events

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial that has not ended; None once the sweep is to end."""
        while self._events.halt.reason is None:
            try:
                config: dict[str, Any] | None = self._searcher.suggest(trial_id)
                ended = self._ended(config)
                if ended is None:
                    return config
                self._searcher.on_trial_complete(trial_id, result_of(ended), error=False)
            except OSError as error:  # Optuna's journal; Ray would take it for the trial's
                self._events.halt.request(error)
        return None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass it on."""
        try:
            self._searcher.on_trial_result(trial_id, result)
        except OSError as error:
            self._events.halt.request(error)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note the end, then pass it on; neither once the sweep is to end, for the trial can go on."""
        self._events.ended(trial_id, result, error)
        if self._events.halt.reason is not None:
            return
        try:
            self._searcher.on_trial_complete(trial_id, result, error)
        except OSError as full:
            self._events.halt.request(full)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: Optuna's journal holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing of Ray's is ever loaded."""
        raise RuntimeError("a sweep is resumed from its own log, not from Ray's state")

    def _ended(self, config: dict[str, Any] | None) -> Record | None:
        if not isinstance(config, dict):  # nothing now, or nothing any more
            return None
        record = self._events.records.get(config["trial"])
        return record if record is not None and record.ended else None
