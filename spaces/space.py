"""The space of compressed students: a method and its hyperparameters, each only where the method has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from spaces.context import Context
from trainables import methods
from trainables.origins import Trained
from trainables.recipe import Recipe

SYMMETRIC = ("learned_step_quantization", "quantization_aware_training")
"""Methods whose grid is symmetric: no buckets, and at least two bits."""

QUANTIZED = (
    "post_training_quantization",
    "quantized_distillation",
    "differentiable_quantization",
    "sequence_level_distillation",
)
STARTS = ("fresh", "teacher")
DISTILLED = ("knowledge_distillation", "quantized_distillation", "differentiable_quantization")


@dataclass(frozen=True)
class Space:
    """Draws recipes; called with an Optuna trial and a :class:`Context`.

    Parameters: ``method``; where the context allows it, ``start``: ``fresh``, or ``teacher`` for a student
    with the teacher's architecture that begins with its weights (Mishra & Marr 2018, scheme C); ``depth`` and
    ``width`` of a fresh student; ``learning_rate`` (log); ``prune`` and, if so, ``sparsity`` (0.1 to 0.95);
    for quantizing methods ``bits`` (1 to 8) and ``log2_bucket_size`` (5 to 10: 32 to 1024), on symmetric
    grids ``symmetric_bits`` (2 to 8) alone; for distilling methods ``distillation_weight`` (0.3 to 0.95) and,
    where it is searched, ``temperature`` (log); for learned points ``points_learning_rate`` (log, 1e-6 to
    1e-3).

    Attributes:
        methods: names of functions in :mod:`trainables.methods`.
        learning_rates: smallest and largest.
        temperatures: smallest and largest of soft targets; None leaves it at 1.
    """

    methods: tuple[str, ...]
    learning_rates: tuple[float, float]
    temperatures: tuple[float, float] | None

    def parameters(self, context: Context) -> dict[str, BaseDistribution]:
        """Every parameter that a recipe of the space may have, by name; which it has, its method says."""
        methods = frozenset(self.methods)
        found: dict[str, BaseDistribution] = {"method": CategoricalDistribution(self.methods)}
        if context.teacher is not None:
            found["start"] = CategoricalDistribution(STARTS)
        found |= {
            "learning_rate": FloatDistribution(*self.learning_rates, log=True),
            "depth": IntDistribution(*context.depths),
            "width": FloatDistribution(*context.widths, log=True),
            "prune": CategoricalDistribution((False, True)),
            "sparsity": FloatDistribution(0.1, 0.95),
        }
        if methods.intersection(QUANTIZED):
            found |= {"bits": IntDistribution(1, 8), "log2_bucket_size": IntDistribution(5, 10)}
        if methods.intersection(SYMMETRIC):
            found["symmetric_bits"] = IntDistribution(2, 8)
        if methods.intersection(DISTILLED):
            if self.temperatures is not None:
                found["temperature"] = FloatDistribution(*self.temperatures, log=True)
            found["distillation_weight"] = FloatDistribution(0.3, 0.95)
        if "differentiable_quantization" in methods:
            found["points_learning_rate"] = FloatDistribution(1e-6, 1e-3, log=True)
        return found

    def __call__(self, trial: optuna.trial.BaseTrial, context: Context) -> Recipe:
        """Draw a recipe."""
        parameters = self.parameters(context)

        def draw(name: str) -> Any:
            return _draw(trial, name, parameters[name])

        method = draw("method")
        arguments: dict[str, Any] = {
            "epochs": context.epochs,
            "seed": context.seed,
            "learning_rate": _short(draw("learning_rate")),
        }
        teacher = None
        if context.teacher is not None and draw("start") == "teacher":
            teacher = context.teacher
        student = teacher or context.student.scaled(depth=draw("depth"), width=_short(draw("width")))
        if draw("prune"):
            arguments["sparsity"] = _short(draw("sparsity"))
        if method in QUANTIZED:
            arguments["bits"] = draw("bits")
            arguments["bucket_size"] = 2 ** draw("log2_bucket_size")
        if method in SYMMETRIC:
            arguments["bits"] = draw("symmetric_bits")
        if method == "sequence_level_distillation":
            arguments["teacher_id"] = context.teacher_id
        if method in DISTILLED:
            arguments["teacher_id"] = context.teacher_id
            arguments["teacher_views"] = context.teacher_views
            arguments["temperature"] = 1.0 if self.temperatures is None else _short(draw("temperature"))
            arguments["distillation_weight"] = _short(draw("distillation_weight"))
        if method == "differentiable_quantization":
            arguments["points_learning_rate"] = _short(draw("points_learning_rate"))
        recipe: Recipe = getattr(methods, method)(context.task, student, **arguments)
        return recipe if teacher is None else replace(recipe, origin=Trained(teacher, context.teacher_id))

    def starting_points(self, context: Context) -> list[dict[str, Any]]:
        """The methods' own defaults as parameters: what a sweep tries first.

        The student has the depth and width that the study gives it; quantizing methods start at 4 bits in
        buckets of 256 (quantization-aware training at 8), and quantized distillation a second time with half
        of the weights pruned. Where students may start from the teacher, those of quantizing methods do, and
        learned steps are tried a second time, with 3 bits.
        """
        fresh: dict[str, Any] = {
            "learning_rate": context.learning_rate,
            "depth": min(max(context.student.depth, context.depths[0]), context.depths[1]),
            "width": min(max(context.student.width, context.widths[0]), context.widths[1]),
            "prune": False,
        }
        started = fresh
        if context.teacher is not None:
            started = {"start": "teacher", "learning_rate": context.learning_rate, "prune": False}
            fresh = {"start": "fresh", **fresh}
        quantized = {"bits": 4, "log2_bucket_size": 8}
        symmetric = {"learned_step_quantization": 4, "quantization_aware_training": 8}
        distilled = {"distillation_weight": 0.7}
        if self.temperatures is not None:
            distilled["temperature"] = 2.0
        points = []
        for method in self.methods:
            quantizes = method in QUANTIZED + SYMMETRIC
            point: dict[str, Any] = {"method": method, **(started if quantizes else fresh)}
            point |= quantized if method in QUANTIZED else {}
            point |= {"symmetric_bits": symmetric[method]} if method in SYMMETRIC else {}
            point |= distilled if method in DISTILLED else {}
            point |= {"points_learning_rate": 1e-5} if method == "differentiable_quantization" else {}
            points.append(point)
        again = {"method": "quantized_distillation", **started, **quantized, **distilled}
        points.append({**again, "prune": True, "sparsity": 0.5})
        if context.teacher is not None:
            points.append({"method": "learned_step_quantization", **started, "symmetric_bits": 3})
        return points

    def smallest(self, context: Context) -> Recipe:
        """The recipe of the space that packs smallest: least bits, depth and width, most pruned."""
        least = {"method": "post_training_quantization", "bits": 1, "log2_bucket_size": 10}
        return self._at(context, 0, {**least, "prune": True, "sparsity": 0.95})

    def largest(self, context: Context) -> tuple[Recipe, ...]:
        """The recipes one of which packs largest: full precision, all depth and width, or the teacher's."""
        full = {"method": "full_precision", "prune": False}
        fresh = self._at(context, 1, full)
        return (fresh,) if context.teacher is None else (fresh, self._at(context, 1, full, start="teacher"))

    def fastest(self, context: Context) -> tuple[Recipe, ...]:
        """The recipes one of which is fastest: the smallest network in float32, and in int8 where it can."""
        full = {"method": "full_precision", "prune": False}
        integers = {"method": "quantization_aware_training", "prune": False, "symmetric_bits": 8}
        chosen = [full, integers] if integers["method"] in self.methods else [full]
        return tuple(self._at(context, 0, params) for params in chosen)

    def _at(self, context: Context, end: int, params: Mapping[str, Any], start: str = "fresh") -> Recipe:
        """The recipe of ``params`` at the low (0) or high (1) ``end`` of depths and widths."""
        shape = {"start": start, "depth": context.depths[end], "width": context.widths[end]}
        trial = optuna.trial.FixedTrial({"learning_rate": context.learning_rate, **shape, **params})
        return self(trial, context)


def _draw(trial: optuna.trial.BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case CategoricalDistribution():
            return trial.suggest_categorical(name, distribution.choices)
        case IntDistribution():
            return trial.suggest_int(name, distribution.low, distribution.high)
        case FloatDistribution():
            return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    raise TypeError(f"{name} has a distribution that no parameter here has: {distribution}")


def _short(value: float) -> float:
    """Four significant digits: a recipe to be read, and equal recipes for all practical purposes."""
    return float(f"{value:.4g}")
