"""Options that say what students may take and lose, and what of it a sweep minimises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from search.problem import Problem
from search.units import parse_bytes

if TYPE_CHECKING:
    from search.objectives.budget import Budget


MaxBytes = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Budget: bytes of the packed file, such as 64kB.")
]


MaxLatency = Annotated[
    float | None,
    typer.Option(
        metavar="MS",
        help="Budget: latency in ONNX Runtime on this machine, one thread; or what --measure says.",
    ),
]


MaxRam = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Budget: peak memory of one input, such as 256kB.")
]


MaxCosts = Annotated[
    list[str] | None,
    typer.Option(
        "--max",
        metavar="METRIC=VALUE",
        help="Budget: any number of a student that is better the less it is, such as macs=2e6; repeatable.",
    ),
]


Minimized = Annotated[
    list[str] | None,
    typer.Option(
        "--minimize", metavar="METRIC", help="An objective beside size, such as latency_ms; repeatable."
    ),
]


SizeOf = Annotated[
    Literal["packed", "onnx"],
    typer.Option(metavar="FILE", help="Whose size the search minimises: the packed file's, or the ONNX's."),
]


MaxDrop = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        help="Budget: how much worse than the teacher, on validation: in percentage points of an accuracy, "
        "points of BLEU, or the unit of a quality of your own.",
    ),
]


@dataclass(frozen=True)
class LimitOptions:
    """What a command is told that students may take and lose."""

    max_bytes: MaxBytes = None
    max_latency_ms: MaxLatency = None
    max_ram: MaxRam = None
    max_costs: MaxCosts = None
    max_drop: MaxDrop = None

    def budget(self) -> Budget:
        """All of it in one.

        Raises:
            Problem: a limit is no number or out of range, or said twice.
        """
        from search.objectives.budget import Budget

        if self.max_drop is not None and not 0 <= self.max_drop < math.inf:
            raise Problem(f"--max-drop must be at least 0 and finite, got {self.max_drop}.")
        limits: dict[str, float] = {}
        for name, option, limit in self._said():
            if name in limits:
                raise Problem(f"{option} limits {name}, which another option limits already; leave out one.")
            limits[name] = limit
        return Budget(limits, self.max_drop)

    def _said(self) -> list[tuple[str, str, float]]:
        """Of each limit: the metric, the option, and the number."""
        sizes = {"packed_bytes": ("--max-bytes", self.max_bytes), "ram_bytes": ("--max-ram", self.max_ram)}
        said: list[tuple[str, str, float]] = [
            (name, option, size_of_option(option, text))
            for name, (option, text) in sizes.items()
            if text is not None
        ]
        if self.max_latency_ms is not None:
            said.append(("latency_ms", "--max-latency-ms", _above_0("--max-latency-ms", self.max_latency_ms)))
        return said + [_limit(text) for text in self.max_costs or ()]


def _limit(text: str) -> tuple[str, str, float]:
    """The metric, the option and the number of ``--max METRIC=VALUE``; sizes may have a unit."""
    name, equals, value = (part.strip() for part in text.partition("="))
    option = f"--max {name}"
    if not name or not equals:
        raise Problem(f"--max must be METRIC=VALUE, such as latency_ms=5 or packed_bytes=16kB, got {text!r}.")
    try:
        number = _above_0(option, float(value))
        return name, option, int(number) if number.is_integer() else number
    except ValueError:
        if not name.endswith("_bytes"):
            raise Problem(f"{option} must be a number, got {value!r}.") from None
        return name, option, size_of_option(option, value)


def size_of_option(option: str, text: str) -> int:
    """The bytes that an option was given as text; what is wrong with them is said with its name."""
    try:
        return parse_bytes(text)
    except Problem as error:
        raise Problem(f"{option}: {error}") from None


def _above_0(option: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise Problem(f"{option} must be above 0 and finite, got {value:g}.")
    return value


def objectives_of(size_of: Literal["packed", "onnx"], minimize: list[str] | None) -> dict[str, Any]:
    """What was asked for of the objectives, as :class:`search.options.Options` has it."""
    from search.objectives.costs import SIZES

    return {"size": SIZES[size_of], "minimized": tuple(dict.fromkeys(minimize or ()))}


def check_metrics(budget: Budget, *, size: str, minimized: tuple[str, ...]) -> None:
    """Refuse limits and aims that no study measures, before one is opened and its data is read.

    Not for a sweep that asks a device, whose numbers have no names yet.

    Args:
        budget: the limits.
        size: the metric that is the size of students.
        minimized: metrics that are objectives beside quality and size.

    Raises:
        Problem: the message names the option, and the metrics there are.
    """
    from search.objectives.yardstick import Yardstick
    from trainables.metrics import QUALITIES

    asked = {*budget.limits, *minimized}
    # Some metrics are of one quality alone, such as the latency with a beam.
    own = (each for each in QUALITIES if asked & {cost.name for cost in each.costs})
    Yardstick(next(own, QUALITIES[0]), budget=budget, size=size, minimized=minimized).check()
