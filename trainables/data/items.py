"""Items of anybody's dataset: (input, target) as arrays of one structure, dtype and shape."""

from __future__ import annotations

import json
import os
import sysconfig
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.data.errors import DataError, ItemError
from trainables.data.order import seed_all
from trainables.foreign import shown

TARGET = "target"
KINDS = ("one", "tuple", "dict")
_WIDER = {"float16": "float32", "float64": "float32", "uint16": "int32", "uint32": "int64"}
"""What torch computes with in place of what it hardly knows, or what networks do not take."""
_KEPT = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32")


@dataclass(frozen=True)
class Leaf:
    """One array of an item.

    Attributes:
        name: ``input``; of several ``input.0``, ``input.1``, ... or ``input.<key>``; or ``target``.
        dtype: numpy's name of it.
        shape: of one item.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Of one item."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Layout:
    """What every item of a dataset looks like.

    Attributes:
        kind: of the input: ``one`` array, a ``tuple`` or a ``dict`` of them.
        leaves: of the input in order, and the target last.
    """

    kind: str
    leaves: tuple[Leaf, ...]

    @property
    def nbytes(self) -> int:
        """Of one item."""
        return sum(leaf.nbytes for leaf in self.leaves)

    def joined(self, values: Sequence[Tensor]) -> tuple[Any, Tensor]:
        """(inputs, targets) from a tensor per leaf, as networks take them."""
        *inputs, target = values
        if self.kind == "dict":
            names = [leaf.name.removeprefix("input.") for leaf in self.leaves[:-1]]
            return dict(zip(names, inputs, strict=True)), target
        return (tuple(inputs) if self.kind == "tuple" else inputs[0]), target

    def to_json(self) -> str:
        """Read back by :meth:`from_json`."""
        leaves = [[leaf.name, leaf.dtype, list(leaf.shape)] for leaf in self.leaves]
        return json.dumps({"kind": self.kind, "leaves": leaves})

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """What :meth:`to_json` gave."""
        found = json.loads(text)
        return cls(
            found["kind"], tuple(Leaf(name, dtype, tuple(shape)) for name, dtype, shape in found["leaves"])
        )


def read_item(dataset: Any, split: str, index: int, key: int) -> tuple[Layout, list[np.ndarray]]:
    """Item ``index``, whose random numbers ``key`` decides: what it looks like, and an array per leaf.

    The random states of torch, numpy and random are other ones afterwards.

    Args:
        dataset: with ``__getitem__``.
        split: for messages.
        index: of the item.
        key: see :func:`trainables.data.order.item_key`.

    Raises:
        ItemError: reading it fails, or it is no (input, target) of tensors, arrays and numbers.
    """
    seed_all(key)
    try:
        item = dataset[index]
    except (
        Exception,
        SystemExit,
    ) as error:  # the user's code may raise anything, which is what is to be said
        raise ItemError(_said(split, index, error)) from error
    where = f'data("{split}")[{index}]'
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        given = f"{type(item).__name__} of {len(item)}" if hasattr(item, "__len__") else type(item).__name__
        raise ItemError(f"{where} gives a {given}: return (input, target)")
    given, target = item
    kind, parts = "one", {"input": given}
    if isinstance(given, dict):
        kind, parts = "dict", {f"input.{name}": value for name, value in given.items()}
    elif isinstance(given, (tuple, list)):
        kind, parts = "tuple", {f"input.{number}": value for number, value in enumerate(given)}
    if not parts:
        raise ItemError(f"{where} gives an empty {kind} as its input: return at least one tensor")
    arrays = {name: _array(where, name, value) for name, value in {**parts, TARGET: target}.items()}
    leaves = tuple(Leaf(name, array.dtype.name, array.shape) for name, array in arrays.items())
    return Layout(kind, leaves), list(arrays.values())


def check_like(split: str, index: int, layout: Layout, first: Layout) -> None:
    """Refuse an item that looks unlike item 0.

    Raises:
        ItemError: ``data("train")[1731] gives an input of shape (3, 31, 32), and [0] one of (3, 32, 32) ...``
    """
    if layout == first:
        return
    where = f'data("{split}")[{index}]'
    names, names_of_first = ([leaf.name for leaf in each.leaves] for each in (layout, first))
    if layout.kind != first.kind or names != names_of_first:
        raise ItemError(
            f"{where} gives {_spelled(layout)}, and [0] {_spelled(first)}: give all items one structure"
        )
    for leaf, other in zip(layout.leaves, first.leaves, strict=True):
        what = _spelled_leaf(leaf.name)
        if leaf.shape != other.shape:
            raise ItemError(
                f"{where} gives {what} of shape {leaf.shape}, and [0] one of {other.shape}: pad or crop "
                "them to one shape"
            )
        if leaf.dtype != other.dtype:
            raise ItemError(
                f"{where} gives {what} of {leaf.dtype}, and [0] one of {other.dtype}: convert them to one"
            )


def read_items(
    dataset: Any, split: str, indices: Sequence[int], keys: Sequence[int], first: Layout
) -> list[np.ndarray]:
    """Some items, each leaf stacked along a new first axis.

    Args:
        dataset: with ``__getitem__``.
        split: for messages.
        indices: of the items, at least one.
        keys: of their random numbers.
        first: what items must look like.

    Raises:
        ItemError: one cannot be used, or looks otherwise.
    """
    stacked = [np.empty((len(indices), *leaf.shape), leaf.dtype) for leaf in first.leaves]
    for row, (index, key) in enumerate(zip(indices, keys, strict=True)):
        layout, arrays = read_item(dataset, split, index, key)
        check_like(split, index, layout, first)
        for rows, array in zip(stacked, arrays, strict=True):
            rows[row] = array
    return stacked


def length_of(dataset: Any, split: str) -> int:
    """How many items there are.

    Raises:
        DataError: it has no length, or none at all.
    """
    try:
        count = len(dataset)
    except Exception as error:  # as above; most often a TypeError of an iterable dataset
        raise DataError(
            f'data("{split}") gives a {type(dataset).__name__} without a length ({_reason(error)}): return '
            "a dataset with __len__ and __getitem__"
        ) from error
    if count < 1:
        raise DataError(f'data("{split}") is empty: return at least one item')
    return count


def _array(where: str, name: str, value: Any) -> np.ndarray:
    what = _spelled_leaf(name)
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
        try:
            array = value.resolve_conj().numpy()
        except (TypeError, RuntimeError) as error:  # sparse, quantized and other kinds that numpy has not
            raise ItemError(f"{where} gives {what} that is no plain tensor ({_reason(error)})") from error
    elif isinstance(value, bool):
        array = np.array(value)
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ItemError(f"{where} gives {what} of {shown(str(value), 40)}, which 64 bits do not hold")
        array = np.array(value, np.int64)
    elif isinstance(value, float):
        array = np.array(value, np.float32)
    elif isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
    else:
        raise ItemError(
            f"{where} gives {what} of type {shown(type(value).__name__)}: give a tensor, a numpy array or a "
            "number"
        )
    dtype = _WIDER.get(array.dtype.name, array.dtype.name)
    if dtype not in _KEPT:
        raise ItemError(
            f"{where} gives {what} of {array.dtype}: give floats, whole numbers or bool, of 64 bits at most"
        )
    return array.astype(dtype, copy=False)


def _spelled_leaf(name: str) -> str:
    if name == TARGET:
        return "a target"
    _, dot, part = name.partition(".")
    return f"an input{f' {shown(part, 60)}' if dot else ''}"


def _spelled(layout: Layout) -> str:
    if layout.kind == "one":
        return "one tensor as its input"
    names = ", ".join(shown(leaf.name.removeprefix("input."), 60) for leaf in layout.leaves[:-1])
    return f"a {layout.kind} of {names} as its input"


def _reason(error: BaseException) -> str:
    text = shown(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _said(split: str, index: int, error: BaseException) -> str:
    """One sentence: which item, why, and which line of the user's code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    own = [frame for frame in frames if not _is_library(frame.filename)]
    chosen = (own or frames)[-1:]
    place = "".join(f" ({shown(frame.filename, 300)}, line {frame.lineno})" for frame in chosen)
    return (
        f'data("{split}")[{index}] cannot be read: {_reason(error)}{place}; repair this item or leave it out'
    )


def _is_library(filename: str) -> bool:
    paths = sysconfig.get_paths()
    inside = any(Path(filename).is_relative_to(paths[name]) for name in ("stdlib", "purelib", "platlib"))
    return inside or filename.startswith("<") or not os.path.exists(filename)
