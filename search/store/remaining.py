"""How long a sweep still takes once its last trial has ended: it measures the front and tells MLflow."""

from __future__ import annotations

import pandas as pd

STUDENT_SECONDS = 2.5
"""Of a student of the front, as measured on two cores: on the test split, exported, and timed three times."""
LAST_SECONDS = 5.0
"""Of what comes once: the teacher, the page, MLflow."""


def ending_seconds(front: int, each: float | None = None) -> float:
    """What is left after the last trial, in seconds.

    Args:
        front: students that will be measured.
        each: seconds of one of them in an earlier sweep; None (default): :data:`STUDENT_SECONDS`.
    """
    return max(front, 1) * (STUDENT_SECONDS if each is None else each) + LAST_SECONDS


def seconds_each(trials: pd.DataFrame, started: pd.Timestamp, seconds: float) -> float | None:
    """What one student of the front took in a sweep that has finished; None if it has none.

    Args:
        trials: of the sweep, as the store has them.
        started: when the sweep began.
        seconds: how long it took.
    """
    ends, front = trials["end_time"].dropna(), int(trials["front"].sum())
    if ends.empty or not front or not seconds > 0:
        return None
    after = (started + pd.Timedelta(seconds=seconds) - ends.max()).total_seconds()
    return max(after - LAST_SECONDS, 0.0) / front
