"""How the runs of a store are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.store.client_runs import ClientRuns
from search.store.sqlite_runs import SqliteRuns

if TYPE_CHECKING:
    from mlflow import MlflowClient
from search.store.runs import RunSource


def source_of(client: MlflowClient) -> RunSource:
    """How the runs of the client's store are read."""
    uri = str(client.tracking_uri)
    return SqliteRuns(uri) if uri.startswith("sqlite") else ClientRuns(client)
