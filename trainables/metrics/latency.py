"""How long one input takes in the runtime that a user would deploy."""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import platform
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from trainables.files import write_file
from trainables.part import Part

WARM_UP = 30
RUNS = 200
MIN_RUNS = 100


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one input: 10th, 50th and 90th percentile of ``runs`` runs.

    The 10th percentile is what is reported: other processes can only make a run slower, so it moves
    least from one measurement to the next. ``machine`` is :func:`machine_id`.
    """

    p10_ms: float
    median_ms: float
    p90_ms: float
    runs: int
    machine: str


def fingerprint() -> dict[str, Any]:
    """What a latency depends on beside the network: processor, its cores, runtime and system."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }


@functools.cache
def machine_id() -> str:
    """First 12 hex digits of the SHA-256 of :func:`fingerprint`."""
    return hashlib.sha256(json.dumps(fingerprint(), sort_keys=True).encode()).hexdigest()[:12]


def measure_latency(onnx_bytes: bytes, input_shape: tuple[int, ...], runs: int = RUNS) -> Latency:
    """Time an exported network on one random input: one thread, 30 runs to warm up, then ``runs``.

    Args:
        onnx_bytes: an ONNX file with one float32 input of shape (batch, *input_shape).
        input_shape: of one input.
        runs: at least 100.
    """
    if runs < MIN_RUNS:
        raise ValueError(f"runs must be at least {MIN_RUNS}, got {runs=}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    values = np.random.default_rng(0).standard_normal((1, *input_shape), dtype=np.float32)
    feed = {session.get_inputs()[0].name: values}
    for _ in range(WARM_UP):
        session.run(None, feed)
    seconds = np.empty(runs)
    for run in range(runs):
        start = time.perf_counter()
        session.run(None, feed)
        seconds[run] = time.perf_counter() - start
    p10, median, p90 = (float(value) for value in np.percentile(1000 * seconds, [10, 50, 90]))
    return Latency(p10, median, p90, runs, machine_id())


def architecture_key(model: Part, input_shape: tuple[int, ...], outputs: int) -> str:
    """First 16 hex digits of the SHA-256 of what decides a network's latency; weights do not."""
    facts = json.dumps([model.to_dict(), list(input_shape), outputs], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def latency_of(
    architecture_key: str, build_onnx: Callable[[], bytes], input_shape: tuple[int, ...], table: Path
) -> Latency:
    """The latency of an architecture on this machine: looked up, or measured once and kept.

    Args:
        architecture_key: see :func:`architecture_key`.
        build_onnx: exports the network; called only to measure.
        input_shape: of one input.
        table: folder with one JSON file per machine; made if it is missing.

    At most one process of the user on this machine measures at a time, whatever its folder: two at once
    would measure each other.

    Raises:
        ValueError: the machine's table is there but is none; removing it measures again.
        OSError: the folder or the lock cannot be written.
    """
    path = table / f"{machine_id()}.json"
    known = _read(path).get(architecture_key)
    if known is None:
        table.mkdir(parents=True, exist_ok=True)
        exported = build_onnx()  # before the lock: others need not wait for it
        with alone():
            entries = _read(path)
            known = entries.get(architecture_key)
            if known is None:
                known = measure_latency(exported, input_shape)
                _write(path, entries | {architecture_key: known})
    return known


def _read(path: Path) -> dict[str, Latency]:
    try:
        content = json.loads(path.read_text())
        return {key: _latency(entry) for key, entry in content["latencies"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no table of latencies; remove it to measure again ({error})") from error


def _latency(entry: dict[str, Any]) -> Latency:
    found = Latency(**entry)
    numbers = (found.p10_ms, found.median_ms, found.p90_ms)
    if not all(isinstance(value, float) and 0 < value < float("inf") for value in numbers):
        raise ValueError(f"{numbers} are no latencies")
    return found


def _write(path: Path, entries: dict[str, Latency]) -> None:
    latencies = {key: dataclasses.asdict(entry) for key, entry in sorted(entries.items())}
    content = {"machine": fingerprint(), "latencies": latencies}
    write_file(path, (json.dumps(content, indent=1) + "\n").encode())


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock of this user on this machine; the kernel lets go of it if the process dies."""
    path = Path(tempfile.gettempdir()) / f"rayduce-latency-{os.getuid()}.lock"
    # The folder is everybody's: follow no link that somebody else has put there.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
            raise PermissionError(f"{path} is not a file of this user; remove it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _processor() -> str:
    """The processor's name as the system gives it; its family where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
