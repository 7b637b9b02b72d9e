"""The weights of an ONNX graph in the few bits that a packed file holds them in.

The exporter renames, turns and cuts up the tensors of a network, so they are found by their values.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from trainables.exporting.few_bits import write_tensor
from trainables.exporting.opsets import raised
from trainables.exporting.pieces import INT32, Array, Pieces
from trainables.exporting.whole_numbers import write_numbers
from trainables.quantizers.base import ROWS, Grouped, Stored
from trainables.runtime import load

Floats = NDArray[np.float32]

FEWEST = 16
"""Elements below which a tensor is left as it is."""

GATES = {4: (0, 3, 1, 2), 3: (1, 0, 2)}
"""ONNX's order of the gates of an LSTM and a GRU, by PyTorch's."""


class _Source(NamedTuple):
    """How a stored float tensor comes of one that is known.

    Attributes:
        name: of the known one.
        part: from where to where along its first dimension, or its second if ``columns``; None is all of it.
        shape: in which it then is.
        axes: how its dimensions are then exchanged; none are if empty.
        gates: blocks of rows as they are then ordered; empty leaves them.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...] = ()
    part: tuple[int, int] | None = None
    columns: bool = False
    gates: tuple[int, ...] = ()


class Kept(NamedTuple):
    """What became of the weights of a graph.

    Attributes:
        few: names of stored tensors that are held in few bits now.
        wide: of those of at least 16 elements that are float32 still.
    """

    few: tuple[str, ...]
    wide: tuple[str, ...]


def store_weights(exported: ModelProto, tensors: Mapping[str, Stored]) -> Kept:
    """Replace the float32 weights of ``exported``, in place, by what ``tensors`` hold of them.

    A tensor that its few bits would not make shorter stays as it is; one that is used in several forms is
    stored once.

    Raises:
        ValueError: what runtimes make of the bits is not what they stand for, or an operation means another
            thing in the opset that the types need.
    """
    graph = exported.graph
    known = _Known(tensors)
    wide, levels = (_stored(graph, kind) for kind in (TensorProto.FLOAT, TensorProto.INT8))
    found = {name: sources for name, values in wide.items() if (sources := known.sources(values))}
    pieces = Pieces(_fresh_names(exported))
    few: list[str] = []
    for names in _together(found):
        before = pieces.mark()
        pieces.label(names[0])
        made: dict[str, str] = {}
        for source in (source for name in names for source in found[name]):
            if source.name not in made:
                made[source.name] = write_tensor(pieces, known.stored[source.name]) or ""
        if all(made.values()):
            for name in names:
                _derive(pieces, made, found[name], name, wide[name].shape)
        if not all(made.values()) or pieces.size(before) >= sum(wide[name].nbytes for name in names):
            pieces.undo(before)
        else:
            few += names
    made_levels = [name for name, values in levels.items() if _write_levels(pieces, name, values)]
    if pieces.nodes:
        done = {name: values for name, values in (wide | levels).items() if name in {*few, *made_levels}}
        _check(pieces, done)
        others = [tensor for tensor in graph.initializer if tensor.name not in done]
        nodes = [*pieces.nodes, *graph.node]
        del graph.initializer[:], graph.node[:]
        graph.initializer.extend([*others, *pieces.stored.values()])
        graph.node.extend(nodes)
        raised(exported)
    return Kept(tuple(few), tuple(name for name in wide if name not in few))


def _stored(graph: GraphProto, kind: int) -> dict[str, Array]:
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_type == kind and np.prod(tensor.dims) >= FEWEST
    }


def _write_levels(pieces: Pieces, name: str, values: Array) -> bool:
    """Make 8-bit integers, such as an integer layer's, of fewer bits; False if that takes no fewer bytes.

    Few levels are spread over 8 bits by a factor per channel, the first or the last dimension.
    """
    before = pieces.mark()
    pieces.label(name)
    turned = values if values.ndim < 2 else np.moveaxis(values, -1, 0)
    rows, last = (each.reshape(len(each), -1).astype(np.int64) for each in (values, turned))
    factors, other = (np.gcd.reduce(each, axis=1, keepdims=True) for each in (rows, last))
    by_last = bool(np.log2(other.clip(1)).mean() > np.log2(factors.clip(1)).mean())
    if by_last:
        rows, factors = last, other
    factors = factors.clip(1)
    numbers = write_numbers(pieces, (rows // factors).reshape(-1), INT32)
    if (factors > 1).any():
        scale = pieces.cast(pieces.keep(factors.astype(np.int8)), INT32)
        numbers = pieces.add("Mul", pieces.reshaped(numbers, rows.shape), scale)
    made = pieces.cast(numbers, TensorProto.INT8)
    if by_last:
        order = (*range(1, values.ndim), 0)
        pieces.add("Transpose", pieces.reshaped(made, turned.shape), perm=order, output=name)
    else:
        pieces.reshaped(made, values.shape, name)
    if pieces.size(before) < values.nbytes:
        return True
    pieces.undo(before)
    return False


class _Known:
    """Tensors of a packed file, found by their values or by rows of them."""

    def __init__(self, tensors: Mapping[str, Stored]) -> None:
        self.stored = dict(_whole(tensors))
        self._values: dict[str, Floats] = {}
        self._by_values: dict[bytes, str] = {}
        self._by_row: dict[bytes, tuple[str, int]] = {}
        self._by_column: dict[bytes, tuple[str, int]] = {}
        for name, stored in self.stored.items():
            decoded = stored.decode()
            if not decoded.is_floating_point() or decoded.numel() < FEWEST:
                continue
            self._values[name] = values = decoded.float().numpy()
            self._by_values.setdefault(_key(values), name)
            if values.ndim > 1:
                for number, row in enumerate(values):
                    self._by_row.setdefault(_key(row), (name, number))
            if values.ndim == 2:
                for number, column in enumerate(values.T):
                    self._by_column.setdefault(_key(column), (name, number))

    def sources(self, values: Floats) -> tuple[_Source, ...]:
        """What ``values`` are made of, to be joined along their first axis; nothing if they are not known."""
        found = self._turned(values)
        if found is not None:
            return (found,)
        for count, order in GATES.items():
            if values.ndim == 3 and not values.shape[1] % count:
                parts = [self._gates(part, count, order) for part in values]
                if None not in parts:
                    return tuple(part for part in parts if part is not None)
        return ()

    def _turned(self, values: Floats) -> _Source | None:
        axes = range(values.ndim)
        for order in itertools.permutations(axes) if values.ndim < 5 else [tuple(axes)]:
            turned = np.ascontiguousarray(values.transpose(order))
            back = tuple(int(axis) for axis in np.argsort(order))
            back = () if back == tuple(axes) else back
            if name := self._by_values.get(_key(turned)):
                return _Source(name, turned.shape, back)
            if (part := self._part(turned, back)) is not None:
                return part
        return None

    def _part(self, turned: Floats, back: tuple[int, ...]) -> _Source | None:
        """What rows ``turned`` are, whose dimensions are then exchanged by ``back``."""
        if turned.ndim < 2:
            return None
        first, count = _key(turned[0]), len(turned)
        name, begin = self._by_row.get(first, ("", 0))
        if name and _same(self._values[name][begin : begin + count], turned):
            return _Source(name, turned.shape, back, (begin, begin + count))
        name, begin = self._by_column.get(first, ("", 0))
        if name and turned.ndim == 2 and _same(self._values[name].T[begin : begin + count], turned):
            axes = () if back else (1, 0)
            return _Source(name, turned.T.shape, axes, (begin, begin + count), columns=True)
        return None

    def _gates(self, values: Floats, count: int, order: tuple[int, ...]) -> _Source | None:
        blocks = values.reshape(count, -1)
        given = np.empty_like(blocks)
        given[list(order)] = blocks
        name = self._by_values.get(_key(given))
        return None if name is None else _Source(name, values.shape, gates=order)


def _whole(tensors: Mapping[str, Stored]) -> Iterator[tuple[str, Stored | Grouped]]:
    """``tensors``, those in groups of rows as one."""
    for name, stored in tensors.items():
        if name.endswith(ROWS):
            whole = name.removesuffix(ROWS)
            numbers = itertools.count()
            parts = itertools.takewhile(lambda part: part in tensors, (f"{whole}[{n}]" for n in numbers))
            yield whole, Grouped(stored.decode(), tuple(tensors[part] for part in parts))
        elif "[" not in name:
            yield name, stored


def _key(values: Floats) -> bytes:
    """Equal for equal values in the same order; minus zero is zero."""
    return hashlib.sha256(np.ascontiguousarray(values + np.float32(0)).tobytes()).digest()


def _same(values: Floats, others: Floats) -> bool:
    """Whether they are equal as one row of numbers."""
    return values.size == others.size and bool((values.reshape(-1) == others.reshape(-1)).all())


def _together(found: Mapping[str, tuple[_Source, ...]]) -> list[list[str]]:
    """Names of stored tensors, those that are made of the same known ones in one list."""
    groups: list[tuple[set[str], list[str]]] = []
    for name, sources in found.items():
        used, names = {source.name for source in sources}, [name]
        for other in [group for group in groups if group[0] & used]:
            groups.remove(other)
            used, names = used | other[0], [*other[1], *names]
        groups.append((used, names))
    return [names for _, names in groups]


def _derive(
    pieces: Pieces,
    made: Mapping[str, str],
    sources: tuple[_Source, ...],
    name: str,
    shape: tuple[int, ...],
) -> None:
    """Nodes that make the tensor ``name`` of ``shape`` of those ``made``."""
    parts = []
    for source in sources:
        value = made[source.name]
        if source.part is not None:
            # Columns of a matrix, or rows of anything as a matrix of as many columns as they have elements.
            width = -1 if source.columns else int(np.prod(source.shape[1:]))
            matrix = pieces.reshaped(value, [source.shape[0] if source.columns else -1, width])
            ends = (pieces.constant(np.array([end], np.int64)) for end in source.part)
            axis = pieces.constant(np.array([int(source.columns)], np.int64))
            value = pieces.add("Slice", matrix, *ends, axis)
        if source.gates:
            blocks = pieces.reshaped(value, [len(source.gates), -1])
            value = pieces.add("Gather", blocks, pieces.constant(np.array(source.gates, np.int64)), axis=0)
        if source.axes:
            value = pieces.add("Transpose", pieces.reshaped(value, source.shape), perm=source.axes)
        parts.append(value)
    if len(parts) > 1:
        flat = [pieces.reshaped(value, [-1]) for value in parts]
        pieces.reshaped(pieces.add("Concat", *flat, axis=0), shape, name)
    elif sources[0].axes:
        pieces.nodes[-1].output[0] = name
    else:
        pieces.reshaped(parts[0], shape, name)


def _check(pieces: Pieces, wanted: Mapping[str, Array]) -> None:
    outputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape)
        for name, values in wanted.items()
    ]
    graph = helper.make_graph(pieces.nodes, "weights", [], outputs, list(pieces.stored.values()))
    model = raised(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9))
    made = load({"weights": model.SerializeToString()})["weights"]({})
    for name, values in wanted.items():
        if not np.array_equal(made[name], values, equal_nan=values.dtype == np.float32):
            raise ValueError(f"{name} does not come out of its few bits")


def _fresh_names(exported: ModelProto) -> Callable[[], str]:
    graph = exported.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    names = (name for number in itertools.count() if (name := f"w{number}") not in taken)
    return lambda: next(names)
