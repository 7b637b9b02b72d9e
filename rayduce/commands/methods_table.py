"""The published methods for ``rayduce methods``: as a table, and for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from spaces.arguments import Handle, handles_in, handles_of
from trainables.methods import METHODS, PRUNING
from trainables.methods.ideas import IDEAS


def method_records() -> list[dict[str, Any]]:
    """One record per method, with everything that can be turned of it; JSON-ready."""
    return [
        {
            "short": short,
            "method": method.name,
            "summary": (method.__doc__ or "").partition("\n")[0],
            "paper": method.paper,
            "idea": method.idea,
            "handles": [_record(handle) for handle in handles_of(method)],
        }
        for short, method in METHODS.items()
    ]


def methods_table() -> Table:
    """What a sweep searches of each method, in 80 columns: ``name=low:high (default)``."""
    pruning = " ".join(_searched(handles_in("pruner", PRUNING)))
    table = Table(
        title="Methods, and what a sweep searches of them: name=low:high (default)",
        title_justify="left",
        caption=f"Of every method: depth and width as the study has them, prune, {pruning}",
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("short")
    table.add_column("method, paper", max_width=31)
    table.add_column("searched", no_wrap=True)
    for name, idea in IDEAS.items():
        methods = {short: method for short, method in METHODS.items() if method.idea == name}
        if methods:
            table.add_row("", f"[bold]{idea.title}[/bold]", "", end_section=True)
        for short, method in methods.items():
            named = method.name + (f"\n{method.paper}" if method.paper else "")
            table.add_row(short, named, "\n".join(_searched(handles_of(method))), end_section=True)
    return table


def _searched(handles: Iterable[Handle]) -> list[str]:
    """``bits=1:8 (4)`` for each handle that is searched by itself."""
    return [
        f"{handle.name}={handle.range.search[0]:g}:{handle.range.search[1]:g} ({handle.default:g})"
        for handle in handles
        if handle.range.search is not None and handle.default is not None
    ]


def _record(handle: Handle) -> dict[str, Any]:
    accepted = handle.range
    return {
        "name": handle.name,
        "parameter": handle.parameter,
        "argument": handle.argument,
        "field": handle.field,
        "default": handle.default,
        "whole": handle.whole,
        "low": accepted.low,
        "high": accepted.high,
        "excluded": accepted.excluded,
        "search": accepted.search,
        "log": accepted.log,
        "doubling": accepted.doubling,
    }
