"""Bytes, variable-length integers and packed bits: what every codec writes with."""

from __future__ import annotations

import numpy as np

from rayduce_reader.binary import MAX_VARINT_BYTES, mask, packed_size


def varint(value: int) -> bytes:
    """``value`` >= 0 in base 128, lowest group first; the top bit of a byte says that more follow."""
    if not 0 <= value < 2 ** (7 * MAX_VARINT_BYTES):
        raise ValueError(f"a varint must be in [0, 2^63), got {value}")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def pack_bits(values: np.ndarray, bits: int) -> bytes:
    """Pack uint8 ``values`` (n,), each below ``2^bits``, without gaps, the first in the lowest bits.

    Eight values lie in one 64-bit word; three rounds halve the number of lanes and double their width.
    """
    count = values.size
    lanes = np.zeros(-(-count // 8) * 8, dtype=np.uint8)
    lanes[:count] = values
    words = lanes.view("<u8")
    for slot, width in ((8, bits), (16, 2 * bits), (32, 4 * bits)):
        low = mask(2 * slot, width, 0)
        high = mask(2 * slot, width, width)
        words = (words & low) | ((words >> np.uint64(slot - width)) & high)
    return words.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :bits].tobytes()[: packed_size(count, bits)]
