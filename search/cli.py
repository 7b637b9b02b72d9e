"""The command line."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from search.command_help import METHODS, Command
from search.problem import Problem
from search.temporary import keep_torch_private
from search.units import count, parse_bytes, show_bytes, show_seconds
from trainables.foreign import LONGEST, shown
from trainables.metrics import Quality, quality_of

if TYPE_CHECKING:
    from search.budget import Budget
    from search.options import Options
    from search.resume import Earlier
    from search.store import Store, Sweep
    from search.studies import Study
    from search.sweep import Outcome
    from trainables.recipe import Recipe

T = TypeVar("T")

app = typer.Typer(
    name="rayduce",
    help="Find the smallest student of a trained network that stays accurate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # with it, help is not Command's and shows the type of each switch
    context_settings={"help_option_names": ["-h", "--help"]},
)
# A pipe has no width: do not cut tables. No emoji: a name may hold ":heart:".
out = Console(emoji=False) if sys.stdout.isatty() else Console(width=160, emoji=False)
err = Console(stderr=True, emoji=False)


def _store_folder(text: str) -> Path:
    """An empty name would be the current folder, which nobody means who writes it."""
    if not str(text):
        raise typer.BadParameter("it must name a folder; write . for the current one.")
    return Path(text)


StoreDir = Annotated[
    Path,
    typer.Option(
        "--store",
        metavar="DIR",
        parser=_store_folder,
        help="Folder of teachers, trials and MLflow's database.",
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        metavar="URI",
        help="MLflow store; default MLFLOW_TRACKING_URI, else sqlite in --store.",
    ),
]


def _named_path(text: str) -> Path:
    if not text:  # which would be the folder one stands in, though nobody named it
        raise typer.BadParameter("the name is empty; give a directory, or . for this one")
    return Path(text)


DataDir = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Directory of the data set.", parser=_named_path),
]
OwnModel = Annotated[
    str | None,
    typer.Option("--model", help="Your own student as module:Class; it is imported.", metavar="MODULE:CLASS"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Port = Annotated[int, typer.Option("--port", metavar="PORT", min=1, max=65535, help="Port on 127.0.0.1.")]
MaxBytes = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Budget: bytes of the packed file, such as 64kB.")
]
MaxLatency = Annotated[
    float | None,
    typer.Option(metavar="MS", help="Budget: latency in ONNX Runtime on this machine, one thread."),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(metavar="POINTS", help="Budget: points of quality below the teacher, on validation."),
]
StudentSource = Annotated[
    str,
    typer.Argument(
        metavar="RUN_ID|FILE",
        help="A run (its id, or how it begins; or models:/MODEL@ALIAS, if registered), or a packed file.",
    ),
]
StudyName = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="digits, phrases, multi30k, text_pairs, image_folder, fashion_mnist, cifar10 or cifar100.",
    ),
]
Trials = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="How many students to train; default by study.")
]
Epochs = Annotated[int | None, typer.Option(metavar="N", min=2, help="Of each student; default by study.")]
ImageSize = Annotated[
    int | None, typer.Option(metavar="PIXELS", min=4, max=1024, help="Resize a folder's images.")
]
SourceLanguage = Annotated[
    str | None, typer.Option(metavar="LANG", help="Of text_pairs: translate from, as files are named.")
]
TargetLanguage = Annotated[str | None, typer.Option(metavar="LANG", help="Of text_pairs: translate to.")]
TestName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which test files, such as test_2017_flickr.")
]
VocabularySize = Annotated[
    int | None, typer.Option(metavar="N", min=32, max=65536, help="Tokens of a translator's vocabulary.")
]
Methods = Annotated[
    str | None,
    typer.Option(metavar="NAME,...", help=f"Search these methods alone, of {METHODS}; see rayduce methods."),
]
Fixes = Annotated[
    list[str] | None,
    typer.Option("--fix", metavar="NAME=VALUE", help="Do not search it, such as bits=4; repeatable."),
]
Ranges = Annotated[
    list[str] | None,
    typer.Option("--range", metavar="NAME=LOW:HIGH", help="Search it there, such as bits=2:4; repeatable."),
]
Download = Annotated[bool, typer.Option("--download", help="Fetch a published data set into --data.")]
DEFAULT_STORE = Path("rayduce-store")
DELIVERY_SECONDS = 600.0
LONGEST_LINE = 4000
"""Letters of an error or of a line that names files: no path is longer, and whatever quotes a file is cut."""


@app.callback(invoke_without_command=True)
def rayduce(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Find the smallest student of a trained network that stays accurate."""
    from search.own_packages import strangers

    if version:
        out.print(f"rayduce {_version()}", highlight=False)
        raise typer.Exit
    if warning := strangers():
        err.print(f"[bold yellow]Warning:[/] {_line(warning)}", highlight=False, soft_wrap=True)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of("rayduce")
    except PackageNotFoundError:
        err.print("[bold red]Error:[/] Rayduce is not installed here; run pip install .", highlight=False)
        raise typer.Exit(2) from None


@contextmanager
def _problems() -> Iterator[None]:
    """Turn what a user can put right into one sentence and exit code 2."""
    from search.mlflow_client import StoreError

    caught: tuple[type[Exception], ...] = (Problem, StoreError)
    if "torch" in sys.modules:
        from trainables.export import ExportError
        from trainables.packed_file import PackedFileError
        from trainables.tasks.base import DataError

        caught = (*caught, PackedFileError, DataError, ExportError)
    try:
        yield
    except caught as error:
        err.print(f"[bold red]Error:[/] {_line(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except OSError as error:
        if error.filename is None:  # of no file: a pipe that was closed, a connection
            raise
        from trainables.foreign import shown

        name = shown(str(error.filename), 400)
        text = f"Cannot use {name}: {error.strerror}; put that right, or give another."
        err.print(f"[bold red]Error:[/] {_escape(text)}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None


def _tell(text: str) -> None:
    """Say something that is no result."""
    err.print(_line(text), style="dim", highlight=False, soft_wrap=True)


def _escape(text: str, longest: int = LONGEST) -> str:
    """Text from a file, a store, a server or the command line as the console may print it, markup and all."""
    from rich.markup import escape

    return escape(shown(text, longest))


def _line(text: str) -> str:
    """The same for a whole line, which may name paths."""
    return _escape(text, LONGEST_LINE)


def _print_json(value: Any) -> None:
    """JSON in ASCII: what is in a file cannot speak to the terminal, and every encoding can write it."""
    out.print_json(json.dumps(value, allow_nan=False), ensure_ascii=True)


@app.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce sweep digits\n\n"
    "  rayduce sweep digits --trials 100 --max-bytes 16kB --max-drop 1 --name tiny\n\n"
    "  rayduce sweep digits --from digits-1 --sampler gp\n\n"
    "  rayduce sweep image_folder --data photos --image-size 32\n\n"
    "  rayduce sweep phrases --trials 16\n\n"
    "  rayduce sweep text_pairs --data corpus\n\n"
    "  rayduce sweep digits --methods qd,lsq --fix prune=no --range bits=2:4 --range symmetric_bits=2:4\n\n"
    "  rayduce sweep digits --model examples.own_model:SeparableNet\n\n"
    "  rayduce sweep digits --latency --concurrency 1\n\n"
    "  rayduce sweep cifar10 --data DIR --address auto --store /shared/store",
)
def sweep(
    study: StudyName,
    trials: Trials = None,
    epochs: Epochs = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the sweep; default STUDY-1, STUDY-2, ...")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the search and of every training.")] = 0,
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
    sampler: Annotated[
        str, typer.Option(metavar="NAME", help="How recipes are drawn: tpe, gp, nsga2, random or qmc.")
    ] = "tpe",
    earlier: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="SWEEP", help="Learn from an earlier sweep of the store; repeatable."),
    ] = None,
    methods: Methods = None,
    fix: Fixes = None,
    range_: Ranges = None,
    latency: Annotated[bool, typer.Option("--latency", help="Minimise latency as well.")] = False,
    scheduler: Annotated[
        Literal["pareto", "revive", "none"],
        typer.Option(
            metavar="NAME",
            help="pareto: end students early that have no prospect of the front; revive: the same, and take "
            "them up again once they have one; none: train all to the end.",
        ),
    ] = "pareto",
    concurrency: Annotated[int | None, typer.Option(metavar="N", min=1, help="Trials at a time.")] = None,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a running Ray cluster, or auto.")
    ] = None,
    model: OwnModel = None,
) -> None:
    """Search for the quality-size front of STUDY's students."""
    from search.environment import prepare_environment

    with _problems():
        prepare_environment(address)
    from search.mlflow_client import settle
    from search.options import Options
    from search.store import default_tracking_uri, next_name
    from search.studies import find_study

    with _problems():
        _allow(model)
        chosen = find_study(study, own_model=model)
        if epochs is not None:
            chosen = replace(chosen, epochs=epochs)
        uri = default_tracking_uri(store, tracking_uri)
        settle(uri, _tell)
        options = Options(
            name=next_name(store, uri, study) if name is None else _checked_name(name),
            trials=trials or chosen.trials,
            seed=seed,
            store=store.absolute(),
            tracking_uri=uri,
            data=data,
            about_data=_about_data(image_size, source, target, test, vocabulary),
            download=download,
            budget=_budget(max_bytes, max_latency_ms, max_drop),
            sampler=sampler,
            earlier=tuple(earlier or ()),
            minimize_latency=latency,
            concurrency=concurrency,
            address=address,
            own_model=model,
            **_wishes(methods, fix, range_),
            scheduler=scheduler,
        )
        _run(chosen.narrowed(options.methods, options.fixed, options.ranges), options)


def _run(study: Study, options: Options, *, resume: bool = False) -> None:
    """Run a sweep, or go on with one, and print how it ended."""
    from search.display import Display
    from search.ray_watch import RayDied
    from search.store import open_store
    from search.sweep import go_on_with, run_sweep

    store, name = options.store, options.name
    started = time.monotonic()
    try:
        with Display(out, name, options.trials) as display:
            outcome = run_sweep(study, options, display, _report(store, options.tracking_uri), resume=resume)
    except KeyboardInterrupt:
        err.print(_line(f"Stopped. Go on with: {go_on_with(options)}"), soft_wrap=True)
        raise typer.Exit(130) from None
    except RayDied as error:
        err.print(f"[bold red]Error:[/] {_line(str(error))}", highlight=False, soft_wrap=True)
        sys.stdout.flush()
        os._exit(2)  # what Ray does at the interpreter's end would wait for what has died
    took = f"{show_seconds(time.monotonic() - started)}{' since it was resumed' if resume else ''}"
    _print_outcome(outcome, options, took)
    if not any(record.state == "finished" for record in outcome.records.values()):
        raise typer.Exit(1)
    if outcome.undelivered:
        out.print(_undelivered_front(outcome))
        return
    opened = open_store(store, options.tracking_uri)
    found = opened.sweep(name)
    out.print(_front_table(_front_rows(opened, found), found.quality, "Front, smallest first"))
    out.print(
        f"The page: {_line(opened.artifact_location(found.run_id, 'front.html'))}\n"
        f"Next{_line(_where(store, options.tracking_uri, ', with'))}: rayduce front, rayduce inspect, "
        "rayduce export RUN student.onnx, rayduce dashboard, rayduce mlflow",
        highlight=False,
        style="dim",
    )


def _where(store: Path, tracking_uri: str | None, before: str = "") -> str:
    """What a command needs to be told to find this store; nothing for the one it would look for by itself."""
    from search.mlflow_client import masked
    from search.store import own_database

    words = [] if store.absolute() == DEFAULT_STORE.absolute() else [f"--store {_quoted(store)}"]
    if tracking_uri is not None and tracking_uri != own_database(store.absolute()):
        words.append(f"--tracking-uri {shlex.quote(masked(tracking_uri))}")
    return " ".join([before, *words]) if words else ""


def _quoted(path: Path) -> str:
    """``path`` as a shell takes it, on one line."""
    return shlex.quote(shown(str(path), 1000))


def _report(store: Path, tracking_uri: str) -> Callable[[str], str]:
    """Makes the page of a sweep from what MLflow has of it."""
    from dashboards.report import front_html
    from search.store import open_store

    def report(name: str) -> str:
        opened = open_store(store, tracking_uri)
        return front_html(opened.trials(name), opened.sweep(name))

    return report


def _undelivered_front(outcome: Outcome) -> Table:
    """The front as the driver knows it, for while MLflow does not."""
    quality = outcome.quality
    table = Table(title="Front, smallest first", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("student", quality.label, "validation", "packed", "file"):
        table.add_column(name, no_wrap=True)
    for record in (outcome.records[trial_id] for trial_id in outcome.front):
        table.add_row(
            _escape(record.name),
            _score(quality, record.metrics[quality.name]),
            _score(quality, record.metrics[quality.validation]),
            show_bytes(record.metrics["packed_bytes"]),
            _line(str(record.packed_file)),
        )
    return table


@app.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce resume digits-1\n\n"
    "  rayduce resume photos-2 --data /mnt/photos --store /shared/store",
)
def resume(
    name: Annotated[str, typer.Argument(metavar="SWEEP", help="Its name.")],
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    data: DataDir = None,
    concurrency: Annotated[int | None, typer.Option(metavar="N", min=1, help="Trials at a time.")] = None,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a running Ray cluster, or auto.")
    ] = None,
    model: OwnModel = None,
) -> None:
    """Go on with a sweep that was stopped, failed or killed.

    Settings are those that it was started with; what is given here replaces them. Trials go on from their
    checkpoints.
    """
    from search.environment import prepare_environment
    from search.options import command
    from search.resume import find_sweep

    with _problems():
        found = find_sweep(store, _checked_name(name))
        if found.finished and found.has_arrived(tracking_uri):
            said = f"The sweep {name} has finished: rayduce front {name} --store {_quoted(store)}"
            out.print(_line(said), highlight=False, soft_wrap=True)
            return
        uri = found.tracking_uri("resume", tracking_uri)
        if found.finished:
            out.print(f"The sweep {name} has finished; MLflow gets what it lacks.", highlight=False)
            _deliver(found, uri, DELIVERY_SECONDS)
            return
        options = found.options(uri)
        if address is None and options.address is not None:
            again = command("resume", name, options.store, tracking_uri=uri, address=options.address)
            raise Problem(
                f"The sweep {name} ran on the Ray cluster {options.address}, which only its log says: it is "
                f"not joined unless you name it: {again}"
            )
        prepare_environment(address)
        from search.mlflow_client import settle

        settle(uri, _tell)
    from search.studies import find_study

    with _problems():
        if model != options.own_model:
            own = options.own_model
            raise Problem(
                f"The students of {name} are {own}: give --model {own}, so that it may be imported."
                if own
                else f"The students of {name} are Rayduce's own; leave out --model."
            )
        _allow(model)
        given: dict[str, Any] = {"data": data, "concurrency": concurrency, "address": address}
        options = replace(options, **{key: value for key, value in given.items() if value is not None})
        study = replace(find_study(found.study, own_model=model), epochs=found.epochs)
        _run(study.narrowed(options.methods, options.fixed, options.ranges), options, resume=True)


@app.command(
    cls=Command,
    short_help="List the methods and what can be searched of them.",
    epilog="Examples:\n\n  rayduce methods\n\n  rayduce methods --json",
)
def methods(as_json: AsJson = False) -> None:
    """List the published methods, their papers, and what a sweep searches of them.

    Names are those of --methods, --fix and --range; --json lists all that can be given a range, searched by
    itself or not.
    """
    from search.methods_table import method_records, methods_table

    if as_json:
        _print_json(method_records())
    else:
        out.print(methods_table(), highlight=False)


@app.command(cls=Command, epilog="Examples:\n\n  rayduce deliver digits-1 --store /shared/store")
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
    from search.resume import find_sweep

    with _problems():
        found = find_sweep(store, _checked_name(name))
        _deliver(found, found.tracking_uri("deliver", tracking_uri), seconds)


def _deliver(found: Earlier, tracking_uri: str, seconds: float) -> None:
    """Send MLflow what it lacks, and say so."""
    from search.mlflow_client import settle
    from search.resume import deliver

    settle(tracking_uri, _tell)
    problem = deliver(found, tracking_uri, _report(found.folder.store, tracking_uri), seconds)
    if problem:
        raise Problem(problem)
    out.print(f"MLflow has everything of {found.folder.name}.", highlight=False)


@app.command(
    cls=Command,
    short_help="Say what a sweep would take, without running it.",
    epilog="Examples:\n\n  rayduce plan digits\n\n  rayduce plan digits --hours 8 --max-bytes 16kB\n\n"
    "  rayduce plan cifar10 --data DIR --trials 200 --nodes 4 --node-price 0.90",
)
def plan(
    study: StudyName,
    trials: Trials = None,
    epochs: Epochs = None,
    hours: Annotated[
        float | None, typer.Option(metavar="H", help="Say how many trials fit in so many hours.")
    ] = None,
    nodes: Annotated[int, typer.Option(metavar="N", min=1, help="Of the cluster, like this machine.")] = 1,
    node_price: Annotated[
        float | None, typer.Option(metavar="EUR", help="Price of a node and hour, for the cost.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Trials at a time on a node.")
    ] = None,
    store: StoreDir = DEFAULT_STORE,
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
    methods: Methods = None,
    fix: Fixes = None,
    range_: Ranges = None,
    model: OwnModel = None,
    as_json: AsJson = False,
) -> None:
    """Say what a sweep of STUDY would take: sizes, time, cost, disk and memory.

    A few batches are trained to time them; nothing is written. Times are those of a machine that has nothing
    else to do. The exit code is 1 where disk or memory is short.
    """
    from search.options import Options
    from search.plan import make_plan
    from search.plan_table import plan_record, plan_table
    from search.studies import find_study

    with _problems():
        _allow(model)
        chosen = find_study(study, own_model=model)
        if epochs is not None:
            chosen = replace(chosen, epochs=epochs)
        for name, value in (("--hours", hours), ("--node-price", node_price)):
            if value is not None and not 0 < value < math.inf:
                raise Problem(f"{name} must be above 0, got {value:g}.")
        options = Options(
            name="plan",
            trials=trials or chosen.trials,
            seed=0,
            store=store.absolute(),
            tracking_uri="",
            data=data,
            about_data=_about_data(image_size, source, target, test, vocabulary),
            download=download,
            budget=_budget(max_bytes, max_latency_ms, max_drop),
            concurrency=concurrency,
            own_model=model,
            **_wishes(methods, fix, range_),
        )
        made = make_plan(chosen.narrowed(options.methods, options.fixed, options.ranges), options, nodes)
    if as_json:
        _print_json(plan_record(made, hours, node_price))
    else:
        quality = quality_of(made.metric)
        out.print(plan_table(made, options.budget, quality, hours, node_price), highlight=False)
    if made.resources.short:
        raise typer.Exit(1)


def _about_data(
    image_size: int | None, source: str | None, target: str | None, test: str | None, vocabulary: int | None
) -> dict[str, Any]:
    """Those that were given."""
    given = {
        "image_size": image_size,
        "source": source,
        "target": target,
        "test": test,
        "vocabulary": vocabulary,
    }
    return {name: value for name, value in given.items() if value is not None}


def _wishes(methods: str | None, fix: list[str] | None, ranges: list[str] | None) -> dict[str, Any]:
    """What was asked for of the space, as :class:`search.options.Options` has it."""
    names = [name.strip() for name in (methods or "").split(",")]
    return {"methods": tuple(filter(None, names)), "fixed": tuple(fix or ()), "ranges": tuple(ranges or ())}


def _print_outcome(outcome: Outcome, options: Options, took: str) -> None:
    ended = [record for record in outcome.records.values() if record.state == "finished"]
    quality, teacher = outcome.quality, outcome.teacher
    told = f"{quality.label} {quality.text(teacher[quality.name])}"
    told += f" (validation {quality.text(teacher[quality.validation])})"
    within = ""
    if options.budget.text(quality):
        within = f"{sum(not record.over for record in ended)} of them within the limits, "
    out.print(
        f"[bold]{_escape(options.name)}[/]: {count(len(ended), 'student')} in {took}, "
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
        out.print(f"  It {_line(outcome.short)}.", style="yellow", highlight=False)
    for record in outcome.records.values():
        if record.reason and record.state != "pruned":
            word = "failed: " if record.state == "failed" else ""
            out.print(
                f"  {word}{_escape(record.name)}: {_line(record.reason)}", style="yellow", highlight=False
            )
    if outcome.undelivered:
        out.print(_line(outcome.undelivered), style="yellow", highlight=False, soft_wrap=True)


def _front_rows(opened: Store, found: Sweep) -> list[dict[str, Any]]:
    """The front's trials, smallest first, each with where its packed file lies."""
    from search.store import records

    rows = records(opened.front(found.name))
    return [{**row, "packed_file": opened.artifact_location(row["run_id"], "student.rdz")} for row in rows]


def _front_table(rows: list[dict[str, Any]], quality: Quality, title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("run", "student"):
        table.add_column(name, no_wrap=True)
    for name in (quality.label, "validation", "packed", "ratio", "latency"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        latency = row["latency_ms"]
        table.add_row(
            _escape(row["run_id"][:8]),
            _escape(row["name"]),
            _score(quality, row[quality.name]),
            _score(quality, row[quality.validation]),
            show_bytes(row["packed_bytes"]),
            f"{row['compression_ratio']:.1f}x",
            "-" if latency is None else f"{latency:.3f} ms",
        )
    return table


def _score(quality: Quality, value: float | None) -> str:
    return "-" if value is None else quality.text(value)


@app.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce front\n\n  rayduce front digits-1 --json\n\n"
    "  rayduce front --html front.html --png front.png",
)
def front(
    name: Annotated[
        str | None, typer.Argument(metavar="SWEEP", help="Its name; default the newest that has a student.")
    ] = None,
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page that opens without a network.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Write the figure; uses Chromium.")
    ] = None,
) -> None:
    """List the students on the front of a sweep, smallest first.

    Without a name it is that of the newest sweep that has a student.
    """
    from search.front_choice import newest_with_students, why_no_front
    from search.serving import write_front
    from search.store import open_store

    with _problems():
        opened = open_store(store, tracking_uri, _tell)
        found = opened.sweep(name) if name is not None else newest_with_students(opened)
        rows = _front_rows(opened, found)
        missing = "" if rows else why_no_front(opened, found)
        for path in write_front(opened, found, html, png) if html or png else ():
            err.print(f"Wrote {_line(str(path))}", highlight=False, soft_wrap=True)
    if as_json:
        _print_json(rows)
        return
    if missing:
        out.print(_line(missing), highlight=False)
        return
    out.print(_front_table(rows, found.quality, f"Front of {_escape(found.name)}"))
    if limits := found.budget.text(found.quality):
        teacher = found.quality.text(found.teacher_validation)
        out.print(
            f"Budget: {_escape(limits)}. The teacher's validation {found.quality.label} is {teacher}.",
            style="dim",
            highlight=False,
        )
    for metric, signature in sorted(found.signatures.items()):
        out.print(f"{_escape(metric)}: {_escape(signature)}", style="dim", highlight=False)
    best = _escape(rows[-1]["run_id"][:8])
    where = _where(store, tracking_uri)
    out.print(
        f"Take one away with: rayduce export {best} student.rdz{_line(where)}",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )


@app.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce evaluate student.rdz\n\n"
    "  rayduce evaluate models:/rayduce-digits@smallest-within-1-point\n\n"
    "  rayduce evaluate student.rdz --data photos --json",
)
def evaluate(
    source: StudentSource,
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    data: DataDir = None,
    split: Annotated[str, typer.Option(metavar="SPLIT", help="test, validation or train.")] = "test",
    model: OwnModel = None,
    as_json: AsJson = False,
) -> None:
    """Measure a student's quality again, from its file alone."""
    import torch

    from trainables.evaluation import evaluate_file
    from trainables.packed_file import read_header
    from trainables.tasks.base import SPLITS, DataError

    with _problems():
        if split not in SPLITS:
            raise Problem(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}.")
        _allow(model)
        content = _packed(source, store, tracking_uri)
        recipe = _named(source, lambda: read_header(content))
        _check_own(model, recipe)
        torch.set_num_threads(1)  # as in the sweep: sums are added in the same order
        try:
            arrays = recipe.task.load(data)
        except DataError as error:
            raise Problem(f"The student's data cannot be read: {error}") from error
        task = recipe.task.open(arrays, torch.device("cpu"), recipe.seed)
        measured = _named(source, lambda: _with_own_model(lambda: evaluate_file(content, task, split)))
    result = {
        "source": source,
        "method": recipe.method,
        "recipe_id": recipe.recipe_id,
        "split": split,
        # A perplexity may be infinite, which JSON cannot say.
        **{name: value if math.isfinite(value) else None for name, value in measured.items()},
        "packed_bytes": len(content),
    }
    if as_json:
        _print_json(result)
        return
    qualities = quality_of(recipe.task.metric).reported
    scores = ", ".join(f"{quality.label} {quality.text(measured[quality.name])}" for quality in qualities)
    out.print(
        f"{_line(source)}: {scores} on the {split} split, {len(content):,} bytes ({_escape(recipe.method)})",
        highlight=False,
        soft_wrap=True,
    )


@app.command(
    cls=Command,
    short_help="Translate standard input.",
    epilog="Examples:\n\n  echo 'Guten Morgen.' | rayduce translate student.rdz\n\n"
    "  rayduce translate student.rdz --beam 1 < german.txt > english.txt",
)
def translate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A packed file (.rdz) of a student that translates.")
    ],
    beam: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="Hypotheses; 1 is greedy.")] = 5,
    model: OwnModel = None,
) -> None:
    """Translate standard input line by line with FILE alone."""
    from search.lines import groups
    from trainables.packed_file import read_file, read_header
    from trainables.translator import NoTranslator, PackedTranslator

    with _problems():
        if sys.stdin is None:
            raise Problem("There is nothing to translate: standard input is closed.")
        _allow(model)
        content = read_file(file)
        _check_own(model, _named(file, lambda: read_header(content)))
        try:
            translator = _named(file, lambda: _with_own_model(lambda: PackedTranslator(content)))
        except NoTranslator as error:
            raise Problem(f"{file}: {error}.") from error
    if sys.stdin.isatty():
        err.print("One sentence per line; Ctrl-D ends.", style="dim")
    try:
        for lines in groups(sys.stdin.buffer, 256):
            said = "".join(f"{line}\n" for line in translator.translate(lines, beam))
            sys.stdout.buffer.write(said.encode())  # UTF-8 as what is read, whatever the terminal's locale
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:  # who reads has enough; the interpreter must not flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command(
    cls=Command,
    short_help="Write a student to OUT: packed file, ONNX or plain tensors.",
    epilog="Examples:\n\n  rayduce export 4f0c81aa student.rdz\n\n"
    "  rayduce export models:/rayduce-digits@smallest-within-1-point student.rdz\n\n"
    "  rayduce export student.rdz student.onnx\n\n"
    "  rayduce export student.rdz weights.safetensors",
)
def export(
    source: StudentSource,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="onnx, rdz or safetensors; default by OUT's suffix.")
    ] = None,
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    model: OwnModel = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace OUT if it exists, and export even over the sweep's budget."),
    ] = False,
    reduced_range: Annotated[
        bool | None,
        typer.Option(
            "--reduced-range/--full-range",
            help="Of int8 weights in ONNX: 7 bits, for processors without VNNI, or 8; default as here.",
        ),
    ] = None,
) -> None:
    """Write a student to OUT: the packed file itself, ONNX, or plain tensors.

    ONNX is int8 where weights and inputs of layers have at most 8 bits on even grids, else float32. A student
    that translates becomes several files, named after OUT: student-encoder.onnx, student-step.onnx and
    student-vocabulary.model.
    """
    from search.outputs import check_outputs, write_outputs
    from trainables.evaluation import assets_of, rebuild
    from trainables.export import integer_kind, to_onnx, to_safetensors
    from trainables.packed_file import unpack
    from trainables.quantizers.base import joined

    with _problems():
        kind = format or target.suffix.removeprefix(".")
        if not kind:
            raise Problem(f"{target} has no suffix; end it in .onnx, .rdz or .safetensors, or give --format.")
        if kind not in ("onnx", "rdz", "safetensors"):
            raise Problem(f"{kind!r} is no export format; choose --format onnx, rdz or safetensors.")
        if reduced_range is not None and kind != "onnx":
            raise Problem(f"--reduced-range and --full-range are about ONNX files, and {target} is none.")
        # Several files are named after it; what cannot be one of them is refused before the work.
        check_outputs([target], force=True)
        _allow(model)
        content = _packed(source, store, tracking_uri, within_budget=not force)
        recipe, tensors = _named(source, lambda: unpack(content))
        _check_own(model, recipe)
        metadata = {
            "recipe_id": recipe.recipe_id,
            "method": recipe.method,
            "packed_bytes": str(len(content)),
            "task": json.dumps(recipe.task.to_dict()),  # with the class names, where the task has them
        }
        checked: set[Path] = set()
        if kind == "onnx":
            student = _with_own_model(lambda: rebuild(recipe, tensors))
            task = recipe.task
            if reduced_range is not None and not integer_kind(student, tensors):
                raise Problem(
                    f"{source} is exported in float32, since inputs of its layers are not quantized; "
                    "leave out --reduced-range and --full-range."
                )
            graphs = to_onnx(student, task.interface, metadata, tensors, reduced_range=reduced_range)
            exported = _graph_files(target, graphs)
            checked = {*exported}
            companions = task.companions(assets_of(tensors))
            exported |= {target.with_name(f"{target.stem}-{name}"): data for name, data in companions.items()}
        elif kind == "safetensors":
            exported = {
                target: to_safetensors({name: t.decode() for name, t in joined(tensors).items()}, metadata)
            }
        else:
            exported = {target: content}
        read = Path(source) if Path(source).is_file() else None
        write_outputs(exported, force=force, source=read)
    for path, data in exported.items():
        note = ", checked against the student" if path in checked else ""
        out.print(f"{_line(str(path))}: {len(data):,} bytes{note}", highlight=False, soft_wrap=True)


def _packed(source: str, store: Path, tracking_uri: str | None, *, within_budget: bool = False) -> bytes:
    """The packed file that a command is about: a file, or that of a run of the store."""
    from search.store import open_store
    from trainables.packed_file import read_file

    named = source.startswith("models:") or re.fullmatch(r"[0-9a-f]{6,32}", source)
    if Path(source).is_file() or (source and Path(source).exists() and not named):
        return read_file(Path(source))
    if not named:
        raise Problem(f"{source!r} is neither a file nor a run id; `rayduce front` lists run ids.")
    opened = open_store(store, tracking_uri, _tell)
    run_id = opened.registered(source) if ":" in source else opened.complete(source)
    if within_budget:
        _check_within_budget(opened, run_id)
    return opened.download(run_id, "student.rdz")


def _check_within_budget(opened: Store, run_id: str) -> None:
    row = opened.find_run(run_id)
    if over := opened.sweep(row["sweep"]).over_budget(row):
        raise Problem(
            f"The student {run_id[:8]} is over the budget of its sweep {row['sweep']}: {over}; "
            "`rayduce front` lists those within it, --force exports this one nevertheless."
        )


def _graph_files(target: Path, graphs: Mapping[str, bytes]) -> dict[Path, bytes]:
    """A lone graph is ``target`` itself; several are named after it, as in ``student-encoder.onnx``."""
    if len(graphs) == 1:
        (data,) = graphs.values()
        return {target: data}
    return {target.with_name(f"{target.stem}-{name}{target.suffix}"): data for name, data in graphs.items()}


@app.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce inspect student.rdz\n\n  rayduce inspect 4f0c81aa --account\n\n"
    "  rayduce inspect student.rdz --json",
)
def inspect(
    source: StudentSource,
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    accounts: Annotated[
        bool, typer.Option("--account", help="Count its weights as published methods do, side by side.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show where the bytes of a packed file are."""
    from search.account_table import account_records, account_tables
    from trainables.accounting import account
    from trainables.naming import short_name
    from trainables.packed_file import describe, read_header, unpack

    with _problems():
        content = _packed(source, store, tracking_uri)
        rows, recipe = _named(source, lambda: (describe(content), read_header(content)))
    title = f"{source}: {short_name(recipe)}, {len(content):,} bytes, recipe {recipe.recipe_id}"
    if accounts:
        counted = account(unpack(content)[1], rows)
        if as_json:
            _print_json(account_records(counted))
        else:
            out.print(*account_tables(title, counted), sep="\n")
        return
    if as_json:
        _print_json(rows)
        return
    table = Table(title=_line(title), title_justify="left", box=None, padding=(0, 2, 0, 0), show_footer=True)
    total = sum(row["bytes"] for row in rows)
    table.add_column("name", "total")
    table.add_column("shape")
    table.add_column("codec")
    for heading in ("bits", "sparsity"):
        table.add_column(heading, justify="right")
    table.add_column("bytes", f"{total:,}", justify="right")
    entropy = sum(row["entropy_bytes"] for row in rows)
    table.add_column("entropy bytes", f"{entropy:,.0f}", justify="right")
    table.add_column("share", "100.0 %", justify="right")
    for row in rows:
        table.add_row(
            _escape(row["name"]),
            "" if row["shape"] is None else "x".join(map(str, row["shape"])) or "scalar",
            row["codec"],
            "" if row["bits"] is None else str(row["bits"]),
            "" if row["sparsity"] is None else f"{100 * row['sparsity']:.1f} %",
            f"{row['bytes']:,}",
            f"{row['entropy_bytes']:,.0f}",
            f"{100 * row['share']:.1f} %",
        )
    out.print(table)


@app.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce dashboard --port 8050\n\n  rayduce dashboard --host 0.0.0.0",
)
def dashboard(
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    port: Port = 8050,
    host: Annotated[
        str,
        typer.Option(
            metavar="HOST", help="Address to listen on; another than this machine's own asks for a token."
        ),
    ] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="What visitors must know; default a new one, printed.")
    ] = None,
) -> None:
    """Serve the pages of fronts, trials and sweeps."""
    from search.serving import serve_pages

    with _problems():
        serve_pages(
            store,
            tracking_uri,
            host,
            port,
            token,
            lambda text: out.print("\n".join(map(_line, text.split("\n"))), highlight=False, soft_wrap=True),
        )


@app.command(cls=Command, epilog="Example:\n\n  rayduce mlflow --port 5000")
def mlflow(store: StoreDir = DEFAULT_STORE, tracking_uri: TrackingUri = None, port: Port = 5000) -> None:
    """Serve MLflow's pages over this store on 127.0.0.1."""
    from search.mlflow_client import masked
    from search.store import default_tracking_uri, open_store

    with _problems():
        _check_port(port)
        uri = default_tracking_uri(store, tracking_uri)
        opened = open_store(
            store, uri, _tell
        )  # refuses a store that is not there, where MLflow would make one
        if uri.startswith(("http://", "https://")):
            raise Problem(f"The store is an MLflow server already; open {masked(uri)} in a browser.")
        sweeps = opened.all_sweeps()
        # MLflow's own front page, and its page of an experiment, are about chat models.
        runs = f"experiments/{opened.experiment_of(sweeps[0])}/runs" if sweeps else "experiments"
        with opened.served() as served:
            _serve_mlflow(served, store, port, runs, copied=served != opened.tracking_uri)


def _serve_mlflow(uri: str, store: Path, port: int, runs: str, *, copied: bool) -> None:
    """Run MLflow's server until it ends; ``runs`` is its page to begin with.

    A copy of the database is removed when this process ends, which therefore must not become the server.
    """
    from search.serving import LOOPBACK_HOSTS

    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # ten processes of 240 MB that nothing here uses
        "PYTHONWARNINGS": "ignore",  # its dependencies' business
        "MLFLOW_BACKEND_STORE_URI": uri,  # not on the command line, where everybody sees its password
    }
    address = f"http://127.0.0.1:{port}/#/{runs}?workflowType=machine_learning"
    out.print(f"MLflow is starting at {_line(address)} (Ctrl-C ends it).", highlight=False, soft_wrap=True)
    arguments = [
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--allowed-hosts",
        LOOPBACK_HOSTS,
        "--workers",
        "1",
        "--uvicorn-opts",
        "--log-level warning",
    ]
    arguments += ["--default-artifact-root", (store / "artifacts").absolute().as_uri()]
    command = [sys.executable, "-m", "mlflow", *arguments]
    if not copied:
        os.execve(sys.executable, command, environment)
    child = subprocess.Popen(command, env=environment)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: child.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the child by itself
    raise typer.Exit(child.wait())


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise Problem(f"Port {port} is taken; give another with --port.") from None


def _budget(max_bytes: str | None, max_latency_ms: float | None, max_drop: float | None) -> Budget:
    from search.budget import Budget

    size = None if max_bytes is None else parse_bytes(max_bytes)
    try:
        return Budget(size, max_latency_ms, max_drop)
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        raise Problem(f"--{name.replace('_', '-')} {rest}.") from error


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise Problem(
            f"{name!r} is no sweep name; use up to 64 letters, digits, dots, dashes and underscores."
        )
    return name


def _allow(target: str | None) -> None:
    """Let ``module:Class`` of the command line be imported, from the current folder too."""
    if target is None:
        return
    from search.own_packages import strangers
    from trainables.models.custom import allow

    sys.path.insert(0, str(Path.cwd()))
    try:
        allow(target)
        if warning := strangers():
            err.print(f"[bold yellow]Warning:[/] {_line(warning)}", highlight=False, soft_wrap=True)
    except ValueError as error:
        raise Problem(f"--model {target}: {error}") from error


def _check_own(target: str | None, recipe: Recipe) -> None:
    """Refuse a ``--model`` that is not the student's."""
    from trainables.models import Custom

    if target is None:
        return
    if not isinstance(recipe.model, Custom):
        raise Problem(f"The student is a {type(recipe.model).__name__} of Rayduce's own; leave out --model.")
    if recipe.model.target != target:
        raise Problem(f"The student is a {recipe.model.target}, not a {target}; correct --model.")


def _named(source: Path | str, read: Callable[[], T]) -> T:
    """Run ``read``; what is wrong with a packed file is said with the file's name."""
    from trainables.packed_file import PackedFileError

    try:
        return read()
    except PackedFileError as error:
        raise Problem(f"{source}: {error}") from error


def _with_own_model(build: Callable[[], T]) -> T:
    """Run ``build``; what is wrong with the user's own model is the user's to put right."""
    from trainables.packed_file import PackedFileError

    try:
        return build()
    except PackedFileError:
        raise
    except ValueError as error:
        raise Problem(str(error)) from error


def main() -> None:
    """Entry point of ``rayduce``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None if it is closed
            stream.reconfigure(errors="backslashreplace")  # a letter that the terminal's encoding lacks
    keep_torch_private()
    app(prog_name="rayduce")


if __name__ == "__main__":
    main()
