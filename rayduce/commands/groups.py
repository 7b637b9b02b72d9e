"""Options that several commands take together, written once as a dataclass."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with an option for each field of its parameters that are dataclasses.

    Args:
        command: as typer takes it, but that a parameter's type may be a dataclass all of whose fields have
            defaults, annotated like options. The command gets an instance of it.
    """
    groups: dict[str, Any] = {}
    options: list[inspect.Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if is_dataclass(kind):
            groups[parameter.name] = kind
            inside = get_type_hints(kind, include_extras=True)
            options += [_option(each.name, each.default, inside[each.name]) for each in fields(kind)]
        else:
            options.append(_option(parameter.name, parameter.default, kind))

    @functools.wraps(command)
    def taken(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{each.name: given.pop(each.name) for each in fields(kind)})
        command(**given)

    taken.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]  # what typer looks at
    taken.__annotations__ = {each.name: each.annotation for each in options}
    return taken


def _option(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
