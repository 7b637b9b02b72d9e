"""What commands have to be told to find the store and the code of a student."""

from __future__ import annotations

import shlex
from typing import Any

from search.store.mlflow_client import masked
from search.store.store import Store, own_database
from trainables.foreign import shown


def where(store: Store) -> str:
    """`` --store DIR``, quoted for a shell; and the address of MLflow's store if it is not in there."""
    words = f" --store {shlex.quote(shown(str(store.folder), 1000))}"
    if store.tracking_uri != own_database(store.folder):
        words += f" --tracking-uri {shlex.quote(masked(store.tracking_uri))}"
    return words


def own_code(model: Any) -> str:
    """`` --model FILE`` for a student of a user's own code, its file or class; nothing for one of Rayduce's.

    Args:
        model: what its trial says of it: the file's name, or the class.
    """
    own = isinstance(model, str) and (model.endswith(".py") or ":" in model)
    return f" --model {shlex.quote(model)}" if own else ""
