"""A different part for each name pattern: what quantizers, pruners and activation quantizers share."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar, cast

from trainables.part import Part

T = TypeVar("T", bound=Part)


@dataclass(frozen=True)
class Where(Part):
    """``part`` where a name matches ``pattern`` (fnmatch, such as ``stages.0.*``)."""

    pattern: str
    part: Part


@dataclass(frozen=True)
class ByName(Part, Generic[T]):
    """The first of ``rules`` whose pattern matches a name says which part acts there.

    Which parts go where is a space's business: this only carries it out.

    Attributes:
        rules: tried in order; each must be the first to match some name.
        default: where no rule matches.
        family: of the parts; a member says which.
    """

    rules: tuple[Where, ...]
    default: Part

    family: ClassVar[type[Part]]

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in (*(rule.part for rule in self.rules), self.default):
            if isinstance(part, ByName):
                raise ValueError(f"a {type(self).__name__} cannot hold another one, got {part}")
            if not isinstance(part, self.family):
                raise ValueError(f"{type(self).__name__} is of {self.family.__name__}s, got {part}")

    def part_for(self, name: str) -> T:
        """The part that acts on ``name``."""
        found = (rule.part for rule in self.rules if fnmatch.fnmatch(name, rule.pattern))
        return cast(T, next(found, self.default))

    def patterns(self) -> tuple[str, ...]:
        """Name patterns that must each be the first to match something."""
        return tuple(rule.pattern for rule in self.rules)
