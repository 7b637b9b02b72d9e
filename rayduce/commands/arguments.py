"""Options that commands share, and what is checked of them."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rayduce.commands.console import (
    err,
    whole_line,
)
from rayduce.commands.help import STUDIES
from search.problem import Problem
from studies.names import check_name
from trainables.foreign import shown

if TYPE_CHECKING:
    from studies.study import Study
    from trainables.recipe import Recipe


def _store_folder(text: str) -> Path:
    """A folder; an empty name would be the current one, which nobody means who writes it."""
    if not str(text):
        raise typer.BadParameter("it must name a folder; write . for the current one.")
    there = _nearest(Path(text))
    if not os.path.isdir(there):
        raise typer.BadParameter(f"{shown(str(there), 500)} is a file and not a folder; give another.")
    return Path(text)


def _nearest(path: Path) -> Path:
    """``path``, or the folder nearest to it that is there."""
    return next(each for each in (path, *path.parents, Path()) if os.path.lexists(each))


def check_writable(store: Path) -> None:
    """Refuse a store that a sweep could not write, before any data is read.

    Raises:
        Problem: one sentence that names its folder.
    """
    try:
        with tempfile.TemporaryFile(dir=_nearest(store)):
            pass
    except OSError as error:
        raise Problem(
            f"Cannot write to the store's folder {shown(str(store.absolute()), 500)}: {error.strerror}; "
            "choose another with --store."
        ) from error


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


OwnModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Your own code, module:Class or a file.py; it is imported.",
        metavar="MODULE:CLASS|FILE",
    ),
]


SweepName = Annotated[
    str | None, typer.Argument(metavar="SWEEP", help="Its name; default the newest that has a student.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


Port = Annotated[int, typer.Option("--port", metavar="PORT", min=1, max=65535, help="Port on 127.0.0.1.")]


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
        help=f"{STUDIES}; or your own FILE.py.",
    ),
]


Trials = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="How many students to start at most; default by study, or ten times --trainings.",
    ),
]


Trainings = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Stop after as much training as N whole students take: each counts by the share of its training "
        "that it did, at least a tenth. --sampler freeze-thaw has this limit by default.",
    ),
]


Epochs = Annotated[int | None, typer.Option(metavar="N", min=2, help="Of each student; default by study.")]


Compute = Annotated[
    float | None,
    typer.Option(
        "--budget",
        metavar="EPOCHS",
        min=0.0,
        help="Compute of each student that begins with trained weights, in epochs of the whole network: the "
        "smaller, the more epochs, at most --epochs; 0 gives each --epochs. Default 0.09 of --epochs.",
    ),
]


Concurrency = Annotated[int | None, typer.Option(metavar="N", min=1, help="Trials at a time.")]


Address = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Of a running Ray cluster, or auto.")]


DEFAULT_STORE = Path("rayduce-store")


def study_of(
    name: str,
    epochs: int | None,
    own_model: str | None,
    store: Path | None = None,
    *,
    data: Path | None = None,
    about: Mapping[str, Any] | None = None,
) -> Study:
    """The study called ``name``, with so many epochs if they are given, of students of ``own_model``.

    What a user's file has to be decoded is kept in ``store``; None (default) keeps nothing.
    """
    if name.endswith(".py"):
        study = job_of(Path(name), store)
    else:
        check_name(name)
        from studies.known import find_study

        named = about is not None and "network" in about
        if not named:
            allow_own(own_model)
        study = find_study(name, own_model=own_model, data=data, about_data=about)
        if named:
            _warn_of_strangers()
    return study if epochs is None else replace(study, epochs=epochs)


def job_of(path: Path, store: Path | None = None) -> Study:
    """The study that a user's own file defines, which is tried out.

    Raises:
        Problem: one sentence that says what does not fit.
    """
    from studies.job import study_of_file

    _warn_of_strangers()

    def tell(text: str) -> None:
        err.print(f"{text} ...", style="dim", highlight=False)

    return study_of_file(path, tell, store=None if store is None else store.absolute())


def code_option(study: str, model: str | None, network: str | None = None) -> str | None:
    """The user's own code that a command names: a job file, ``--model``, or the file of ``--network``.

    Raises:
        Problem: two of them.
    """
    if network is not None and not study.endswith(".py"):
        if model is not None:
            raise Problem("--network says what students are made of: leave out --model.")
        from studies.own_images import file_of_network

        return file_of_network(network)
    if not study.endswith(".py"):
        return model
    if model is not None:
        raise Problem(f"{study} brings its own network: leave out --model.")
    return study


def checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise Problem(
            f"{name!r} is no sweep name; use up to 64 letters, digits, dots, dashes and underscores."
        )
    return name


def allow_own(target: str | None) -> None:
    """Let ``module:Class`` or a file of the command line be imported, from the current folder too."""
    if target is None:
        return
    from trainables.models.custom import allow
    from trainables.own_code import allow_file

    sys.path.insert(0, str(Path.cwd()))
    try:
        if target.endswith(".py"):
            allow_file(Path(target))
        else:
            allow(target)
    except ValueError as error:
        raise Problem(f"--model {target}: {error}") from error
    _warn_of_strangers()


def _warn_of_strangers() -> None:
    from rayduce.own_packages import strangers

    if warning := strangers():
        err.print(f"[bold yellow]Warning:[/] {whole_line(warning)}", highlight=False, soft_wrap=True)


def check_own(target: str | None, recipe: Recipe) -> None:
    """Refuse a ``--model`` that is not the student's."""
    if target is None:
        return
    imports = recipe.model.imports
    if imports is None:
        raise Problem(f"The student is a {type(recipe.model).__name__} of Rayduce's own; leave out --model.")
    if imports != (Path(target).name if target.endswith(".py") else target):
        raise Problem(f"The student is a {imports}, not a {target}; correct --model.")
