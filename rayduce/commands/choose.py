"""``rayduce choose``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rayduce.commands.arguments import DEFAULT_STORE, AsJson, StoreDir, SweepName, TrackingUri
from rayduce.commands.console import escaped, out, print_json, problems, tell, whole_line
from rayduce.commands.groups import with_groups
from rayduce.commands.help import Command
from rayduce.commands.limits import LimitOptions
from rayduce.commands.offer import say_export
from rayduce.commands.results import LONGEST_NAME, where_store_is

if TYPE_CHECKING:
    from rich.console import RenderableType

    from search.objectives.choosing import Choice
    from search.store.sweep import Sweep

commands = typer.Typer()

INDENT = (0, 0, 0, 2)
"""Of what is told of a student, in lines and columns: above, right, below, left."""


@commands.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce choose\n\n  rayduce choose --max-bytes 16kB\n\n"
    "  rayduce choose digits-1 --max-bytes 16kB --max-drop 1 --json",
)
@with_groups
def choose(
    *,
    name: SweepName = None,
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    given: LimitOptions,
    as_json: AsJson = False,
) -> None:
    """Say which student of a sweep to ship, and what it loses.

    With --max-drop it is the smallest that surely loses no more, at the worse end of a 95 % interval;
    without, the best that fits. Limits that are not given are the sweep's own; if there are none at all, one
    point may be lost. If no student fits, it says which is nearest, and the exit code is 1.
    """
    from rayduce.commands.front_choice import newest_with_students
    from search.objectives.choosing import choose as chosen_of
    from search.objectives.choosing import limits_in_words, why_this, with_wishes
    from search.store.store import open_store

    with problems():
        asked = given.budget()
        opened = open_store(store, tracking_uri, tell)
        found = opened.sweep(name) if name is not None else newest_with_students(opened)
        budget = with_wishes(found.budget, asked)
        _check(found, asked.limits)
        trials = opened.trials_of(found)[1]
        choice = chosen_of(trials, found.quality, found.teacher, budget, found.size)
    limits = limits_in_words(budget, found.quality)
    if as_json:
        print_json(_as_json(choice, found, limits))
    elif choice.student is None:
        out.print(whole_line(f"{choice.none} Asked of {found.name}: {limits}."), highlight=False)
    else:
        for line in _lines(choice, found, why_this(choice, found.quality, budget)):
            out.print(line, highlight=False)
        where = where_store_is(store, tracking_uri)
        out.print("Take it away with:", style="dim", highlight=False)
        say_export(choice.student, where)
    if choice.student is None:
        raise typer.Exit(1)


def _check(found: Sweep, limits: Any) -> None:
    """Refuse limits of what students of the sweep do not measure."""
    from search.objectives.costs import cost_of, option_of
    from search.problem import Problem

    for name in limits:
        try:
            cost_of(found.quality, name)
        except ValueError as error:
            raise Problem(f"{escaped(option_of(name), 80)} cannot be used: {error}.") from error


def _lines(choice: Choice, found: Sweep, why: str) -> list[RenderableType]:
    """What is said of a choice, a paragraph for each thing, which a narrow terminal breaks between words."""
    from rich.padding import Padding

    from search.objectives.costs import costs_named, show_cost

    student, quality = choice.student, found.quality
    assert student is not None and choice.chosen is not None and choice.told is not None
    shown = ("packed_bytes", "onnx_bytes", "ram_bytes", "latency_ms", *(each.name for each in found.asked))
    costs = [
        show_cost(metric, student[metric.name])
        for metric in costs_named(quality, shown)
        if student[metric.name] is not None
    ]
    lines: list[RenderableType] = [
        f"[bold]{escaped(student['run_id'][:8])}  {escaped(student['name'], LONGEST_NAME)}[/]",
        Padding(escaped(", ".join(costs), 400), INDENT),
    ]
    splits = dict.fromkeys((choice.told, choice.chosen))
    for each in splits:
        lines.append(Padding(escaped(f"{each.split} {quality.label} {each.in_words()}", 400), INDENT))
    lines.append(f"[dim]{escaped(why, 600)}[/]")
    return lines


def _as_json(choice: Choice, found: Sweep, limits: str) -> dict[str, Any]:
    import pandas as pd

    from search.store.frames import records

    splits = {each.split: each for each in (choice.told, choice.chosen) if each is not None}
    return {
        "sweep": found.name,
        "limits": limits,
        "student": None if choice.student is None else records(pd.DataFrame([choice.student]))[0],
        "why_none": choice.none or None,
        "sure": choice.sure,
        "bolder": None if choice.bolder is None else choice.bolder["run_id"],
        "splits": {
            name: {
                "value": each.value,
                "between": None if each.between is None else [each.between.low, each.between.high],
                "points_lost": None if each.lost != each.lost else each.lost,
                "points_lost_between": None
                if each.lost_between is None
                else [each.lost_between.low, each.lost_between.high],
            }
            for name, each in splits.items()
        },
    }
