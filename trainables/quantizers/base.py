"""The quantizer contract, and the forms a weight tensor takes on its way to a file."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.part import Part

PIECE = 2**18
"""Elements that are decoded at a time."""


@dataclass(frozen=True)
class Codes:
    """A quantized tensor: the hinge between quantizers and codecs. All tensors live on the CPU.

    The ``n`` kept elements, in row-major order, are cut into buckets of ``bucket_size`` consecutive
    values (the last may be shorter). What element ``i`` of bucket ``j`` is worth depends on the grid:

    - even levels between two ends: ``scale[j] * (index[i] / (2^bits - 1)) + offset[j]``;
    - a codebook: ``scale[j] * codebook[index[i]] + offset[j]``;
    - a centred grid, which holds an exact zero: ``scale[j] * (index[i] - zero)``.

    Elements not kept are zero.

    Attributes:
        index: uint8, shape (n,), each below ``2^bits`` (below ``len(codebook)`` with a codebook).
        shape: of the decoded tensor; any rank, empty allowed.
        bits: in [1, 8].
        bucket_size: at least 1, or None for one bucket.
        offset: float16 or float32, shape (ceil(n / bucket_size),); None on a centred grid.
        scale: the same shape as ``offset`` and the same dtype.
        codebook: float32, shape (2..256,), or None.
        keep: bool, of ``shape``, True where an element is kept; None keeps all.
        zero: the level that is worth zero, below ``2^bits``, on a centred grid; None elsewhere.
    """

    index: Tensor
    shape: tuple[int, ...]
    bits: int
    bucket_size: int | None
    offset: Tensor | None
    scale: Tensor
    codebook: Tensor | None = None
    keep: Tensor | None = None
    zero: int | None = None

    def decode(self) -> Tensor:
        """The float32 tensor these codes stand for, of ``shape``; the same bits on every machine.

        It is made piece by piece, so that it takes little more memory than the result.
        """
        elements = math.prod(self.shape)
        levels, scale = self._levels(), self.scale.float()
        offset = None if self.offset is None else self.offset.float()
        keep = None if self.keep is None else self.keep.reshape(-1)
        decoded = torch.zeros(elements)
        first = 0
        for begin in range(0, elements, PIECE):
            piece = decoded[begin : begin + PIECE]
            kept = piece.numel() if keep is None else int(keep[begin : begin + PIECE].count_nonzero())
            values = self._values(first, first + kept, levels, scale, offset)
            first += kept
            if keep is None:
                piece.copy_(values)
            else:
                piece.masked_scatter_(keep[begin : begin + PIECE], values)
        return decoded.reshape(self.shape)

    def arrays(self) -> tuple[Tensor, ...]:
        """What levels are made into values with, those that there are: offsets, scales, codebook."""
        return tuple(array for array in (self.offset, self.scale, self.codebook) if array is not None)

    def _values(self, begin: int, end: int, levels: Tensor, scale: Tensor, offset: Tensor | None) -> Tensor:
        """What the kept elements from ``begin`` to ``end`` are worth."""
        bucket = self.index.numel() if self.bucket_size is None else self.bucket_size
        which = torch.arange(begin, end) // max(bucket, 1)
        values = scale[which] * levels[self.index[begin:end].long()]
        return values if offset is None else values + offset[which]

    def _levels(self) -> Tensor:
        if self.codebook is not None:
            return self.codebook
        numbers = torch.arange(2**self.bits, dtype=torch.float32)
        if self.zero is not None:
            return numbers - self.zero
        # Divided one by one, as the forward pass does, so that both give the same bits.
        return numbers / (2**self.bits - 1)


@dataclass(frozen=True)
class MixedCodes:
    """A quantized tensor whose groups of elements have bits of their own. All tensors live on the CPU.

    All elements, dropped ones included, are cut in row-major order into groups of ``group_size`` (the last
    may be shorter). A kept element ``i`` in a group of ``b`` bits is worth
    ``index[i] / (2^b - 1) * scale + offset``, in float32 and in this order; others are zero.

    Attributes:
        index: int16, shape (n,), of the ``n`` kept elements, each below ``2^b``.
        shape: of the decoded tensor; any rank, empty allowed.
        bits: uint8, in [1, 15], shape (groups,); of a group without a kept element they mean nothing.
        group_size: at least 1, or None for one group.
        offset: float32, shape (1,).
        scale: float32, shape (1,).
        keep: bool, of ``shape``, True where an element is kept; None keeps all.
    """

    index: Tensor
    shape: tuple[int, ...]
    bits: Tensor
    group_size: int | None
    offset: Tensor
    scale: Tensor
    keep: Tensor | None = None

    def widths(self) -> Tensor:
        """Bits of each kept element, uint8, shape (n,)."""
        elements = math.prod(self.shape)
        size = elements if self.group_size is None else min(self.group_size, elements)
        every = self.bits.repeat_interleave(size)[:elements]
        return every if self.keep is None else every[self.keep.reshape(-1)]

    def by_width(self) -> Iterator[tuple[int, Tensor]]:
        """Each number of bits that a kept element has, ascending, and the levels of these, int16."""
        widths = self.widths()
        for width in torch.unique(widths).tolist():
            yield width, self.index[widths == width]

    def decode(self) -> Tensor:
        """The float32 tensor of ``shape``; the same bits on every machine. It is made piece by piece."""
        values, widths = torch.empty(self.index.numel()), self.widths()
        steps = torch.tensor([1.0, *(2.0**width - 1 for width in range(1, 16))])
        for begin in range(0, self.index.numel(), PIECE):
            piece = self.index[begin : begin + PIECE].float().div_(steps[widths[begin : begin + PIECE].int()])
            values[begin : begin + PIECE] = piece.mul_(self.scale).add_(self.offset)
        return scatter_kept(values, self.keep, self.shape)

    def arrays(self) -> tuple[Tensor, ...]:
        """What levels are made into values with: offset and scale."""
        return self.offset, self.scale


@dataclass(frozen=True)
class Dense:
    """A tensor stored by value, on the CPU: full precision, exempt, or pruned only.

    Attributes:
        values: any dtype that safetensors knows, the full shape; zero where not kept.
        keep: bool of the same shape, or None keeps all.
    """

    values: Tensor
    keep: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def decode(self) -> Tensor:
        """The tensor itself, in the dtype it was given."""
        return self.values

    def arrays(self) -> tuple[Tensor, ...]:
        """None: there are no levels."""
        return ()


Stored = Codes | MixedCodes | Dense
"""What a file holds of one tensor."""


@dataclass(frozen=True)
class Grouped:
    """A tensor whose rows are in groups, each stored as a tensor of its own.

    Attributes:
        rows: uint8, shape (n,), the number of the group that each row is in; every group has one. Rows of the
            number :data:`NO_GROUP` are zero, and nothing else is stored of them.
        groups: their rows in the order in which they stand in the tensor, same trailing dimensions.
    """

    rows: Tensor
    groups: tuple[Stored, ...]

    def decode(self) -> Tensor:
        """The float32 tensor.

        Raises:
            ValueError: rows and groups do not fit each other.
        """
        sizes = [int((self.rows == number).sum()) for number in range(len(self.groups))]
        shapes = [(size, *self.groups[0].shape[1:]) for size in sizes]
        zero = int((self.rows == NO_GROUP).sum())
        if sum(sizes) + zero != len(self.rows) or shapes != [group.shape for group in self.groups]:
            raise ValueError(f"groups of {[group.shape for group in self.groups]} are not rows of {sizes}")
        made = torch.zeros(len(self.rows), *shapes[0][1:])
        for number, group in enumerate(self.groups):
            made[self.rows == number] = group.decode().float()
        return made

    def named(self, name: str) -> dict[str, Stored]:
        """The tensors that a file holds of it; :func:`joined` puts them together again."""
        parts = {f"{name}[{number}]": group for number, group in enumerate(self.groups)}
        return {f"{name}{ROWS}": Dense(self.rows), **parts}


NO_GROUP = 255
"""In place of a group's number: the row is zero."""

ROWS = "[rows]"
"""Ends the name of the tensor that says which group each row is in; no parameter's name holds a bracket."""


def joined(tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    """``tensors`` of a file, those in groups of rows put together.

    Raises:
        ValueError: groups are missing, or do not fit.
    """
    found = dict(tensors)
    for name in [name.removesuffix(ROWS) for name in tensors if name.endswith(ROWS)]:
        rows = found.pop(name + ROWS).decode()
        if rows.dtype != torch.uint8 or rows.dim() != 1 or not len(rows):
            raise ValueError(f"{name}{ROWS} must name the group of each row, got {rows.dtype} {rows.shape}")
        named = rows[rows != NO_GROUP]
        if not len(named):
            raise ValueError(f"{name}{ROWS} names no group")
        numbers = range(int(named.max()) + 1)
        if missing := [number for number in numbers if f"{name}[{number}]" not in found]:
            raise ValueError(f"{name}[{missing[0]}] is missing")
        groups = tuple(found.pop(f"{name}[{number}]") for number in numbers)
        found[name] = Dense(Grouped(rows, groups).decode())
    return found


def removed_elements(tensors: Mapping[str, Stored]) -> int:
    """Elements of rows that are zero and not stored, see :data:`NO_GROUP`, of all tensors of a file."""
    removed = 0
    for name, rows in tensors.items():
        group = tensors.get(f"{name.removesuffix(ROWS)}[0]") if name.endswith(ROWS) else None
        if group is not None:
            removed += int((rows.decode() == NO_GROUP).sum()) * math.prod(group.shape[1:])
    return removed


def scatter_kept(values: Tensor, keep: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """Put the kept ``values`` (n,) back where ``keep`` is True; zero elsewhere."""
    if keep is None:
        return values.reshape(shape)
    return torch.zeros(shape, dtype=values.dtype, device=values.device).masked_scatter(keep, values)


class WeightQuantizer(nn.Module):
    """What a :class:`Quantizer` builds for one weight tensor.

    Attributes:
        exact_zero: whether zero is always a level. Such a quantizer is given whole tensors, in which
            pruned elements are zero and stay zero, and no mask has to be stored. The others are given
            the kept values alone, shape (n,), because they would move pruned zeros off zero.
        all_zero: whether it makes every value zero.
        folds: whether what it rounds has the factor of the batch normalisation behind the layer in it.
        divisible: whether what is left of a tensor can be stored when channels are taken out of it.
    """

    exact_zero: ClassVar[bool] = False
    all_zero: ClassVar[bool] = False
    divisible: ClassVar[bool] = True
    folds: bool = False

    def initialize(self, weight: Tensor) -> None:
        """Take learned state (a codebook) from ``weight``; by default there is none."""

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """Values -> their quantized values, same shape, with gradients for training."""

    @abstractmethod
    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Stored | Grouped:
        """The values of a tensor of ``shape`` as stored; ``decode()`` equals ``forward``.

        ``keep`` is the mask that the kept values belong to; always None with ``exact_zero``.
        """

    def locate(self, keep: Tensor | None) -> None:
        """Learn which elements of the whole tensor the kept values are that come next; None are all.

        Whoever has something for each place of the tensor needs it; by default nothing is done.
        """

    def penalty(self) -> Tensor | float:
        """A term added to the loss; 0 by default."""
        return 0.0

    def rates(self) -> dict[nn.Parameter, float]:
        """Parameters that learn at so many times the optimizer's rate; of others it decides itself."""
        return {}

    def constrain(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring learned state (and its optimizer state) back into range after a step."""

    def take_least(self) -> None:
        """Take the fewest bits that training could come to; by default they are known beforehand."""

    def shared_levels(self) -> int | None:
        """How many learned levels it brings to be shared out anew; None (default) keeps to itself."""
        return None

    def take_levels(self, levels: int) -> None:
        """Have ``levels`` levels from now on; called before ``initialize`` if it brought any."""
        raise ValueError(f"{type(self).__name__} shares no levels, got {levels=}")


class Quantizer(Part):
    """Weights -> few values."""

    @property
    def learns_size(self) -> bool:
        """Whether training decides how many bits there are, so that untrained students tell no size."""
        return False

    @abstractmethod
    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        """The module that quantizes ``weight``, the parameter ``name``; it holds only what is learned."""

    def over(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Quantizer]:
        """What quantizes each tensor of a network, by name; by default this part quantizes each of them.

        A part whose rule looks at all tensors at once, such as bits within a budget, decides here.

        Args:
            shapes: of all tensors that it quantizes, in the order in which the network lists them.
        """
        return dict.fromkeys(shapes, self)

    def patterns(self) -> tuple[str, ...]:
        """Name patterns that must each be the first to match a parameter; none by default."""
        return ()
