"""Help texts for people: what a value is called, not which Python type it has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand

from search.sampling import names as samplers
from studies import names as studies
from trainables import method_names

_UsageError: Any = typer.BadParameter.__mro__[1]  # of click, or of the copy that Typer brings
_TYPE = re.compile(r" <[^<>]+>$")
METHODS, STUDIES, SAMPLERS = "{methods}", "{studies}", "{samplers}"
"""Stand in a help text for the names of all methods, studies and samplers, looked up when it is shown."""
_SECTIONS = (("Arguments", "argument"), ("Options", "option"))
_LISTS = (("Studies", STUDIES, studies.SUMMARIES), ("Samplers", SAMPLERS, samplers.SUMMARIES))


class Command(TyperCommand):
    """A command whose help leaves out the type that Typer writes behind each argument, such as ``<str>``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line.

        A value that is refused is told, and who gives a number of the search as an option is told how it is
        given.
        """
        searches = {"--fix", "--range"} <= {name for each in self.params for name in each.opts}
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            refused: list[Any] = getattr(
                error.__cause__, "errors", list
            )()  # of pydantic, by which Typer checks values
            if refused and (value := repr(refused[0]["input"])) not in error.message:
                error.message = f"{error.message.partition(', unable to parse')[0]}, got {value}"
            name = getattr(error, "option_name", "").lstrip("-").replace("-", "_")
            if searches and name and hasattr(error, "possibilities"):  # there is no such option
                error.message += (
                    f". What is searched is no option: write --range {name}=LOW:HIGH or --fix {name}=VALUE"
                )
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the lists of arguments and options, then those of the studies and samplers they speak of."""
        said = ""
        for title, kind in _SECTIONS:
            records = (
                param.get_help_record(ctx) for param in self.get_params(ctx) if param.param_type_name == kind
            )
            rows = [each for each in records if each is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl([(_TYPE.sub("", name), _with_names(text)) for name, text in rows])
            said += "".join(text for _, text in rows)
        for title, placeholder, summaries in _LISTS:
            if placeholder in said:
                with formatter.section(title):
                    formatter.write_dl(list(summaries.items()))


def _with_names(text: str) -> str:
    text = text.replace(METHODS, ", ".join(method_names.SHORT_NAMES))
    text = text.replace(STUDIES, _listed(studies.SUMMARIES))
    return text.replace(SAMPLERS, _listed(samplers.SUMMARIES))


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
