"""Offsets, scales and codebooks, bit for bit in fewer bits than they have.

The scales of a tensor lie within a few octaves, so of their bit patterns the upper part has few values, which
are entropy-coded; the lower part is as good as random and is stored as it is. Weights lie about zero, so an
offset is about minus half a scale: where that is shorter, the difference of the patterns is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainables.codecs.ans import AnsDecoder
from trainables.codecs.binary import Reader, pack_bits, packed_size, unpack_bits
from trainables.codecs.frequencies import fit_frequencies, read_frequencies
from trainables.codecs.layout import (
    Head,
    affine_arrays,
    affine_bytes,
    spend_affine,
    split_affine,
    tensor_bytes,
    tensor_from_bytes,
)
from trainables.quantizers.base import Codes

TOP_BITS = 7
"""An entropy-coded upper part has at most so many bits."""

FORM_RAW = 255
FROM_SCALE = 64
"""Added to the number of lower bits where an offset is stored as a difference."""

FEWEST_VALUES = 8
"""Of an array that is tried: shorter ones would not pay for a table."""


class Affine(NamedTuple):
    """``coded``: whether anything is; ``plain`` bytes are stored as they are, the last of them as seed."""

    coded: bool
    table: bytes
    plain: bytes
    streams: list[tuple[np.ndarray, np.ndarray]]


class _Array(NamedTuple):
    table: bytes
    plain: bytes
    streams: list[tuple[np.ndarray, np.ndarray]]
    bits: float


def code_affine(codes: Codes) -> Affine:
    """Offsets, scales and codebook of ``codes`` in the shorter of two forms: all raw, or each its best."""
    arrays = affine_arrays(codes)
    raw = affine_bytes(codes)
    coded = []
    for array in arrays:
        forms = [_raw(array)]
        if array.numel() >= FEWEST_VALUES:
            forms.append(_code(_ordered(array), array.element_size(), 0))
            if array is codes.offset:
                forms.append(_code(_difference(array, codes.scale), array.element_size(), FROM_SCALE))
        coded.append(min(forms, key=lambda form: form.bits))
    if sum(form.bits for form in coded) >= 8 * len(raw):
        return Affine(False, b"", raw, [])
    return Affine(
        True,
        b"".join(form.table for form in coded),
        b"".join(form.plain for form in coded),
        [stream for form in coded for stream in form.streams],
    )


def read_affine(
    reader: Reader, head: Head, kept: int, coded: bool
) -> tuple[int, Callable[[AnsDecoder], Callable[[bytes], list[Tensor]]]]:
    """Read the ``table`` of :func:`code_affine`.

    Returns:
        How many plain bytes there are, and what pops the upper parts; its result joins them with the
        plain bytes to the arrays.
    """
    spend_affine(reader, head, kept)
    if not coded:
        return head.affine_size(kept), lambda stream: lambda plain: split_affine(head, kept, plain)
    parts = [
        _read(reader, count, dtype, place == 0 and head.zero is None)
        for place, (count, dtype) in enumerate(head.affine_arrays(kept))
    ]

    def pop(stream: AnsDecoder) -> Callable[[bytes], list[Tensor]]:
        tops = [part.pop(stream) for part in parts]
        return lambda plain: _join(parts, tops, plain)

    return sum(part.plain_size for part in parts), pop


class _Form(NamedTuple):
    length: int
    dtype: torch.dtype
    low_bits: int | None
    from_scale: bool
    base: int
    weights: np.ndarray | None

    @property
    def plain_size(self) -> int:
        if self.low_bits is None:
            return self.length * self.dtype.itemsize
        return packed_size(self.length * self.low_bits, 1)

    def pop(self, stream: AnsDecoder) -> np.ndarray | None:
        return None if self.weights is None else stream.pop(self.weights, self.length)

    def patterns(self, top: np.ndarray | None, plain: memoryview) -> np.ndarray:
        """uint64 patterns, still ordered or differences."""
        width = 8 * self.dtype.itemsize
        if self.low_bits is None or top is None:
            return np.frombuffer(plain, dtype=f"<u{self.dtype.itemsize}").astype(np.uint64)
        bits = unpack_bits(plain, self.length * self.low_bits, 1).reshape(self.length, self.low_bits)
        low = np.zeros(self.length, dtype=np.uint64)
        for place in range(self.low_bits):  # one by one: all at once would be 64-fold
            low |= bits[:, place].astype(np.uint64) << np.uint64(place)
        high = top.astype(np.uint64) << np.uint64(self.low_bits)
        return (high + low + np.uint64(self.base)) & np.uint64(2**width - 1)


def _read(reader: Reader, count: int, dtype: torch.dtype, is_offset: bool) -> _Form:
    form = reader.byte()
    if form == FORM_RAW:
        return _Form(count, dtype, None, False, 0, None)
    from_scale, low_bits = bool(form & FROM_SCALE), form & ~FROM_SCALE
    if low_bits > 8 * dtype.itemsize or (from_scale and not is_offset):
        raise ValueError(f"unknown form {form} of offsets, scales or a codebook")
    base = int.from_bytes(reader.take(dtype.itemsize), "little")
    symbols = reader.byte()
    if not 2 <= symbols <= 2**TOP_BITS:
        raise ValueError(f"the upper part of scales has 2 to {2**TOP_BITS} values, got {symbols}")
    return _Form(count, dtype, low_bits, from_scale, base, read_frequencies(reader, symbols))


def _join(parts: Sequence[_Form], tops: Sequence[np.ndarray | None], plain: bytes) -> list[Tensor]:
    reader = Reader(plain)
    found = [part.patterns(top, reader.take(part.plain_size)) for part, top in zip(parts, tops, strict=True)]
    for number, (part, patterns) in enumerate(zip(parts, found, strict=True)):
        if part.low_bits is not None and not part.from_scale:
            found[number] = _unordered(patterns, 8 * part.dtype.itemsize)
    if parts[0].from_scale:
        found[0] = found[0] + found[1]
    return [
        tensor_from_bytes(patterns.astype(f"<u{part.dtype.itemsize}").tobytes(), part.dtype, (part.length,))
        for part, patterns in zip(parts, found, strict=True)
    ]


def _raw(array: Tensor) -> _Array:
    return _Array(bytes([FORM_RAW]), tensor_bytes(array), [], 8 + 8 * array.nbytes)


def _code(patterns: np.ndarray, size: int, form: int) -> _Array:
    """uint64 ``patterns`` (n,) of ``size`` bytes each, n > 0, as base, upper and lower parts."""
    base = int(patterns.min())
    above = patterns - np.uint64(base)
    low_bits = max(0, int(above.max()).bit_length() - TOP_BITS)
    top = (above >> np.uint64(low_bits)).astype(np.uint8)
    frequencies = fit_frequencies(np.bincount(top, minlength=2))
    symbols = max(2, int(top.max()) + 1)
    places = np.arange(low_bits, dtype=np.uint64)
    low = pack_bits((above[:, None] >> places & np.uint64(1)).astype(np.uint8).reshape(-1), 1)
    table = bytes([form + low_bits]) + base.to_bytes(size, "little") + bytes([symbols]) + frequencies.table
    bits = 8 * (2 + size + len(low)) + frequencies.bits
    return _Array(table, low, [(top, frequencies.weights)], bits)


def _patterns(array: Tensor) -> np.ndarray:
    return np.frombuffer(tensor_bytes(array), dtype=f"<u{array.element_size()}").astype(np.uint64)


def _ordered(array: Tensor) -> np.ndarray:
    """Bit patterns that ascend with the values: negative ones inverted, others with the top bit set."""
    patterns, width = _patterns(array), 8 * array.element_size()
    top, all_ones = np.uint64(1 << width - 1), np.uint64(2**width - 1)
    return np.where(patterns & top, patterns ^ all_ones, patterns | top)


def _unordered(patterns: np.ndarray, width: int) -> np.ndarray:
    top, all_ones = np.uint64(1 << width - 1), np.uint64(2**width - 1)
    return np.where(patterns & top, patterns ^ top, patterns ^ all_ones)


def _difference(offset: Tensor, scale: Tensor) -> np.ndarray:
    """``offset``'s pattern less ``scale``'s, modulo all patterns.

    The pattern of ``-scale / 2`` is that of ``scale`` with the sign set and the exponent one less: a fixed
    difference, which the base takes up.
    """
    return (_patterns(offset) - _patterns(scale)) & np.uint64(2 ** (8 * scale.element_size()) - 1)
