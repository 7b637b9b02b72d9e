"""The recipe: everything one trial needs, as data."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from torch import nn

from trainables.activations import ACTIVATIONS, NoActivationQuantizer
from trainables.activations.base import ActivationQuantizer
from trainables.by_name import Where
from trainables.codecs import CODECS
from trainables.codecs.base import Codec
from trainables.exiting.exits import Exits
from trainables.losses import LOSSES
from trainables.losses.base import Loss
from trainables.models import MODELS
from trainables.models.base import Model
from trainables.optimizers import OPTIMIZERS, Optimizer
from trainables.origins import ORIGINS
from trainables.origins.base import Origin, fresh_network
from trainables.part import Part, check_choice, part_from_dict
from trainables.pruners import PRUNERS
from trainables.pruners.base import Pruner
from trainables.quantizers import QUANTIZERS, NoQuantizer
from trainables.quantizers.base import Quantizer
from trainables.quantizers.rows import RowGroup
from trainables.ranges import Range
from trainables.schedules import SCHEDULES, Constant, Schedule
from trainables.signature import Signature
from trainables.slicing.changes import Changes
from trainables.slicing.cut import Cut
from trainables.tasks import TASKS
from trainables.tasks.base import Task
from trainables.teachers import TEACHERS, NoTeacher
from trainables.teachers.base import Teacher

TRAINABLE = ("weights", "quantizer", "all", "heads")
EXEMPT_DTYPES = ("float16", "float32")

FIRST_AND_LAST_PARAMETER = "<first and last parameter>"
"""In ``Recipe.exempt``: the first and the last of all parameters in the order the network lists them.

The published quantized distillation code leaves these two out where it means to leave out the first and
the last layer; its tables for the deeper and wider networks need the same rule. Of many networks the last
parameter is a bias or a normalisation's shift, so the classifier's weights are quantized after all.
"""


@dataclass(frozen=True)
class Phase(Part):
    """A stretch of training, with a fresh optimizer.

    Attributes:
        epochs: at least 0.
        train: which parameters move: ``weights`` (all but the quantizers'), ``quantizer``
            (learned points only; the weights stand still), ``all``, or ``heads`` (what the origin added
            to its network, such as early exits; the rest stands still, in eval mode).
        prune: whether masks grow during the phase. Masks once grown stay in force in later phases.
        quantize: whether the forward pass sees quantized weights.
        optimizer: the update rule.
        quantizer: used in this phase instead of the recipe's; when the phase ends, the weights become
            what it made of them. None (default) is the recipe's own.
        dense_gradient: whether masked weights get the gradient of the zero that the forward pass sees in
            their place, so that they move on and may return; default False: they get none.
    """

    epochs: Annotated[int, Range(0, 1_000_000)]
    optimizer: Optimizer
    train: str = "weights"
    prune: bool = False
    quantize: bool = False
    quantizer: Quantizer | None = None
    dense_gradient: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "train", TRAINABLE)
        if self.quantizer is not None and not self.quantize:
            raise ValueError(
                f"a phase with a quantizer of its own must quantize, got quantizer={self.quantizer}"
            )


@dataclass(frozen=True)
class Recipe(Part):
    """What is trained, how, and how it is stored; its canonical JSON is its identity.

    Attributes:
        method: name of the published method that wrote it; a label.
        task: data set, loss and metric.
        origin: how the student comes to be, and of which architecture.
        teacher: who is imitated.
        losses: terms beside the task's own loss; those that imitate need a teacher.
        task_weight: multiplier of the task's own loss.
        pruner: which weights stay.
        quantizer: weights -> few values.
        activations: inputs of convolutions and linear layers -> few values.
        exempt: names of parameters, as fnmatch patterns such as ``classifier.*``, that are neither
            pruned nor quantized, or :data:`FIRST_AND_LAST_PARAMETER`. Tensors of fewer than two
            dimensions always are exempt. The input of a layer with an exempt weight is not quantized.
        exempt_dtype: how parameters that are not compressed are stored: ``float16`` or ``float32``.
        phases: what happens in which order; at least one.
        codec: how tensors become bytes.
        seed: drives initialisation, shuffling, augmentation and dropout.
        peers: recipes of other students that are trained together with this one, on the same batches and for
            as many epochs; default none. Each student's teacher hears what the others answer.
    """

    method: str
    task: Task
    origin: Origin
    teacher: Teacher
    losses: tuple[Loss, ...]
    pruner: Pruner
    quantizer: Quantizer
    phases: tuple[Phase, ...]
    codec: Codec
    activations: ActivationQuantizer = NoActivationQuantizer()
    task_weight: Annotated[Schedule, Range(0.0, 1000.0)] = Constant(1.0)
    exempt: tuple[str, ...] = ()
    exempt_dtype: str = "float16"
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    peers: tuple[Recipe, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "exempt_dtype", EXEMPT_DTYPES)
        if not self.phases:
            raise ValueError("phases must hold at least one phase, got ()")
        if self.imitates and self.teacher == NoTeacher():
            raise ValueError(
                f"losses need a teacher to imitate, got teacher={self.teacher} and {self.losses}"
            )
        for loss in self.losses:
            loss.check_temperature(self.teacher.temperature(self.task))
        for peer in self.peers:
            if peer.task != self.task or peer.epochs != self.epochs or peer.peers:
                raise ValueError(
                    "peers are students of the same task, trained for as many epochs, without peers of their "
                    f"own; got one of {type(peer.task).__name__} for {peer.epochs} epochs with "
                    f"{len(peer.peers)} peers, beside {self.epochs} epochs of {type(self.task).__name__}"
                )

        if self.task.interface.pads and self.activations != NoActivationQuantizer():
            raise ValueError(
                f"inputs of layers hold padding in {type(self.task).__name__}, which must not enter their "
                f"ranges, got activations={self.activations}"
            )

    def build(self) -> nn.Module:
        """A new network of the student's architecture, after the task's interface has tried it out.

        Raises:
            ValueError: it cannot be built, or is not what the task asks for.
        """
        return fresh_network(self.model, self.task)

    @property
    def model(self) -> Model:
        """The architecture that was asked for."""
        return self.origin.model

    @property
    def imitates(self) -> bool:
        """Whether a term of the loss needs a teacher's answers."""
        return any(loss.imitates for loss in self.losses)

    @property
    def quantizes(self) -> bool:
        """Whether weights are stored as few values."""
        return self.quantizer != NoQuantizer()

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    @cached_property
    def recipe_id(self) -> str:
        """First 16 hex digits of the SHA-256 of :func:`canonical_json`."""
        return hashlib.sha256(canonical_json(self).encode()).hexdigest()[:16]


_CLASSES: tuple[type[Part], ...] = (
    *SCHEDULES,
    *OPTIMIZERS,
    *TASKS,
    *MODELS,
    *ORIGINS,
    Signature,
    Cut,
    Changes,
    Exits,
    *TEACHERS,
    *LOSSES,
    *PRUNERS,
    *QUANTIZERS,
    Where,
    RowGroup,
    *ACTIVATIONS,
    *CODECS,
    Phase,
    Recipe,
)

MEMBERS: dict[str, type[Part]] = {cls.__name__: cls for cls in _CLASSES}
"""Every class a recipe may name; names are unique across families."""


def canonical_json(part: Part) -> str:
    """A recipe, or another part, as JSON with sorted keys and no spaces: equal parts give equal strings."""
    return json.dumps(part.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)


def recipe_from_dict(data: Any) -> Recipe:
    """Inverse of :meth:`Recipe.to_dict`.

    Raises:
        ValueError: ``data`` is no recipe; the message says which part or field is wrong.
    """
    recipe = part_from_dict(data, MEMBERS)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"expected a Recipe, got {type(recipe).__name__}")
    return recipe
