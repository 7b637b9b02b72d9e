"""What is trained, and which orderings were published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainables.losses import SoftTargets
from trainables.method_names import SHORT_NAMES
from trainables.pruners import Magnitude, NoPruner, TargetedDropout
from trainables.pruners.base import Pruner
from trainables.quantizers import LearnedPoints, LearnedStep, Symmetric, Uniform
from trainables.schedules import Constant


@dataclass(frozen=True)
class Ordering:
    """A claim that one row is more accurate than another at the same size of the network.

    Attributes:
        better: name of a row.
        worse: name of another.
        source: who found it, and on what.
    """

    better: str
    worse: str
    source: str


@dataclass(frozen=True)
class Row:
    """What is trained in a row.

    Attributes:
        method: its short name.
        arguments: those that are not at their defaults.
        pruner: of methods that bring none.
    """

    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pruner: Pruner = NoPruner()


ALONE = SoftTargets(weight=Constant(0.0))
"""An imitation that teaches nothing."""

MOST = Magnitude(0.8)

ROWS: dict[str, Row] = (
    {short: Row(short) for short in SHORT_NAMES}
    | {
        f"{short} {bits} bits": Row(short, {"quantizer": quantizer(bits)})
        for short, quantizer, widths in (
            ("ptq", Uniform, (4, 2)),
            ("qd", Uniform, (4, 2)),
            ("dq", LearnedPoints, (4, 2)),
            ("lsq", LearnedStep, (4, 2)),
            ("qat", Symmetric, (4, 2)),
        )
        for bits in widths
    }
    | {
        "fp pruned": Row("fp", pruner=Magnitude(TargetedDropout().sparsity)),
        "pqk alone": Row("pqk", {"imitation": ALONE}),
        "ens 80 %": Row("ens", pruner=MOST),
        "ens 80 % alone": Row("ens", {"imitation": ALONE}, MOST),
    }
)
"""Name of a row -> what it is."""

ORDERINGS = (
    Ordering("kd", "fp", "Hinton et al. 2015; Polino et al. 2018, CIFAR-10, students 1 to 3"),
    Ordering("kd", "qd 4 bits", "Polino et al. 2018, CIFAR-10, students 1 to 3"),
    Ordering("qd 4 bits", "ptq 4 bits", "Polino et al. 2018, CIFAR-10, students 1 to 3"),
    Ordering("qd 2 bits", "ptq 2 bits", "Polino et al. 2018, CIFAR-10, students 1 to 3"),
    Ordering("qd 2 bits", "dq 2 bits", "Polino et al. 2018, CIFAR-10, students 1 to 3"),
    Ordering("lsq 2 bits", "qat 2 bits", "Esser et al. 2020: learned steps against fixed ones, ImageNet"),
    Ordering("crd", "kd", "Tian et al. 2020, CIFAR-100, 13 pairs"),
    Ordering("dml", "fp", "Zhang et al. 2018, CIFAR-100, 6 pairs"),
    Ordering("ens", "fp", "Walawalkar et al. 2020, CIFAR-100"),
    Ordering("rco", "kd", "Jin et al. 2019, CIFAR-100"),
    Ordering("td", "fp pruned", "Gomez et al. 2019: after hard pruning, CIFAR-10"),
    Ordering("pqk", "pqk alone", "Kim et al. 2021, keyword spotting: with and without its distillation"),
    Ordering("ens 80 %", "ens 80 % alone", "Walawalkar et al. 2020, CIFAR-100, not pruned"),
    Ordering("scr-b", "scr-e", "Liu et al. 2019, structured pruning, ImageNet"),
)
"""Of rows that are there; others are told as missing."""
