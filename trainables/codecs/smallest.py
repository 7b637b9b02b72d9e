"""The shortest of several codecs, tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass

from rayduce_reader.records import MOST_MEMBERS
from trainables.codecs.base import Codec, Stored
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
        if not 1 <= len(self.members) <= MOST_MEMBERS:
            raise ValueError(f"members must be 1 to {MOST_MEMBERS} codecs, got {len(self.members)}")
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

    def writer(self, data: bytes | memoryview) -> Codec:
        """The member that wrote ``data``, a record that can be read."""
        return self.members[data[0]]
