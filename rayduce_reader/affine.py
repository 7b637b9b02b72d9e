"""Offsets, scales and codebook, out of fewer bits than they have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rayduce_reader.ans import AnsDecoder
from rayduce_reader.binary import Reader, packed_size, unpack_bits
from rayduce_reader.frequencies import read_frequencies
from rayduce_reader.layout import Head, spend_affine, split_affine

TOP_BITS = 7
"""An entropy-coded upper part has at most so many bits."""

FORM_RAW = 255

FROM_SCALE = 64
"""Added to the number of lower bits where an offset is stored as a difference."""


def read_affine(
    reader: Reader, head: Head, kept: int, coded: bool
) -> tuple[int, Callable[[AnsDecoder], Callable[[bytes], list[np.ndarray]]]]:
    """Read the forms of offsets, scales and codebook, where they are ``coded``.

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

    def pop(stream: AnsDecoder) -> Callable[[bytes], list[np.ndarray]]:
        tops = [part.pop(stream) for part in parts]
        return lambda plain: _join(parts, tops, plain)

    return sum(part.plain_size for part in parts), pop


class _Form(NamedTuple):
    length: int
    dtype: np.dtype
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


def _read(reader: Reader, count: int, dtype: np.dtype, is_offset: bool) -> _Form:
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


def _join(parts: Sequence[_Form], tops: Sequence[np.ndarray | None], plain: bytes) -> list[np.ndarray]:
    reader = Reader(plain)
    found = [part.patterns(top, reader.take(part.plain_size)) for part, top in zip(parts, tops, strict=True)]
    for number, (part, patterns) in enumerate(zip(parts, found, strict=True)):
        if part.low_bits is not None and not part.from_scale:
            found[number] = _unordered(patterns, 8 * part.dtype.itemsize)
    if parts[0].from_scale:
        found[0] = found[0] + found[1]
    return [
        patterns.astype(f"u{part.dtype.itemsize}").view(part.dtype)
        for part, patterns in zip(parts, found, strict=True)
    ]


def _unordered(patterns: np.ndarray, width: int) -> np.ndarray:
    top, all_ones = np.uint64(1 << width - 1), np.uint64(2**width - 1)
    return np.where(patterns & top, patterns ^ top, patterns ^ all_ones)
