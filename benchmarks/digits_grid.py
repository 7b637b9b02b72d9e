"""A grid of recipes from the space of the digits study: what the tabulated benchmark knows the course of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from spaces import Context
from studies.known import find_study
from studies.study import Study
from trainables.recipe import Recipe
from trainables.tasks.base import Task

EPOCHS = 12
"""Of every trial; the study itself has 35. Phases keep their shares of the whole."""

Axes = Mapping[str, tuple[Any, ...]]

AXES: Axes = {
    "depth": (1, 2),
    "width": (0.1, 0.16, 0.25, 0.4),
    "learning_rate": (1.5e-3, 5e-3),
    "prune": (False, True),
    "sparsity": (0.5, 0.85),
    "bits": (1, 3, 5, 7),
    "log2_bucket_size": (6, 9),
    "symmetric_bits": (2, 4, 6, 8),
}
"""Values by the names that the parameters have in the space, each axis in ascending order.

Widths are about equally far apart in their logarithms; bits are every second of the space's; learning rates
are the study's own and a third of it. The study's depths go on to 3 and its widths to 0.5.
"""

HALF: Axes = {**AXES, "learning_rate": AXES["learning_rate"][1:]}
"""What rules may be chosen on: the half of the grid with the larger learning rate."""

FIXED: Mapping[str, float] = {"temperature": 2.0, "distillation_weight": 0.7, "points_learning_rate": 1e-5}
"""Parameters of the space that the grid leaves at what the study's first trials have."""

FIRST: tuple[Mapping[str, Any], ...] = (
    {"method": "post_training_quantization", "depth": 1, "width": 0.1, "bits": 3, "log2_bucket_size": 9},
    {"method": "quantized_distillation", "depth": 2, "width": 0.1, "bits": 3, "log2_bucket_size": 9},
    {"method": "learned_step_quantization", "depth": 1, "width": 0.16, "symmetric_bits": 4},
    {"method": "quantization_aware_training", "depth": 2, "width": 0.25, "symmetric_bits": 4},
)
"""What every search begins with, by a rule: methods that quantize in turn, to about 4 bits, of the narrow
half of widths and of the two least depths in turn; unpruned, with the study's own learning rate."""

METHODS: Mapping[str, tuple[str, ...]] = {
    "full_precision": (),
    "knowledge_distillation": (),
    "post_training_quantization": ("bits", "log2_bucket_size"),
    "quantized_distillation": ("bits", "log2_bucket_size"),
    "differentiable_quantization": ("bits", "log2_bucket_size"),
    "learned_step_quantization": ("symmetric_bits",),
    "quantization_aware_training": ("symmetric_bits",),
}
"""Which axes a method has beside those that all have."""

BASE = ("learning_rate", "depth", "width")

Point = Mapping[str, Any]
"""A recipe as the space's own parameters, :data:`FIXED` ones left out."""


def bases() -> Iterator[dict[str, Any]]:
    """What all methods have in common: learning rate, depth, width and pruning; the rate varies slowest."""
    for values in product(*(AXES[name] for name in BASE)):
        base = dict(zip(BASE, values, strict=True))
        yield {**base, "prune": False}
        for sparsity in AXES["sparsity"]:
            yield {**base, "prune": True, "sparsity": sparsity}


def points_of(method: str, base: Point) -> list[dict[str, Any]]:
    """The recipes of ``method`` on ``base``."""
    own = METHODS[method]
    return [
        {"method": method, **base, **dict(zip(own, values, strict=True))}
        for values in product(*(AXES[name] for name in own))
    ]


def points() -> list[dict[str, Any]]:
    """The whole grid."""
    return [point for base in bases() for method in METHODS for point in points_of(method, base)]


def study_and_context(task: Task | None = None) -> tuple[Study, Context]:
    """The digits study, cut to :data:`EPOCHS` epochs, and what its trials have in common."""
    study = replace(find_study("digits"), epochs=EPOCHS, teacher_views=EPOCHS)
    task = task or study.make_task(None, {})
    return study, study.context(task, study.teacher_recipe(task).recipe_id, 0)


def recipe_of(point: Point, study: Study, context: Context) -> Recipe:
    """What the space makes of ``point``."""
    return study.space(optuna.trial.FixedTrial({**point, **FIXED}), context)


def first_points(axes: Axes = AXES) -> list[dict[str, Any]]:
    """:data:`FIRST` as parameters: where on its axis each value stands."""
    found = []
    for first in FIRST:
        point = {**first, "learning_rate": 5e-3, "prune": False}
        named = ("method", "prune")
        found.append({k: v if k in named else axes[k].index(v) for k, v in point.items()})
    return found


def parameters(axes: Axes = AXES) -> dict[str, BaseDistribution]:
    """Every parameter that a point may have. Ordered axes are numbers of values: neighbours are alike."""
    found: dict[str, BaseDistribution] = {"method": CategoricalDistribution(tuple(METHODS))}
    for name, values in axes.items():
        found[name] = (
            CategoricalDistribution(values) if name == "prune" else IntDistribution(0, len(values) - 1)
        )
    return found


def draw(trial: optuna.trial.BaseTrial, axes: Axes = AXES) -> dict[str, Any]:
    """A point of the grid, asked of Optuna under the space's own names and in its order."""

    def value(name: str) -> Any:
        return axes[name][trial.suggest_int(name, 0, len(axes[name]) - 1)]

    point: dict[str, Any] = {"method": trial.suggest_categorical("method", tuple(METHODS))}
    for name in BASE:
        point[name] = value(name)
    point["prune"] = trial.suggest_categorical("prune", axes["prune"])
    if point["prune"]:
        point["sparsity"] = value("sparsity")
    for name in METHODS[point["method"]]:
        point[name] = value(name)
    return point
