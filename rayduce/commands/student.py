"""Commands about one student: evaluate, translate, export, inspect."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rayduce.commands.arguments import (
    DEFAULT_STORE,
    AsJson,
    OwnModel,
    StoreDir,
    StudentSource,
    TrackingUri,
    allow_own,
    check_own,
    job_of,
)
from rayduce.commands.console import (
    err,
    escaped,
    out,
    print_json,
    problems,
    tell,
    whole_line,
    with_its_name,
    with_own_model,
)
from rayduce.commands.contents_table import contents_table
from rayduce.commands.data_options import DataDir
from rayduce.commands.help import Command
from rayduce.commands.results import where_store_is
from search.problem import Problem
from trainables.exporting.formats import FORMATS
from trainables.metrics import quality_of

if TYPE_CHECKING:
    from search.store.store import Store
    from trainables.exporting.formats.base import Format, Shipped, Wishes
    from trainables.recipe import Recipe
    from trainables.shipping.packed_file import Packed
    from trainables.tasks.base import LoadedTask


commands = typer.Typer()


def _opened(recipe: Recipe, data: Path | None) -> LoadedTask:
    """The task of ``recipe`` with its data, on the CPU."""
    import torch

    from trainables.tasks.base import DataError

    try:
        arrays = recipe.task.load(data)
    except DataError as error:
        raise Problem(f"The student's data cannot be read: {error}") from error
    return recipe.task.open(arrays, torch.device("cpu"), recipe.seed)


def _either(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


@commands.command(
    cls=Command,
    short_help="Measure a student from its file, or a network as it is.",
    epilog="Examples:\n\n  rayduce evaluate student.rdz\n\n"
    "  rayduce evaluate models:/rayduce-digits@measured-within-1-point\n\n"
    "  rayduce evaluate student.rdz --data photos --json\n\n"
    "  rayduce evaluate net.py\n\n"
    "  rayduce evaluate student.rdz --model net.py",
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
    """Measure a student again, from its file alone; or the network of a job file, as it is."""
    import torch

    from trainables.shipping.evaluation import evaluate_file
    from trainables.shipping.packed_file import read_header
    from trainables.tasks.base import SPLITS

    with problems():
        if split not in SPLITS:
            raise Problem(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}.")
        if source.endswith(".py"):
            content, recipe = _as_given(Path(source))
        else:
            allow_own(model)
            content = _packed(source, store, tracking_uri)
            recipe = with_its_name(source, lambda: read_header(content))
            check_own(model, recipe)
        torch.set_num_threads(1)  # as in the sweep: sums are added in the same order
        task = with_own_model(lambda: _opened(recipe, data))
        measured = with_its_name(source, lambda: with_own_model(lambda: evaluate_file(content, task, split)))
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
        print_json(result)
        return
    qualities = quality_of(recipe.task.metric).reported
    scores = ", ".join(f"{quality.label} {quality.text(measured[quality.name])}" for quality in qualities)
    out.print(
        f"{whole_line(source)}: {scores} on the {split} split, {len(content):,} bytes "
        f"({escaped(recipe.method)})",
        highlight=False,
        soft_wrap=True,
    )


@commands.command(
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
    from rayduce.commands.lines import groups
    from trainables.shipping.packed_file import read_file, read_header
    from trainables.shipping.translator import NoTranslator, PackedTranslator

    with problems():
        if sys.stdin is None:
            raise Problem("There is nothing to translate: standard input is closed.")
        allow_own(model)
        content = read_file(file)
        check_own(model, with_its_name(file, lambda: read_header(content)))
        try:
            translator = with_its_name(file, lambda: with_own_model(lambda: PackedTranslator(content)))
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


@commands.command(
    cls=Command,
    short_help="Write a student to OUT: packed file, ONNX and others.",
    epilog="Examples:\n\n  rayduce export 4f0c81aa student.rdz\n\n"
    "  rayduce export models:/rayduce-digits@measured-within-1-point student.rdz\n\n"
    "  rayduce export student.rdz student.onnx\n\n"
    "  rayduce export student.rdz student.pte\n\n"
    "  rayduce export student.rdz weights.safetensors",
)
def export(
    source: StudentSource,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help=f"{_either(FORMATS)}; default by OUT's suffix."),
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
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FORM", help="Of ONNX: stored, the bits of the packed file (default), or float32."
        ),
    ] = None,
) -> None:
    """Write a student to OUT in the format that OUT's suffix names.

    .rdz is the packed file itself, .onnx for ONNX Runtime, .pt2 for PyTorch, .pte for ExecuTorch, .xml (and
    .bin) for OpenVINO, .tflite (and .json) for LiteRT, .safetensors plain tensors. What can be run is run,
    and compared with the student, before it is written. ONNX is int8 where weights and inputs of layers have
    at most 8 bits on even grids; other weights keep their bits in the file, and are float32 once it is
    loaded. A student that translates becomes several files, named after OUT: student-encoder.onnx,
    student-step.onnx and student-vocabulary.model.
    """
    from rayduce.commands.outputs import check_outputs, write_outputs
    from trainables.exporting.formats import format_of
    from trainables.exporting.formats.base import Wishes
    from trainables.shipping.packed_file import unpack

    with problems():
        chosen = format_of(_format_name(format, target))
        wishes = Wishes(reduced_range, weights)
        _check_wishes(chosen, wishes, target)
        chosen.check_installed()
        # Several files are named after it; what cannot be one of them is refused before the work.
        check_outputs([target], force=True)
        allow_own(model)
        content = _packed(source, store, tracking_uri, within_budget=not force)
        packed = with_its_name(source, lambda: unpack(content))
        check_own(model, packed.recipe)
        student = _shipped(packed, content)
        exported = with_own_model(lambda: chosen.write(student, target, wishes))
        read = Path(source) if Path(source).is_file() else None
        write_outputs(exported.files, force=force, source=read)
    for path, data in exported.files.items():
        note = ", checked against the student" if path in exported.checked else ""
        note += f"; {exported.note}" if note and exported.note else ""
        out.print(f"{whole_line(str(path))}: {len(data):,} bytes{note}", highlight=False, soft_wrap=True)


def _format_name(format: str | None, target: Path) -> str:
    """The name of the format that is asked for: ``format``, or what the suffix of ``target`` says."""
    suffixes = {suffix: name for name, suffix in FORMATS.items()}
    if format is None:
        if not target.suffix:
            raise Problem(f"{target} has no suffix; end it in {_either(FORMATS.values())}, or give --format.")
        format = suffixes.get(target.suffix, target.suffix.removeprefix("."))
    if format not in FORMATS:
        raise Problem(
            f"{format!r} is no export format; end the file in {_either(FORMATS.values())}, "
            f"or give --format {_either(FORMATS)}."
        )
    return format


def _check_wishes(format: Format, wishes: Wishes, target: Path) -> None:
    if wishes.weights not in (None, "stored", "float32"):
        raise Problem(f"{wishes.weights!r} is no form of weights; choose --weights stored or float32.")
    for wish, options in (
        ("weights", "--weights is"),
        ("reduced_range", "--reduced-range and --full-range are"),
    ):
        if getattr(wishes, wish) is not None and wish not in format.wishes:
            raise Problem(f"{options} about ONNX and OpenVINO files, and {target} is none.")


def _shipped(packed: Packed, content: bytes) -> Shipped:
    """The student in a packed file, as formats take it."""
    from trainables.exporting.formats.base import Shipped
    from trainables.shipping.evaluation import assets_of, rebuild
    from trainables.training.export_costs import facts_of

    recipe, tensors, model = packed
    companions = recipe.task.companions(assets_of(tensors))
    facts = facts_of(recipe, len(content))
    return Shipped(recipe, tensors, content, facts, companions, lambda: rebuild(recipe, tensors, model))


def _as_given(path: Path) -> tuple[bytes, Recipe]:
    """The network of a job file as it is, packed in full precision."""
    import torch

    from search.teaching.given import packed_as_given

    study = job_of(path)
    task = study.make_task(None, {})
    recipe = study.teacher_recipe(task)
    opened = task.open(study.arrays or {}, torch.device("cpu"), 0)
    return packed_as_given(recipe, opened, study.given), recipe


def _packed(source: str, store: Path, tracking_uri: str | None, *, within_budget: bool = False) -> bytes:
    """The packed file that a command is about: a file, or that of a run of the store."""
    from search.store.store import open_store
    from trainables.shipping.packed_file import read_file

    named = source.startswith("models:") or re.fullmatch(r"[0-9a-f]{6,32}", source)
    if Path(source).is_file() or (source and Path(source).exists() and not named):
        return read_file(Path(source))
    if not named:
        front = f"rayduce front{where_store_is(store, tracking_uri)}"
        raise Problem(f"{source!r} is neither a file nor a run id; `{front}` lists run ids.")
    opened = open_store(store, tracking_uri, tell)
    run_id = opened.registered(source) if ":" in source else opened.complete(source)
    if within_budget:
        _check_within_budget(opened, run_id, where_store_is(store, tracking_uri))
    return opened.download(run_id, "student.rdz")


def _check_within_budget(opened: Store, run_id: str, where: str) -> None:
    row = opened.find_run(run_id)
    if over := opened.sweep(row["sweep"]).over_budget(row):
        raise Problem(
            f"The student {run_id[:8]} is over the budget of its sweep {row['sweep']}: {over}; "
            f"`rayduce front {row['sweep']}{where}` lists those within it, --force exports this one "
            "nevertheless."
        )


@commands.command(
    cls=Command,
    short_help="Show where the bytes of a packed file are.",
    epilog="Examples:\n\n  rayduce inspect student.rdz\n\n  rayduce inspect 4f0c81aa --account\n\n"
    "  rayduce inspect 4f0c81aa --layers\n\n"
    "  rayduce inspect student.rdz --json",
)
def inspect(
    source: StudentSource,
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    accounts: Annotated[
        bool, typer.Option("--account", help="Count its weights as published methods do, side by side.")
    ] = False,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers", help="Cost of each layer: work, bytes, memory, and share of latency, measured here."
        ),
    ] = False,
    model: OwnModel = None,
    as_json: AsJson = False,
) -> None:
    """Show where the bytes of a packed file are, or what its layers cost."""
    from rayduce.commands.account_table import account_records, account_tables
    from rayduce.commands.layers_table import layer_records, layers_of_file, layers_table
    from trainables.naming import short_name
    from trainables.shipping.accounting import account
    from trainables.shipping.packed_file import describe, read_header, unpack

    with problems():
        if accounts and layers:
            raise Problem("--account and --layers are two tables; ask for one of them.")
        allow_own(model)
        content = _packed(source, store, tracking_uri)
        rows, recipe = with_its_name(source, lambda: (describe(content), read_header(content)))
        check_own(model, recipe)
        costs = with_own_model(lambda: layers_of_file(content, source)) if layers else []
    title = f"{source}: {short_name(recipe)}, {len(content):,} bytes, recipe {recipe.recipe_id}"
    if accounts:
        counted = account(unpack(content)[1], rows)
        if as_json:
            print_json(account_records(counted))
        else:
            out.print(*account_tables(title, counted), sep="\n")
        return
    if as_json:
        print_json(layer_records(costs) if layers else rows)
        return
    if layers:
        out.print(layers_table(title, costs))
        return
    out.print(contents_table(title, rows, out.width))
    if recipe.task.preprocessing:
        told = (f"{name} {_spelled(value)}" for name, value in recipe.task.preprocessing.items())
        out.print(", ".join(told), highlight=False, soft_wrap=True)


def _spelled(value: Any) -> str:
    return ",".join(f"{each:g}" for each in value) if isinstance(value, list) else str(value)
