"""Options that say what students may take and lose, and what of it a sweep minimises."""

from __future__ import annotations

import math
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
        help="Budget: how much worse than the teacher, on validation: in percent of an accuracy, points of "
        "BLEU, or the unit of a quality of your own.",
    ),
]


def budget_of(
    *,
    max_bytes: str | None,
    max_latency_ms: float | None,
    max_ram: str | None,
    max_costs: list[str] | None,
    max_drop: float | None,
) -> Budget:
    """What the options say that students may take and lose.

    Raises:
        Problem: a limit is no number or out of range, or said twice.
    """
    from search.objectives.budget import Budget

    sizes = {"packed_bytes": ("--max-bytes", max_bytes), "ram_bytes": ("--max-ram", max_ram)}
    said: list[tuple[str, str, float]] = [
        (name, option, parse_bytes(text)) for name, (option, text) in sizes.items() if text is not None
    ]
    if max_latency_ms is not None:
        said.append(("latency_ms", "--max-latency-ms", _above_0("--max-latency-ms", max_latency_ms)))
    said += [_limit(text) for text in max_costs or ()]
    limits: dict[str, float] = {}
    for name, option, limit in said:
        if name in limits:
            raise Problem(f"{option} limits {name}, which another option limits already; leave out one.")
        limits[name] = limit
    if max_drop is not None and not 0 <= max_drop < math.inf:
        raise Problem(f"--max-drop must be at least 0 and finite, got {max_drop}.")
    return Budget(limits, max_drop)


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
        return name, option, parse_bytes(value)


def _above_0(option: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise Problem(f"{option} must be above 0 and finite, got {value:g}.")
    return value


def objectives_of(size_of: Literal["packed", "onnx"], minimize: list[str] | None) -> dict[str, Any]:
    """What was asked for of the objectives, as :class:`search.options.Options` has it."""
    from search.objectives.costs import SIZES

    return {"size": SIZES[size_of], "minimized": tuple(dict.fromkeys(minimize or ()))}
