"""The parameters of a search, and how their values are decided."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)


@dataclass(frozen=True)
class Parameter:
    """A parameter of the search.

    Attributes:
        name: as the search has it.
        distribution: what is drawn.
        start: where the first trials have it.
        smaller: the end at which files are smaller; None where their size does not depend on it.
    """

    name: str
    distribution: BaseDistribution
    start: Any
    smaller: Literal["low", "high"] | None = None

    def end(self, smallest: bool) -> Any:
        """The value at which files are smallest, or largest; the first trials' where it does not matter."""
        if self.smaller is None or not isinstance(self.distribution, (IntDistribution, FloatDistribution)):
            return self.start
        low = smallest == (self.smaller == "low")
        return self.distribution.low if low else self.distribution.high

    def toward_smallest(self, share: float) -> Any:
        """The value at a share in [0, 1] of the way from the first trials' to that of the smallest files."""
        goal, start, distribution = self.end(smallest=True), self.start, self.distribution
        if isinstance(distribution, (IntDistribution, FloatDistribution)) and distribution.log:
            found = math.exp(math.log(start) + share * (math.log(goal) - math.log(start)))
        else:
            found = start + share * (goal - start)
        return round(found) if isinstance(distribution, IntDistribution) else found

    def takes(self, value: Any) -> bool:
        """Whether ``value`` can be drawn."""
        match self.distribution:
            case CategoricalDistribution(choices=choices):
                return value in choices
            case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
                return bool(low <= value <= high)
        return False


Choose = Callable[[Parameter], Any]
"""Decides for a value of a parameter."""


def preferring(values: Mapping[str, Any], otherwise: Choose) -> Choose:
    """Chooses ``values`` where there is one, after ``otherwise`` has been asked."""

    def choose(parameter: Parameter) -> Any:
        found = otherwise(parameter)
        return values.get(parameter.name, found)

    return choose


def drawn(trial: optuna.trial.BaseTrial, parameter: Parameter) -> Any:
    """The value that an Optuna trial suggests."""
    name, distribution = parameter.name, parameter.distribution
    match distribution:
        case CategoricalDistribution():
            return trial.suggest_categorical(name, distribution.choices)
        case IntDistribution():
            return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
        case FloatDistribution():
            return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    raise TypeError(f"{name} has a distribution that no parameter here has: {distribution}")
