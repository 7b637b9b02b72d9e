"""What slicing left of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from trainables.models.base import Model
from trainables.slicing.changes import Changes
from trainables.slicing.shapes import reshape

LARGEST = 2**32
"""Bytes of a network that may be built to be cut."""


@dataclass(frozen=True)
class Sliced(Model):
    """The architecture of a network out of which channels and blocks were cut.

    Attributes:
        of: the architecture that was cut.
        changes: what cannot be read off the shapes of the tensors that ship.
    """

    of: Model
    changes: Changes

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.of, Sliced):
            raise ValueError("of must be no Sliced: one cut says it all")

    @property
    def depth(self) -> int:  # type: ignore[override]  # what others declare as a field
        """Of what was cut."""
        return self.of.depth

    @property
    def width(self) -> float:  # type: ignore[override]
        """Of what was cut."""
        return self.of.width

    @property
    def imports(self) -> str | None:
        """What the architecture that was cut needs."""
        return self.of.imports

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """Never asked for: its shape is in the file that ships.

        Raises:
            ValueError: always.
        """
        raise ValueError("the shape of a sliced network is in its packed file: give Slice as the origin")

    def rebuilt(
        self, input_shape: tuple[int, ...], outputs: int, shapes: Mapping[str, tuple[int, ...]]
    ) -> nn.Module:
        """See :meth:`Model.rebuilt`; weights are of no use.

        Raises:
            ValueError: the shapes are none that cutting can lead to.
        """
        if self.of.imports is None:  # a file may name any architecture: look before allocating
            with torch.device("meta"):
                whole = self.of.rebuilt(input_shape, outputs, {})
            size = sum(tensor.nbytes for tensor in whole.state_dict().values())
            if size > LARGEST:
                raise ValueError(f"the network that was cut takes {size:,} bytes, more than {LARGEST:,}")
        return reshape(self.of.rebuilt(input_shape, outputs, {}), self.changes, shapes)
