"""How students come to be: new, as the trained network is, or a slice of it; and what decides their size."""

from __future__ import annotations

from collections.abc import Mapping

from spaces.arguments import Handle, handles_in, turned
from trainables.models.base import Model
from trainables.origins import Fresh, Trained
from trainables.origins.base import Origin

FRESH, TEACHER, SLICE = "fresh", "teacher", "slice"
STARTS = (FRESH, TEACHER, SLICE)
"""All values of ``start``; which a study has, its context says."""

Origins = tuple[tuple[str, Origin], ...]
"""Origins by the value of ``start``, the first trials' first."""


def fresh(student: Model, teacher: Model | None = None, teacher_id: str = "") -> Origins:
    """New networks of the architecture of ``student``, and the trained teacher if it is given."""
    new: Origins = ((FRESH, Fresh(student)),)
    return new if teacher is None else (*new, (TEACHER, Trained(teacher, teacher_id)))


def sizes_of(origin: Origin) -> tuple[Handle, ...]:
    """What can be turned of the size of an origin's students."""
    return () if origin.sizes is None else handles_in("student", origin.sizes)


def resized(origin: Origin, sizes: Mapping[str, float]) -> Origin:
    """``origin`` with these ``sizes``, by field."""
    return origin.resized(turned(origin.sizes, sizes)) if origin.sizes is not None and sizes else origin
