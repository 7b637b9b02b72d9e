"""Which maps of a student belong to which of its teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from trainables.layers import STAGES
from trainables.probe import Probe


def matched(
    probe: Probe, student_layers: tuple[str, ...], teacher_layers: tuple[str, ...]
) -> list[tuple[str, str]]:
    """Names of the student's and the teacher's maps to be compared, all of them watched from now on.

    Each end of a stage of the teacher goes with the student's that is nearest to it in size, if it is also
    the teacher's nearest to that one: where one network has more stages, the others are left out.

    Args:
        probe: of both networks.
        student_layers: names, one for each of the teacher's; empty for the rule above.
        teacher_layers: likewise.

    Raises:
        ValueError: a network has no such maps.
    """
    theirs = [name for place in teacher_layers or (STAGES,) for name in probe.teacher.find(place)]
    ours = list(student_layers or probe.student.find(STAGES))
    sizes = {False: _positions(probe.student.watch, ours), True: _positions(probe.teacher.watch, theirs)}
    if student_layers:
        return list(zip(ours, theirs, strict=True))
    apart = [[abs(math.log(a / b)) for b in sizes[True]] for a in sizes[False]]
    return [
        (ours[row], theirs[column])
        for column in range(len(theirs))
        for row in [min(range(len(ours)), key=lambda each: apart[each][column])]
        if column == min(range(len(theirs)), key=lambda each: apart[row][each])
    ]


def _positions(watch: Callable[[str], tuple[int, ...]], names: Sequence[str]) -> list[int]:
    found = {name: watch(name) for name in names}
    for name, shape in found.items():
        if len(shape) != 3:
            raise ValueError(
                f"attention is of maps (channels, height, width), and {name} has features of shape {shape}"
            )
    return [shape[1] * shape[2] for shape in found.values()]
