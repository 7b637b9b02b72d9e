"""A user's own functions in place of a file: ``Sweep(network=..., data=...)``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studies.study import Study

Function = Callable[..., Any]
Functions = Mapping[str, Function]


def sorted_out(
    network: Function | None,
    data: str | os.PathLike[str] | Function | None,
    functions: Mapping[str, Function | None],
) -> tuple[Path | None, Functions]:
    """The directory of the data, and the functions that were given by their names, none of them None.

    Args:
        network: the user's function, if any.
        data: a directory or the user's function, if any.
        functions: others.
    """
    directory = None if data is None or callable(data) else Path(data)
    own = {"network": network, "data": data if callable(data) else None, **functions}
    return directory, {name: each for name, each in own.items() if each is not None}


def study_of_functions(study: object, functions: Functions, store: Path) -> tuple[Study, str]:
    """The study of functions of one file, and that file.

    Args:
        study: what was given beside them, which must be None.
        functions: by the names that a file has for them.
        store: folder of the sweeps' files.

    Raises:
        TypeError: a study is given as well, a name is unknown, ``network`` or ``data`` is missing, or they
            are no functions at the top level of one file.
        StudyError: what the file defines does not fit.
    """
    from studies.job import FUNCTIONS, NEEDED, study_of_file

    if study is not None:
        raise TypeError(
            f"give a study or functions of your own, not both: got {study!r} and {', '.join(functions)}"
        )
    files = set()
    for name, function in functions.items():
        if name not in FUNCTIONS:
            raise TypeError(f"there is no argument {name!r}; functions are {', '.join(FUNCTIONS)}")
        code = getattr(function, "__code__", None)
        if code is None or "." in getattr(function, "__qualname__", "."):
            raise TypeError(f"{name} must be a function at the top level of a file, got {function!r}")
        files.add(code.co_filename)
    if missing := [name for name in NEEDED if name not in functions]:
        raise TypeError(f"give {' and '.join(missing)} too, a function: got {', '.join(functions)} alone")
    if len(files) != 1:
        raise TypeError(f"the functions must be of one file, got {', '.join(sorted(files))}")
    (file,) = files
    renamed = {name: each.__name__ for name, each in functions.items() if each.__name__ != name}
    return study_of_file(Path(file), names=renamed, store=store), file
