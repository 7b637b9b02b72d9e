"""The space of compressed image classifiers."""

from __future__ import annotations

from typing import Any

import optuna

from spaces.context import Context
from trainables import methods
from trainables.recipe import Recipe

METHODS = (
    "full_precision",
    "knowledge_distillation",
    "post_training_quantization",
    "quantized_distillation",
    "differentiable_quantization",
    "learned_step_quantization",
    "quantization_aware_training",
)
"""What is searched: of the full-precision methods one with and one without a teacher are enough."""

SYMMETRIC = ("learned_step_quantization", "quantization_aware_training")
"""Methods whose grid is symmetric: no buckets, and at least two bits."""

QUANTIZED = ("post_training_quantization", "quantized_distillation", "differentiable_quantization")
DISTILLED = ("knowledge_distillation", "quantized_distillation", "differentiable_quantization")


def images(trial: optuna.trial.BaseTrial, context: Context) -> Recipe:
    """Draw a method and its hyperparameters, each only where the method has it.

    ``method``; ``depth`` and ``width`` of the student; ``learning_rate`` (log, 5e-4 to 1e-2);
    ``prune`` and, if so, ``sparsity`` (0.1 to 0.95); for quantizing methods ``bits`` (1 to 8) and
    ``log2_bucket_size`` (5 to 10: 32 to 1024), on symmetric grids ``symmetric_bits`` (2 to 8) alone; for
    distilling methods ``temperature`` (log, 1 to 10) and ``distillation_weight`` (0.3 to 0.95); for
    learned points ``points_learning_rate`` (log, 1e-6 to 1e-3).
    """
    method = trial.suggest_categorical("method", METHODS)
    arguments: dict[str, Any] = {
        "epochs": context.epochs,
        "seed": context.seed,
        "learning_rate": _short(trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True)),
    }
    student = context.student.scaled(
        depth=trial.suggest_int("depth", *context.depths),
        width=_short(trial.suggest_float("width", *context.widths, log=True)),
    )
    if trial.suggest_categorical("prune", (False, True)):
        arguments["sparsity"] = _short(trial.suggest_float("sparsity", 0.1, 0.95))
    if method in QUANTIZED:
        arguments["bits"] = trial.suggest_int("bits", 1, 8)
        arguments["bucket_size"] = 2 ** trial.suggest_int("log2_bucket_size", 5, 10)
    if method in SYMMETRIC:
        arguments["bits"] = trial.suggest_int("symmetric_bits", 2, 8)
    if method in DISTILLED:
        arguments["teacher_id"] = context.teacher_id
        arguments["teacher_views"] = context.teacher_views
        arguments["temperature"] = _short(trial.suggest_float("temperature", 1.0, 10.0, log=True))
        arguments["distillation_weight"] = _short(trial.suggest_float("distillation_weight", 0.3, 0.95))
    if method == "differentiable_quantization":
        rate = trial.suggest_float("points_learning_rate", 1e-6, 1e-3, log=True)
        arguments["points_learning_rate"] = _short(rate)
    return getattr(methods, method)(context.task, student, **arguments)


def starting_points(context: Context) -> list[dict[str, Any]]:
    """The methods' own defaults as parameters of :func:`images`: what a sweep tries first.

    The student has the depth and width that the study gives it; quantizing methods start at 4 bits in
    buckets of 256 (quantization-aware training at 8), and quantized distillation a second time with half
    of the weights pruned.
    """
    common = {
        "learning_rate": context.learning_rate,
        "depth": min(max(context.student.depth, context.depths[0]), context.depths[1]),
        "width": min(max(context.student.width, context.widths[0]), context.widths[1]),
        "prune": False,
    }
    quantized = {"bits": 4, "log2_bucket_size": 8}
    symmetric = {"learned_step_quantization": 4, "quantization_aware_training": 8}
    distilled = {"temperature": 2.0, "distillation_weight": 0.7}
    points = []
    for method in METHODS:
        point: dict[str, Any] = {"method": method, **common}
        point |= quantized if method in QUANTIZED else {}
        point |= {"symmetric_bits": symmetric[method]} if method in SYMMETRIC else {}
        point |= distilled if method in DISTILLED else {}
        point |= {"points_learning_rate": 1e-5} if method == "differentiable_quantization" else {}
        points.append(point)
    pruned = {"method": "quantized_distillation", **common, **quantized, **distilled}
    return [*points, {**pruned, "prune": True, "sparsity": 0.5}]


def smallest(context: Context) -> Recipe:
    """The recipe of the space that packs smallest: least bits, depth and width, most pruned."""
    return images(
        optuna.trial.FixedTrial(
            {
                "method": "post_training_quantization",
                "learning_rate": 2e-3,
                "depth": context.depths[0],
                "width": context.widths[0],
                "prune": True,
                "sparsity": 0.95,
                "bits": 1,
                "log2_bucket_size": 10,
            }
        ),
        context,
    )


def _short(value: float) -> float:
    """Four significant digits: a recipe to be read, and equal recipes for all practical purposes."""
    return float(f"{value:.4g}")
