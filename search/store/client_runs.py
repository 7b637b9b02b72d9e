"""Runs of a server, or of a database that is not sqlite."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from search.store.mlflow_client import (
    KIND_TAG,
    PARENT_TAG,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
from search.store.runs import (
    PAGE,
    Deleted,
    Family,
    RunRow,
    ask,
    deleted_experiments,
    encodable,
    experiments_of,
    row_of,
)


class ClientRuns:
    """Runs of a server, or of a database that is not sqlite, through MLflow's client.

    After the first reading only the runs that run, and those that ended since the latest known end, are asked
    for. What is added to ended trials, such as membership of the front, comes when the parent run ends: its
    trials are then read whole, twice, because the two are not written at the same moment.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._lock = threading.RLock()
        self._families: dict[str, Family] = {}

    def sweeps(self) -> list[tuple[RunRow, dict[str, str]]]:
        found = self._search(f"tags.`{KIND_TAG}` = 'sweep'", "start_time DESC")
        return [(row_of(run), encodable(run.data.params)) for run in found]

    def deleted(self) -> list[Deleted]:
        return ask(self._client, lambda: deleted_experiments(self._client))

    def trials(self, parent: str) -> tuple[int, list[RunRow]]:
        with self._lock:
            family = self._families.setdefault(parent, Family())
            info = self._ask(lambda: self._client.get_run(parent)).info
            latest, ended, pending = family.marks or (0, None, 0)
            if family.marks and ended != info.end_time:
                pending = 2
            of_parent = f"tags.`{PARENT_TAG}` = '{parent}'"
            if not family.marks or pending or family.due():
                rows = {
                    run.info.run_id: row_of(run) for run in self._search(of_parent, "start_time ASC", [info])
                }
                family.whole_at, pending = time.monotonic(), max(pending - 1, 0)
            else:
                running = self._search(f"{of_parent} and status = 'RUNNING'", "start_time ASC", [info])
                since = self._search(f"{of_parent} and end_time >= {latest}", "start_time ASC", [info])
                rows = family.rows | {run.info.run_id: row_of(run) for run in (*running, *since)}
            family.replace(rows)
            family.marks = (_latest(family.ordered), info.end_time, pending)
            return family.changes, family.ordered

    def params(self, parent: str) -> dict[str, dict[str, str]]:
        found = self._search(f"tags.`{PARENT_TAG}` = '{parent}'", "start_time ASC")
        return {run.info.run_id: encodable(run.data.params) for run in found}

    def _search(self, where: str, order: str, of: Iterable[Any] = ()) -> list[Run]:
        """All matching runs, page by page; MLflow takes an empty list of experiments for all of them."""
        experiments = [info.experiment_id for info in of] or experiments_of(self._client)
        runs: list[Run] = []
        token: str | None = None
        while experiments:
            page = self._ask(
                lambda token=token: self._client.search_runs(
                    experiments, where, max_results=PAGE, order_by=[order], page_token=token
                )
            )
            runs += page
            token = page.token
            if not token:
                break
        return runs

    def _ask(self, question: Any) -> Any:
        return ask(self._client, question)


def _latest(rows: list[RunRow]) -> int:
    return max((row.end_time for row in rows if row.end_time is not None), default=0)
