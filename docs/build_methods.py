"""Writes docs/methods.md from the functions in trainables/methods/: ``python docs/build_methods.py``."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable
from pathlib import Path

from spaces import Context
from spaces.architectures import SLICE, fresh
from spaces.arguments import Handle, arguments_of, handles_of
from studies.images import IMAGES
from studies.translation import TRANSLATION
from trainables.methods import METHODS, Method, Setting
from trainables.methods.ideas import IDEAS
from trainables.models import LSTM, ConvNet
from trainables.origins import Slice, Trained
from trainables.part import Part
from trainables.recipe import Recipe
from trainables.tasks import Digits, Grouped, MultiTask, Phrases

HEAD = """# Methods

This page is made from `trainables/methods/` by `python docs/build_methods.py`; a test compares the two. Each
method is a function of a `Setting` and of parts, and returns a recipe:

```python
given = Setting(task, Fresh(model), epochs=10, teacher=teacher_id)
recipe = quantized_distillation(given, quantizer=Uniform(bits=2), optimizer=AdamW(5e-3))
```

The setting is what every method is given and does not decide: the task, the student's origin, the epochs, the
teacher, in how many views its outputs are remembered, the pruner (`pruner=Magnitude(0.5)` adds gradual
magnitude pruning on the cubic schedule to any method) and the seed. `Trained(model, network_id)` in place of
`Fresh(model)` begins with the weights of a trained network of the same architecture; the recipe's short name
then ends in `started`.

A sweep draws the method and what the tables call *searched*; `rayduce methods` prints the same list, and
`--methods`, `--fix` and `--range` of `rayduce sweep` choose from it. What is *accepted* but not searched by
itself is searched where a range is given, and can be fixed. The first trials of a sweep of all
methods are the first method of each idea below at its defaults; of `--methods`, each of them. Freeze-thaw
search begins with some of those that quantize, in sizes from the study's to the smallest. The
`learning_rate` of slices of a trained network is that of the whole network, and divided by the slice's width.

Soft targets use the true KL divergence, averaged over images, or over target tokens (`batchmean`). The
published code of quantized distillation averaged over the classes as well; at the same weight its term is
weaker by the number of classes. Of translations, outputs are remembered at a temperature of 1: give
`imitation=SoftTargets(Constant(1.0))`, or `teacher_views=None`, which asks the teacher at every step.

{refused}
"""

CONTEXTS = {
    "images": (IMAGES, Context(Digits(), fresh(ConvNet()), "0" * 16, epochs=10)),
    "text": (TRANSLATION, Context(Phrases(), fresh(LSTM()), "0" * 16, epochs=10)),
    "several tasks": (
        IMAGES,
        Context(MultiTask((Digits(), Grouped(Digits(), (0, 1) * 5))), fresh(ConvNet()), "0" * 16, epochs=10),
    ),
    "networks that are trained already": (
        IMAGES,
        Context(Digits(), fresh(ConvNet(), ConvNet(), "0" * 16)[1:], "0" * 16, epochs=10),
    ),
    "slices of trained networks": (
        IMAGES,
        Context(Digits(), ((SLICE, Slice(Trained(ConvNet(), "0" * 16))),), "0" * 16, epochs=10),
    ),
}
"""Spaces and what they are opened on; a method's page shows the first task that takes it."""


def page() -> str:
    """The page's text."""
    parts = [HEAD.format(refused=_refused()), _contents()]
    for name, idea in IDEAS.items():
        parts.append(f"## {idea.title}\n\n{textwrap.fill(idea.text, 112)}\n")
        parts += [_chapter(short, method) for short, method in METHODS.items() if method.idea == name]
    return "\n".join(parts)


def _contents() -> str:
    """The methods by idea."""
    rows = ["| idea | methods |", "|---|---|"]
    for name, idea in IDEAS.items():
        methods = [f"`{short}` {method.name}" for short, method in METHODS.items() if method.idea == name]
        rows.append(f"| {idea.title} | {', '.join(methods)} |")
    return "\n".join(rows) + "\n"


def _chapter(short: str, method: Method) -> str:
    """What the page says of one method."""
    paper = f" *{method.paper[0].upper()}{method.paper[1:]}.*" if method.paper else ""
    parts = [f"### {method.name} (`{short}`)\n"]
    parts.append(f"{inspect.cleandoc(method.__doc__ or '')}{paper}\n")
    parts.append("| argument | default |\n|---|---|")
    parts += [f"| `{name}` | `{_shown(default)}` |" for name, default in arguments_of(method).items()]
    parts.append("\n| handle | accepted | searched | default |\n|---|---|---|---|")
    parts += [_row(handle) for handle in handles_of(method)]
    parts.append(f"\nIts recipe: {_slots(_example(method))}.\n")
    return "\n".join(parts)


def _refused() -> str:
    """Which methods a sweep leaves out."""
    texts = []
    for name, (space, context) in CONTEXTS.items():
        reasons: dict[str, list[str]] = {}
        for method, reason in space.left_out(context).items():
            reasons.setdefault(reason.partition(", got ")[0], []).append(method)
        told = "; ".join(f"{_listed(methods)}, because {reason}" for reason, methods in reasons.items())
        texts.append(f"A sweep of {name} leaves out {told}.")
    return "\n".join(texts)


def _listed(names: Iterable[str]) -> str:
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} and {last}" if most else last


def _shown(default: object) -> str:
    """A default as it is written, with the fields that differ from their own defaults."""
    if not isinstance(default, Part):
        return str(default)
    return f"{type(default).__name__}()" if default == type(default)() else str(default)


def _row(handle: Handle) -> str:
    search = "" if handle.range.search is None else "{:g} to {:g}".format(*handle.range.search)
    search += ", by its logarithm" if search and handle.range.log else ""
    search += ", powers of two" if search and handle.range.doubling else ""
    default = "" if handle.default is None else f"{handle.default:g}"
    return f"| `{handle.name}` | {handle.range} | {search} | {default} |"


def _example(method: Method) -> Recipe:
    """The method's recipe on the first task that takes it."""
    for space, context in CONTEXTS.values():
        if method.name in space.opened(context).methods:
            given = Setting(context.task, context.origins[0][1], context.epochs, context.teacher_id)
            return method(given)
    raise ValueError(f"no task takes {method.name}")


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
