"""What students are made of: a new network of a size that is drawn, or the teacher as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from spaces.arguments import Handle, handles_in, turned
from spaces.context import Context
from trainables.models.base import Model
from trainables.origins import Fresh, Trained
from trainables.origins.base import Origin

FRESH, TEACHER = "fresh", "teacher"
STARTS = (FRESH, TEACHER)


def starts_of(context: Context) -> tuple[str, ...]:
    """The values of ``start``: what a student may begin with."""
    return (FRESH,) if context.teacher is None else STARTS


def sizes_of(context: Context) -> tuple[Handle, ...]:
    """What can be turned of a new student's architecture."""
    return handles_in("student", context.student)


def origin_of(context: Context, start: str, sizes: Mapping[str, float]) -> Origin:
    """The origin of a student.

    Args:
        context: of the sweep.
        start: one of :func:`starts_of`.
        sizes: of a new student's architecture, by field.
    """
    if start == TEACHER and context.teacher is not None:
        return Trained(context.teacher, context.teacher_id)
    return Fresh(cast(Model, turned(context.student, sizes)))
