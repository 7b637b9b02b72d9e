"""Options that narrow what is searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from rayduce.commands.help import METHODS
from search.problem import Problem
from trainables.foreign import shown
from trainables.method_names import method_name

Methods = Annotated[
    str | None,
    typer.Option(metavar="NAME,...", help=f"Search these methods alone, of {METHODS}; see rayduce methods."),
]


Fixes = Annotated[
    list[str] | None,
    typer.Option("--fix", metavar="NAME=VALUE", help="Do not search it, such as bits=4; repeatable."),
]


Ranges = Annotated[
    list[str] | None,
    typer.Option("--range", metavar="NAME=LOW:HIGH", help="Search it there, such as bits=2:4; repeatable."),
]


@dataclass(frozen=True)
class SpaceOptions:
    """What a command is told of the space."""

    methods: Methods = None
    fix: Fixes = None
    range_: Ranges = None

    def wishes(self) -> dict[str, Any]:
        """What was asked for, as :class:`search.options.Options` has it.

        Raises:
            Problem: there is no such method, or a range has its larger end first.
        """
        names = tuple(filter(None, (name.strip() for name in (self.methods or "").split(","))))
        try:
            list(map(method_name, names))
        except ValueError as error:
            raise Problem(f"--methods: {error}.") from None
        for text in self.range_ or ():
            _check_ascending(text)
        return {
            "methods": names,
            "fixed": tuple(self.fix or ()),
            "ranges": tuple(self.range_ or ()),
        }


def _check_ascending(text: str) -> None:
    """Refuse two ends in the wrong order, before a study is opened, which says what else is wrong."""
    low, _, high = text.partition("=")[2].partition(":")
    try:
        ascending = float(low) <= float(high)
    except ValueError:
        return
    if not ascending:
        raise Problem(f"--range {shown(text)}: its ends must ascend, such as bits=2:4.")
