"""What a packed file says of its student beside its tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rayduce_reader.packed_file import VERSION, Contents

CHANNELS = {"Digits": 1, "FashionMNIST": 1, "CIFAR10": 3, "CIFAR100": 3}
"""Of the images of tasks whose pixels are scaled to [-1, 1]."""


@dataclass(frozen=True)
class Header:
    """The header of a packed file, as JSON has it; nothing in it has been run or checked for sense.

    Attributes:
        version: of the file's format.
        recipe: how the student was made and what it is: an object as ``rayduce export`` writes it.
        architecture: what ships, where it is another than ``recipe["origin"]`` asks for, such as a slice;
            else None.
        names: of the stored tensors, in the order of the file; those that end in ``[rows]`` and ``[0]``,
            ``[1]``, ... are parts of one whose rows are in groups.
        elements: of all tensors together, dropped ones included.
    """

    version: int
    recipe: dict[str, Any]
    architecture: dict[str, Any] | None
    names: tuple[str, ...]
    elements: int

    @property
    def recipe_id(self) -> str:
        """16 hex digits that name the recipe, as everywhere in Rayduce: the beginning of a SHA-256."""
        text = json.dumps(self.recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def method(self) -> str:
        """The name of the method that made the student; empty if the recipe names none."""
        method = self.recipe.get("method")
        return method if isinstance(method, str) else ""

    @property
    def task(self) -> dict[str, Any]:
        """The data set, as configuration; empty if the recipe names none."""
        task = self.recipe.get("task")
        return task if isinstance(task, dict) else {}

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What output ``i`` means, at place ``i``; None where the recipe names no classes."""
        names = self.task.get("classes")
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
        return None

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How images become inputs: ``inputs``, a formula, with its ``mean`` and ``std``, one per channel.

        Of a student of several tasks ``tasks`` is a list of these. Empty where the task's own inputs are the
        network's: sentences, or data of one's own.
        """
        return _preprocessing(self.task)


def header_of(contents: Contents) -> Header:
    """The header in what was read."""
    return Header(VERSION, contents.recipe, contents.architecture, tuple(contents.names), contents.elements)


def _preprocessing(task: Any) -> dict[str, Any]:
    if not isinstance(task, Mapping):
        return {}
    kind, tasks = task.get("type"), task.get("tasks")
    if kind == "Grouped":
        return _preprocessing(task.get("of"))
    if kind == "MultiTask" and isinstance(tasks, list):
        return {"tasks": [_preprocessing(each) for each in tasks]}
    channels = task.get("channels") if kind == "ImageFolder" else CHANNELS.get(str(kind))
    if channels not in (1, 3):
        return {}
    mean, std = task.get("mean"), task.get("std")
    if mean is None or std is None:
        mean, std = [0.5] * channels, [0.5] * channels
    return {"inputs": "(pixels / 255 - mean) / std", "mean": mean, "std": std}
