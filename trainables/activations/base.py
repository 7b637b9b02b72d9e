"""The contract of activation quantizers: what enters a layer, on a few evenly spaced levels."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from trainables.part import Part


class Grid(NamedTuple):
    """Unsigned levels ``0 .. 2^bits - 1``; level ``q`` is worth ``scale * (q - zero)``.

    ``scale`` (float32) and ``zero`` (float32 holding a level number) are 0-dimensional. Zero is always a
    level, so padding and pruned channels stay exact.
    """

    scale: Tensor
    zero: Tensor
    bits: int


class InputQuantizer(nn.Module):
    """What an :class:`ActivationQuantizer` builds for one input of one layer.

    Attributes:
        part: that built it; those of equal parts can take turns on one tensor.
        range: float32, shape (2,), a persistent buffer or a parameter: the least and the largest value, with
            zero between them. It decides the grid, so the packed file holds it and a rebuilt network
            quantizes as the student did. Both are rounded to float16 wherever they are used, so that
            storing them so changes nothing.
        bits: levels are ``2^bits``.
        quantizing: whether the forward pass quantizes; otherwise it returns its input.
        observing: whether the forward pass takes ranges from its input (calibration).
    """

    range: Tensor
    part: Part

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.quantizing = False
        self.observing = False
        self._parts: list[Tensor] = []  # least and largest values of parts of what is read

    def forward(self, x: Tensor, again: bool = False, part: bool = False) -> Tensor:
        """Any shape in, the same shape out; float32 where it quantizes.

        Args:
            x: what is read.
            again: whether the range does not move now, but with what is read later in the forward pass, or
                earlier, in another place.
            part: whether the range has to hold these values too when it does; only with ``again``.
        """
        moves = self.observing or (self.quantizing and self.training)
        if moves and part and x.numel():
            self._parts += [x.detach().amin().float(), x.detach().amax().float()]
        if moves and not again:
            seen = torch.cat([x.detach().reshape(-1), torch.stack(self._parts)]) if self._parts else x
            self._parts = []
            if self.observing:
                self.observe(seen.detach())
            if self.quantizing and self.training:
                self.follow(seen.detach())
        return self.quantized(x) if self.quantizing else x

    @abstractmethod
    def begin(self) -> None:
        """Forget the range: a calibration starts. An input that is never seen keeps the range [0, 0]."""

    @abstractmethod
    def observe(self, x: Tensor) -> None:
        """Take one batch of inputs into the range."""

    def follow(self, x: Tensor) -> None:  # a range that is learned follows nothing
        """Move the range after one batch of training; by default it stays."""

    @abstractmethod
    def quantized(self, x: Tensor) -> Tensor:
        """``x`` on the grid, with gradients for training."""

    @abstractmethod
    def grid(self) -> Grid:
        """The levels in force, for export."""

    def penalty(self) -> Tensor | float:
        """A term added to the loss while it quantizes; 0 by default."""
        return 0.0

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


class ActivationQuantizer(Part):
    """Inputs of layers -> few values."""

    @abstractmethod
    def build(self, name: str = "") -> InputQuantizer | None:
        """The module in front of the layer ``name``; None leaves its input as it is."""

    def patterns(self) -> tuple[str, ...]:
        """Name patterns that must each be the first to match a layer; none by default."""
        return ()

    @abstractmethod
    def for_sums(self) -> Self:
        """The same for what meets no weights: sums, concatenations, pooling, activations."""
