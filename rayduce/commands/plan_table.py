"""A plan as a table to read, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from search.objectives.budget import Budget
from search.options import amount_in_words
from search.planning.compute import epochs_in_words
from search.planning.plan import Plan
from search.units import count, show_bytes, show_number, show_seconds
from trainables.foreign import LONGEST, shown
from trainables.metrics import Quality


def plan_record(plan: Plan, hours: float | None, price: float | None) -> dict[str, Any]:
    """The plan's figures in seconds and bytes; ``trials_in_hours`` and ``cost`` where they were asked for."""
    record = {**asdict(plan), "seconds": plan.seconds, "short_of": list(plan.resources.short)}
    if hours is not None:
        record["trials_in_hours"] = plan.fitting(hours)
    if price is not None:
        record["cost"] = plan.cost(price)
    return record


def plan_table(
    plan: Plan, budget: Budget, quality: Quality, hours: float | None, price: float | None
) -> Table:
    """One row for each thing to know.

    Args:
        plan: to be shown.
        budget: that the students are to meet.
        quality: that selects.
        hours: that there are, or None.
        price: of a node and hour, or None.
    """
    where = "this machine" if plan.nodes == 1 else f"{plan.nodes} nodes like this machine"
    trials = f"{amount_in_words(plan.trials, plan.trainings)} of {epochs_in_words(plan.epochs, plan.compute)}"
    per_node = f"{plan.concurrency} at a time{'' if plan.nodes == 1 else ' each'}"
    table = Table(
        title=f"Plan of {_fit(plan.study)}: {trials}, {per_node} on {where} ({_fit(plan.device)})",
        title_justify="left",
        box=None,
        show_header=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    splits = ", ".join(f"{number:,} {_fit(split)}" for split, number in plan.samples.items())
    table.add_row("data", f"{splits} samples; {show_bytes(plan.data_bytes)}{_reading(plan)}")
    for title, text in plan.notes.rows.items():
        table.add_row(title, escape(text))
    table.add_row("teacher", f"{show_bytes(plan.teacher_bytes)}, {_teacher(plan)}")
    table.add_row(
        "students",
        f"{show_bytes(plan.smallest_bytes)} to {show_bytes(plan.largest_bytes)} untrained; an epoch takes "
        f"{_short(plan.smallest_epoch)} to {_short(plan.largest_epoch)}, a trial about {_short(plan.trial)}",
    )
    table.add_row("mark", f"ONNX Runtime's own int8 of the teacher takes about {_short(plan.mark)}")
    if limits := budget.text(quality):
        unknown = "; what is lost is not known before" if budget.max_drop is not None else ""
        table.add_row("budget", f"{limits}: not out of reach{unknown}")
    table.add_row("time", f"about {show_seconds(plan.seconds)}, of which {_short(plan.start)} to begin")
    if hours is not None:
        table.add_row(f"in {show_number(hours)} h", f"about {count(plan.fitting(hours), _counted(plan))}")
    if price is not None:
        nodes = count(plan.nodes, "node")
        rate = f"{show_number(plan.seconds / 3600)} h x {nodes} x {show_number(price)} EUR"
        table.add_row("cost", f"about {plan.cost(price):.2f} EUR: {rate}")
    found = plan.resources
    for name, needed, free in (
        ("disk", found.disk_needed, found.disk_free),
        ("memory", found.memory_needed, found.memory_free),
    ):
        text = f"about {show_bytes(needed)} needed, {show_bytes(free)} free"
        if name == "memory":
            text += f"; a step of the largest student keeps {show_bytes(plan.activation_bytes)} of its layers"
        short = name in found.short
        table.add_row(name, f"{text}: too little" if short else text, style="red" if short else None)
    if plan.not_counted:
        table.add_row("not in it", _fit(plan.not_counted, 1000))
    return table


def _counted(plan: Plan) -> str:
    return "trial" if plan.trainings is None else "training"


def _reading(plan: Plan) -> str:
    if not plan.streamed:
        return ""
    why = _fit(plan.streamed, 1000)
    return f"; training samples are read in every epoch anew, in {_short(plan.reading)}, since {why}"


def _teacher(plan: Plan) -> str:
    """Where it comes from, and how students hear its answers."""
    if plan.given:
        origin = "your network, as it is"
    elif plan.teacher:
        origin = f"about {_short(plan.teacher)} to train"
    else:
        origin = "kept from an earlier sweep"
    if plan.views:
        seen = "as it is" if plan.views == 1 else f"in {plan.views} views"
        asked = f"{_short(plan.outputs)} to ask about every sample {seen}"
        return f"{origin}; {asked}, {show_bytes(plan.views_bytes)} of answers are remembered"
    return f"{origin}; asked at every step, {_short(plan.asking)} of an epoch" if plan.asking else origin


def _fit(text: str, longest: int = LONGEST) -> str:
    return escape(shown(text, longest))


def _short(seconds: float) -> str:
    """``0.35 s`` where :func:`show_seconds` would say ``0 s``."""
    return f"{show_number(seconds)} s" if seconds < 10 else show_seconds(seconds)
