"""What recipes have in common from the first step on: trained once, it serves them all."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass

from trainables.recipe import Phase, Recipe

VERSION = 1
"""Of what a key is made of; another one finds nothing that was kept before."""


@dataclass(frozen=True)
class Prefix:
    """The first phases of a recipe, as far as they depend on nothing that only later ones use.

    Attributes:
        key: 64 hex digits, a hash of all that they depend on: the task, how the student comes to be, the
            seed, the labels used, the teacher, the losses, the phases themselves, the length of the whole
            training (schedules follow its progress), and the pruner where it acts.
        epochs: how long they last, at least 1; they may be the whole training.
        masks: whether masks grow in them.
    """

    key: str
    epochs: int
    masks: bool


def shared_prefix(recipe: Recipe) -> tuple[str, int] | None:
    """The longest first phases that other recipes may have, too, as a hash and their number of epochs.

    Recipes of one hash train to states that are equal bit for bit up to that epoch, on one kind of machine
    and on the same data. None where something that only this recipe has acts from the first step, as where
    weights are quantized from the start, or where students are trained together.

    Args:
        recipe: of any method.

    Returns:
        The :attr:`Prefix.key` and :attr:`Prefix.epochs` of the last of :func:`prefixes`, or None.
    """
    *_, last = [None, *prefixes(recipe)]
    return None if last is None else (last.key, last.epochs)


def prefixes(recipe: Recipe) -> list[Prefix]:
    """Every end of a phase up to which a training can be shared, in their order.

    Weights must be as they are without a quantizer until then, so the first phase that quantizes, or trains
    what quantizers learn, is the end. So is no phase where bits are learned: their price is in every loss.
    """
    if recipe.peers or recipe.quantizer.learns_size:
        return []
    found, epochs = [], 0
    for number, phase in enumerate(_unquantized(recipe), 1):
        epochs += phase.epochs
        if phase.epochs:
            found.append(_prefix(recipe, recipe.phases[:number], epochs))
    return found


def _unquantized(recipe: Recipe) -> Iterator[Phase]:
    return itertools.takewhile(
        lambda phase: not phase.quantize and phase.train in ("weights", "heads"), recipe.phases
    )


def _prefix(recipe: Recipe, phases: tuple[Phase, ...], epochs: int) -> Prefix:
    masks = any(phase.prune for phase in phases)
    acting = {
        "version": VERSION,
        "task": recipe.task.to_dict(),
        "origin": recipe.origin.to_dict(),
        "teacher": recipe.teacher.to_dict(),
        "losses": [loss.to_dict() for loss in recipe.losses],
        "task_weight": recipe.task_weight.to_dict(),
        "exempt": recipe.exempt,
        "seed": recipe.seed,
        "labelled": recipe.labelled,
        "phases": [phase.to_dict() for phase in phases],
        "epochs": recipe.epochs,
    }
    if masks or recipe.pruner.cuts:
        # Pruning goes by its share of all pruning phases, those that come later included.
        acting["pruner"] = recipe.pruner.to_dict()
        acting["pruning_epochs"] = sum(phase.epochs for phase in recipe.phases if phase.prune)
    text = json.dumps(acting, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return Prefix(hashlib.sha256(text.encode()).hexdigest(), epochs, masks)
