"""Options that narrow what is searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from rayduce.commands.help import METHODS
from search.problem import Problem
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
            Problem: there is no such method.
        """
        names = tuple(filter(None, (name.strip() for name in (self.methods or "").split(","))))
        try:
            list(map(method_name, names))
        except ValueError as error:
            raise Problem(f"--methods: {error}.") from None
        return {
            "methods": names,
            "fixed": tuple(self.fix or ()),
            "ranges": tuple(self.range_ or ()),
        }
