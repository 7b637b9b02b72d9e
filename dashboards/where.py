"""How a command that is copied from a page finds the store that the page shows."""

from __future__ import annotations

import shlex

from search.store.mlflow_client import masked
from search.store.store import Store, own_database
from trainables.foreign import shown


def where(store: Store) -> str:
    """`` --store DIR``, quoted for a shell; and the address of MLflow's store if it is not in there."""
    words = f" --store {shlex.quote(shown(str(store.folder), 1000))}"
    if store.tracking_uri != own_database(store.folder):
        words += f" --tracking-uri {shlex.quote(masked(store.tracking_uri))}"
    return words
