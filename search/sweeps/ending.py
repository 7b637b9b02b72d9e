"""What the store is told of a sweep that ends before it has finished."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import ray

from search.store.mlflow_client import NOTE_TAG, StoreError
from search.sweeps.ray_watch import RayDied
from search.tracking.notes import unfinished_note
from search.tracking.tracker import SweepTracker

LAST_WORDS_SECONDS = 10.0
DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.EACCES, errno.EPERM),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP),  # something else stands in a file's place
}


@contextmanager
def closing_sweep(tracker: SweepTracker, note: str, again: str) -> Iterator[None]:
    """Whatever ends the sweep meanwhile, tell the store; and afterwards let go of the store and of Ray.

    Args:
        tracker: of the sweep, which is open.
        note: what the sweep was asked for, as Markdown.
        again: the command that goes on with it.

    Raises:
        StoreError: the sweep ended because the store cannot be written.
    """
    try:
        yield
    except RayDied:  # the store knows
        raise
    except BaseException as error:  # Ctrl-C too; it is raised again once the store knows
        if ray.is_initialized():
            ray.shutdown()  # before anything is waited for: nobody hears what trials do now
        end_early(tracker, error, note)
        if not isinstance(error, StoreError) and (text := _store_trouble(error)):
            error = StoreError(text)
        if isinstance(error, StoreError):
            raise StoreError(
                f"{str(error).rstrip('.')}. The sweep stopped; make room, or let the store be written, "
                f"and go on with: {again}"
            ) from error
        raise
    finally:
        tracker.abandon()
        if ray.is_initialized() and not isinstance(sys.exception(), RayDied):
            ray.shutdown()


def end_early(tracker: SweepTracker, error: BaseException, note: str) -> None:
    """Say in the store that the sweep stopped or failed, as far as the store lets us.

    Args:
        tracker: of the sweep.
        error: what ended it.
        note: what the sweep was asked for, as Markdown.
    """
    stopped = isinstance(error, (KeyboardInterrupt, StoreError, RayDied)) or _store_trouble(error)
    state = "stopped" if stopped else "failed"
    reason = "" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"[:300]
    if isinstance(error, RayDied):
        reason = error.what
    tags = {NOTE_TAG: unfinished_note(note, state, reason, tracker.folder.name)}
    if reason:
        tags["reason"] = reason
    with suppress(OSError, StoreError):
        tracker.stop_trials()
        tracker.finish_sweep(state, {}, tags, {})
        tracker.flush(LAST_WORDS_SECONDS)


def _store_trouble(error: BaseException) -> str:
    """What of the store's disk an error says, in one line; empty if nothing."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return f"{error.strerror}: {error.filename or 'the store'}"
    return ""
