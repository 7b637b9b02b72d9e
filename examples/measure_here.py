"""Measures an exported student with ONNX Runtime; copy it to a device to let a sweep measure there.

    rayduce sweep digits --measure 'python examples/measure_here.py {onnx}' --minimize latency_ms

On another machine: copy this file there once, and let ``--measure`` run examples/measure_by_ssh.sh. It prints
one JSON object, whose numbers become metrics of the trial: ``device_latency_ms`` and so on.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it reports usage otherwise, from its import on
import onnxruntime

WARM_UP, RUNS = 20, 200


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """The student on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def inputs_of(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    """Random inputs of a batch of one; axes of free length have one element."""
    generator = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for each in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in each.shape]
        values = generator.standard_normal(shape)
        kinds = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}
        found[each.name] = values.astype(kinds.get(each.type, np.float32))
    return found


def milliseconds(session: onnxruntime.InferenceSession) -> float:
    """For one run: the 10th percentile, as other processes can only make a run slower."""
    inputs, seconds = inputs_of(session), []
    for number in range(WARM_UP + RUNS):
        begun = time.perf_counter()
        session.run(None, inputs)
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - begun)
    return 1000 * float(np.percentile(seconds, 10))


def main(paths: list[str]) -> None:
    """Measure each graph of a student once, and add them up."""
    files = [Path(path) for path in paths]
    numbers = {
        "latency_ms": sum(milliseconds(session_of(file)) for file in files),
        "process_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "file_bytes": sum(file.stat().st_size for file in files),
    }
    print(json.dumps(numbers))


if __name__ == "__main__":
    main(sys.argv[1:])
