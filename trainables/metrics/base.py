"""What a metric is: a name, a direction, a unit and a meaning. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass

GOALS = ("up", "down")
VALIDATION = "validation_"
"""Begins the names of what is measured on the validation split, which selects."""
DEVICE = "device_"
"""Begins the names of what a device of the user's says, so that none is taken for another metric."""
LATENCY = "latency_"
"""Begins the names of what is timed in ONNX Runtime on the machine that trains."""


@dataclass(frozen=True)
class Metric:
    """One number that a trial reports.

    Attributes:
        name: under which it is logged.
        label: what a chart's axis says.
        goal: ``up`` if more is better, ``down`` if less is.
        unit: of the number; empty for plain numbers and shares.
        meaning: a sentence or two.
        whole: whether it is always a whole number; default False.
        trained_share: of an untrained student's value, what a trained one has at least, in [0, 1]: 1 where
            training leaves it as it is, less where coding saves more once weights are trained, 0 (default)
            where nothing is known before.
    """

    name: str
    label: str
    goal: str
    unit: str
    meaning: str
    whole: bool = False
    trained_share: float = 0.0

    def __post_init__(self) -> None:
        _check_goal(self.goal)
        if not 0 <= self.trained_share <= 1:
            raise ValueError(f"trained_share must be in [0, 1], got {self.trained_share} of {self.name}")


@dataclass(frozen=True)
class Quality:
    """How good a network is at its task, and how people read that number.

    It is logged twice: under its name for the test split, which is measured once at the end, and with
    ``validation_`` before it for the validation split, measured after every epoch. Whoever compares two
    values asks :meth:`gain`, :meth:`lost` or :meth:`loss`, whatever the goal and wherever the range ends.

    Attributes:
        name: the key of :meth:`trainables.tasks.base.LoadedTask.evaluate`, such as ``accuracy``.
        label: what people call it in running text, such as ``BLEU``.
        goal: ``up`` if more is better, ``down`` if less is.
        meaning: one sentence.
        lowest: the least it can be; minus infinity where there is no end.
        highest: the most it can be; infinity where there is no end.
        scale: points per unit of the number, above 0; 100 for a share that is read in percent. A
            difference of qualities is told in points. Default 1.
        unit: of points; default none.
        beside: further qualities that a task of this one reports; default none.
        costs: further costs that its trials report; default none.
    """

    name: str
    label: str
    goal: str
    meaning: str
    lowest: float
    highest: float
    scale: float = 1.0
    unit: str = ""
    beside: tuple[Quality, ...] = ()
    costs: tuple[Metric, ...] = ()

    def __post_init__(self) -> None:
        _check_goal(self.goal)
        if not self.lowest < self.highest or self.lowest == math.inf or self.highest == -math.inf:
            raise ValueError(
                f"lowest must be below highest, got lowest={self.lowest}, highest={self.highest}"
            )
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale must be above 0 and finite, got scale={self.scale}")

    @property
    def validation(self) -> str:
        """The name on the validation split, such as ``validation_accuracy``."""
        return VALIDATION + self.name

    @property
    def heading(self) -> str:
        """Label and unit for an axis or a column of points: ``accuracy (%)``, ``BLEU``."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def reported(self) -> tuple[Quality, ...]:
        """This one, then those beside it."""
        return (self, *self.beside)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is logged: this quality and those beside it on both splits, then the further costs."""
        both = (metric for quality in self.reported for metric in quality._on_both_splits())
        return (*both, *self.costs)

    @property
    def up(self) -> bool:
        """Whether more is better."""
        return self.goal == "up"

    @property
    def best(self) -> float:
        """The best that it can be; infinite where there is no end."""
        return self.highest if self.up else self.lowest

    @property
    def worst(self) -> float:
        """The worst that it can be; infinite where there is no end."""
        return self.lowest if self.up else self.highest

    @property
    def behind(self) -> str:
        """Where a worse value stands: ``below`` a better one, or ``above`` it."""
        return "below" if self.up else "above"

    @property
    def ranged(self) -> bool:
        """Whether the range has two ends."""
        return math.isfinite(self.highest - self.lowest)

    def gain(self, value: float) -> float:
        """``value`` as a number of which more is better."""
        return value if self.up else -value

    def loss(self, value: float) -> float:
        """``value`` as a number of which less is better: what it lacks of the best, at least 0.

        Without a best value it is minus :meth:`gain`, which may be below 0.
        """
        if not math.isfinite(self.best):
            return -self.gain(value)
        return max(self.gain(self.best) - self.gain(value), 0.0)

    def lost(self, value: float, than: float) -> float:
        """Points by which ``value`` is worse than another one, below 0 where it is better.

        Rounded by a hair, so that 56 % is one point below 57 %, and not 0.99... points.
        """
        return self.difference(than, value) if self.up else self.difference(value, than)

    def difference(self, value: float, than: float) -> float:
        """Points by which ``value`` is more than another one, better or not; rounded as :meth:`lost`."""
        return rounded(
            self.points(value) - self.points(than), max(abs(self.points(value)), abs(self.points(than)))
        )

    def span(self, near: float) -> float:
        """Points that are the whole of this quality, where differences are judged beside values ``near``.

        That is the range; without two ends, four times the size of the value.
        """
        return span(self.points(self.lowest), self.points(self.highest), self.points(near))

    def points(self, value: float) -> float:
        """``value`` as it is read: 0.9889 as 98.89, a BLEU of 34.2 as 34.2."""
        return self.scale * value

    def number(self, points: float, near: float | None = None) -> str:
        """A number of points without the unit: ``98.89``, ``34.20``, and ``0.01235`` of an endless range.

        A range of 100 points has two decimals, others as many as make that precision; without two ends,
        there are four significant digits.

        Args:
            points: a value or a difference.
            near: points of a value whose decimals it has where the range has no two ends; default its own.
        """
        if not math.isfinite(points):
            return str(points)
        if self.decimals is not None:
            return f"{points:.{self.decimals}f}"
        size = abs(near if near and math.isfinite(near) else points) / 10
        if points and not 1e-7 < size < 1e11:
            return f"{points:.3e}"
        return f"{points:,.{_decimals(size) if size else 2}f}"

    @property
    def decimals(self) -> int | None:
        """Of a number of points; None where the range does not have two ends, and size decides."""
        return _decimals(self.points(self.highest - self.lowest) / 100) if self.ranged else None

    def text(self, value: float) -> str:
        """``value`` as it is read, and the unit: ``98.89 %``, ``34.20``, ``0.01235 m``."""
        return f"{self.number(self.points(value))} {self.unit}".rstrip()

    def step(self, points: float = math.nan) -> str:
        """What a difference is counted in: ``points`` (``point`` if 1), or a unit that is no percent."""
        if self.unit not in ("", "%"):
            return self.unit
        return "point" if points == 1 else "points"

    def _on_both_splits(self) -> tuple[Metric, Metric]:
        # Logged as measured, so a share has no unit.
        unit = self.unit if self.scale == 1.0 else ""
        where = "Of the packed student, on the {} split"
        return (
            Metric(
                self.validation,
                f"validation {self.label}",
                self.goal,
                unit,
                f"{self.meaning} {where.format('validation')}, which selects.",
            ),
            Metric(
                self.name,
                f"test {self.label}",
                self.goal,
                unit,
                f"{self.meaning} {where.format('test')}, measured once at the end.",
            ),
        )


def _check_goal(goal: str) -> None:
    if goal not in GOALS:
        raise ValueError(f"goal must be one of {', '.join(GOALS)}, got goal={goal!r}")


def span(lowest: float, highest: float, near: float) -> float:
    """The length of a range; of one without two ends four times the size of a value ``near``, or 1 at 0."""
    if math.isfinite(highest - lowest):
        return highest - lowest
    return 4 * abs(near) or 1.0


def _decimals(hundredth: float) -> int:
    """Two for 1, three for 0.1, none from 100 on."""
    return max(2 - math.floor(math.log10(hundredth)), 0)


def rounded(difference: float, size: float) -> float:
    """A difference of two numbers, the larger of that ``size``, without what only rounding made of it."""
    if not (math.isfinite(difference) and math.isfinite(size)) or size == 0:
        return difference
    return round(difference, 11 - math.ceil(math.log10(size)))
