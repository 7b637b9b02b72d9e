"""Nobody is imitated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from trainables.teachers.base import Teacher, TeacherPolicy


class _Nobody(TeacherPolicy):
    def forward(self, batch: Any, progress: float) -> None:
        return None


@dataclass(frozen=True)
class NoTeacher(Teacher):
    """Training from labels alone."""

    def build(self, network: Callable[[str], nn.Module]) -> TeacherPolicy:
        return _Nobody()
