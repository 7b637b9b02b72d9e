"""Equal compute for students that begin with trained weights: the smaller one is, the longer it trains."""

from __future__ import annotations

from trainables.methods.computation import work_share
from trainables.origins.base import Origin
from trainables.tasks.base import Task


def epochs_for(origin: Origin, task: Task, epochs: int, compute: float | None) -> int:
    """For how many epochs a student trains.

    Args:
        origin: of the student.
        task: that it learns.
        epochs: of a student that begins with new weights; no other trains longer.
        compute: what each student with trained weights may take, in epochs of the whole network, above 0;
            None gives all students ``epochs``.

    Returns:
        ``compute`` over the share of the whole network's multiply-accumulates that the student has, rounded,
        in [1, ``epochs``].

    Raises:
        ValueError: what the student computes cannot be counted before training.
    """
    if compute is None or origin.parent is None:
        return epochs
    return min(max(round(compute / work_share(origin, task)), 1), epochs)
