"""Which colour and symbol a method has: the same in every page, sweep and session."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from dashboards.text import method_label
from dashboards.theme import SYMBOLS, Theme
from trainables.method_names import SHORT_NAMES

PLACES = {method_label(name): place for place, name in enumerate(SHORT_NAMES.values())}
"""Label of a method -> its number, by the list of all methods; a number has a colour and a symbol."""


def places_of(groups: Sequence[str], *, methods: bool) -> dict[str, int]:
    """Group -> the number that its colour and symbol go by.

    Args:
        groups: in the order in which they appear.
        methods: whether they are methods, whose numbers depend on nothing else that is shown; a method that
            is not listed, as of an own job file, has one by its name. Other groups are counted.
    """
    distinct = dict.fromkeys(groups)
    if not methods:
        return {group: place for place, group in enumerate(distinct)}
    return {group: PLACES.get(group, zlib.crc32(group.encode("utf-8", "replace")) % 64) for group in distinct}


def symbol_of(place: int) -> str:
    """Groups whose colours repeat have other symbols: 64 numbers are told apart."""
    return SYMBOLS[(place + place // len(SYMBOLS)) % len(SYMBOLS)]


def colour_of(place: int, theme: Theme) -> str:
    """The colour of a group's number."""
    return theme.colour(place)
