"""Students that are trained together and teach each other, without anything that was trained before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

from trainables.losses import SoftTargets
from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.part import Part, ranges
from trainables.pruners import NoPruner
from trainables.quantizers import NoQuantizer, Uniform
from trainables.quantizers.base import Quantizer
from trainables.ranges import Range
from trainables.recipe import Recipe
from trainables.schedules import Constant
from trainables.teachers import Ensemble, GatedEnsemble, Peers
from trainables.teachers.peers import check_classes

MIMICRY = SoftTargets(Constant(1.0), Constant(1.0))
CONSISTENCY = SoftTargets(Constant(3.0), Constant(1.0))
Student = tuple[Setting, Quantizer]


@dataclass(frozen=True)
class Companions(Part):
    """Who is trained together, so that one training yields students of several sizes.

    The first student is the recipe's own. Each after it has ``width_ratio`` times the width of the one
    before, and in turn one bit more and one bit less than the first. Where nothing decides a student's width,
    as of a trained network, they differ in bits alone. Each has a seed of its own.

    Attributes:
        students: how many, the first included; 1 trains alone. Default 2.
        width_ratio: of a student's width to that of the one before; default 0.7.
    """

    students: Annotated[int, Range(1, 8, (2, 4), name="students")] = 2
    width_ratio: Annotated[float, Range(0.1, 1.0, (0.5, 1.0), name="width_ratio")] = 0.7

    def narrowing(self, given: Setting, quantizer: Uniform, count: int | None = None) -> list[Student]:
        """Setting and quantizer of each student, the widest first; of ``count``, or of all."""
        accepted = ranges(Uniform)["bits"]
        found: list[Student] = [(given, quantizer)]
        for number in range(1, self.students if count is None else count):
            bits = quantizer.bits + (1 if number % 2 else -1)
            bits = int(min(max(bits, accepted.low), accepted.high))
            origin = given.origin.scaled(self.width_ratio**number)
            found.append((replace(given, origin=origin), replace(quantizer, bits=bits)))
        return found


@published("Deep mutual learning, Zhang et al. 2018", "together")
def mutual_learning(
    given: Setting,
    *,
    companions: Companions = Companions(),
    quantizer: Uniform = Uniform(),
    teacher: Peers = Peers(),
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """Students that learn from the labels and from what each of the others says, at temperature 1.

    All of them answer before any is updated; the published code updates them in turn. The paper's students
    are not compressed; here weights are on their grid in every forward pass.
    """

    def student(own: Setting, grid: Quantizer) -> Recipe:
        phase = own.phase(optimizer, quantize=True)
        return own.recipe(phase, quantizer=grid, teacher=teacher, losses=(MIMICRY,))

    return _together(student, companions.narrowing(given, quantizer))


@published("Walawalkar et al. 2020", "together")
def online_ensemble(
    given: Setting,
    *,
    companions: Companions = Companions(3),
    quantizer: Uniform = Uniform(),
    imitation: SoftTargets = SoftTargets(Constant(2.0), Constant(0.3)),
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """Students that imitate the mean of all of them; the second is wider and not compressed.

    That one, ``1 / width_ratio`` times as wide as the first, is the paper's pseudo-teacher; those after it
    are narrower than the first. Other than published, there is no term of inner features: its weight of 0.15
    goes to the soft targets, beside 0.7 for the labels.
    """

    def student(own: Setting, grid: Quantizer) -> Recipe:
        phase, weight = own.phase(optimizer, quantize=grid != NoQuantizer()), imitation.weight.rest()
        return own.recipe(phase, quantizer=grid, teacher=Ensemble(), losses=(imitation,), task_weight=weight)

    first, *narrow = companions.narrowing(given, quantizer, companions.students - 1)
    wide = replace(given, origin=given.origin.scaled(1 / companions.width_ratio), pruner=NoPruner())
    return _together(student, [first, (wide, NoQuantizer()), *narrow][: companions.students])


@published("ONE, Lan et al. 2018", "together")
def gated_online_ensemble(
    given: Setting,
    *,
    companions: Companions = Companions(3),
    quantizer: Uniform = Uniform(),
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """Students that imitate a combination of all of them, weighted by a gate that learns, at temperature 3.

    The published branches share a trunk and one gate over its features; here they are students of several
    sizes, each with a gate over what all of them say. The published ramp of the imitation's weight is not in
    its code; here the weight is 1 throughout.
    """

    def student(own: Setting, grid: Quantizer) -> Recipe:
        teacher = GatedEnsemble(companions.students, own.task.outputs)
        phase = own.phase(optimizer, quantize=True)
        return own.recipe(phase, quantizer=grid, teacher=teacher, losses=(CONSISTENCY,))

    check_classes(given.task.memory, "a gated ensemble")
    return _together(student, companions.narrowing(given, quantizer))


def _together(student: Callable[[Setting, Quantizer], Recipe], settings: list[Student]) -> Recipe:
    """One training of these students, each with a seed of its own; the first is the recipe's own."""
    own, *others = [
        student(replace(given, seed=(given.seed + number) % 2**31), quantizer)
        for number, (given, quantizer) in enumerate(settings)
    ]
    return replace(own, peers=tuple(others))
