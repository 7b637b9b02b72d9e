"""The contract of student and teacher architectures."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Self

from torch import nn

from trainables.part import Part
from trainables.ranges import Range


class Model(Part):
    """An architecture; ``depth`` and ``width`` are the handles a search turns.

    Attributes:
        depth: an integer of at least 1; what it counts is the architecture's business.
        width: multiplier of the channels, in [1/16, 16].
    """

    depth: int
    width: Annotated[float, Range(1 / 16, 16, log=True, smaller="low", name="width")]

    def scaled(self, depth: int, width: float) -> Self:
        """The same architecture at another depth and width."""
        return replace(self, **{"depth": depth, "width": width})

    @property
    @abstractmethod
    def imports(self) -> str | None:
        """The user's own code that building it needs, such as ``module:Class`` or ``net.py``; None: none."""

    @abstractmethod
    def rebuilt(
        self, input_shape: tuple[int, ...], outputs: int, shapes: Mapping[str, tuple[int, ...]]
    ) -> nn.Module:
        """A network of the shape in which it ships.

        Args:
            input_shape: as for :meth:`build`.
            outputs: likewise.
            shapes: of the tensors that ship, by name; batch normalisations are ``scale`` and ``shift`` there.

        Raises:
            ValueError: it cannot be built, or not in that shape.
        """

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """A freshly initialised network.

        Args:
            input_shape: of one input: for images (channels, height, width), for text (vocabulary,).
            outputs: how many logits it returns per row: an image, or a target token.

        Raises:
            ValueError: the architecture does not fit the input shape.
        """


class Architecture(Model):
    """An architecture of ours, whose shape its own numbers decide."""

    @property
    def imports(self) -> None:
        """None: it is ours."""
        return None

    def rebuilt(
        self, input_shape: tuple[int, ...], outputs: int, shapes: Mapping[str, tuple[int, ...]]
    ) -> nn.Module:
        """What :meth:`build` makes."""
        return self.build(input_shape, outputs)


class Ready(Model):
    """A network that comes trained: it has the shape that it has. Members declare the field.

    Attributes:
        weights: 16 hex digits of the trained weights, see :func:`trainables.weights.digest_of`.
    """

    weights: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_digest("weights")

    def _check_digest(self, name: str) -> None:
        if not re.fullmatch("[0-9a-f]{16}", getattr(self, name)):
            raise ValueError(f"{name} must be 16 hex digits, got {name}={getattr(self, name)!r}")

    @property
    def depth(self) -> int:  # type: ignore[override]  # what others declare as a field
        """1: all of it."""
        return 1

    @property
    def width(self) -> float:  # type: ignore[override]
        """1: all of it."""
        return 1.0

    def rebuilt(
        self, input_shape: tuple[int, ...], outputs: int, shapes: Mapping[str, tuple[int, ...]]
    ) -> nn.Module:
        """What :meth:`build` makes."""
        return self.build(input_shape, outputs)
