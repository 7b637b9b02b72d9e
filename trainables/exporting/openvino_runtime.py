"""Students in OpenVINO on one thread of the CPU; it need not be installed. The one place that opens it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trainables.interfaces.base import Run

EXACT = {
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "PERFORMANCE_HINT": "LATENCY",
    # Where a processor has bfloat16, OpenVINO computes float32 models in it unless it is told not to.
    "INFERENCE_PRECISION_HINT": "f32",
    # Else inputs of layers with few-bit weights are rounded to int8, which the student does not do.
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
}
"""With these it computes what the student computes."""


def is_installed() -> bool:
    """Whether OpenVINO is there."""
    return find_spec("openvino") is not None


@functools.cache
def core() -> Any:
    """OpenVINO's entry; reading models by it, and not by its converter, sends nothing."""
    import openvino

    return openvino.Core()


def load_openvino(model: bytes, weights: bytes | None = None) -> Run:
    """A model ready to be run.

    Args:
        model: an ONNX file, or the ``.xml`` of OpenVINO's own format.
        weights: its ``.bin``.

    Raises:
        Exception: OpenVINO does not read it.
    """
    read = core().read_model(model) if weights is None else core().read_model(model, weights)
    compiled = core().compile_model(read, "CPU", EXACT)
    names = [output.get_any_name() for output in compiled.outputs]

    def run(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = compiled(dict(feed))
        return {name: np.array(found[number]) for number, name in enumerate(names)}

    return run


def without_two_bits(graph: bytes) -> bytes:
    """An ONNX file whose weights of 2 bits are 4 bits wide: OpenVINO refuses to read narrower ones."""
    model = onnx.load_from_string(graph)
    wider = {
        getattr(TensorProto, narrow): getattr(TensorProto, wide)
        for narrow, wide in (("INT2", "INT4"), ("UINT2", "UINT4"))
        if hasattr(TensorProto, narrow)
    }
    found = [tensor for tensor in model.graph.initializer if tensor.data_type in wider]
    for tensor in found:
        kind = helper.tensor_dtype_to_np_dtype(wider[tensor.data_type])
        values = numpy_helper.to_array(tensor).astype(np.int8).astype(kind)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model.SerializeToString() if found else graph
