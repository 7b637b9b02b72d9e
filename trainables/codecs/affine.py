"""Offsets, scales and codebooks, bit for bit in fewer bits than they have.

The scales of a tensor lie within a few octaves, so of their bit patterns the upper part has few values, which
are entropy-coded; the lower part is as good as random and is stored as it is. Weights lie about zero, so an
offset is about minus half a scale: where that is shorter, the difference of the patterns is stored.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from rayduce_reader.affine import FORM_RAW, FROM_SCALE, TOP_BITS
from trainables.codecs.binary import pack_bits
from trainables.codecs.frequencies import fit_frequencies
from trainables.codecs.layout import affine_arrays, affine_bytes, tensor_bytes
from trainables.quantizers.base import Codes

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


def _difference(offset: Tensor, scale: Tensor) -> np.ndarray:
    """``offset``'s pattern less ``scale``'s, modulo all patterns.

    The pattern of ``-scale / 2`` is that of ``scale`` with the sign set and the exponent one less: a fixed
    difference, which the base takes up.
    """
    return (_patterns(offset) - _patterns(scale)) & np.uint64(2 ** (8 * scale.element_size()) - 1)
