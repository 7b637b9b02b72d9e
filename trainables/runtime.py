"""Exported graphs in the runtime that a user would deploy: ONNX Runtime on one thread of the CPU."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime

from trainables.interfaces.base import Run

ERRORS_ONLY = 3


def load(graphs: Mapping[str, bytes]) -> dict[str, Run]:
    """ONNX files by name, ready to be run.

    Raises:
        Exception: ONNX Runtime does not load a file; its errors share no public base.
    """
    return {name: _loaded(data) for name, data in graphs.items()}


def _loaded(data: bytes) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]

    def run(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(outputs, session.run(outputs, dict(feed)), strict=True))

    return run
