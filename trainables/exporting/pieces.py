"""Nodes and stored tensors of a part of an ONNX graph while it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]

FLOAT, INT32, BOOL = int(TensorProto.FLOAT), int(TensorProto.INT32), int(TensorProto.BOOL)

NARROW = {
    (4, False): ml_dtypes.uint2,
    (4, True): ml_dtypes.int2,
    (16, False): ml_dtypes.uint4,
    (16, True): ml_dtypes.int4,
    (256, False): np.uint8,
    (256, True): np.int8,
}
"""By how many numbers they hold and whether these have a sign: types that ONNX stores densely."""


class Pieces:
    """Nodes, in order, and the tensors that they read; equal constants are stored once.

    Attributes:
        nodes: what was added so far.
        stored: the tensors, by name.
    """

    def __init__(self, fresh: Callable[[], str]) -> None:
        """Take names from ``fresh``."""
        self._fresh = fresh
        self.nodes: list[NodeProto] = []
        self.stored: dict[str, TensorProto] = {}
        self._constants: dict[object, str] = {}
        self._label, self._number = "", 0

    def label(self, name: str) -> None:
        """Name what :meth:`keep` stores from now on after ``name``, so that a reader sees whose it is."""
        self._label, self._number = name, 0

    def keep(self, values: Array) -> str:
        """The name of a stored tensor that belongs to one weight."""
        name = f"{self._label}:{self._number}"
        self._number += 1
        self.stored[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def constant(self, values: Array) -> str:
        """The name of a small tensor that others may use too."""
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._constants:
            self._constants[key] = self._fresh()
            self.stored[self._constants[key]] = numpy_helper.from_array(values, self._constants[key])
        return self._constants[key]

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """The name of what one more node makes of ``inputs``."""
        made = output or self._fresh()
        self.nodes.append(helper.make_node(kind, list(inputs), [made], **attributes))
        return made

    def cast(self, name: str, to: int) -> str:
        """A tensor as another type, see :class:`onnx.TensorProto`."""
        return self.add("Cast", name, to=to)

    def number(self, kind: str, name: str, value: float, to: int) -> str:
        """``kind`` of a tensor of the type ``to`` and one number."""
        return self.add(kind, name, self.constant(np.array(value, helper.tensor_dtype_to_np_dtype(to))))

    def reshaped(self, name: str, shape: Sequence[int], output: str = "") -> str:
        """A tensor in another shape."""
        return self.add("Reshape", name, self.constant(np.array(shape, np.int64)), output=output)

    def first(self, name: str, count: int) -> str:
        """The first ``count`` elements of a tensor of one dimension."""
        ends = (self.constant(np.array([end], np.int64)) for end in (0, count))
        return self.add("Slice", name, *ends)

    def filled(self, value: float, count: int, to: int) -> str:
        """A tensor of ``count`` equal elements."""
        shape = self.constant(np.array([count], np.int64))
        filling = numpy_helper.from_array(np.array([value], helper.tensor_dtype_to_np_dtype(to)))
        return self.add("ConstantOfShape", shape, value=filling)

    def mark(self) -> tuple[int, int]:
        """Where it stands, for :meth:`size` and :meth:`undo`."""
        return len(self.nodes), len(self.stored)

    def size(self, since: tuple[int, int] = (0, 0)) -> int:
        """Bytes that what was added since a mark adds to a file."""
        graph = GraphProto()
        graph.node.extend(self.nodes[since[0] :])
        graph.initializer.extend(list(self.stored.values())[since[1] :])
        return graph.ByteSize()

    def undo(self, since: tuple[int, int]) -> None:
        """Take out what was added since a mark."""
        del self.nodes[since[0] :]
        for name in list(self.stored)[since[1] :]:
            del self.stored[name]
        self._constants = {key: name for key, name in self._constants.items() if name in self.stored}
