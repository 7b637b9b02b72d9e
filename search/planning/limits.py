"""Whether the students of a space can be built, and a budget be met, before anything is trained."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from optuna.trial import FixedTrial
from torch import nn

from search.objectives.budget import Budget
from search.objectives.costs import PACKED, cost_of, option_of, with_unit
from search.problem import Problem
from search.units import show_number
from spaces import Context, Space
from spaces.space import Opened
from trainables.compression.compressed_weight import compress, compressed_weights
from trainables.exporting.checking import ExportError
from trainables.metrics import LATENCY, Metric, Quality, quality_of
from trainables.metrics.base import DEVICE
from trainables.models.base import Model
from trainables.origins.base import Origin
from trainables.recipe import Recipe
from trainables.routes import routes_of
from trainables.shipping.evaluation import bytes_without_ranges, open_student, ship
from trainables.tasks.base import LoadedTask, Task
from trainables.training.trial_metrics import BEFORE_TRAINING, TrialSettings, first_metrics, latencies

SURE_SHARE = 0.8
"""Of an untrained student's bytes: a trained one may take so few, as coding saves more once it is trained."""


def untrained(recipe: Recipe, task: LoadedTask) -> bytes:
    """The packed file of a student of ``recipe`` as it begins, with the assets of its ``task``.

    Raises:
        ValueError: the student cannot be built.
    """
    model, student = _built(recipe, task)
    return _shipped(recipe, model, compress(student, recipe), task)


def _built(recipe: Recipe, task: LoadedTask) -> tuple[Model, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return recipe.origin.outline(recipe.task, task)


def _shipped(recipe: Recipe, model: Model, student: nn.Module, task: LoadedTask) -> bytes:
    batches = lambda: (batch.inputs for batch in task.batches("train", 0))  # noqa: E731
    return ship(recipe, student, batches, task.assets(), model)


def smallest_student(space: Space, context: Context, task: LoadedTask) -> tuple[Recipe, int]:
    """The recipe of the space whose untrained student packs smallest, and into how many bytes.

    Raises:
        ValueError: the students cannot be built.
    """
    networks: dict[tuple[Origin, Task, int], tuple[Model, nn.Module]] = {}  # shared by most
    candidates = []
    for recipe in space.smallest(context):
        begins = (recipe.origin, recipe.task, recipe.seed)
        if begins not in networks:
            networks[begins] = _built(recipe, task)
        model, network = networks[begins]
        student = compress(copy.deepcopy(network), recipe)
        for _, compressed, _ in compressed_weights(student):
            compressed.quantizer.take_least()
        least = bytes_without_ranges(recipe, student, task.assets(), model)
        candidates.append((recipe, model, student, least))
    smallest: tuple[Recipe, int] | None = None
    # Ranges take up to a second to measure and a few bytes to store: no student is measured that is larger
    # without them than another is with them.
    for recipe, model, student, least in sorted(candidates, key=lambda candidate: candidate[3]):
        if smallest is not None and least >= smallest[1]:
            return smallest
        size = len(_shipped(recipe, model, student, task))
        if smallest is None or size < smallest[1]:
            smallest = recipe, size
    if smallest is None:
        raise ValueError("the space has no student")
    return smallest


def fitting_points(space: Space, context: Context, task: LoadedTask, budget: Budget) -> list[dict[str, Any]]:
    """What a sweep tries first: the methods' defaults, in a size that may keep the limits.

    A student that is too large before it trains is moved toward the smallest size, to within an eighth of
    where it begins to fit; one that fits nowhere is tried as small as it gets. Those limits count of which
    an untrained student tells how far it is over them, but for latencies: to measure those of so many would
    take longer than it is worth.

    Args:
        space: of the students.
        context: of the sweep.
        task: its data, on the CPU.
        budget: whose limits count.
    """
    points = space.starting_points(context)
    fitting = _Fitting(space, context, task, budget)
    if not fitting.limited:
        return points
    opened, found = space.opened(context), list[dict[str, Any]]()
    for point in points:
        if fitting.fits(point):
            fit = dict(point)
        else:
            fit = opened.smaller(point, _least_share(opened, point, fitting.fits))
        found += [fit] if fit not in found else []
    return found


class _Fitting:
    """Tells of points of a space whether their students may keep a budget."""

    def __init__(self, space: Space, context: Context, task: LoadedTask, budget: Budget) -> None:
        self._space, self._context, self._task = space, context, task
        self._quality = quality_of(context.task.metric)
        self._known = {name for names, _ in BEFORE_TRAINING for name in names} & budget.limits.keys()
        judged = {name: each for name, each in budget.limits.items() if name in {*self._known, PACKED}}
        self._budget = replace(budget, limits=judged)
        self._networks: dict[Any, tuple[Model, nn.Module]] = {}
        self._sizes: dict[Any, int] = {}
        self._costs: dict[Any, str] = {}

    @property
    def limited(self) -> bool:
        """Whether any of the limits is judged here."""
        return bool(self._known) or PACKED in self._budget.limits

    def fits(self, point: Mapping[str, Any]) -> bool:
        """Whether a student of ``point`` may keep the limits once it has trained."""
        recipe = self._space(FixedTrial(dict(point)), self._context)
        packed = self._budget.limits.get(PACKED)
        if packed is not None and self._size(recipe) * SURE_SHARE > packed:
            return False
        return not self._known or not self._over(recipe)

    def _size(self, recipe: Recipe) -> int:
        shape = (recipe.origin, recipe.task)
        stored = (*shape, recipe.quantizer, recipe.pruner, recipe.activations, recipe.exempt_dtype)
        if stored not in self._sizes:
            if shape not in self._networks:
                self._networks[shape] = _built(recipe, self._task)
            model, network = self._networks[shape]
            student = compress(copy.deepcopy(network), recipe)
            self._sizes[stored] = bytes_without_ranges(recipe, student, self._task.assets(), model)
        return self._sizes[stored]

    def _over(self, recipe: Recipe) -> str:
        """Which of the limits beside the packed size a student of ``recipe`` is over."""
        decides = (recipe.origin, recipe.task, recipe.quantizer, recipe.activations, recipe.exempt_dtype)
        if decides not in self._costs:
            data = untrained(recipe, self._task)
            values = {name: cost_before(data, name) for name in self._known}
            self._costs[decides] = self._budget.sure_before_training(values, self._quality)
        return self._costs[decides]


def _least_share(
    opened: Opened, point: Mapping[str, Any], fits: Callable[[Mapping[str, Any]], bool]
) -> float:
    """The least eighth of the way to the smallest size at which ``point`` fits; 1 if it fits nowhere."""
    low, high = 0.0, 1.0
    for _ in range(3):
        middle = (low + high) / 2
        if fits(opened.smaller(point, middle)):
            high = middle
        else:
            low = middle
    return high


def check_students(
    space: Space, context: Context, task: LoadedTask, budget: Budget, size: str = PACKED
) -> None:
    """Refuse students that cannot be built, and limits that not even the least of them meets.

    Nobody knows beforehand how much quality is lost, so ``max_drop`` is refused only where no student can
    lose as much.

    Args:
        space: of the students.
        context: of the sweep.
        task: its data, on the CPU.
        budget: to be met.
        size: the metric that is the size of students; default that of the packed file.

    Raises:
        Problem: the message says what is wrong, or what would fit.
    """
    _check_drop(quality_of(context.task.metric), budget)
    try:
        space.opened(context)
    except ValueError as error:
        raise Problem(f"The space cannot be searched so: {error}.") from error
    try:
        _, least = smallest_student(space, context, task)
    except ValueError as error:
        raise Problem(f"The student cannot be used: {error}.") from error
    quality = quality_of(context.task.metric)
    if size != PACKED:
        _least(space, context, task, cost_of(quality, size), "--size-of")
    for name, limit in budget.limits.items():
        if name.startswith(DEVICE):  # :func:`search.planning.devices.check_on_device` asks it
            continue
        metric, option = cost_of(quality, name), option_of(name)
        if not metric.trained_share:
            continue  # training decides it
        found = least if name == PACKED else _least(space, context, task, metric, option)
        if found > limit:
            here = " on this machine" if name.startswith(LATENCY) else ""
            raise Problem(
                f"No student of this study keeps its {metric.label} to {with_unit(metric, limit)}: the least "
                f"is about {with_unit(metric, found)}{here}; give a larger {option}."
            )


def _least(space: Space, context: Context, task: LoadedTask, metric: Metric, option: str) -> float:
    """The least that a student of the space has of a cost that is known before training.

    Args:
        space: of the students.
        context: of the sweep.
        task: its data, on the CPU.
        metric: the cost.
        option: by which it was asked for.

    Raises:
        Problem: it cannot be measured of any of the students.
    """
    recipes = space.fastest(context) if metric.trained_share == 1 else space.smallest(context)
    try:
        found = [cost_before(untrained(recipe, task), metric.name) for recipe in recipes]
    except ExportError as error:
        raise Problem(
            f"{option} cannot be used: the students have no ONNX form to be measured ({error})."
        ) from error
    known = [value for value in found if value is not None]
    if not known:
        raise Problem(f"{option} cannot be used: no student's {metric.label} can be measured.")
    return min(known)


def _check_drop(quality: Quality, budget: Budget) -> None:
    whole = quality.points(quality.highest - quality.lowest)
    if budget.max_drop is not None and budget.max_drop > whole:
        raise Problem(
            f"--max-drop must be at most {show_number(whole)}, all that there is of {quality.label}, got "
            f"{show_number(budget.max_drop)}."
        )


def cost_before(data: bytes, name: str) -> float | None:
    """What the untrained student in a packed file has of the cost ``name``; None where training decides it.

    Of one that takes several routes it is that of the shortest, where it depends on the route: nobody knows
    before training how many inputs will take it. A latency is measured now on this machine.

    Raises:
        ExportError: the student has no ONNX form, and it is a latency.
    """
    recipe, student = open_student(data)
    _, shortest = routes_of(student)[0]
    with tempfile.TemporaryDirectory(prefix="rayduce-") as table:
        settings = TrialSettings(latency_table=Path(table), teacher_bytes=1, first=frozenset({name}))
        if name.startswith(LATENCY):
            return latencies(recipe, data, shortest, settings).get(name)
        whole = first_metrics(recipe, data, student, settings)
        return whole[name] if name in whole else first_metrics(recipe, data, shortest, settings).get(name)
