"""What slicing changed that cannot be read off the shapes of the tensors."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.foreign import shown
from trainables.part import Part

LARGEST = 2**24
"""Of a size that is accepted."""
MOST = 4096
"""Blocks, sizes or layers that are accepted."""
LONGEST_NAME = 500


class NotSliceable(ValueError):
    """A network cannot be cut; the message says which layer stands in the way."""


@dataclass(frozen=True)
class Changes(Part):
    """What slicing did to a network beside the shapes of its tensors; it also comes from foreign files.

    Attributes:
        dropped: names of the residual blocks that do nothing any more.
        sizes: (module, attribute, value): sizes that modules keep for themselves, such as
            ``normalized_shape`` of a LayerNorm without weights; where the attribute is a tuple, the value is
            its last number.
        left: names of layers that were not cut, though that was asked for, because what becomes of their
            channels is not understood.
    """

    dropped: tuple[str, ...] = ()
    sizes: tuple[tuple[str, str, int], ...] = ()
    left: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in (self.dropped, self.sizes, self.left):
            if len(field) > MOST:
                raise ValueError(f"changes name at most {MOST} layers of a kind, got {len(field)}")
        for name in (*self.dropped, *self.left, *(name for name, _, _ in self.sizes)):
            if len(name) > LONGEST_NAME or not (name == "" or all(name.split("."))):
                raise ValueError(f"a layer is named by words between dots, got {shown(name)!r}")
        for name, attribute, value in self.sizes:
            if not attribute.isidentifier() or attribute.startswith("_"):
                raise ValueError(f"a size is a public attribute, got {shown(attribute)!r} of {shown(name)!r}")
            if not 1 <= value <= LARGEST:
                raise ValueError(f"a size must be in [1, {LARGEST}], got {value} for {shown(name)!r}")
        if "" in self.dropped:
            raise ValueError("the whole network cannot be dropped")
