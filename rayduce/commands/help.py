"""Help texts for people: what a value is called, not which Python type it has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand

_TYPE = re.compile(r" <[^<>]+>$")
METHODS, STUDIES, SAMPLERS = "{methods}", "{studies}", "{samplers}"
"""Stand in a help text for the names of all methods, studies and samplers, looked up when it is shown."""
_SECTIONS = (("Arguments", "argument"), ("Options", "option"))


class Command(TyperCommand):
    """A command whose help leaves out the type that Typer writes behind each argument, such as ``<str>``."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the lists of arguments and options."""
        for title, kind in _SECTIONS:
            records = (
                param.get_help_record(ctx) for param in self.get_params(ctx) if param.param_type_name == kind
            )
            rows = [(_TYPE.sub("", each[0]), _with_names(each[1])) for each in records if each is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _with_names(text: str) -> str:
    # These load torch or Optuna, which no other help needs.
    if METHODS in text:
        from trainables import methods

        text = text.replace(METHODS, ", ".join(methods.METHODS))
    if STUDIES in text:
        from studies import known

        text = text.replace(STUDIES, _listed(study.name for study in known.STUDIES))
    if SAMPLERS in text:
        from search.sampling import samplers

        text = text.replace(SAMPLERS, _listed(sampler.name for sampler in samplers.SAMPLERS))
    return text


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
