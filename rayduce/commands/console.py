"""Where commands print, and how foreign text and errors are shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console

from search.problem import Problem
from trainables.foreign import LONGEST, shown

T = TypeVar("T")


# A pipe has no width: do not cut tables. No emoji: a name may hold ":heart:".
out = Console(emoji=False) if sys.stdout.isatty() else Console(width=160, emoji=False)


err = Console(stderr=True, emoji=False)


LONGEST_LINE = 4000
"""Letters of an error or of a line that names files: no path is longer, and whatever quotes a file is cut."""


SAID_IN_A_SENTENCE = {
    "search.problem": "Problem",
    "search.store.mlflow_client": "StoreError",
    "studies.names": "StudyError",
    "trainables.exporting.checking": "ExportError",
    "rayduce_reader.packed_file": "PackedFileError",
    "trainables.data.errors": "DataError",
}
"""Module -> its error that a user can put right. By name, because most of the modules load torch."""


def _can_be_put_right() -> tuple[type[Exception], ...]:
    """Those errors, asked for once one is raised: what raises it has been imported by then."""
    return tuple(
        getattr(sys.modules[module], name)
        for module, name in SAID_IN_A_SENTENCE.items()
        if module in sys.modules
    )


@contextmanager
def problems() -> Iterator[None]:
    """Turn what a user can put right into one sentence and exit code 2."""
    try:
        yield
    except _can_be_put_right() as error:
        err.print(f"[bold red]Error:[/] {whole_line(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except OSError as error:
        if error.filename is None:  # of no file: a pipe that was closed, a connection
            raise
        name = shown(str(error.filename), 400)
        text = f"Cannot use {name}: {error.strerror}; put that right, or give another."
        err.print(f"[bold red]Error:[/] {escaped(text)}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None


def tell(text: str) -> None:
    """Say something that is no result."""
    err.print(whole_line(text), style="dim", highlight=False, soft_wrap=True)


def escaped(text: str, longest: int = LONGEST) -> str:
    """Text from a file, a store, a server or the command line as the console may print it, markup and all."""
    from rich.markup import escape

    return escape(shown(text, longest))


def whole_line(text: str) -> str:
    """The same for a whole line, which may name paths."""
    return escaped(text, LONGEST_LINE)


def print_json(value: Any) -> None:
    """JSON in ASCII: what is in a file cannot speak to the terminal, and every encoding can write it."""
    out.print_json(json.dumps(value, allow_nan=False), ensure_ascii=True)


def with_its_name(source: Path | str, read: Callable[[], T]) -> T:
    """Run ``read``; what is wrong with a packed file is said with the file's name."""
    from trainables.shipping.packed_file import PackedFileError

    try:
        return read()
    except PackedFileError as error:
        raise Problem(f"{source}: {error}") from error


def with_own_model(build: Callable[[], T]) -> T:
    """Run ``build``; what is wrong with the user's own model is the user's to put right."""
    from trainables.shipping.packed_file import PackedFileError

    try:
        return build()
    except PackedFileError:
        raise
    except ValueError as error:
        raise Problem(str(error)) from error
