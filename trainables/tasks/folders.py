"""What is in a user's folder, whatever lies there: unreadable folders, broken links, pipes."""

from __future__ import annotations

import os
from pathlib import Path

from trainables.foreign import shown
from trainables.tasks.base import DataError

BROKEN = "broken links"
NO_FILE = "pipes, sockets or devices"

_LITTER = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "desktop.ini", "Thumbs.db", ".DS_Store")
"""Left behind by programs that pack, index or show folders."""


def say(path: Path) -> str:
    """``path`` as messages have it."""
    return shown(str(path), 300)


def check_directory(directory: Path, hint: str) -> None:
    """Refuse what is no directory.

    Args:
        directory: as the user gave it.
        hint: what to do instead.

    Raises:
        DataError: it is missing, is no directory, or cannot be looked at.
    """
    try:
        os.stat(directory)
        found = directory.is_dir()
    except FileNotFoundError:
        raise DataError(f"there is no directory {say(directory)}; {hint}") from None
    except OSError as error:
        raise cannot_be_read(directory, error) from error
    if not found:
        raise DataError(f"{say(directory)} is not a directory; {hint}")


def cannot_be_read(path: Path, error: OSError) -> DataError:
    """What is said of a file or folder that the system does not let us read."""
    reason = shown(error.strerror or str(error))
    return DataError(f"{say(path)} cannot be read ({reason}); make it readable or remove it")


def entries(directory: Path) -> list[os.DirEntry[str]]:
    """What is in ``directory``, sorted by name.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with os.scandir(directory) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise cannot_be_read(directory, error) from error


def kind_of(entry: os.DirEntry[str]) -> str:
    """``file``, ``folder``, :data:`BROKEN` or :data:`NO_FILE`; links are what they lead to."""
    try:
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "folder"
    except OSError:  # a link that leads to itself, or into a folder that is closed to us
        return BROKEN
    return NO_FILE if os.path.exists(entry.path) else BROKEN


def files_in(directory: Path) -> list[str]:
    """Names of the files in ``directory``, sorted.

    Raises:
        DataError: it cannot be read.
    """
    return [entry.name for entry in entries(directory) if kind_of(entry) == "file"]


def folders_in(directory: Path) -> list[str]:
    """Names of the folders in ``directory``, sorted, without hidden ones and those that programs leave there.

    Raises:
        DataError: it cannot be read.
    """
    return [entry.name for entry in entries(directory) if not hidden(entry) and kind_of(entry) == "folder"]


def hidden(entry: os.DirEntry[str]) -> bool:
    """Whether users do not see it, or did not put it there."""
    return entry.name.startswith(".") or litter(entry)


def litter(entry: os.DirEntry[str]) -> bool:
    """Whether some program left it there, so that nobody misses it; Rayduce's own store is of that kind."""
    return entry.name in _LITTER or _is_store(Path(entry.path))


def _is_store(folder: Path) -> bool:
    """Whether it holds what sweeps leave: their logs and teachers, or data that was decoded for them."""
    both = (folder / "sweeps").is_dir() and (folder / "teachers").is_dir()
    return both or next(folder.glob("data/*/manifest.json"), None) is not None


def identity(folder: Path) -> tuple[int, int]:
    """The same for two paths that lead to one folder.

    Raises:
        DataError: it cannot be looked at.
    """
    try:
        found = os.stat(folder)
    except OSError as error:
        raise cannot_be_read(folder, error) from error
    return found.st_dev, found.st_ino
