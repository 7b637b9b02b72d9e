"""The shortest of several codecs, tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.codecs.base import Codec, Stored
from trainables.codecs.binary import Memory
from trainables.codecs.bit_packed import BitPacked
from trainables.codecs.entropy_coded import EntropyCoded
from trainables.codecs.raw import Raw
from trainables.codecs.sparse import Sparse


@dataclass(frozen=True)
class Smallest(Codec):
    """Whatever stores a tensor in the fewest bytes; a byte in front says which.

    Attributes:
        members: 1 to 255 codecs; of equally short ones the first is taken. Default: all of them.
    """

    members: tuple[Codec, ...] = (Raw(), BitPacked(), EntropyCoded(), Sparse())

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.members) <= 255:
            raise ValueError(f"members must be 1 to 255 codecs, got {len(self.members)}")
        if any(isinstance(member, Smallest) for member in self.members):
            raise ValueError("members must not hold another Smallest")  # a file could nest them without end

    def accepts(self, tensor: Stored) -> bool:
        return any(member.accepts(tensor) for member in self.members)

    def encode(self, tensor: Stored) -> bytes:
        accepting = [(tag, member) for tag, member in enumerate(self.members) if member.accepts(tensor)]
        if not accepting:
            raise ValueError(
                f"none of {', '.join(type(m).__name__ for m in self.members)} stores this tensor"
            )
        coded: dict[int, bytes] = {}
        sizes: dict[int, int] = {}
        for tag, member in accepting:
            size = member.size(tensor)
            if size is None:
                coded[tag] = member.encode(tensor)
                size = len(coded[tag])
            sizes[tag] = size
        best = min(sizes, key=lambda tag: (sizes[tag], tag))
        return bytes([best]) + (coded[best] if best in coded else self.members[best].encode(tensor))

    def decode(self, data: bytes | memoryview, memory: Memory) -> Stored:
        member, rest = self._member(data)
        return member.decode(rest, memory)

    def writer(self, data: bytes | memoryview) -> Codec:
        """The member that wrote ``data``."""
        return self._member(data)[0]

    def _member(self, data: bytes | memoryview) -> tuple[Codec, memoryview]:
        data = memoryview(data)
        if not data or data[0] >= len(self.members):
            raise ValueError(f"codec {data[0]} of {len(self.members)}" if data else "an empty record")
        return self.members[data[0]], data[1:]
