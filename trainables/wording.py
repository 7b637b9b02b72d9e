"""Recipes in words, for people who look a trial up."""

from __future__ import annotations

import dataclasses
from typing import Any

from trainables.activations import NoActivationQuantizer
from trainables.part import Part
from trainables.pruners import NoPruner
from trainables.quantizers import NoQuantizer
from trainables.recipe import Recipe
from trainables.schedules import Constant
from trainables.teachers import NoTeacher

NOTHING: tuple[Part, ...] = (NoActivationQuantizer(), NoPruner(), NoQuantizer(), NoTeacher())


def in_words(recipe: Recipe) -> str:
    """One sentence of facts that names each part of the recipe with its numbers, and what is not usual in it.

    ``Quantized distillation of ConvNet (depth 2, width 0.35): weights by Uniform (bits 4, bucket size 256);
    taught by Remembered (...); loss SoftTargets (temperature 2, weight 0.7); 35 epochs of AdamW (...).``
    """
    method = recipe.method.replace("_", " ").capitalize()
    origin = recipe.origin
    model = f"{origin.model.imports or type(origin.model).__name__} "
    model += f"({'slice, ' if origin.cuts else ''}depth {origin.depth:.3g}, width {origin.width:.3g})"
    roles = {
        "weights by": recipe.quantizer,
        "inputs of layers by": recipe.activations,
        "pruned by": recipe.pruner,
        "taught by": recipe.teacher,
    }
    facts = [f"{role} {named(part)}" for role, part in roles.items() if part not in NOTHING]
    facts += [f"loss {named(loss)}" for loss in recipe.losses]
    if recipe.labelled < 1:
        facts.append(f"labels of {100 * recipe.labelled:.4g} % of the samples")
    if recipe.peers:
        others = f"{len(recipe.peers)} other student{'' if len(recipe.peers) == 1 else 's'}"
        facts.append(f"trained together with {others}")
    if recipe.origin.parent is not None:
        facts.append(f"begun with the weights of {recipe.origin.parent}")
    firsts: dict[type[Part], Part] = {}
    for phase in recipe.phases:
        if phase.epochs:
            firsts.setdefault(type(phase.optimizer), phase.optimizer)
    optimizers = " and ".join(map(named, firsts.values()))
    epochs = f"{recipe.epochs} epoch{'' if recipe.epochs == 1 else 's'}"
    facts.append(f"{epochs} of {optimizers}" if optimizers else epochs)
    return f"{method} of {model}: {'; '.join(facts)}."


def named(part: Part) -> str:
    """The class and its fields: ``Uniform (bits 4, bucket size 64)``.

    Numbers are always told, other fields where they are not at their defaults.
    """
    facts = []
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        text = _text(value)
        if _is_number(value) or value != field.default:
            facts.append(f"{field.name.replace('_', ' ')} {text}")
    return f"{type(part).__name__} ({', '.join(facts)})" if facts else type(part).__name__


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Constant)) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(value, Constant):
        return _text(value.value)
    if isinstance(value, Part):
        return named(value)
    if isinstance(value, tuple):
        return " ".join(map(_text, value)) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return {"None": "none", "True": "on", "False": "off"}.get(str(value), str(value))
