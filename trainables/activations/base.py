"""The contract of activation quantizers: what enters a layer, on a few evenly spaced levels."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

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
    """What an :class:`ActivationQuantizer` builds for the input of one layer.

    The state that decides the grid lies in persistent buffers or parameters, so that the packed file
    holds it and a rebuilt network quantizes as the student did.

    Attributes:
        quantizing: whether the forward pass quantizes; otherwise it returns its input.
        observing: whether the forward pass takes ranges from its input (calibration).
    """

    def __init__(self) -> None:
        super().__init__()
        self.quantizing = False
        self.observing = False

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in, the same shape out."""
        if self.observing:
            self.observe(x.detach())
        return self.quantized(x) if self.quantizing else x

    @abstractmethod
    def begin(self) -> None:
        """Forget all ranges: a calibration starts."""

    @abstractmethod
    def observe(self, x: Tensor) -> None:
        """Widen or move the ranges by one batch of inputs."""

    @abstractmethod
    def quantized(self, x: Tensor) -> Tensor:
        """``x`` on the grid, with gradients for training."""

    @abstractmethod
    def grid(self) -> Grid:
        """The levels in force, for export."""

    def penalty(self) -> Tensor | float:
        """A term added to the loss; 0 by default."""
        return 0.0


class ActivationQuantizer(Part):
    """Inputs of layers -> few values."""

    @abstractmethod
    def build(self) -> InputQuantizer | None:
        """The module in front of one layer; None leaves its input as it is."""
