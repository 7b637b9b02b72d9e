"""What of exported files decides how they run: all but the weights' values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import onnx
from onnx import TensorProto

_VALUES = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_FACTS = ("producer_name", "producer_version", "model_version", "doc_string", "metadata_props")


def kind_of(files: Mapping[str, bytes]) -> str:
    """First 16 hex digits of the SHA-256 of ONNX files without the values of their weights.

    Equal are exports of one architecture whose weights are stored in the same types and shapes. What tells
    operators how to work is no weight: attributes, and int64 tensors such as the sizes of a Reshape. What the
    files say of themselves does not count.

    Args:
        files: by the name of the graph.
    """
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        model = onnx.load_from_string(data)
        for fact in _FACTS:
            model.ClearField(fact)
        for tensor in _tensors(model.graph):
            if tensor.data_type != TensorProto.INT64:
                for values in _VALUES:
                    tensor.ClearField(values)
        bare = model.SerializeToString(deterministic=True)
        digest.update(f"{name}\0{len(bare)}\0".encode() + bare)
    return digest.hexdigest()[:16]


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every tensor in ``graph`` and in the graphs within it; of a sparse one the values, not the places."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
    for node in graph.node:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)
