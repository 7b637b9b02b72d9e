"""The grids of which there are tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.grid import Axes, Grid
from studies.known import find_study
from studies.study import Study

EPOCHS = 12
"""Of the digits study's trials here; the study itself has 35. Phases keep their shares of the whole."""


def digits(folder: Path | None) -> Study:
    """The digits study, cut to :data:`EPOCHS` epochs."""
    return replace(find_study("digits"), epochs=EPOCHS, teacher_views=EPOCHS)


_COMMON = ("learning_rate", "depth", "width", "prune", "sparsity")
_DIGITS: Axes = {
    "depth": (1, 2),
    "width": (0.1, 0.16, 0.25, 0.4),
    "learning_rate": (1.5e-3, 5e-3),
    "prune": (False, True),
    "sparsity": (0.5, 0.85),
    "bits": (1, 3, 5, 7),
    "log2_bucket_size": (6, 9),
    "symmetric_bits": (2, 4, 6, 8),
}
"""Widths are about equally far apart in their logarithms; bits are every second of the space's; learning
rates are the study's own and a third of it. The study's depths go on to 3 and its widths to 0.5."""

_DIGITS_FIRST: Mapping[str, object] = {"learning_rate": 5e-3, "prune": False}

DIGITS = Grid(
    name="digits-grid",
    study=digits,
    axes=_DIGITS,
    half={**_DIGITS, "learning_rate": (5e-3,)},
    fixed={"temperature": 2.0, "distillation_weight": 0.7, "points_learning_rate": 1e-5},
    methods={
        "full_precision": _COMMON,
        "knowledge_distillation": _COMMON,
        "post_training_quantization": (*_COMMON, "bits", "log2_bucket_size"),
        "quantized_distillation": (*_COMMON, "bits", "log2_bucket_size"),
        "differentiable_quantization": (*_COMMON, "bits", "log2_bucket_size"),
        "learned_step_quantization": (*_COMMON, "symmetric_bits"),
        "quantization_aware_training": (*_COMMON, "symmetric_bits"),
    },
    first=tuple(
        {**point, **_DIGITS_FIRST}
        for point in (
            {
                "method": "post_training_quantization",
                "depth": 1,
                "width": 0.1,
                "bits": 3,
                "log2_bucket_size": 9,
            },
            {"method": "quantized_distillation", "depth": 2, "width": 0.1, "bits": 3, "log2_bucket_size": 9},
            {"method": "learned_step_quantization", "depth": 1, "width": 0.16, "symmetric_bits": 4},
            {"method": "quantization_aware_training", "depth": 2, "width": 0.25, "symmetric_bits": 4},
        )
    ),
)

GRIDS: Mapping[str, Grid] = {grid.name: grid for grid in (DIGITS,)}
