"""Exported graphs in the runtime that a user would deploy: ONNX Runtime on one thread of the CPU.

The one place that imports it. :mod:`trainables.quiet` has told it by then to send nothing; the call below
tells it again, for a process in which somebody else had imported it before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import onnxruntime

from trainables.interfaces.base import Run

onnxruntime.disable_telemetry_events()

RUNTIME_VERSION: str = onnxruntime.__version__
WARNINGS, ERRORS_ONLY, FATAL_ONLY = 2, 3, 4
"""What is logged to standard error; ONNX Runtime's default is warnings."""


def load(graphs: Mapping[str, bytes]) -> dict[str, Run]:
    """ONNX files by name, ready to be run.

    Raises:
        Exception: ONNX Runtime does not load a file; its errors share no public base.
    """
    return {name: _loaded(data) for name, data in graphs.items()}


def open_session(data: bytes) -> onnxruntime.InferenceSession:
    """An ONNX file in ONNX Runtime, on one thread of the CPU.

    Raises:
        Exception: as of :func:`load`.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _loaded(data: bytes) -> Run:
    session = open_session(data)
    outputs = [output.name for output in session.get_outputs()]

    def run(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(outputs, session.run(outputs, dict(feed)), strict=True))

    return run


def quantization() -> ModuleType:
    """:mod:`onnxruntime.quantization`, which takes half a second to load."""
    import onnxruntime.quantization

    return onnxruntime.quantization


@contextmanager
def quiet() -> Iterator[None]:
    """Let sessions that are opened without options of ours log nothing to standard error meanwhile."""
    onnxruntime.set_default_logger_severity(FATAL_ONLY)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(WARNINGS)
