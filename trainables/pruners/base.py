"""The pruner contract."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from trainables.part import Part


class Mask(nn.Module):
    """What a :class:`Pruner` builds for one weight tensor: which of its elements stay.

    Attributes:
        needs_gradient: whether :meth:`update` is to be given gradients.
    """

    needs_gradient = False

    @abstractmethod
    def update(self, weight: Tensor, gradient: Tensor | None, progress: float) -> None:
        """Called after each step of a pruning phase.

        Args:
            weight: with all its elements, those that are masked included.
            gradient: of the step's loss, of the same shape; None unless ``needs_gradient``. At masked
                elements it is zero unless the phase trains them, see :class:`trainables.recipe.Phase`.
            progress: in (0, 1], over all pruning phases.
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

    def patterns(self) -> tuple[str, ...]:
        """Name patterns that must each be the first to match a parameter; none by default."""
        return ()
