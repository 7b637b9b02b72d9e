"""Commands that search: sweep, resume, deliver."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from rayduce.commands.arguments import (
    DEFAULT_STORE,
    Address,
    Concurrency,
    DataDir,
    Download,
    Epochs,
    Fixes,
    ImageSize,
    MaxBytes,
    MaxDrop,
    MaxLatency,
    Methods,
    OwnModel,
    Ranges,
    SourceLanguage,
    StoreDir,
    StudyName,
    TargetLanguage,
    TestName,
    TrackingUri,
    Trials,
    VocabularySize,
    about_data,
    allow_own,
    budget_of,
    checked_name,
    code_option,
    job_of,
    study_of,
    wishes,
)
from rayduce.commands.console import (
    err,
    escaped,
    out,
    problems,
    tell,
    whole_line,
)
from rayduce.commands.help import SAMPLERS, Command
from rayduce.commands.results import front_rows, front_table, quality_head, quoted, score_text, where_store_is
from search.problem import Problem
from search.sampling.names import check_name as check_sampler
from search.units import count, show_bytes, show_seconds

if TYPE_CHECKING:
    from search.options import Options
    from search.sweeps.resume import Earlier
    from search.sweeps.sweep import Outcome
    from studies.study import Study


commands = typer.Typer()


DELIVERY_SECONDS = 600.0


SweepName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of the sweep; default STUDY-1, STUDY-2, ...")
]


Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Of the search and of every training.")]


Sampler = Annotated[str, typer.Option(metavar="NAME", help=f"How recipes are drawn: {SAMPLERS}.")]


EarlierSweeps = Annotated[
    list[str] | None,
    typer.Option("--from", metavar="SWEEP", help="Learn from an earlier sweep of the store; repeatable."),
]


MinimizeLatency = Annotated[bool, typer.Option("--latency", help="Minimise latency as well.")]


Scheduler = Annotated[
    Literal["pareto", "revive", "none"],
    typer.Option(
        metavar="NAME",
        help="pareto: end students early that have no prospect of the front; revive: the same, and take "
        "them up again once they have one; none: train all to the end.",
    ),
]


@commands.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce sweep digits\n\n"
    "  rayduce sweep digits --trials 100 --max-bytes 16kB --max-drop 1 --name tiny\n\n"
    "  rayduce sweep digits --from digits-1 --sampler gp\n\n"
    "  rayduce sweep image_folder --data photos --image-size 32\n\n"
    "  rayduce sweep phrases --trials 16\n\n"
    "  rayduce sweep text_pairs --data corpus\n\n"
    "  rayduce sweep digits --methods qd,lsq --fix prune=no --range bits=2:4 --range symmetric_bits=2:4\n\n"
    "  rayduce sweep net.py --max-drop 1\n\n"
    "  rayduce sweep digits --model examples.own_model:SeparableNet\n\n"
    "  rayduce sweep digits --latency --concurrency 1\n\n"
    "  rayduce sweep cifar10 --data DIR --address auto --store /shared/store",
)
def sweep(
    study: StudyName,
    trials: Trials = None,
    epochs: Epochs = None,
    name: SweepName = None,
    seed: Seed = 0,
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    data: DataDir = None,
    image_size: ImageSize = None,
    source: SourceLanguage = None,
    target: TargetLanguage = None,
    test: TestName = None,
    vocabulary: VocabularySize = None,
    download: Download = False,
    max_bytes: MaxBytes = None,
    max_latency_ms: MaxLatency = None,
    max_drop: MaxDrop = None,
    sampler: Sampler = "tpe",
    earlier: EarlierSweeps = None,
    methods: Methods = None,
    fix: Fixes = None,
    range_: Ranges = None,
    latency: MinimizeLatency = False,
    scheduler: Scheduler = "pareto",
    concurrency: Concurrency = None,
    address: Address = None,
    model: OwnModel = None,
) -> None:
    """Search for the quality-size front of STUDY's students."""
    from search.clusters.environment import prepare_environment

    with problems():
        prepare_environment(address)
    from search.options import Options

    with problems():
        check_sampler(sampler)
        own = code_option(study, model)
        chosen = study_of(study, epochs, model, store)
        name, uri = named(name, chosen.name, store, tracking_uri)
        options = Options(
            name=name,
            trials=trials or chosen.trials,
            seed=seed,
            store=store.absolute(),
            tracking_uri=uri,
            data=data,
            about_data=about_data(image_size, source, target, test, vocabulary),
            download=download,
            budget=budget_of(max_bytes, max_latency_ms, max_drop),
            sampler=sampler,
            earlier=tuple(earlier or ()),
            minimize_latency=latency,
            concurrency=concurrency,
            address=address,
            own_model=own,
            **wishes(methods, fix, range_),
            scheduler=scheduler,
        )
        run(chosen.narrowed(options.methods, options.fixed, options.ranges), options)


def named(name: str | None, study: str, store: Path, tracking_uri: str | None) -> tuple[str, str]:
    """The sweep's name, which may be the study's next, and the address of MLflow, a moved store put right."""
    from search.store.mlflow_client import settle
    from search.store.store import default_tracking_uri, next_name

    uri = default_tracking_uri(store, tracking_uri)
    settle(uri, tell)
    return next_name(store, uri, study) if name is None else checked_name(name), uri


def run(study: Study, options: Options, *, resume: bool = False) -> Outcome:
    """Run a sweep, or go on with one, and print how it ended.

    Raises:
        typer.Exit: it was stopped, or no student has finished.
    """
    from rayduce.commands.display import Display
    from search.store.store import open_store
    from search.sweeps.ray_watch import RayDied
    from search.sweeps.sweep import go_on_with, run_sweep

    store, name = options.store, options.name
    started = time.monotonic()
    try:
        with Display(out, name, options.trials) as display:
            outcome = run_sweep(study, options, display, _report(store, options.tracking_uri), resume=resume)
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
    found = opened.sweep(name)
    out.print(front_table(front_rows(opened, found), found.quality, "Front, smallest first"))
    place = where_store_is(store, options.tracking_uri, ", with")
    out.print(
        f"The page: {whole_line(opened.artifact_location(found.run_id, 'front.html'))}\n"
        f"Next{whole_line(place)}: rayduce front, rayduce inspect, "
        "rayduce export RUN student.onnx, rayduce dashboard, rayduce mlflow",
        highlight=False,
        style="dim",
    )
    return outcome


def _report(store: Path, tracking_uri: str) -> Callable[[str], str]:
    """Makes the page of a sweep from what MLflow has of it."""
    from dashboards.report import front_html
    from search.store.store import open_store

    def report(name: str) -> str:
        opened = open_store(store, tracking_uri)
        return front_html(opened.trials(name), opened.sweep(name))

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


@commands.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce resume digits-1\n\n"
    "  rayduce resume photos-2 --data /mnt/photos --store /shared/store",
)
def resume(
    name: Annotated[str, typer.Argument(metavar="SWEEP", help="Its name.")],
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    data: DataDir = None,
    concurrency: Concurrency = None,
    address: Address = None,
    model: OwnModel = None,
) -> None:
    """Go on with a sweep that was stopped, failed or killed.

    Settings are those that it was started with; what is given here replaces them. Trials go on from their
    checkpoints.
    """
    from search.clusters.environment import prepare_environment
    from search.sweeps.resume import find_sweep

    with problems():
        found = find_sweep(store, checked_name(name))
        if found.finished and found.has_arrived(tracking_uri):
            said = f"The sweep {name} has finished: rayduce front {name} --store {quoted(store)}"
            out.print(whole_line(said), highlight=False, soft_wrap=True)
            return
        uri = found.tracking_uri("resume", tracking_uri)
        if found.finished:
            out.print(f"The sweep {name} has finished; MLflow gets what it lacks.", highlight=False)
            _deliver(found, uri, DELIVERY_SECONDS)
            return
        options = found.going_on(tracking_uri, address=address, model=model)
        prepare_environment(address)
        from search.store.mlflow_client import settle

        settle(uri, tell)
    from studies.known import find_study

    with problems():
        given: dict[str, Any] = {"data": data, "concurrency": concurrency, "address": address}
        options = replace(options, **{key: value for key, value in given.items() if value is not None})
        if model is not None and model.endswith(".py"):
            study = job_of(Path(model), store)
        else:
            allow_own(model)
            study = find_study(found.study, own_model=model)
        study = replace(study, epochs=found.epochs)
        run(study.narrowed(options.methods, options.fixed, options.ranges), options, resume=True)


@commands.command(cls=Command, epilog="Examples:\n\n  rayduce deliver digits-1 --store /shared/store")
def deliver(
    name: Annotated[str, typer.Argument(metavar="SWEEP", help="Its name.")],
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="How long to wait for MLflow.")
    ] = DELIVERY_SECONDS,
) -> None:
    """Send MLflow what it lacks of a sweep.

    A sweep keeps everything in the store and delivers it while it runs; this is for what MLflow could not
    take. Whatever is delivered twice is there once.
    """
    from search.sweeps.resume import find_sweep

    with problems():
        found = find_sweep(store, checked_name(name))
        _deliver(found, found.tracking_uri("deliver", tracking_uri), seconds)


def _deliver(found: Earlier, tracking_uri: str, seconds: float) -> None:
    """Send MLflow what it lacks, and say so."""
    from search.store.mlflow_client import settle
    from search.sweeps.resume import deliver

    settle(tracking_uri, tell)
    problem = deliver(found, tracking_uri, _report(found.folder.store, tracking_uri), seconds)
    if problem:
        raise Problem(problem)
    out.print(f"MLflow has everything of {found.folder.name}.", highlight=False)


def _print_outcome(outcome: Outcome, options: Options, took: str) -> None:
    ended = [record for record in outcome.records.values() if record.state == "finished"]
    quality, teacher = outcome.quality, outcome.teacher
    told = f"{quality.label} {quality.text(teacher[quality.name])}"
    told += f" (validation {quality.text(teacher[quality.validation])})"
    within = ""
    if options.budget.text(quality):
        within = f"{sum(not record.over for record in ended)} of them within the limits, "
    out.print(
        f"[bold]{escaped(options.name)}[/]: {count(len(ended), 'student')} in {took}, "
        f"{within}{len(outcome.front)} on the front. Teacher: {told}, "
        f"{show_bytes(teacher['packed_bytes'])}.",
        highlight=False,
    )
    pruned = sum(r.state == "pruned" for r in outcome.records.values())
    if pruned:
        out.print(
            f"  {count(pruned, 'more student')} ended early, {'over a limit or ' if within else ''}"
            "with no prospect of the front; "
            "rayduce mlflow shows why, trial by trial.",
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
