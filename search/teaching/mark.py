"""ONNX Runtime's own int8 of the teacher: made once per store, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from search.problem import Problem
from search.teaching.products import cached_product, keep_product, product_path
from trainables.exporting.integer_weight import has_wide_products
from trainables.exporting.static_int8 import (
    NotQuantized,
    RuntimeInt8,
    calibration_inputs,
    evaluate_graphs,
    runtime_int8,
)
from trainables.recipe import Recipe
from trainables.runtime import RUNTIME_VERSION
from trainables.shipping.evaluation import open_student
from trainables.tasks.base import Arrays, Task

_GRAPH, _WAY = "graph ", "way "


class Made(NamedTuple):
    """What became of it.

    Attributes:
        quantized: the graphs; None if there are none.
        reason: why there are none, as a clause.
        qualities: on the validation split, by the names that the task gives them.
    """

    quantized: RuntimeInt8 | None
    reason: str
    qualities: Mapping[str, float]


def make_mark(file: bytes, arrays: Arrays, task: Task, kept: RuntimeInt8 | None) -> Made:
    """Quantize the teacher in a packed ``file`` and evaluate what came of it on the validation split.

    Args:
        file: the trained teacher.
        arrays: of its task.
        task: of the sweep, which evaluates; ranges are measured on the inputs of the teacher's own.
        kept: what was made before; None makes it now.
    """
    torch.set_num_threads(1)
    recipe, network = open_student(file)
    own = recipe.task.open(arrays, torch.device("cpu"), 0)
    try:
        made = kept or runtime_int8(network, recipe.task.interface, partial(calibration_inputs, own))
    except NotQuantized as error:
        return Made(None, str(error), {})
    return Made(made, "", evaluate_mark(made, file, arrays, task, "validation"))


def evaluate_mark(made: RuntimeInt8, file: bytes, arrays: Arrays, task: Task, split: str) -> dict[str, float]:
    """Quality of what ONNX Runtime made of the teacher in a packed ``file`` on ``split`` of ``task``."""
    torch.set_num_threads(1)
    _, network = open_student(file)
    opened = task.open(arrays, torch.device("cpu"), 0)
    return evaluate_graphs(made.graphs, network, task.interface, opened, split)


def mark_path(store: Path, recipe: Recipe, file: bytes, fingerprint: str) -> Path:
    """Where it is kept; another version of ONNX Runtime, or another kind of processor, makes another.

    Arguments are those of :func:`search.teaching.kept.product_path`.
    """
    version = "-".join(part for part in RUNTIME_VERSION.split(".") if part.isalnum())
    bits = "int8" if has_wide_products() else "int7"
    return product_path(store, recipe, file, fingerprint, f"onnxruntime-{version}-{bits}")


def kept_mark(path: Path) -> RuntimeInt8 | None:
    """What is kept at ``path``; None if nothing is, or it is damaged: then it is made again."""
    try:
        arrays = cached_product(path)
    except Problem:
        return None
    if arrays is None:
        return None
    ways = [name.removeprefix(_WAY) for name in arrays if name.startswith(_WAY)]
    graphs = {
        name.removeprefix(_GRAPH): values.tobytes()
        for name, values in arrays.items()
        if name.startswith(_GRAPH)
    }
    return RuntimeInt8(graphs, ways[0]) if ways and graphs else None


def keep_mark(path: Path, made: RuntimeInt8) -> None:
    """Keep it for the next sweep."""
    graphs = {f"{_GRAPH}{name}": np.frombuffer(data, np.uint8) for name, data in made.graphs.items()}
    keep_product(path, {**graphs, f"{_WAY}{made.way}": np.zeros(1, np.uint8)})
