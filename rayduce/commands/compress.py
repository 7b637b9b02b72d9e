"""``rayduce compress``: from a network to the one student that fits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayduce.commands.arguments import (
    DEFAULT_STORE,
    Concurrency,
    Epochs,
    StoreDir,
    Trainings,
    Trials,
    check_writable,
    job_of,
)
from rayduce.commands.console import out, problems, whole_line
from rayduce.commands.groups import with_groups
from rayduce.commands.help import Command
from rayduce.commands.limits import LimitOptions, SizeOf, check_metrics, objectives_of
from rayduce.commands.outputs import check_outputs, write_outputs
from rayduce.commands.results import quoted
from rayduce.commands.running import run
from rayduce.commands.sweep import named
from search.problem import Problem

if TYPE_CHECKING:
    from search.options import Options
    from search.sweeps.sweep import Outcome

commands = typer.Typer()


@commands.command(
    cls=Command,
    short_help="Find the best student within limits, and write it to a file.",
    epilog="Examples:\n\n  rayduce compress net.py --max-bytes 200kB\n\n"
    "  rayduce compress net.py --max-drop 1 --out small.rdz\n\n"
    "  rayduce compress net.py --max-latency-ms 2 --trials 30 --epochs 20",
)
@with_groups
def compress(
    job: Annotated[Path, typer.Argument(metavar="JOB.py", help="Your file with network() and data(split).")],
    *,
    limits: LimitOptions,
    size_of: SizeOf = "packed",
    target: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where the student goes; default JOB-student.rdz."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    trials: Trials = None,
    trainings: Trainings = None,
    epochs: Epochs = None,
    store: StoreDir = DEFAULT_STORE,
    concurrency: Concurrency = None,
) -> None:
    """Find the student of JOB.py's network that meets the limits, and write it to a file with a report.

    With --max-drop it is the smallest one that loses no more, else the most accurate one within the limits.
    Beside the packed file FILE.rdz lies FILE.md, which says what it is and how it was made.
    """
    from dataclasses import replace

    from search.clusters.environment import prepare_environment
    from search.objectives.budget import NO_LIMITS

    with problems():
        budget = limits.budget()
        if budget == NO_LIMITS:
            raise Problem("Say what the student must fit: give --max-bytes, --max, --max-ram or --max-drop.")
        if job.suffix != ".py":
            raise Problem(f"{job} is no Python file: give one with network() and data(split).")
        check_writable(store)
        objectives = objectives_of(size_of, None)
        check_metrics(budget, **objectives)
        places = _places(target or Path(f"{job.stem}-student.rdz"))
        check_outputs(places, force=force)
        prepare_environment(None)
        study = job_of(job, store)
        study = study if epochs is None else replace(study, epochs=epochs)
        from search.options import Options, extent

        name, uri = named(None, study.name, store, None)
        options = Options(
            name=name,
            **extent(trials, trainings, None, usual=study.trials, usual_sampler=study.sampler),
            seed=0,
            store=store.absolute(),
            tracking_uri=uri,
            budget=budget,
            **objectives,
            concurrency=concurrency,
            own_model=str(job),
        )
        outcome = run(study, options, offer=False)
        chosen = _chosen(outcome, limits.max_drop is not None)
        file, report = _contents(outcome, chosen, options, job, places[0])
        write_outputs(dict(zip(places, (file, report), strict=True)), force=force)
    for path in places:
        out.print(f"{whole_line(str(path))} is written.", highlight=False, soft_wrap=True)


def _places(target: Path) -> tuple[Path, Path]:
    """Of the packed file and of its report."""
    if target.suffix != ".rdz":
        raise Problem(f"{target} must end in .rdz: it becomes a packed file.")
    return target, target.with_suffix(".md")


def _chosen(outcome: Outcome, smallest: bool) -> str:
    """The trial of the student that is written.

    Raises:
        Problem: no student is within the limits.
    """
    if not outcome.front:
        raise Problem("No student met the limits: give more room, or more --trials and --epochs.")
    if smallest:
        return outcome.front[0]
    quality = outcome.quality
    return max(
        outcome.front, key=lambda each: quality.gain(outcome.records[each].metrics[quality.validation])
    )


def _contents(
    outcome: Outcome, chosen: str, options: Options, job: Path, target: Path
) -> tuple[bytes, bytes]:
    """The packed file, and the report on it as Markdown."""
    from dataclasses import replace

    from search.objectives.mark import MARK_NAME
    from search.tracking.notes import plain, trial_note
    from search.units import show_bytes

    record, quality, teacher = outcome.records[chosen], outcome.quality, outcome.teacher
    assert record.packed_file is not None  # of a student on the front
    yardstick = replace(options.yardstick(quality), teacher=teacher)
    report = "\n\n".join(
        [
            f"# {target.name}",
            trial_note(record.described(), yardstick),
            f"The network that it was made of: {quality.label} {quality.text(teacher[quality.name])} on the "
            f"test split, {show_bytes(teacher['packed_bytes'])} in full precision. Limits: "
            f"{options.budget.text(quality)}.",
            *([f"{MARK_NAME}: {plain(told)}."] if (told := outcome.mark.text(quality)) else []),
            f"Measured again from the file: `rayduce evaluate {quoted(target)} --model {quoted(job)}`. "
            f"As ONNX: `rayduce export {quoted(target)} student.onnx --model {quoted(job)}`.",
        ]
    )
    return record.packed_file.read_bytes(), f"{report}\n".encode()
