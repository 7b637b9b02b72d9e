"""Bytes, variable-length integers and packed bits, read."""

from __future__ import annotations

import functools

import numpy as np

MAX_VARINT_BYTES = 9


class TooMuch(ValueError):
    """Reading would take more memory than is allowed."""


class Memory:
    """What reading may still allocate: whoever allocates says so before.

    Nothing is given back, so that it bounds the time as well, in which memory could be used again and again.

    Attributes:
        left: bytes.
    """

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, size: int, what: str) -> None:
        """Count ``size`` bytes that are about to be allocated for ``what``.

        Raises:
            TooMuch: they are more than what is left.
        """
        if size > self.left:
            raise TooMuch(f"{what} would take {size} bytes of memory where {self.left} are allowed")
        self.left -= size


class Reader:
    """Reads from the front of ``data``; every method raises ``ValueError`` where the bytes run out.

    Args:
        data: of any length; nothing of it is copied.
        memory: of those who read, None (default) is none at all.
    """

    def __init__(self, data: bytes | memoryview, memory: Memory | None = None) -> None:
        self._data = memoryview(data)
        self._position = 0
        self.memory = memory or Memory(0)

    @property
    def size(self) -> int:
        """Bytes of ``data``, read or not."""
        return len(self._data)

    def take(self, count: int) -> memoryview:
        """The next ``count`` bytes, as a view."""
        end = self._position + count
        if end > len(self._data):
            raise ValueError(f"{count} bytes are announced where {len(self._data) - self._position} are left")
        part = self._data[self._position : end]
        self._position = end
        return part

    def byte(self) -> int:
        """The next byte, in [0, 255]."""
        return self.take(1)[0]

    def peek(self) -> int:
        """The next byte, which stays the next."""
        value = self.byte()
        self._position -= 1
        return value

    def varint(self) -> int:
        """The next whole number in base 128, lowest group first; a byte's top bit says that more follow."""
        value = 0
        for position in range(MAX_VARINT_BYTES):
            group = self.byte()
            value |= (group & 127) << (7 * position)
            if group < 128:
                return value
        raise ValueError(f"a variable-length integer does not end within {MAX_VARINT_BYTES} bytes")

    def rest(self) -> memoryview:
        """Everything that is left, as a view."""
        return self.take(len(self._data) - self._position)

    def finish(self) -> None:
        """Raise ``ValueError`` unless everything was read."""
        if self._position != len(self._data):
            raise ValueError(f"{len(self._data) - self._position} bytes follow the end")


def packed_size(count: int, bits: int) -> int:
    """Bytes that ``count`` values of ``bits`` bits take."""
    return -(-count * bits // 8)


def unpack_bits(data: bytes | memoryview, count: int, bits: int) -> np.ndarray:
    """uint8 (count,) from ``packed_size(count, bits)`` bytes in which they lie without gaps.

    Eight values lie in one 64-bit word; three rounds double the number of lanes and halve their width.
    """
    groups = -(-count // 8)
    packed = np.zeros(groups * bits, dtype=np.uint8)
    packed[: len(data)] = np.frombuffer(data, dtype=np.uint8)
    lanes = np.zeros((groups, 8), dtype=np.uint8)
    lanes[:, :bits] = packed.reshape(groups, bits)
    words = lanes.reshape(-1).view("<u8")
    for slot, width in ((32, 4 * bits), (16, 2 * bits), (8, bits)):
        low = mask(2 * slot, width, 0)
        high = mask(2 * slot, width, width)
        words = (words & low) | ((words & high) << np.uint64(slot - width))
    return words.astype("<u8").view(np.uint8)[:count]


@functools.cache
def mask(period: int, width: int, offset: int) -> np.uint64:
    """A 64-bit mask with ``width`` ones at ``offset`` of every ``period`` bits."""
    ones = (1 << width) - 1
    return np.uint64(sum(ones << (start + offset) for start in range(0, 64, period)))
