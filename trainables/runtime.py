"""Exported graphs in the runtime that a user would deploy: ONNX Runtime on one thread of the CPU.

The one place that imports it. :mod:`trainables.quiet` has told it by then to send nothing; the call below
tells it again, for a process in which somebody else had imported it before.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as onnxruntime  # benchmarks have it from here

from trainables.interfaces.base import Run

onnxruntime.disable_telemetry_events()

RUNTIME_VERSION: str = onnxruntime.__version__
WARNINGS, ERRORS_ONLY, FATAL_ONLY = 2, 3, 4
"""What is logged to standard error; ONNX Runtime's default is warnings."""
KERNEL = "_kernel_time"
"""Ends the names of a profile's events that are the runs of nodes."""


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
    return onnxruntime.InferenceSession(data, _one_thread(), providers=["CPUExecutionProvider"])


def _one_thread() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    return options


def _loaded(data: bytes) -> Run:
    return _run_of(open_session(data))


def _run_of(session: onnxruntime.InferenceSession) -> Run:
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


def optimized(data: bytes) -> bytes:
    """An ONNX file as ONNX Runtime makes it before it runs it, its nodes in the order in which they run.

    With its extended optimisations, which are the same on every machine; what goes further are layouts for
    one processor.

    Raises:
        Exception: as of :func:`load`.
    """
    with tempfile.TemporaryDirectory(prefix="rayduce-") as folder:
        path = Path(folder) / "optimized.onnx"
        options = _one_thread()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return path.read_bytes()


def values_of(data: bytes, feed: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What the graph of an ONNX file returns, by name; it runs as it stands, nothing is optimised.

    Raises:
        Exception: as of :func:`load`.
    """
    options = _one_thread()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, dict(feed)), strict=True))


Times = list[tuple[str, list[float]]]
"""Names of nodes as ONNX Runtime runs them, and the microseconds of each of their runs."""


@contextmanager
def profiled(graphs: Mapping[str, bytes]) -> Iterator[tuple[dict[str, Run], Callable[[], Times]]]:
    """ONNX files by name, ready to be run, and a function that ends that and says how long nodes took.

    Raises:
        Exception: as of :func:`load`.
    """
    with tempfile.TemporaryDirectory(prefix="rayduce-") as folder:
        sessions = {}
        for number, (name, data) in enumerate(graphs.items()):
            options = _one_thread()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / str(number))
            sessions[name] = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

        def taken() -> Times:
            found: Times = []
            for session in sessions.values():
                times: dict[str, list[float]] = {}
                for event in json.loads(Path(session.end_profiling()).read_text()):
                    if event["cat"] == "Node" and event["name"].endswith(KERNEL):
                        times.setdefault(event["name"].removesuffix(KERNEL), []).append(float(event["dur"]))
                found += times.items()
            return found

        yield {name: _run_of(session) for name, session in sessions.items()}, taken
