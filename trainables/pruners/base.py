"""The pruner contract."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from trainables.part import Part


@dataclass(frozen=True)
class Gates:
    """What a gate on each channel that a layer reads would do to the loss, were it closed a little.

    Attributes:
        slopes: by how much the loss of each sample changes per share of a channel that is there: the sum over
            its places of the input times its gradient; shape (samples, channels).
        macs: multiply-accumulates that read one channel, for one sample.
    """

    slopes: Tensor
    macs: float


class Mask(nn.Module):
    """What a :class:`Pruner` builds for one weight tensor: which of its elements stay.

    Attributes:
        needs_gradient: whether :meth:`update` is to be given gradients.
        needs_gates: whether :meth:`see` is to be called, before every update.
        batches: at how many batches of training data it looks before the first pruning phase; they move no
            weight and no statistic. It is then updated as after a step, at progress 0.
    """

    needs_gradient = False
    needs_gates = False
    batches = 0

    def see(self, gates: Gates) -> None:
        """Called before :meth:`update` where ``needs_gates``, of convolutions and linear layers.

        Not called where the layer reads the network's own input, whose channels nobody may close.
        """
        raise TypeError(f"{type(self).__name__} asks for gates and does not look at them")

    @abstractmethod
    def update(self, weight: Tensor, gradient: Tensor | None, progress: float) -> None:
        """Called after each step of a pruning phase.

        Args:
            weight: with all its elements, those that are masked included.
            gradient: of the step's loss, of the same shape; None unless ``needs_gradient``. At masked
                elements it is zero unless the phase trains them, see :class:`trainables.recipe.Phase`.
            progress: in (0, 1], over all pruning phases; 0 for each of the ``batches`` looked at before.
        """

    @abstractmethod
    def current(self) -> Tensor | None:
        """The mask in force: bool, of the weight's shape; None keeps all."""

    @abstractmethod
    def shipped(self, weight: Tensor) -> Tensor | None:
        """The mask with which ``weight`` would be shipped now, at its final sparsity."""


class Pruner(Part):
    """Which weights stay."""

    @abstractmethod
    def build(self, weight: Tensor, name: str = "") -> Mask:
        """A mask module for ``weight``, the parameter ``name``, that keeps everything until it is updated."""

    @property
    def cuts(self) -> bool:
        """Whether what ships is without the channels that no layer reads any more, where it can be."""
        return False

    def decide(self, masks: Mapping[str, Mask], progress: float) -> None:
        """Called when all masks were updated, for what they decide together; by default nothing.

        Args:
            masks: all that it built for one network, by the names of their weights.
            progress: as of :meth:`Mask.update`; 0 when the batches before the first pruning phase are over.
        """

    def patterns(self) -> tuple[str, ...]:
        """Name patterns that must each be the first to match a parameter; none by default."""
        return ()
