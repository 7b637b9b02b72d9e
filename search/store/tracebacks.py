"""The whole traceback of a failed trial, read from the store."""

from __future__ import annotations

from search.store.mlflow_client import StoreError
from search.store.store import Store
from trainables.foreign import shown
from trainables.tracebacks import LONGEST, LONGEST_LINE, TRACEBACK_FILE


def traceback_of(store: Store, run_id: str) -> str:
    """The traceback of a failed trial, safe to show.

    Raises:
        UnknownRun: the store has no such run.
        StoreError: it has none, as of a trial whose process died, or of an earlier version.
    """
    content = store.download(run_id, TRACEBACK_FILE)
    if len(content) > 4 * LONGEST:
        raise StoreError(
            f"The file {TRACEBACK_FILE} of the run {run_id} has {len(content):,} bytes, too many."
        )
    return "\n".join(shown(line, LONGEST_LINE) for line in content.decode(errors="replace").splitlines())
