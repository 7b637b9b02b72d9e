"""The codec contract: compressed tensors <-> bytes, exact."""

from __future__ import annotations

from abc import abstractmethod

from rayduce_reader.binary import Memory
from rayduce_reader.records import decoder
from trainables.part import Part
from trainables.quantizers.base import Stored as Stored
from trainables.quantizers.base import from_numpy


class Codec(Part):
    """How one tensor becomes bytes. Which codec suits which tensor is :meth:`accepts`'s answer.

    What reads the bytes is in :mod:`rayduce_reader.records`, under the name of the class: a reader needs no
    PyTorch.
    """

    @abstractmethod
    def accepts(self, tensor: Stored) -> bool:
        """Whether this codec can store ``tensor``."""

    @abstractmethod
    def encode(self, tensor: Stored) -> bytes:
        """Self-contained bytes; ``decode(encode(t))`` equals ``t`` field by field, bit for bit."""

    def size(self, tensor: Stored) -> int | None:
        """The length of ``encode(tensor)`` where it is known without encoding; None (default) elsewhere."""
        return None

    def decode(self, data: bytes | memoryview, memory: Memory) -> Stored:
        """Inverse of :meth:`encode`.

        What that takes, the tensor in float32 and temporaries included, is known from the first bytes of
        ``data`` and spent (:meth:`rayduce_reader.binary.Memory.spend`) before it is allocated.

        Args:
            data: what ``encode`` wrote.
            memory: what reading may take beside ``data``.

        Raises:
            ValueError: ``data`` is not what ``encode`` writes, or takes more than ``memory``.
        """
        return from_numpy(decoder(self.to_dict())(memoryview(data), memory))
