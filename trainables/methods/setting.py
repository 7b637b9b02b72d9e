"""What every published method is given, and how its function becomes a named method."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Generic, ParamSpec, cast

from trainables.activations import NoActivationQuantizer
from trainables.activations.base import ActivationQuantizer
from trainables.codecs import Smallest
from trainables.losses.base import Loss
from trainables.methods.ideas import IDEAS
from trainables.models.base import Model
from trainables.optimizers import Optimizer
from trainables.origins.base import Origin
from trainables.part import Part
from trainables.pruners import Magnitude, NoPruner
from trainables.pruners.base import Pruner
from trainables.quantizers import NoQuantizer
from trainables.quantizers.base import Quantizer
from trainables.ranges import Range
from trainables.recipe import Phase, Recipe
from trainables.tasks.base import Task
from trainables.teachers import Fixed, NoTeacher, Remembered

P = ParamSpec("P")
PRUNING: Pruner = Magnitude()
"""What a search prunes with, where it prunes; what it draws of it, the ranges of its fields say."""


@dataclass(frozen=True)
class Setting(Part):
    """What every method is given and does not decide.

    Attributes:
        task: data set and metric.
        origin: how the student comes to be.
        epochs: of the whole training.
        teacher: ``recipe_id`` of the trained teacher; None (default) where there is none.
        teacher_views: in how many augmentation views the teacher's outputs are remembered; None asks it at
            every step, in views that never come again. Default 16.
        pruner: which weights stay; all by default.
        live_features: places in the teacher's network whose features are too large to be remembered, see
            :meth:`trainables.losses.base.Loss.looks_at`; a recipe that looks at one asks the teacher at every
            step. Default none.
        lacking_features: places that the teacher's network, or the student's, does not have; a recipe that
            looks at one is refused. Default none.
        exit_layers: names of the layers after which early exits are, at most 4 in the order of execution;
            empty (default) where methods spread them by themselves.
        seed: drives all randomness but that of the remembered views, which all runs share.
        teacher_route: names the checkpoints along the teacher's training: a digest of those that a user gave,
            empty (default) for those of its own training; None where there are none.
    """

    task: Task
    origin: Origin
    epochs: Annotated[int, Range(0, 1_000_000)]
    teacher: str | None = None
    teacher_views: int | None = 16
    pruner: Pruner = NoPruner()
    seed: int = 0
    teacher_route: str | None = ""
    live_features: tuple[str, ...] = ()
    lacking_features: tuple[str, ...] = ()
    exit_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(cast(Part, self.origin), Model):
            raise ValueError(f"origin must say how the student comes to be: give Fresh({self.origin})")
        super().__post_init__()

    def pruned_by(self, pruner: Pruner) -> Setting:
        """The same setting for a method that brings a pruner of its own as an argument.

        Raises:
            ValueError: the setting has one already.
        """
        if self.pruner != NoPruner():
            raise ValueError(
                f"this method prunes by {pruner}: give it as the method's pruner, not as the setting's "
                f"({self.pruner})"
            )
        return replace(self, pruner=pruner)

    def phase(self, optimizer: Optimizer, epochs: int | None = None, **settings: Any) -> Phase:
        """Training for ``epochs``, all by default; masks grow in it if there is a pruner."""
        prune = self.pruner != NoPruner()
        return Phase(self.epochs if epochs is None else epochs, optimizer, **{"prune": prune, **settings})

    def recipe(
        self,
        *phases: Phase,
        quantizer: Quantizer = NoQuantizer(),
        activations: ActivationQuantizer = NoActivationQuantizer(),
        imitation: Loss | None = None,
        **parts: Any,
    ) -> Recipe:
        """The recipe of these parts; without a quantizer, weights are stored as float32.

        Args:
            phases: of the training, in order.
            quantizer: weights -> few values.
            activations: inputs of layers -> few values.
            imitation: the teacher's term of the loss; the labels' has the rest of its weight.
            parts: of the recipe, by field, in place of what the setting makes of them, such as ``teacher``,
                ``losses`` or ``task``.
        """
        found: dict[str, Any] = {"teacher": NoTeacher(), "losses": ()}
        if imitation is not None:
            looked_at = {place for loss in parts.get("losses", ()) for place in loss.looks_at()}
            if missed := sorted(looked_at.intersection(self.lacking_features)):
                raise ValueError(
                    f"the method looks at {missed[0]} of both networks, and one of them has none"
                )
            views = self.teacher_views if looked_at.isdisjoint(self.live_features) else None
            teacher = Fixed(self.known_teacher) if views is None else Remembered(self.known_teacher, views)
            found = {"teacher": teacher, "losses": (imitation,), "task_weight": imitation.weight.rest()}
        found |= {
            "task": self.task,
            "origin": self.origin,
            "pruner": self.pruner,
            "codec": Smallest(),
            "exempt_dtype": "float32" if quantizer == NoQuantizer() else "float16",
        }
        return Recipe(
            method="",
            quantizer=quantizer,
            activations=activations,
            phases=phases,
            seed=self.seed,
            **{**found, **parts},
        )

    @property
    def known_teacher(self) -> str:
        """The teacher, of a method that cannot do without."""
        if self.teacher is None:
            raise ValueError("this method needs a trained teacher: give Setting(..., teacher=its recipe_id)")
        return self.teacher


class Method(Generic[P]):
    """A published method: called with a :class:`Setting` and parts, it returns a recipe that bears its name.

    Attributes:
        function: that writes the recipe.
        name: of its function.
        paper: authors, year and section; empty for what is nobody's invention.
        idea: one of :data:`trainables.methods.ideas.IDEAS`.

    Raises:
        ValueError: there is no such idea.
    """

    def __init__(self, function: Callable[P, Recipe], paper: str, idea: str) -> None:
        if idea not in IDEAS:
            raise ValueError(f"the idea of a method must be one of {', '.join(IDEAS)}, got {idea=}")
        functools.update_wrapper(self, function)
        self.function = function
        self.name = function.__name__
        self.paper = paper
        self.idea = idea

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Recipe:
        recipe = self.function(*args, **kwargs)
        return recipe.changed(lambda each: replace(each, method=self.name))


def published(paper: str, idea: str) -> Callable[[Callable[P, Recipe]], Method[P]]:
    """Make a function of a :class:`Setting` the method that ``paper`` describes; it stands for ``idea``."""
    return lambda function: Method(function, paper, idea)
