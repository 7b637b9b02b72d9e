"""Writes docs/methods.md from the functions in trainables/methods.py: ``python docs/build_methods.py``."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable
from pathlib import Path

from spaces import images, translation
from trainables import methods
from trainables.models import LSTM, ConvNet
from trainables.recipe import SHORT_METHODS, Recipe
from trainables.tasks import Digits, Phrases

HEAD = """# Methods

This page is made from `trainables/methods.py` by `python docs/build_methods.py`; a test compares the two.
Each method is a function that returns a recipe. All take `task` and `model`, and `sparsity` above 0 adds
gradual magnitude pruning on the cubic schedule to any of them.

Soft targets use the true KL divergence, averaged over images, or over target tokens (`batchmean`). The
published code of quantized distillation averaged over the classes as well; at the same weight its term is
weaker by the number of classes. Of translations, outputs are remembered at a temperature of 1: give
`temperature=1.0`, or `teacher_views=None`, which asks the teacher at every step.

Any recipe may begin with the weights of a trained network of the same architecture instead of fresh ones:
`replace(recipe, origin=Trained(model, teacher_id))`, whose short name then ends in `started`.

{drawn}
"""

EXAMPLES = ((Digits(), ConvNet()), (Phrases(), LSTM()))
"""Of tasks and students; a method's page shows the first that it is for."""


def page() -> str:
    """The page's text."""
    parts = [HEAD.format(drawn=_drawn())]
    for method in methods.METHODS:
        signature = inspect.signature(method)
        options = [p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
        arguments = {"epochs": 10}
        if "teacher_id" in signature.parameters:
            arguments["teacher_id"] = "0" * 16
        kind = typing.get_type_hints(method)["task"]
        task, model = next(pair for pair in EXAMPLES if isinstance(pair[0], kind))
        recipe = method(task, model, **arguments)
        parts.append(f"## {method.__name__} (`{SHORT_METHODS[method.__name__]}`)\n")
        parts.append(f"{inspect.cleandoc(method.__doc__ or '')}\n")
        parts.append("| option | default |\n|---|---|")
        for option in options:
            default = "required" if option.default is option.empty else f"`{option.default}`"
            parts.append(f"| `{option.name}` | {default} |")
        parts.append(f"\nIts recipe: {_slots(recipe)}.\n")
    return "\n".join(parts)


def _drawn() -> str:
    """Which methods a sweep tries, and which are reached from Python alone."""
    searched = {name: {*space.methods} for name, space in (("images", images), ("text", translation))}
    spaces = " ".join(
        f"A sweep of {name} draws {_listed(m.__name__ for m in methods.METHODS if m.__name__ in drawn)}."
        for name, drawn in searched.items()
    )
    rest = [m.__name__ for m in methods.METHODS if m.__name__ not in set().union(*searched.values())]
    return f"{spaces} From Python alone, such as in a loop of your own: {_listed(rest)}."


def _listed(names: Iterable[str]) -> str:
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} and {last}" if most else last


def _slots(recipe: Recipe) -> str:
    phases = []
    for phase in recipe.phases:
        state = "quantized" if phase.quantize else "not quantized"
        phases.append(f"{phase.epochs} of 10 epochs on the {phase.train}, {state}")
    losses = " + ".join(type(loss).__name__ for loss in recipe.losses) or "none"
    return (
        f"teacher `{type(recipe.teacher).__name__}`, losses `{losses}`, "
        f"quantizer `{type(recipe.quantizer).__name__}`, phases: {'; then '.join(phases)}"
    )


if __name__ == "__main__":
    Path(__file__).with_name("methods.md").write_text(page())
