"""Where a network has exits, and what one may cost in accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from trainables.foreign import shown
from trainables.part import Part, check_choice
from trainables.ranges import Range

BRANCH, GATE = "branch", "gate"
MOST = 4
"""Exits beside the last one that are accepted."""
LONGEST_NAME = 500


@dataclass(frozen=True)
class Exits(Part):
    """Early exits: global average pooling and one linear layer each, beside the network's own answer.

    A ``branch`` is trained together with the network and answers where the entropy of its probabilities, in
    nats, is below a threshold (Teerapittayanon et al. 2016). A ``gate`` learns from what the network
    computes without changing it, and answers where its largest score is at least a threshold (Shafiee et
    al. 2018; that it is one linear layer is our choice). Thresholds are chosen on the validation split
    whenever a student is packed: the least multiply-adds per input at which the share of right answers is
    at most ``drop`` points below that of the last exit.

    Attributes:
        at: names of the layers after which the exits are, in the order of execution; empty (default) spreads
            ``count`` of them evenly over the network's multiply-adds.
        count: how many there are where ``at`` does not say so, in [1, 4], or as many as the network has
            layers for; default 2.
        drop: points of accuracy, in percent, that leaving early may cost, in [0, 100]; default 0.5.
        kind: ``branch`` (default) or ``gate``; methods say which.
    """

    at: tuple[str, ...] = ()
    count: Annotated[int, Range(1, MOST, (1, 3), name="exits")] = 2
    drop: Annotated[float, Range(0.0, 100.0, (0.0, 2.0), name="exit_drop")] = 0.5
    kind: str = BRANCH

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "kind", (BRANCH, GATE))
        check_places(self.at)


def check_places(at: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless ``at`` are at most four different names of layers."""
    if len(at) > MOST:
        raise ValueError(f"there may be at most {MOST} early exits, got {len(at)}")
    for name in at:
        if len(name) > LONGEST_NAME or not all(name.split(".")):
            raise ValueError(f"an exit is after a layer, named by words between dots, got {shown(name)!r}")
    if len(set(at)) < len(at):
        raise ValueError(f"exits must be after different layers, got at={at}")
