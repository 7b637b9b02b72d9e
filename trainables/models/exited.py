"""A network with early exits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from trainables.exiting.exits import BRANCH, GATE, check_places
from trainables.exiting.network import ExitNetwork
from trainables.models.base import Model
from trainables.part import check_choice

BACKBONE = "backbone."


@dataclass(frozen=True)
class Exited(Model):
    """Another architecture with early exits after some of its layers.

    Attributes:
        of: the architecture without exits.
        at: names of the layers after which the exits are, in the order of execution.
        kind: ``branch`` or ``gate``, see :class:`trainables.exiting.exits.Exits`.
    """

    of: Model
    at: tuple[str, ...]
    kind: str = BRANCH

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "kind", (BRANCH, GATE))
        check_places(self.at)
        if not self.at or isinstance(self.of, Exited):
            raise ValueError(f"exits are put once into a network without any, got at={self.at} of {self.of}")

    @property
    def depth(self) -> int:  # type: ignore[override]  # what others declare as a field
        """Of the architecture without exits."""
        return self.of.depth

    @property
    def width(self) -> float:  # type: ignore[override]
        """Of the architecture without exits."""
        return self.of.width

    @property
    def imports(self) -> str | None:
        """What the architecture without exits needs."""
        return self.of.imports

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """Never asked for: how wide its exits are is in the file that ships.

        Raises:
            ValueError: always.
        """
        raise ValueError("the widths of exits are in their packed file: give WithExits as the origin")

    def rebuilt(
        self, input_shape: tuple[int, ...], outputs: int, shapes: Mapping[str, tuple[int, ...]]
    ) -> nn.Module:
        """See :meth:`Model.rebuilt`.

        Raises:
            ValueError: the shapes are none of a network with these exits.
        """
        inside = {
            name.removeprefix(BACKBONE): shape for name, shape in shapes.items() if name.startswith(BACKBONE)
        }
        backbone = self.of.rebuilt(input_shape, outputs, inside)
        known = {name for name, _ in backbone.named_modules()}
        widths = []
        for number, name in enumerate(self.at):
            shape = shapes.get(f"heads.{number}.1.weight", ())
            if name not in known or len(shape) != 2:
                raise ValueError(f"there is no exit after {name!r} of these shapes")
            widths.append(shape[1])
        return ExitNetwork(backbone, self.at, widths, outputs, self.kind)
