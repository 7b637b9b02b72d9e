"""A sweep run from the command line: its display, how it ended, and its front."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from rayduce.commands.console import (
    err,
    escaped,
    out,
    whole_line,
)
from rayduce.commands.offer import offered, say_command, say_offer
from rayduce.commands.results import (
    families_line,
    front_rows,
    front_table,
    mark_line,
    quality_head,
    score_text,
    where_store_is,
)
from search.objectives.budget import NO_LIMITS
from search.units import count, show_bytes, show_seconds

if TYPE_CHECKING:
    from search.options import Options
    from search.store.store import Store
    from search.store.sweep import Sweep
    from search.sweeps.sweep import Outcome
    from studies.study import Study


def run(study: Study, options: Options, *, resume: bool = False, offer: bool = True) -> Outcome:
    """Run a sweep, or go on with one, and print how it ended.

    Args:
        study: what is searched.
        options: how.
        resume: go on with the sweep of this name; default False.
        offer: say which student to take away, and how (default); False for who takes it away at once.

    Raises:
        typer.Exit: it was stopped, or no student has finished.
    """
    from rayduce.commands.display import Display
    from search.options import go_on_with
    from search.store.store import open_store
    from search.sweeps.ray_watch import RayDied
    from search.sweeps.sweep import run_sweep

    store, name = options.store, options.name
    started = time.monotonic()
    try:
        costs = (options.size, *options.minimized)
        with Display(out, name, options.trials, costs, options.trainings) as display:
            outcome = run_sweep(study, options, display, page_of(store, options.tracking_uri), resume=resume)
    except KeyboardInterrupt:
        err.print(whole_line(f"Stopped. Go on with: {go_on_with(options)}"), soft_wrap=True)
        raise typer.Exit(130) from None
    except RayDied as error:
        err.print(f"[bold red]Error:[/] {whole_line(str(error))}", highlight=False, soft_wrap=True)
        sys.stdout.flush()
        os._exit(2)  # what Ray does at the interpreter's end would wait for what has died
    took = f"{show_seconds(time.monotonic() - started)}{' since it was resumed' if resume else ''}"
    _print_outcome(outcome, options, took)
    if not any(record.state == "finished" for record in outcome.records.values()):
        raise typer.Exit(1)
    if outcome.undelivered:
        out.print(_undelivered_front(outcome))
        return outcome
    opened = open_store(store, options.tracking_uri)
    say_front(opened, opened.sweep(name), where_store_is(store, options.tracking_uri), offer=offer)
    return outcome


def say_front(opened: Store, found: Sweep, where: str, *, offer: bool = True) -> None:
    """Print the front of a sweep that has ended, or why there is none, and what to do next.

    Args:
        opened: the sweep's store.
        found: the sweep.
        where: what a command is told of the store.
        offer: whether to say which student to take away; default True.
    """
    from rayduce.commands.front_choice import why_no_front

    rows = front_rows(opened, found)
    if rows:
        title = "Front, smallest first"
        out.print(front_table(rows, found.quality, title, out.width, found.asked, found.teacher))
        if told := families_line(rows, found.size):
            out.print(told, highlight=False)
    else:
        out.print(whole_line(why_no_front(opened, found)), highlight=False, soft_wrap=True)
    page = opened.artifact_location(found.run_id, "front.html")
    out.print(f"The page: {whole_line(page)}", style="dim", highlight=False, soft_wrap=True)
    if rows and offer:
        say_offer(*offered(opened, found, rows), where)
    out.print("Look further:", style="dim", highlight=False)
    for what in (f"front {found.name}", f"choose {found.name}", "dashboard", "mlflow"):
        say_command(f"rayduce {what}{where}")


def page_of(store: Path, tracking_uri: str) -> Callable[[str], str]:
    """Makes the page of a sweep from what MLflow has of it."""
    from dashboards.report import front_html
    from dashboards.where import where
    from search.store.store import open_store

    def report(name: str) -> str:
        opened = open_store(store, tracking_uri)
        return front_html(opened.trials(name), opened.sweep(name), where(opened))

    return report


def _undelivered_front(outcome: Outcome) -> Table:
    """The front as the driver knows it, for while MLflow does not."""
    quality = outcome.quality
    table = Table(title="Front, smallest first", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("student", quality_head(quality), "validation", "packed", "file"):
        table.add_column(name, no_wrap=True)
    for record in (outcome.records[trial_id] for trial_id in outcome.front):
        table.add_row(
            escaped(record.name),
            score_text(quality, record.metrics[quality.name]),
            score_text(quality, record.metrics[quality.validation]),
            show_bytes(record.metrics["packed_bytes"]),
            whole_line(str(record.packed_file)),
        )
    return table


def _print_outcome(outcome: Outcome, options: Options, took: str) -> None:
    ended = [record for record in outcome.records.values() if record.state == "finished"]
    quality, teacher = outcome.quality, outcome.teacher
    told = f"{quality.label} {quality.text(teacher[quality.name])}"
    told += f" (validation {quality.text(teacher[quality.validation])})"
    within = ""
    if options.budget != NO_LIMITS:
        within = f"{sum(not record.over for record in ended)} of them within the limits, "
    out.print(
        f"[bold]{escaped(options.name)}[/]: {count(len(ended), 'student')} in {took}, "
        f"{within}{len(outcome.front)} on the front. Teacher: {told}, "
        f"{show_bytes(teacher['packed_bytes'])}.",
        highlight=False,
    )
    if line := mark_line(outcome.mark, quality):
        out.print(line, highlight=False)
    pruned = sum(r.state == "pruned" for r in outcome.records.values())
    if pruned:
        out.print(
            f"  {count(pruned, 'more student')} ended early, {'over a limit or ' if within else ''}"
            "with no prospect of the front.",
            style="dim",
            highlight=False,
        )
    if outcome.short:
        out.print(f"  It {whole_line(outcome.short)}.", style="yellow", highlight=False)
    for record in outcome.records.values():
        if record.reason and record.state != "pruned":
            word = "failed: " if record.state == "failed" else ""
            out.print(
                f"  {word}{escaped(record.name)}: {whole_line(record.reason)}",
                style="yellow",
                highlight=False,
            )
    if outcome.undelivered:
        out.print(whole_line(outcome.undelivered), style="yellow", highlight=False, soft_wrap=True)
