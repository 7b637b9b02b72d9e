"""What a search can turn: the numbers in the arguments of methods, read off their types."""

from __future__ import annotations

import functools
import inspect
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from trainables.methods import Method
from trainables.part import Part, declared, ranges
from trainables.ranges import Range
from trainables.schedules import Schedule, constant

Search = tuple[float, float]


@dataclass(frozen=True)
class Handle:
    """A number that a search can turn.

    Attributes:
        argument: of the method, or ``student`` or ``pruner``.
        field: of the part that the argument is; empty where the argument is the number.
        range: what it accepts and what is searched.
        default: its value where nothing is drawn; None where it has none.
        whole: whether it is a whole number.
    """

    argument: str
    field: str
    range: Range
    default: float | None
    whole: bool

    @property
    def name(self) -> str:
        """What users call it: the range's own name, or argument and field."""
        return self.range.name or ".".join(filter(None, (self.argument, self.field)))

    @property
    def parameter(self) -> str:
        """What the search calls it."""
        return f"log2_{self.name}" if self.range.doubling else self.name

    def distribution(self, search: Search) -> BaseDistribution:
        """What is drawn to search from one end of ``search`` to the other."""
        low, high = map(self.drawn, search)
        if self.whole or self.range.doubling:
            return IntDistribution(int(low), int(high), log=self.range.log and not self.range.doubling)
        return FloatDistribution(low, high, log=self.range.log)

    def value(self, drawn: float) -> float:
        """The number that a drawn parameter stands for.

        It has four significant digits: a recipe to be read, and equal recipes for all practical purposes.
        """
        if self.range.doubling:
            return 2 ** int(drawn)
        return int(drawn) if self.whole else float(f"{drawn:.4g}")

    def drawn(self, value: float) -> float:
        """The parameter that stands for a number; inverse of :meth:`value`."""
        return int(math.log2(value)) if self.range.doubling else value

    def at(self, search: Search, share: float) -> float:
        """The number that lies at a share in [0, 1] of the way from one end of ``search`` to the other."""
        low, high = map(self.drawn, search)
        if self.range.log and not self.range.doubling:
            found = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            found = low + share * (high - low)
        return self.value(round(found) if self.whole or self.range.doubling else found)

    def within(self, value: float | None, search: Search) -> float:
        """The number in ``search`` that is nearest to ``value``; its low end for None."""
        return search[0] if value is None else min(max(value, search[0]), search[1])


@functools.cache
def arguments_of(method: Method[Any]) -> dict[str, Any]:
    """The arguments of a method beside its setting, and their defaults."""
    parameters = inspect.signature(method.function).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}


@functools.cache
def handles_of(method: Method[Any]) -> tuple[Handle, ...]:
    """Everything that can be turned of a method, in the order of its signature."""
    hints = typing.get_type_hints(method.function, include_extras=True)
    found: list[Handle] = []
    for name, default in arguments_of(method).items():
        hint, accepted = declared(hints[name])
        if isinstance(default, Part):
            found += handles_in(name, default)
        elif accepted is not None:
            found.append(Handle(name, "", accepted, default, hint in (int, int | None)))
    return tuple(found)


@functools.cache
def handles_in(argument: str, part: Part) -> tuple[Handle, ...]:
    """Everything that can be turned of a part; of a schedule, where it stays the same throughout."""
    hints = typing.get_type_hints(type(part))
    found = []
    for field, accepted in ranges(type(part)).items():
        default = getattr(part, field)
        if isinstance(default, Schedule):
            low, high = default.bounds()
            if low != high:
                continue
            default = low
        found.append(Handle(argument, field, accepted, default, hints[field] in (int, int | None)))
    return tuple(found)


def turned(part: Part, values: Mapping[str, float]) -> Part:
    """``part`` with other numbers in some of its fields."""
    given = {
        field: constant(value) if isinstance(getattr(part, field), Schedule) else value
        for field, value in values.items()
    }
    return replace(part, **given) if given else part


def called_with(method: Method[Any], values: Sequence[tuple[Handle, float]]) -> dict[str, Any]:
    """The arguments of a method whose handles have these values; those of the others are left to it."""
    by_argument: dict[str, dict[str, float]] = {}
    for handle, value in values:
        by_argument.setdefault(handle.argument, {})[handle.field] = value
    defaults = arguments_of(method)
    return {
        name: turned(defaults[name], fields) if isinstance(defaults[name], Part) else fields[""]
        for name, fields in by_argument.items()
    }
