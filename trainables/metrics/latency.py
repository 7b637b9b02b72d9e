"""How long one use of a student takes in the runtime that a user would deploy."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainables.files import set_aside, write_file
from trainables.foreign import shown
from trainables.interfaces.base import Interface
from trainables.metrics.turns import alone
from trainables.part import Part
from trainables.runtime import RUNTIME_VERSION, load
from trainables.sealed import sealed, unsealed

WARM_UP = 30
RUNS = 200
MIN_RUNS = 100
ENOUGH_SECONDS = 0.5
"""After which no more than ``MIN_RUNS`` are made: a slow student's runs are long enough to be measured."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one use: 10th, 50th and 90th percentile of ``runs`` runs.

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
        "onnxruntime": RUNTIME_VERSION,
    }


@functools.cache
def machine_id() -> str:
    """First 12 hex digits of the SHA-256 of :func:`fingerprint`."""
    return hashlib.sha256(json.dumps(fingerprint(), sort_keys=True).encode()).hexdigest()[:12]


def measure_latencies(
    graphs: Mapping[str, bytes], interface: Interface, runs: int = RUNS
) -> dict[str, Latency]:
    """Time an exported network: one thread, batch 1; per metric 30 runs to warm up, then ``runs``.

    Once half a second has gone into a metric, 100 runs are enough.

    Args:
        graphs: ONNX files by name, see :func:`trainables.exporting.export.to_onnx`.
        interface: how the network is used, which is what is timed.
        runs: at least 100.

    Returns:
        By the name of the metric, see :meth:`Interface.work`.
    """
    if runs < MIN_RUNS:
        raise ValueError(f"runs must be at least {MIN_RUNS}, got {runs=}")
    loaded = load(graphs)
    return {name: timed(functools.partial(work, loaded), runs) for name, work in interface.work().items()}


def timed(work: Callable[[], object], runs: int) -> Latency:
    """The latency of ``work``: ``WARM_UP`` calls first, then ``runs`` of them, fewer of a slow one."""
    for _ in range(WARM_UP):
        work()
    seconds: list[float] = []
    begun = time.perf_counter()
    while len(seconds) < runs and (len(seconds) < MIN_RUNS or time.perf_counter() < begun + ENOUGH_SECONDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    p10, median, p90 = (float(value) for value in np.percentile(1000 * np.array(seconds), [10, 50, 90]))
    return Latency(p10, median, p90, len(seconds), machine_id())


def architecture_key(model: Part, interface: Interface, outputs: int, code: str) -> str:
    """First 16 hex digits of the SHA-256 of what decides a network's latency; weights do not.

    Args:
        model: the architecture.
        interface: how the network is used.
        outputs: how many logits it returns per row.
        code: digest of the network, see :func:`trainables.identity.code_of`: a class can be another one
            under the same name.
    """
    facts = json.dumps(
        [model.to_dict(), repr(interface), outputs, code], sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def known_latencies(architecture_key: str, interface: Interface, table: Path) -> dict[str, Latency]:
    """Those that the table has of an architecture on this machine, by the name of the metric.

    Arguments and errors are those of :func:`latencies_of`; nothing is measured.
    """
    entries = _read(table / f"{machine_id()}.json")
    keys = {name: f"{architecture_key} {name}" for name in interface.work()}
    return {name: entries[key] for name, key in keys.items() if key in entries}


def latencies_of(
    architecture_key: str, build_onnx: Callable[[], Mapping[str, bytes]], interface: Interface, table: Path
) -> dict[str, Latency]:
    """The latencies of an architecture on this machine: looked up, or measured once and kept.

    Args:
        architecture_key: see :func:`architecture_key`.
        build_onnx: exports the network; called only to measure.
        interface: how the network is used.
        table: folder with one JSON file per machine; made if it is missing.

    Returns:
        By the name of the metric.

    At most one process of the user on this machine measures at a time, whatever its folder: two at once
    would measure each other (:func:`trainables.metrics.turns.alone`).

    Raises:
        OSError: the folder cannot be written.
    """
    path = table / f"{machine_id()}.json"
    keys = {name: f"{architecture_key} {name}" for name in interface.work()}
    entries = _read(path)
    if not entries.keys() >= {*keys.values()}:
        table.mkdir(parents=True, exist_ok=True)
        exported = build_onnx()  # before the lock: others need not wait for it
        with alone():
            entries = _read(path)
            if not entries.keys() >= {*keys.values()}:
                found = measure_latencies(exported, interface)
                entries |= {key: found[name] for name, key in keys.items()}
                _write(path, entries)
    return {name: entries[key] for name, key in keys.items()}


def mean_latencies(found: Sequence[tuple[float, Mapping[str, Latency]]]) -> dict[str, float]:
    """By metric, the mean of what is reported of several latencies, such as those of routes.

    Args:
        found: shares, which add up to 1, and latencies by metric; at least one.
    """
    return {name: sum(share * each[name].p10_ms for share, each in found) for name in found[0][1]}


def damaged_tables(table: Path) -> list[str]:
    """One sentence for each file of the folder that is no table, or was changed by somebody else.

    Nothing of such a file counts: what it may have held is measured again, and the file set aside.

    Raises:
        OSError: a file cannot be read.
    """
    found = []
    for path in sorted(table.glob("*.json")):
        try:
            _entries(path)
        except ValueError as error:
            found.append(
                f"{shown(str(path), 400)} is no table of latencies ({error}): they are measured again"
            )
    return found


def _read(path: Path) -> dict[str, Latency]:
    """What the table at ``path`` has; nothing if there is none, or a damaged one."""
    try:
        return _entries(path)
    except ValueError:  # :func:`damaged_tables` tells of it, and :func:`_write` sets it aside
        return {}


def _entries(path: Path) -> dict[str, Latency]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    content = unsealed(data).get("latencies")
    if not isinstance(content, dict):
        raise ValueError("it has no latencies")
    return {key: _latency(entry, path.stem) for key, entry in content.items()}


def _latency(entry: Any, machine: str) -> Latency:
    try:
        found = Latency(**entry)
    except TypeError:
        raise ValueError("an entry is no latency") from None
    numbers = (found.p10_ms, found.median_ms, found.p90_ms)
    if not all(isinstance(value, float) and 0 < value < float("inf") for value in numbers):
        raise ValueError(f"{shown(str(numbers))} are no latencies")
    if sorted(numbers) != list(numbers):
        raise ValueError(f"{numbers} are no percentiles")
    if type(found.runs) is not int or found.runs < 1:
        raise ValueError(f"{shown(str(found.runs))} is no number of runs")
    if found.machine != machine:
        raise ValueError(f"an entry is of the machine {shown(str(found.machine))}")
    return found


def _write(path: Path, entries: dict[str, Latency]) -> None:
    try:
        _entries(path)
    except ValueError:
        set_aside(path)
    latencies = {key: dataclasses.asdict(entry) for key, entry in sorted(entries.items())}
    write_file(path, sealed({"machine": fingerprint(), "latencies": latencies}))


def _processor() -> str:
    """The processor's name as the system gives it; its family where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
