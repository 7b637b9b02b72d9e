"""What slicing removes from a network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from trainables.part import Part, check_choice
from trainables.ranges import Range

IMPORTANCES = ("l1", "taylor", "fisher")
HEADS = ("narrow", "remove")


@dataclass(frozen=True)
class Cut(Part):
    """How much of a network is removed, and by what the rest is chosen.

    Attributes:
        width: share of the channels that are kept, in [0.01, 1].
        depth: share of the droppable residual blocks that are kept, in [0, 1].
        first: factor on ``width`` at the first layer, in [0.25, 4].
        last: factor on ``width`` at the last layer, in [0.25, 4]. In the middle the factor is 1; between, its
            logarithm is linear in the position of the layer in the order of execution. What exceeds 1 is 1.
        round_to: the number of channels that a layer keeps is a multiple of it, the nearest one and at
            least one, or the layer's own number if that is smaller; in [1, 1024].
        importance: what the most important channels are: ``l1``, the largest weights (Li et al. 2017);
            ``taylor``, where the gradient says that the loss would change most without them (Molchanov et
            al. 2017); ``fisher``, the mean square of that gradient (Theis et al. 2018).
        heads: what becomes of attention where channels go: ``narrow``, each head loses as many; ``remove``,
            the least important heads go whole (Michel et al. 2019), and those that stay are as wide as they
            were. Where the width that stays is no multiple of a head's, or the network's code does not
            allow for fewer heads, they become narrower all the same.
        keep: patterns, as of :mod:`fnmatch`, of the names of layers that keep all their channels and blocks;
            a name stands for all that is inside.
    """

    width: Annotated[float, Range(0.01, 1.0, (0.1, 1.0), log=True, smaller="low", name="width")] = 0.5
    depth: Annotated[float, Range(0.0, 1.0, (0.5, 1.0), smaller="low", name="depth_share")] = 1.0
    first: Annotated[float, Range(0.25, 4.0, (0.5, 2.0), log=True, smaller="low", name="width_first")] = 1.0
    last: Annotated[float, Range(0.25, 4.0, (0.5, 2.0), log=True, smaller="low", name="width_last")] = 1.0
    round_to: Annotated[int, Range(1, 1024)] = 4
    importance: str = "l1"
    heads: str = "narrow"
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "importance", IMPORTANCES)
        check_choice(self, "heads", HEADS)
        if not all(self.keep):
            raise ValueError(f"a pattern of keep must name a layer, got keep={self.keep}")

    def share(self, position: float) -> float:
        """The share of its channels that a layer keeps, in (0, 1].

        Args:
            position: of the layer in the order of execution, from 0 (first) to 1 (last).
        """
        end, weight = (self.first, 1 - 2 * position) if position < 0.5 else (self.last, 2 * position - 1)
        return min(self.width * math.exp(weight * math.log(end)), 1.0)

    def kept(self, channels: int, share: float, apiece: int = 1, of: int = 1) -> int:
        """How many of ``channels`` are kept, in [1, channels].

        Args:
            channels: at least 1.
            share: in (0, 1]; 1 keeps all of them.
            apiece: how many channels of the layer each stands for: their product is rounded.
            of: what is kept is a multiple of it, too, such as of the number of heads; ``channels`` is one.
        """
        if share >= 1:
            return channels
        step = math.lcm(self.round_to // math.gcd(self.round_to, apiece), of)
        if step > channels and of > 1:
            step = of
        multiple = max(math.floor(share * channels / step + 0.5), 1) * step
        return min(multiple, channels)
