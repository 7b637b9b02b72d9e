"""Where decoded arrays go, row by row: into memory, or into files."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Sink(Protocol):
    """Takes arrays whose sizes are known beforehand; several threads may write rows of one."""

    def create(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """Make room for an array of zeros.

        Args:
            name: new; any text.
            shape: rows first.
            dtype: numpy's name of it.

        Raises:
            OSError: there is no room.
        """
        ...

    def write(self, name: str, start: int, rows: np.ndarray) -> None:
        """Rows ``start``, ``start + 1``, ... of an array, of its dtype."""
        ...

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, as they were written."""
        ...

    def drop(self, name: str) -> None:
        """Forget an array."""
        ...

    def rename(self, name: str, new: str) -> None:
        """Call an array otherwise; there is none of the new name."""
        ...


class InMemory:
    """A sink that is nothing but memory.

    Attributes:
        arrays: by name.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def create(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """See :class:`Sink`."""
        self.arrays[name] = np.zeros(shape, dtype)

    def write(self, name: str, start: int, rows: np.ndarray) -> None:
        """See :class:`Sink`."""
        where = slice(start, start + len(rows)) if rows.ndim else ...
        self.arrays[name][where] = rows

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """See :class:`Sink`."""
        return self.arrays[name][start:stop].copy()

    def drop(self, name: str) -> None:
        """See :class:`Sink`."""
        del self.arrays[name]

    def rename(self, name: str, new: str) -> None:
        """See :class:`Sink`."""
        self.arrays[new] = self.arrays.pop(name)


def put(sink: Sink, name: str, array: np.ndarray) -> None:
    """Write a whole array."""
    sink.create(name, array.shape, array.dtype.name)
    sink.write(name, 0, array)
