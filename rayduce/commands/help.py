"""Help texts for people: what a value is called, not which Python type it has."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

_TYPE = re.compile(r" <[^<>]+>$")
METHODS = "{methods}"
"""Stands in a help text for the short names of the published methods, looked up when the text is shown."""
_SECTIONS = (("Arguments", "argument"), ("Options", "option"))


class Command(TyperCommand):
    """A command whose help leaves out the type that Typer writes behind each argument, such as ``<str>``."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the lists of arguments and options."""
        for title, kind in _SECTIONS:
            records = (
                param.get_help_record(ctx) for param in self.get_params(ctx) if param.param_type_name == kind
            )
            rows = [(_TYPE.sub("", each[0]), _with_methods(each[1])) for each in records if each is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _with_methods(text: str) -> str:
    if METHODS not in text:
        return text
    from trainables import methods  # torch, which no other help needs

    return text.replace(METHODS, ", ".join(methods.METHODS))
