"""What users ask of a space in words: methods, ``bits=4`` and ``bits=2:4``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from spaces.arguments import Handle, Search

Handles = Mapping[str, Sequence[Handle]]
"""By name; one name may be that of several methods' handles."""

SWITCH = {"true": True, "yes": True, "false": False, "no": False}


def known_name(name: str, handles: Handles, choices: Sequence[str] = ()) -> Sequence[Handle]:
    """The handles called ``name``.

    Raises:
        ValueError: there are none; the message has those that are written alike, or else all.
    """
    if name not in handles:
        names = sorted([*handles, *choices])
        alike = get_close_matches(name, names)
        told = f"did you mean {' or '.join(alike)}?" if alike else f"there are {', '.join(names)}"
        raise ValueError(f"there is nothing called {name!r} to be turned here; {told}")
    return handles[name]


def fixed_value(text: str, handles: Handles, choices: Mapping[str, Sequence[Any]]) -> tuple[str, Any]:
    """``bits=4`` as name and value.

    Args:
        text: as the user gave it.
        handles: what can be turned.
        choices: values of what is no number.

    Raises:
        ValueError: it means nothing here, or the value is out of range.
    """
    name, written = _split(text, "bits=4")
    if name in choices:
        value: Any = SWITCH.get(written.lower(), written)
        if value not in choices[name]:
            raise ValueError(f"{name} must be one of {', '.join(map(str, choices[name]))}, got {text}")
        return name, value
    for handle in known_name(name, handles, list(choices)):
        value = _number(name, written, handle.whole)
        handle.range.check(name, value)
    return name, value


def searched_range(text: str, handles: Handles) -> tuple[str, Search]:
    """``bits=2:4`` as name and ends; errors as in :func:`fixed_value`."""
    name, written = _split(text, "bits=2:4")
    low, colon, high = written.partition(":")
    if not colon:
        raise ValueError(f"a range is two ends such as bits=2:4, got {text}; one value is --fix {text}")
    for handle in known_name(name, handles):
        search = (_number(name, low, handle.whole), _number(name, high, handle.whole))
        handle.range.check_search(name, search)
    return name, search


def _split(text: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ValueError(f"it must be like {example}, got {text!r}")
    return name, value


def _number(name: str, text: str, whole: bool) -> float:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} takes a {'whole ' if whole else ''}number, got {text!r}")
    return value
