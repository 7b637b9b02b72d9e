"""What is trained, and which orderings were published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainables.method_names import SHORT_NAMES
from trainables.quantizers import LearnedPoints, LearnedStep, Symmetric, Uniform


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


ROWS: dict[str, tuple[str, dict[str, Any]]] = {short: (short, {}) for short in SHORT_NAMES} | {
    f"{short} {bits} bits": (short, {"quantizer": quantizer(bits)})
    for short, quantizer, widths in (
        ("ptq", Uniform, (4, 2)),
        ("qd", Uniform, (4, 2)),
        ("dq", LearnedPoints, (4, 2)),
        ("lsq", LearnedStep, (4, 2)),
        ("qat", Symmetric, (4, 2)),
    )
    for bits in widths
}
"""Name of a row -> short name of its method, and the arguments that are not at their defaults."""

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
    Ordering("scr-b", "scr-e", "Liu et al. 2019, structured pruning, ImageNet"),
)
"""Of rows that are there; others are told as missing."""
