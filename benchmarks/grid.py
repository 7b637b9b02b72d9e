"""A grid of recipes from the space of a study: what a recorded table knows the course of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from search.planning.compute import with_compute
from spaces import Context
from studies.study import Study
from trainables.metrics import Quality, quality_of
from trainables.recipe import Recipe, recipe_from_dict
from trainables.tasks.base import Task

Axes = Mapping[str, tuple[Any, ...]]

Point = Mapping[str, Any]
"""A recipe; of a grid as the space's own parameters, those that the grid fixes left out."""


@dataclass(frozen=True, kw_only=True)
class StudySpace:
    """A study's space as benchmarks search it.

    Attributes:
        name: of what is recorded of it.
        study: the study, given a folder for what the user would have made before, such as a trained network.
            Without one (None) its shapes are right and its weights are not, which is all that a replay needs.
        quality: by which students are judged; default accuracy.
        guessing: what who knows nothing has of it, as a share of its range; default 0.1, for ten classes.
        task: of data that the recorder has to be given, which its digest names; None (default) is the study's
            own.
    """

    name: str
    study: Callable[[Path | None], Study]
    quality: Quality = field(default_factory=lambda: quality_of("accuracy"))
    guessing: float = 0.1
    task: Task | None = None

    def study_and_context(self, folder: Path | None = None) -> tuple[Study, Context]:
        """The study, and what its trials have in common in a sweep that is asked for nothing special."""
        study = self.study(folder)
        task = self.task or study.make_task(None, {})
        context = study.context(task, study.teacher_recipe(task).recipe_id, 0)
        return study, with_compute(context, study, None, print)

    def recipe_of(self, point: Point, study: Study, context: Context) -> Recipe:
        """The recipe that ``point`` stands for: of the whole space it is that recipe, as JSON has it."""
        return recipe_from_dict(point)


@dataclass(frozen=True, kw_only=True)
class Grid(StudySpace):
    """Some values of some parameters of a study's space, in all combinations.

    Attributes:
        axes: values by the names that the parameters have in the space, numbers in ascending order.
        fixed: parameters of the space where a point does not tell them: what the first trials have.
        methods: which axes each method has, in the order in which they are asked for. A ``sparsity`` that
            comes after ``prune`` is of those that are pruned.
        first: what every search begins with, by a rule: methods that quantize in turn, to about 4 bits, of
            the narrow half of widths and of the two least depths in turn; unpruned, with the study's own
            learning rate.
        half: the part of ``axes`` on which rules may be chosen; None (default) where none may be.
    """

    axes: Axes
    fixed: Mapping[str, Any]
    methods: Mapping[str, tuple[str, ...]]
    first: tuple[Point, ...]
    half: Axes | None = None

    @property
    def path(self) -> Path:
        """Where its table lies."""
        return Path(__file__).parent / "data" / f"{self.name}.npz"

    def recipe_of(self, point: Point, study: Study, context: Context) -> Recipe:
        """What the space makes of ``point``."""
        return study.space(optuna.trial.FixedTrial({**self.fixed, **point}), context)

    def points(self) -> list[Point]:
        """The whole grid, the methods one after the other."""
        return [point for method in self.methods for point in self._points_of({"method": method}, 0)]

    def _points_of(self, begun: Point, count: int) -> Iterator[Point]:
        """All points that begin so; ``begun`` tells the method and its first ``count`` axes."""
        names = self.methods[begun["method"]]
        if count == len(names):
            yield begun
        elif _idle(names[count], begun):
            yield from self._points_of(begun, count + 1)
        else:
            for value in self.axes[names[count]]:
                yield from self._points_of({**begun, names[count]: value}, count + 1)

    def draw(self, trial: optuna.trial.BaseTrial, axes: Axes) -> dict[str, Any]:
        """A point of ``axes``, asked of Optuna under the space's own names and in its order."""
        point: dict[str, Any] = {"method": trial.suggest_categorical("method", tuple(self.methods))}
        for name in self.methods[point["method"]]:
            if _idle(name, point):
                continue
            if _is_choice(axes[name]):
                point[name] = trial.suggest_categorical(name, axes[name])
            else:
                point[name] = axes[name][trial.suggest_int(name, 0, len(axes[name]) - 1)]
        return point

    def parameters(self, axes: Axes) -> dict[str, BaseDistribution]:
        """Every parameter that a point of ``axes`` may have.

        Ordered axes are numbers of values: neighbours are alike.
        """
        found: dict[str, BaseDistribution] = {"method": CategoricalDistribution(tuple(self.methods))}
        for name, values in axes.items():
            found[name] = (
                CategoricalDistribution(values) if _is_choice(values) else IntDistribution(0, len(values) - 1)
            )
        return found

    def first_points(self, axes: Axes) -> list[dict[str, Any]]:
        """:attr:`first` as parameters: of ordered axes, where each value stands."""
        return [
            {
                name: value if name == "method" or _is_choice(axes[name]) else axes[name].index(value)
                for name, value in point.items()
            }
            for point in self.first
        ]


def _is_choice(values: Sequence[Any]) -> bool:
    """Whether an axis has no order."""
    return isinstance(values[0], bool | str)


def _idle(name: str, point: Point) -> bool:
    """Whether a point that was drawn so far does without an axis."""
    return name == "sparsity" and not point.get("prune", True)
