"""Gated recurrent units, over the frames of a spectrogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.models.base import Architecture
from trainables.models.mobile import Width
from trainables.models.shapes import image_shape
from trainables.ranges import Range

UNITS = 64


@dataclass(frozen=True)
class GRU(Architecture):
    """Gated recurrent units that read a spectrogram frame by frame (Cho et al. 2014), then one layer.

    Attributes:
        depth: layers, in [1, 4]; default 1.
        width: multiplier of the 64 units, rounded, at least 1; in [1/16, 16], default 1.
    """

    depth: Annotated[int, Range(1, 4, (1, 2), smaller="low", name="depth")] = 1
    width: Width = 1.0

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; weights are uniform in 1 / sqrt(units), either way."""
        _, bands, _ = image_shape(input_shape)
        units = max(1, round(self.width * UNITS))
        layers = [Recurrence(units if layer else bands, units) for layer in range(self.depth)]
        return nn.Sequential(_Frames(), *layers, _Last(), nn.Linear(units, outputs))


class _Frames(nn.Module):
    """(n, 1, bands, frames) as (n, frames, bands)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.squeeze(1).transpose(1, 2)


class _Last(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[:, -1]


class Recurrence(nn.Module):
    """One layer of gated recurrent units, as cuDNN and ONNX have them, with one bias for each gate and one.

    It is no ``nn.GRU`` for the reason that :class:`trainables.models.lstm.Encoder` is no ``nn.LSTM``.
    """

    def __init__(self, size: int, units: int) -> None:
        super().__init__()
        self.units = units
        bound = units**-0.5
        self.weight_ih = nn.Parameter(torch.empty(3 * units, size).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(3 * units, units).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(3 * units))
        self.inner_bias = nn.Parameter(torch.zeros(units))

    def forward(self, inputs: Tensor, there: Tensor | None = None) -> Tensor:
        """Outputs (n, t, units) of inputs (n, t, size).

        Args:
            inputs: of all steps.
            there: bool, shape (n, t): the steps that are no padding, which leaves the state as it is.
        """
        # Read once: a compressed weight is computed each time it is read.
        inner, inner_bias = self.weight_hh.t(), self.inner_bias
        known = F.linear(inputs, self.weight_ih, self.bias)
        state = inputs.new_zeros(inputs.shape[0], self.units)
        states = []
        for step in range(inputs.shape[1]):
            reset, update, new = known[:, step].chunk(3, 1)
            reset_inner, update_inner, new_inner = (state @ inner).chunk(3, 1)
            update = torch.sigmoid(update + update_inner)
            new = torch.tanh(new + torch.sigmoid(reset + reset_inner) * (new_inner + inner_bias))
            after = new + update * (state - new)
            state = after if there is None else torch.where(there[:, step : step + 1], after, state)
            states.append(state)
        return torch.stack(states, 1)
