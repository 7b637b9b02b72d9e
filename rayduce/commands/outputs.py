"""Files that the user names: written through links and whole, or refused before anything is written."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from search.problem import Problem
from trainables.files import put_in_place, written_beside
from trainables.foreign import shown

_KINDS = (
    (stat.S_ISDIR, "a folder; name the file to write"),
    (stat.S_ISCHR, "a device, and only files are written; name a file"),
    (stat.S_ISBLK, "a device, and only files are written; name a file"),
    (stat.S_ISFIFO, "a pipe, and only files are written; name a file"),
    (stat.S_ISSOCK, "a socket, and only files are written; name a file"),
)


def check_outputs(paths: Iterable[Path], *, force: bool, source: Path | None = None) -> dict[Path, Path]:
    """Each of ``paths`` with the file that writing to it means: what a link leads to, else itself.

    Args:
        paths: as the user named them.
        force: whether files that exist may be replaced.
        source: a file that is read, and must not be replaced by something else; default none.

    Raises:
        Problem: one of them is a folder, a device or the like, exists and may not be replaced, cannot be
            written, or is the same file as another one or the source.
    """
    found = {path: _meant(path, force) for path in paths}
    taken = {} if source is None else {Path(os.path.realpath(source)): source}
    for path, real in found.items():
        if real in taken:
            raise Problem(f"{_text(path)} is the same file as {_text(taken[real])}; name another one.")
        taken[real] = path
    return found


def write_outputs(contents: Mapping[Path, bytes], *, force: bool, source: Path | None = None) -> None:
    """Write files that the user named; none of them if one is refused, or the disk has no room for all.

    A link stays, and what it leads to gets the content. Each file is there whole or not at all: the content
    is written beside it and renamed, so another name (hard link) of the same file keeps the old content.
    Of several, none is renamed before all are written. The mode of a file that is replaced stays.

    Args:
        contents: path -> content.
        force: whether files that exist may be replaced.
        source: as for :func:`check_outputs`.

    Raises:
        Problem: as :func:`check_outputs`, or a file cannot be written.
    """
    places = check_outputs(contents, force=force, source=source)
    with ExitStack() as written:
        beside: dict[Path, Path] = {}
        for path, real in places.items():
            like = real.stat() if real.exists() else None
            with _told(path):
                beside[path] = written.enter_context(written_beside(real, contents[path], like))
        for path, real in places.items():
            with _told(path):
                put_in_place(beside[path], real)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say what the system has against a file as a sentence."""
    try:
        yield
    except OSError as error:
        raise Problem(f"{_text(path)} cannot be written: {error.strerror}.") from error


def _meant(path: Path, force: bool) -> Path:
    try:
        kind = path.stat().st_mode  # of what it leads to, also where that has no name, as behind /dev/stdout
        real = Path(os.path.realpath(path))
    except FileNotFoundError:
        real, kind = _to_be_made(path), None
    except (OSError, ValueError) as error:  # the latter of a name with a zero byte
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise Problem(f"The link {_text(path)} leads in a circle; name another file.") from None
        why = error.strerror if isinstance(error, OSError) else "it is no name of a file"
        raise Problem(f"{_text(path)} cannot be written: {why}.") from None
    leading = f"{_text(path)} leads to {_text(real)}, which" if path.is_symlink() else _text(path)
    if kind is not None:
        for is_it, what in _KINDS:
            if is_it(kind):
                raise Problem(f"{leading} is {what}.")
        if not force:
            raise Problem(f"{_text(path)} exists; give --force to replace it.")
        if not os.access(real, os.W_OK):
            raise Problem(f"{leading} is read-only; name another file.")
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise Problem(f"{_text(path)} cannot be written: the folder {_text(real.parent)} is read-only.")
    return real


def _to_be_made(path: Path) -> Path:
    """The file that writing to ``path`` would make: behind a link it is the one the link leads to."""
    real = Path(os.path.realpath(path))
    if real.parent.is_dir():
        return real
    if path.is_symlink():
        raise Problem(f"The link {_text(path)} leads to {_text(real)}, whose folder does not exist.")
    raise Problem(f"The folder {_text(path.absolute().parent)} does not exist.")


def _text(path: Path) -> str:
    return shown(str(path), 500)
