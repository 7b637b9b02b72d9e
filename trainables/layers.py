"""Where the inner features of anybody's network are found, by rules over what its modules put out.

A *place* is a rule below, or the name of a module. What it finds are names of :class:`Layer` s, such as
``layer2.1`` for the output of that module, or ``input of fc`` for what goes into it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

INPUT = "input of "
"""Before a module's name: what goes into it, in place of what it puts out."""

ANSWER = ""
"""The name of the whole network, as which its answer stands among its layers."""

PENULTIMATE = "penultimate features"
"""What goes into the last layer with weights, of a classifier the last linear layer."""

STAGES = "ends of stages"
"""The last maps of each resolution, from the finest on: where the resolution is about to fall."""

LAST_STAGE = "end of the last stage"
"""The last maps of more than one position; the penultimate features of a network without maps."""

MIDDLE = "middle layer"
"""The end of the middle stage; in a network without maps the last features in the first half of its depth.

Of a network that answers position by position, such as a translator, the last hidden states of these.
"""


@dataclass(frozen=True)
class Layer:
    """What one module puts out in a forward pass.

    Attributes:
        name: of the module.
        shape: of its output, without the batch.
        weighted: whether it holds a weight of two or more dimensions itself, and is no table of embeddings.
        depth: how many weighted modules had run by then, itself included.
        inside: in how many blocks it is whose maps are smaller than its own, sequences of modules left out.
    """

    name: str
    shape: tuple[int, ...]
    weighted: bool
    depth: int
    inside: int

    @property
    def positions(self) -> int:
        """Of a map, height times width; 0 for what is no map."""
        return self.shape[1] * self.shape[2] if len(self.shape) == 3 else 0


def found_at(place: str, layers: Sequence[Layer]) -> tuple[str, ...]:
    """The names that ``place`` stands for in a network of these ``layers``, in the order in which they ran.

    Args:
        place: one of the rules of this module, or a name, which stands for itself.
        layers: in the order in which their outputs were ready.

    Raises:
        ValueError: the network has no such place.
    """
    return RULES[place](layers) if place in RULES else (place,)


def nearest_map(layers: Sequence[Layer], positions: int) -> str:
    """The end of a stage whose maps are nearest in size to ``positions``; the later of two as near.

    Raises:
        ValueError: the network has no maps.
    """
    ends = _stage_ends(layers)
    return min(reversed(ends), key=lambda each: abs(math.log(each.positions / positions))).name


def _penultimate(layers: Sequence[Layer]) -> tuple[str, ...]:
    weighted = [each for each in layers if each.weighted]
    if len(weighted) < 2:
        raise ValueError(
            f"the network has no {PENULTIMATE}: of its layers, {len(weighted)} have weights, and 2 are needed"
        )
    return (INPUT + weighted[-1].name,)


def _stage_ends(layers: Sequence[Layer]) -> list[Layer]:
    maps = _maps(layers)
    if not maps:
        raise ValueError(
            f"the network has no {STAGES}: no module puts out maps (channels, height, width) of more than "
            "one position; name layers by student_layer and teacher_layer, or choose another loss"
        )
    sizes = dict.fromkeys(sorted((each.positions for each in maps), reverse=True))
    # Inside of a block that reduces the resolution, maps may still be large: the stage ended before it.
    same = [[each for each in maps if each.positions == size] for size in sizes]
    outermost = [min(each.inside for each in stage) for stage in same]
    return [
        [each for each in stage if each.inside == least][-1]
        for stage, least in zip(same, outermost, strict=True)
    ]


def _stages(layers: Sequence[Layer]) -> tuple[str, ...]:
    return tuple(each.name for each in _stage_ends(layers))


def _last_stage(layers: Sequence[Layer]) -> tuple[str, ...]:
    return _stages(layers)[-1:] if _has_maps(layers) else _penultimate(layers)


def _middle(layers: Sequence[Layer]) -> tuple[str, ...]:
    if _has_maps(layers):
        ends = _stages(layers)
        return (ends[(len(ends) - 1) // 2],)
    whole = max((each.depth for each in layers), default=0)
    inner = [each for each in layers if each.name != ANSWER and each.shape and each.depth]
    answer = next((each.shape for each in layers if each.name == ANSWER), ())
    early = [each for each in inner if each.depth <= whole / 2]
    if len(answer) == 2:
        early = [each for each in inner if each.shape[0] == answer[0] and len(each.shape) == 2]
        early = [each for each in early if each.shape != answer]
    if not early:
        raise ValueError(
            f"the network has no {MIDDLE}: none of its {whole} layers with weights comes before its answer; "
            "choose another loss"
        )
    return (early[-1].name,)


def _has_maps(layers: Sequence[Layer]) -> bool:
    return bool(_maps(layers))


def _maps(layers: Sequence[Layer]) -> list[Layer]:
    """Maps of more than one position from the first weights on, in the proportions of the first of them.

    Others have their channels last, as some networks have inside of blocks.
    """
    found = [each for each in layers if each.positions > 1 and each.depth and each.name != ANSWER]
    if not found:
        return []
    _, height, width = found[0].shape
    ratio = width / height
    return [
        each
        for each in found
        if abs(each.shape[2] - ratio * each.shape[1]) <= max(1.0, ratio, each.shape[2] / 10)
    ]


RULES: dict[str, Callable[[Sequence[Layer]], tuple[str, ...]]] = {
    PENULTIMATE: _penultimate,
    STAGES: _stages,
    LAST_STAGE: _last_stage,
    MIDDLE: _middle,
}
"""Place -> what it finds."""
