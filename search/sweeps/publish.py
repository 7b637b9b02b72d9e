"""The end of a sweep in MLflow: everything delivered, and the page made of it."""

from __future__ import annotations

from collections.abc import Callable

from search.log.folder import PAGE_FILE
from search.options import command
from search.store.mlflow_client import StoreError
from search.tracking.delivery import SWEEP
from search.tracking.tracker import FLUSH_SECONDS, SweepTracker, TrackingError
from trainables.files import write_file


def publish(
    tracker: SweepTracker, name: str, report: Callable[[str], str] | None, timeout: float = FLUSH_SECONDS
) -> str:
    """Deliver what was logged and, once MLflow has it, the page of the finished sweep.

    The page is made from MLflow's store. While that does not answer, there is none: nobody waits for it.

    Args:
        tracker: of the sweep ``name``; open.
        name: of the sweep.
        report: renders the page, given the name; None for a sweep that has not finished.
        timeout: in seconds, for each of both.

    Returns:
        What MLflow lacks and how to deliver it; empty if it has everything.
    """
    problems: list[str] = []
    _flush(tracker, timeout, problems)
    if report is not None and not tracker.undelivered and not tracker.has_file(SWEEP, PAGE_FILE):
        try:
            page = report(name)
        except StoreError as error:
            problems.append(str(error))
        else:
            write_file(tracker.folder.page, page.encode())
            tracker.annotate(SWEEP, {}, {}, {PAGE_FILE: tracker.folder.page})
            _flush(tracker, timeout, problems)
    if tracker.undelivered or (report is not None and not tracker.has_file(SWEEP, PAGE_FILE)):
        kept = f"It is kept in {tracker.folder.path}; deliver it later:"
        again = command("deliver", name, tracker.folder.store, tracking_uri=tracker.address)
        problems.append(f"{kept} {again}")
    return " ".join(problems)


def _flush(tracker: SweepTracker, timeout: float, problems: list[str]) -> None:
    try:
        tracker.flush(timeout)
    except TrackingError as error:
        problems.append(str(error))
