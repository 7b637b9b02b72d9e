"""The quantizer contract, and the forms a weight tensor takes on its way to a file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from rayduce_reader import forms
from rayduce_reader.forms import NO_GROUP as NO_GROUP
from rayduce_reader.forms import ROWS as ROWS
from trainables.part import Part


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

    @property
    def symbols(self) -> int:
        """How many values an index may take."""
        return 2**self.bits if self.codebook is None else self.codebook.numel()

    def decode(self) -> Tensor:
        """The float32 tensor these codes stand for, of ``shape``; the same bits on every machine.

        It is made piece by piece, so that it takes little more memory than the result.
        """
        return torch.from_numpy(self.numpy().decode())

    def numpy(self) -> forms.Codes:
        """The same as NumPy arrays, without a copy, for :mod:`rayduce_reader`."""
        return forms.Codes(
            _array(self.index),
            self.shape,
            self.bits,
            self.bucket_size,
            _perhaps(self.offset),
            _array(self.scale),
            _perhaps(self.codebook),
            _perhaps(self.keep),
            self.zero,
        )

    def arrays(self) -> tuple[Tensor, ...]:
        """What levels are made into values with, those that there are: offsets, scales, codebook."""
        return tuple(array for array in (self.offset, self.scale, self.codebook) if array is not None)


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
        of = forms.widths_of(self.bits.numpy(), self.group_size, self.shape, _perhaps(self.keep))
        return torch.from_numpy(of)

    def by_width(self) -> Iterator[tuple[int, Tensor]]:
        """Each number of bits that a kept element has, ascending, and the levels of these, int16."""
        widths = self.widths()
        for width in torch.unique(widths).tolist():
            yield width, self.index[widths == width]

    def decode(self) -> Tensor:
        """The float32 tensor of ``shape``; the same bits on every machine. It is made piece by piece."""
        return torch.from_numpy(self.numpy().decode())

    def numpy(self) -> forms.MixedCodes:
        """The same as NumPy arrays, without a copy."""
        return forms.MixedCodes(
            _array(self.index),
            self.shape,
            _array(self.bits),
            self.group_size,
            _array(self.offset),
            _array(self.scale),
            _perhaps(self.keep),
        )

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

    def numpy(self) -> forms.Dense:
        """The same as NumPy arrays, without a copy; of bfloat16, which NumPy has not, the bit patterns."""
        values, bfloat16 = self.values, self.values.dtype == torch.bfloat16
        patterns = values.view(torch.uint16) if bfloat16 else values
        return forms.Dense(_array(patterns), _perhaps(self.keep), bfloat16)

    def arrays(self) -> tuple[Tensor, ...]:
        """None: there are no levels."""
        return ()


Stored = Codes | MixedCodes | Dense
"""What a file holds of one tensor."""


def from_numpy(form: forms.Form) -> Stored:
    """What :mod:`rayduce_reader` has read as tensors, without a copy."""
    keep = None if form.keep is None else torch.from_numpy(form.keep)
    if isinstance(form, forms.Dense):
        values = torch.from_numpy(form.values)
        return Dense(values.view(torch.bfloat16) if form.bfloat16 else values, keep)
    index, scale = torch.from_numpy(form.index), torch.from_numpy(form.scale)
    offset = None if form.offset is None else torch.from_numpy(form.offset)
    if isinstance(form, forms.MixedCodes):
        assert offset is not None
        bits = torch.from_numpy(form.bits)
        return MixedCodes(index, form.shape, bits, form.group_size, offset, scale, keep)
    book = None if form.codebook is None else torch.from_numpy(form.codebook)
    return Codes(index, form.shape, form.bits, form.bucket_size, offset, scale, book, keep, form.zero)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def _perhaps(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else _array(tensor)


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
        groups = [group.numpy() for group in self.groups]
        return torch.from_numpy(forms.decode_groups(self.rows.numpy(), groups))

    def named(self, name: str) -> dict[str, Stored]:
        """The tensors that a file holds of it; :func:`joined` puts them together again."""
        parts = {f"{name}[{number}]": group for number, group in enumerate(self.groups)}
        return {f"{name}{ROWS}": Dense(self.rows), **parts}


def joined(tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    """``tensors`` of a file, those in groups of rows put together.

    Raises:
        ValueError: groups are missing, or do not fit.
    """
    before = {name: tensor.numpy() for name, tensor in tensors.items()}
    after = forms.joined(before)
    return {
        name: tensors[name] if form is before.get(name) else from_numpy(form) for name, form in after.items()
    }


def removed_elements(tensors: Mapping[str, Stored]) -> int:
    """Elements of rows that are zero and not stored, see :data:`NO_GROUP`, of all tensors of a file."""
    return forms.removed_elements({name: tensor.numpy() for name, tensor in tensors.items()})


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
