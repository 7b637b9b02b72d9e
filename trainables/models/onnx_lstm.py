"""A layer of LSTM over padded rows as ONNX has it: one operator that is told how long each row is.

PyTorch packs rows of different lengths first. ONNX has no packing: its exporter imitates it by sorting rows,
and says so on standard error each time.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Weights = tuple[Tensor, Tensor, Tensor]
"""Of one direction: of the inputs (4 units, size), of the hidden state (4 units, units), bias (4 units,)."""


def padded_lstm(inputs: Tensor, lengths: Tensor, directions: list[Weights]) -> tuple[Tensor, Tensor, Tensor]:
    """One layer from zero states, for tracing: outside of an export it is slower than it need be.

    Args:
        inputs: shape (n, s, size).
        lengths: int64, shape (n,), in [1, s].
        directions: one, or forward and backward.

    Returns:
        Outputs (n, s, directions * units), zero behind each row's length, and the last hidden and cell states
        (n, directions * units).
    """
    of_inputs, of_hidden, bias = (torch.stack(part) for part in zip(*directions, strict=True))
    output, hidden, cell = _Layer.apply(
        inputs.transpose(0, 1),
        _reordered(of_inputs),
        _reordered(of_hidden),
        torch.cat([_reordered(bias), torch.zeros_like(bias)], 1),
        lengths.int(),
    )
    joined = (hidden.transpose(0, 1).flatten(1), cell.transpose(0, 1).flatten(1))
    return (output.permute(2, 0, 1, 3).flatten(2), *joined)


class _Layer(torch.autograd.Function):
    """ONNX's LSTM: its shapes, its order of gates (i, o, f, g) and its two biases per direction."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, of_inputs: Tensor, of_hidden: Tensor, bias: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(s, n, size) -> (s, directions, n, units), (directions, n, units) twice."""
        with warnings.catch_warnings():
            # What is traced in here is not what is exported.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            return _computed(inputs, of_inputs, of_hidden, bias, lengths)

    @staticmethod
    def symbolic(
        g: Any, inputs: Any, of_inputs: Any, of_hidden: Any, bias: Any, lengths: Any
    ) -> tuple[Any, ...]:
        directions, _, units = of_hidden.type().sizes()
        found: tuple[Any, ...] = g.op(
            "LSTM",
            inputs,
            of_inputs,
            of_hidden,
            bias,
            lengths,
            direction_s="bidirectional" if directions == 2 else "forward",
            hidden_size_i=units,
            outputs=3,
        )
        return found


def _reordered(stacked: Tensor) -> Tensor:
    """Gates i, f, g, o along the second dimension as i, o, f, g."""
    take, keep, new, give = stacked.chunk(4, 1)
    return torch.cat([take, give, keep, new], 1)


def _restored(stacked: Tensor) -> Tensor:
    """Inverse of :func:`_reordered`."""
    take, give, keep, new = stacked.chunk(4, 1)
    return torch.cat([take, keep, new, give], 1)


def _computed(
    inputs: Tensor, of_inputs: Tensor, of_hidden: Tensor, bias: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    count, units = inputs.shape[1], of_hidden.shape[2]
    packed = pack_padded_sequence(inputs, lengths.long().cpu(), enforce_sorted=False)
    start = inputs.new_zeros(len(of_inputs), count, units)
    halves = bias.chunk(2, 1)
    stacked = (_restored(part) for part in (of_inputs, of_hidden, *halves))
    weights = [part for direction in zip(*stacked, strict=True) for part in direction]
    both = len(of_inputs) == 2
    output, hidden, cell = torch.lstm(
        packed.data, packed.batch_sizes, (start, start), weights, True, 1, 0.0, False, both
    )
    back = packed.unsorted_indices
    assert back is not None  # because enforce_sorted=False
    padded, _ = pad_packed_sequence(packed._replace(data=output), total_length=len(inputs))
    apart = padded.unflatten(2, (-1, units)).transpose(1, 2).contiguous()
    return apart, hidden.index_select(1, back), cell.index_select(1, back)
