"""A part: configuration, constructor, log entry and search target in one frozen dataclass.

Every quantizer, pruner, loss, teacher, codec, model, task, schedule and optimizer is a
:class:`Part`. Its fields are its hyperparameters, checked when it is constructed, and it turns
into JSON and back without code being run.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from abc import ABC
from collections.abc import Iterable, Mapping
from typing import Any

from trainables.ranges import Range

TYPE_KEY = "type"


@dataclasses.dataclass(frozen=True)
class Part(ABC):
    """Base of every part. Subclasses are ``@dataclass(frozen=True)``.

    The type of each field is checked, and its range: ``bits: Annotated[int, Range(1, 8)] = 4``. A subclass
    whose fields depend on one another defines ``__post_init__`` and calls ``super().__post_init__()`` first.
    """

    def __post_init__(self) -> None:
        for name, (hint, accepted) in _declared(type(self)).items():
            value = getattr(self, name)
            if not _fits(value, hint):
                raise ValueError(f"{type(self).__name__}.{name} must be {_spell(hint)}, got {value!r}")
            if accepted is not None:
                accepted.check(name, value)

    def to_dict(self) -> dict[str, Any]:
        """The part as JSON-ready data: its class name under ``type`` and every field."""
        fields = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {TYPE_KEY: type(self).__name__, **fields}


def ranges(part: type[Part]) -> dict[str, Range]:
    """The fields of ``part`` that have a range, in their order."""
    return {name: accepted for name, (_, accepted) in _declared(part).items() if accepted is not None}


def check_choice(part: Part, name: str, choices: Iterable[Any]) -> None:
    """Raise ``ValueError`` naming the value unless ``part.name`` is one of ``choices``."""
    value = getattr(part, name)
    allowed = tuple(choices)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {name}={value!r}")


def part_from_dict(data: Any, members: Mapping[str, type[Part]]) -> Any:
    """Rebuild what :meth:`Part.to_dict` wrote, taking classes from ``members`` only.

    Args:
        data: JSON data; an object is a part, a list becomes a tuple.
        members: class name -> class; nothing else is ever constructed.

    Raises:
        ValueError: unknown class, missing or unknown field, or a value its class refuses.
    """
    if isinstance(data, list):
        return tuple(part_from_dict(item, members) for item in data)
    if not isinstance(data, dict):
        return data
    name = data.get(TYPE_KEY)
    if not isinstance(name, str) or name not in members:
        raise ValueError(f"unknown part {name!r}; known are {', '.join(sorted(members))}")
    cls = members[name]
    fields = {key: part_from_dict(value, members) for key, value in data.items() if key != TYPE_KEY}
    expected = {f.name for f in dataclasses.fields(cls)}
    if fields.keys() != expected:
        raise ValueError(f"{name} takes the fields {sorted(expected)}, got {sorted(fields)}")
    return cls(**fields)


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@functools.cache
def _declared(cls: type[Part]) -> dict[str, tuple[Any, Range | None]]:
    """Type and range of each field; a range that a base declares holds where a member declares none."""
    found = {}
    lineage = [typing.get_type_hints(each, include_extras=True) for each in cls.__mro__]
    for field in dataclasses.fields(cls):
        hints = [declared(hints[field.name]) for hints in lineage if field.name in hints]
        found[field.name] = hints[0][0], next((range_ for _, range_ in hints if range_), None)
    return found


def declared(hint: Any) -> tuple[Any, Range | None]:
    """``Annotated[int, Range(1, 8)]`` as ``int`` and the range; the range is None where there is none."""
    if typing.get_origin(hint) is not typing.Annotated:
        return hint, None
    found = [each for each in hint.__metadata__ if isinstance(each, Range)]
    return hint.__origin__, found[0] if found else None


def _fits(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if hint is Any:
        return True
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if hint is None or hint is type(None):
        return value is None
    if origin is tuple:
        args = typing.get_args(hint)
        if not isinstance(value, tuple):
            return False
        if len(args) == 2 and args[1] is Ellipsis:
            return all(_fits(item, args[0]) for item in value)
        return len(value) == len(args) and all(map(_fits, value, args))
    if hint is float:  # an int is a fine float, a bool is not; no NaN and no infinity in a recipe
        if isinstance(value, int) and not isinstance(value, bool):
            return abs(value) < 2**53  # beyond, it has no exact float
        return isinstance(value, float) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    # Most families are abstract, and asking an abstract class of its instances is slow.
    return hint in type(value).__mro__ or isinstance(value, hint)


def _spell(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("trainables.", "")
