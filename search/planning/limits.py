"""Whether the students of a space can be built, and a budget be met, before anything is trained."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from optuna.trial import FixedTrial
from torch import nn

from search.objectives.budget import Budget
from search.problem import Problem
from search.units import show_number
from spaces import Context, Space
from spaces.space import Opened
from trainables.compression.compressed_weight import compress, compressed_weights
from trainables.exporting.export import ExportError
from trainables.metrics import Quality, quality_of
from trainables.models.base import Model
from trainables.origins.base import Origin
from trainables.recipe import Recipe
from trainables.routes import routes_of
from trainables.shipping.evaluation import bytes_without_ranges, open_student, ship
from trainables.tasks.base import LoadedTask, Task
from trainables.training.trial_metrics import TrialSettings, latencies

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
    """What a sweep tries first: the methods' defaults, in a size that may keep the limit of bytes.

    A student that is too large before it trains is moved toward the smallest size, to within an eighth of
    where it begins to fit; one that fits nowhere is tried as small as it gets.

    Args:
        space: of the students.
        context: of the sweep.
        task: its data, on the CPU.
        budget: whose bytes count.
    """
    points = space.starting_points(context)
    if budget.max_bytes is None:
        return points
    opened, sizes, networks = space.opened(context), dict[Any, int](), dict[Any, tuple[Model, nn.Module]]()

    def size(point: Mapping[str, Any]) -> int:
        recipe = space(FixedTrial(dict(point)), context)
        shape = (recipe.origin, recipe.task)
        stored = (*shape, recipe.quantizer, recipe.pruner, recipe.activations, recipe.exempt_dtype)
        if stored not in sizes:
            if shape not in networks:
                networks[shape] = _built(recipe, task)
            model, network = networks[shape]
            student = compress(copy.deepcopy(network), recipe)
            sizes[stored] = bytes_without_ranges(recipe, student, task.assets(), model)
        return sizes[stored]

    def fits(point: Mapping[str, Any]) -> bool:
        return budget.max_bytes is None or size(point) * SURE_SHARE <= budget.max_bytes

    found: list[dict[str, Any]] = []
    for point in points:
        fit = dict(point) if fits(point) else opened.smaller(point, _least_share(opened, point, fits))
        found += [fit] if fit not in found else []
    return found


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


def check_students(space: Space, context: Context, task: LoadedTask, budget: Budget) -> None:
    """Refuse students that cannot be built, and limits that not even the least of them meets.

    Nobody knows beforehand how much quality is lost, so ``max_drop`` is refused only where no student can
    lose as much.

    Args:
        space: of the students.
        context: of the sweep.
        task: its data, on the CPU.
        budget: to be met.

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
    if budget.max_bytes is not None and least > budget.max_bytes:
        raise Problem(
            f"No student of this study fits in {budget.max_bytes:,} bytes: the smallest takes about "
            f"{least:,}; give a larger --max-bytes."
        )
    if budget.max_latency_ms is None:
        return
    try:
        best = min(latency_of(untrained(recipe, task)) for recipe in space.fastest(context))
    except ExportError as error:
        raise Problem(
            f"--max-latency-ms cannot be met: the students have no ONNX form to be timed ({error})."
        ) from error
    if best > budget.max_latency_ms:
        raise Problem(
            f"No student of this study answers within {show_number(budget.max_latency_ms)} ms: the fastest "
            f"takes about {show_number(best)} ms on this machine; give a larger --max-latency-ms."
        )


def _check_drop(quality: Quality, budget: Budget) -> None:
    whole = quality.points(quality.highest - quality.lowest)
    if budget.max_drop is not None and budget.max_drop > whole:
        raise Problem(
            f"--max-drop must be at most {show_number(whole)}, all that there is of {quality.label}, got "
            f"{show_number(budget.max_drop)}."
        )


def latency_of(data: bytes) -> float:
    """``latency_ms`` of the student in a packed file, measured now on this machine.

    Of one that takes several routes it is that of the shortest: nobody knows before training how many inputs
    will take it.

    Raises:
        ExportError: the student has no ONNX form.
    """
    recipe, student = open_student(data)
    _, shortest = routes_of(student)[0]
    with tempfile.TemporaryDirectory(prefix="rayduce-") as table:
        settings = TrialSettings(latency_table=Path(table), teacher_bytes=1)
        return latencies(recipe, data, shortest, settings)["latency_ms"]
