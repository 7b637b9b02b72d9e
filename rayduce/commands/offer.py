"""Which student is offered to be taken away, why that one, and the command that does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rayduce.commands.console import escaped, out, whole_line

if TYPE_CHECKING:
    from search.store.store import Store
    from search.store.sweep import Sweep


def offered(opened: Store, found: Sweep, front: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """The student that ``rayduce choose`` answers, and why it is this one; else the best of the ``front``."""
    from search.objectives.choosing import choose, first_budget, in_short, limits_in_words

    quality, budget = found.quality, first_budget(found.budget)
    choice = choose(opened.trials_of(found)[1], quality, found.teacher, budget, found.size)
    if choice.student is not None:
        return dict(choice.student), in_short(choice, quality, budget)
    best = max(front, key=lambda row: quality.gain(row[quality.validation]))
    return best, f"the best on validation; none is within {limits_in_words(budget, quality)}"


def say_offer(student: dict[str, Any], why: str, where: str) -> None:
    """Print how a student is taken away, and why this one.

    Args:
        student: a row of the trials.
        why: a clause.
        where: what a command is told of the store.
    """
    out.print(
        f"Take away {escaped(student['run_id'][:8])}, {escaped(why, 400)}:", style="dim", highlight=False
    )
    say_export(student, where)


def say_export(student: Mapping[str, Any], where: str) -> None:
    """Print the command that writes a student's packed file, of which all other formats are made."""
    say_command(f"rayduce export {student['run_id'][:8]} student.rdz{where}")


def say_command(command: str) -> None:
    """Print a command on a line that no terminal breaks, so that it can be copied whole."""
    out.print(f"  {whole_line(command)}", style="dim", highlight=False, soft_wrap=True)
