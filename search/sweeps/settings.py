"""What a sweep's log says of how it was asked for: enough to go on, and to refuse what does not fit."""

from __future__ import annotations

import collections.abc
import dataclasses
import hashlib
import types
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from search.problem import Problem
from trainables.foreign import shown

T = TypeVar("T")

PACKAGES = ("dashboards", "rayduce", "rayduce_reader", "search", "spaces", "studies", "trainables")
OWN_CODE = "own model"
"""Names the digest of a user's class among the versions of the code."""
LIBRARIES = ("numpy", "optuna", "ray", "torch")


def to_json(value: Any) -> Any:
    """Dataclasses, mappings, tuples and paths as JSON has them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_json(kind: type[T], data: Mapping[str, Any]) -> T:
    """A dataclass of :func:`to_json`'s output, by the annotations of its fields.

    Raises:
        ValueError: fields are missing, unknown or out of range: another version wrote it.
    """
    hints = get_type_hints(kind)
    if unknown := data.keys() - hints.keys():
        raise ValueError(f"this version knows nothing of {', '.join(sorted(unknown))}")
    try:
        return kind(**{name: _value(hints[name], value, name) for name, value in data.items()})
    except TypeError as error:
        raise ValueError(str(error)) from error


def _value(hint: Any, value: Any, name: str) -> Any:
    """``value`` as a field with that annotation has it; ``ValueError`` if it is of another kind."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    (hint,) = (each for each in options if each is not type(None))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return from_json(hint, value)
    origin = get_origin(hint)
    if hint is Path and isinstance(value, str) and "\0" not in value:
        return Path(value)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(get_args(hint)[0], item, name) for item in value)
    if origin is collections.abc.Mapping and isinstance(value, Mapping):
        return dict(value)
    if (origin is Literal and value in get_args(hint)) or type(value) is hint:
        return value
    if hint is float and type(value) is int:
        return value
    raise ValueError(f"{name} cannot be {shown(repr(value), 60)}")


def code_version() -> dict[str, str]:
    """A hash of our source, and the versions of what computes."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        folder = _folder_of(package)
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder.parent).as_posix()
            digest.update(f"{name}\0".encode() + path.read_bytes())
    return {"rayduce": digest.hexdigest()[:16], **{name: version(name) for name in LIBRARIES}}


def _folder_of(package: str) -> Path:
    """Where a package is, wherever this module is."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is no package here: install Rayduce anew")
    return Path(spec.submodule_search_locations[0])


def check_same(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is different since the sweep called ``name`` was started, as sentences to be told.

    Args:
        name: of the sweep.
        before: its settings: ``data`` and ``teacher`` (fingerprint and recipe id), ``code``, with the
            digest of the students' class.
        now: the same, as they are now.

    Raises:
        Problem: data, teacher or the students' class are not what they were.
    """
    if before["data"] != now["data"]:
        raise Problem(
            f"The data are not those that the sweep {name} was started with (fingerprint {now['data'][:16]}, "
            f"not {before['data'][:16]}): give the right --data, or start a new sweep."
        )
    if before["teacher"] != now["teacher"]:
        raise Problem(
            f"The sweep {name} has the teacher {before['teacher']}, and its settings make {now['teacher']} "
            "now: your file, its weights or Rayduce have changed; go on with what it was started with, or "
            "start a new sweep."
        )
    was, own = before["code"].get(OWN_CODE), now["code"].get(OWN_CODE)
    if was != own:
        raise Problem(
            f"The code of the students' class was edited since the sweep {name} was started (digest "
            f"{own}, not {was}): undo the edit, or start a new sweep."
        )
    changed = [key for key in now["code"] if now["code"][key] != before["code"].get(key)]
    if not changed:
        return []
    told = ", ".join(f"{key} {before['code'].get(key)} -> {now['code'][key]}" for key in changed)
    return [f"the code has changed since the sweep was started: {told}"]
