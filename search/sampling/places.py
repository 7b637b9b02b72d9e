"""Where a value lies in its distribution, and which value lies at a place."""

from __future__ import annotations

import math
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)


def at(distribution: BaseDistribution, share: float) -> Any:
    """The value below which ``share``, in [0, 1), of a ``distribution`` lies."""
    match distribution:
        case CategoricalDistribution():
            return distribution.choices[int(share * len(distribution.choices))]
        case IntDistribution():
            return distribution.low + int(share * (distribution.high - distribution.low + 1))
        case FloatDistribution() if distribution.log:
            low, high = math.log(distribution.low), math.log(distribution.high)
            inside = math.exp(low + share * (high - low))
            return min(max(inside, distribution.low), distribution.high)  # what rounding adds
        case FloatDistribution():
            return distribution.low + share * (distribution.high - distribution.low)
    raise TypeError(f"there is no place in {distribution}")


def place_of(distribution: BaseDistribution, value: Any) -> float:
    """The share, in [0, 1], of a ``distribution`` that lies below ``value``; inverse of :func:`at`.

    Of a choice or a whole number it is the middle of its own share.
    """
    match distribution:
        case CategoricalDistribution():
            return (distribution.choices.index(value) + 0.5) / len(distribution.choices)
        case IntDistribution():
            return float((value - distribution.low + 0.5) / (distribution.high - distribution.low + 1))
        case FloatDistribution() if distribution.high == distribution.low:
            return 0.5
        case FloatDistribution() if distribution.log:
            low, high = math.log(distribution.low), math.log(distribution.high)
            return (math.log(value) - low) / (high - low)
        case FloatDistribution():
            return float((value - distribution.low) / (distribution.high - distribution.low))
    raise TypeError(f"there is no place in {distribution}")


def bins_of(distribution: BaseDistribution, most: int) -> int:
    """Into how many equal parts a ``distribution`` is cut: one per choice or whole number, or ``most``."""
    match distribution:
        case CategoricalDistribution():
            return len(distribution.choices)
        case IntDistribution():
            return min(distribution.high - distribution.low + 1, most)
    return most
