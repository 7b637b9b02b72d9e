"""A mark beside the students: what ONNX Runtime's own quantization makes of the teacher.

Whoever has a trained network gets that with ten lines and no search, so it is what a search has to better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from search.objectives.costs import SIZES
from search.units import show_bytes
from trainables.metrics import Quality

MARK_TAG = "onnxruntime_int8"
PREFIX = f"{MARK_TAG}_"
"""Begins the names of its metrics, which are otherwise named as a student's."""
MARK_NAME = "ONNX Runtime's own int8 of the teacher"
SIZE = SIZES["onnx"]
_NONE = "none: "


@dataclass(frozen=True)
class RuntimeMark:
    """The teacher as ONNX Runtime quantizes it to 8 bits.

    Attributes:
        way: ``static`` (ranges of activations measured once) or ``dynamic`` (in every run); empty where there
            is none, or none yet.
        reason: why there is none.
        values: ``onnx_bytes`` (length of its ONNX files), the qualities on both splits and latencies, as far
            as they were measured, by the names that they have of students.
    """

    way: str = ""
    reason: str = ""
    values: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, tag: str | None, metrics: Mapping[str, float]) -> RuntimeMark:
        """The mark of a sweep, from its run's tag :data:`MARK_TAG` and its ``metrics``."""
        values = {
            name.removeprefix(PREFIX): value
            for name, value in metrics.items()
            if name.startswith(PREFIX) and math.isfinite(value)
        }
        text = tag or ""
        if text.startswith(_NONE):
            return cls(reason=text.removeprefix(_NONE), values=values)
        return cls(text, values=values)

    @property
    def tag(self) -> str:
        """What :meth:`read` reads."""
        return f"{_NONE}{self.reason}" if self.reason else self.way

    @property
    def metrics(self) -> dict[str, float]:
        """The values by the names that they are logged under."""
        return {f"{PREFIX}{name}": value for name, value in self.values.items()}

    def text(self, quality: Quality) -> str:
        """``347 kB ONNX, 99.44 % accuracy, 0.053 ms``; empty if nothing is known.

        The quality is that on the test split, once it was measured.

        Args:
            quality: that selects.
        """
        if self.reason:
            return f"{_NONE}{self.reason}"
        values = self.values
        parts = [f"{show_bytes(values[SIZE])} ONNX"] if SIZE in values else []
        for name, split in ((quality.name, ""), (quality.validation, "validation ")):
            if name in values:
                parts.append(f"{quality.text(values[name])} {split}{quality.label}")
                break
        if "latency_ms" in values:
            parts.append(f"{values['latency_ms']:.3f} ms")
        if parts and self.way == "dynamic":
            parts.append(self.way)
        return ", ".join(parts)


NO_MARK = RuntimeMark()
"""Nothing is known of it."""
