"""What is measured once the trials have ended: the test split, and latency on a quiet machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import ray
import torch

from search.objectives.yardstick import Yardstick
from search.tracking.record import Record
from trainables.exporting.checking import ExportError
from trainables.exporting.export import to_onnx
from trainables.exporting.static_int8 import RuntimeInt8
from trainables.interfaces.base import Interface
from trainables.metrics.latency import Latency, alone, fingerprint, measure_latencies
from trainables.metrics.latency_openvino import measure_in_openvino
from trainables.models.allowed import allow_all
from trainables.predictions import Answers
from trainables.routes import routes_of
from trainables.shipping.evaluation import measure_file, rebuild
from trainables.shipping.packed_file import unpack
from trainables.tasks.base import Arrays, Measured, Task
from trainables.training.trial_metrics import TrialSettings


@ray.remote
def measure_packed(file: bytes, arrays: Arrays, task: Task, split: str, settings: TrialSettings) -> Measured:
    """What a packed file is on ``split``, as ``rayduce evaluate`` has it: CPU, float32, one thread."""
    torch.set_num_threads(1)
    allow_all(settings.own)
    return measure_file(file, task.open(arrays, torch.device("cpu"), 0), split)


@ray.remote
def latencies_of_all(
    files: list[bytes], settings: TrialSettings, mark: tuple[Interface, Mapping[str, bytes]] | None
) -> tuple[list[dict[str, float]], str]:
    """Latencies of each student in milliseconds, by metric, and the machine's fingerprint as JSON.

    Behind those of the students are those of the ``mark``, graphs that are used by an interface.

    Three rounds over all of them, so that a disturbance hits none alone; the best 10th percentile counts. A
    student without an ONNX form has none; of one that takes several routes it is the mean over the validation
    samples. Where OpenVINO is installed, latencies in it are among them.
    """
    allow_all(settings.own)
    exported = [_exported(file) for file in files]
    if mark is not None:
        exported.append([_Exported(1.0, dict(mark[1]), mark[0])])
    routes = [route for student in exported for route in student]
    with alone():
        rounds = [[_latencies(each) for each in routes] for _ in range(3)]
    best = iter(
        {name: min(latencies[name].p10_ms for latencies in column) for name in column[0]}
        for column in zip(*rounds, strict=True)
    )
    found: list[dict[str, float]] = []
    for student in exported:
        taken = [(each.share, next(best)) for each in student]
        names = set.intersection(*({*latencies} for _, latencies in taken)) if taken else set()
        found.append({name: sum(share * each[name] for share, each in taken) for name in sorted(names)})
    return found, json.dumps(fingerprint())


class _Exported(NamedTuple):
    """One route of a student: the share of inputs that takes it, and its graphs."""

    share: float
    graphs: dict[str, bytes]
    interface: Interface


def _latencies(route: _Exported) -> dict[str, Latency]:
    graphs, interface = route.graphs, route.interface
    return measure_latencies(graphs, interface) | measure_in_openvino(graphs, interface)


def _exported(file: bytes) -> list[_Exported]:
    """The routes of a packed student that any input takes; none if one has no ONNX form."""
    recipe, tensors, model = unpack(file)
    interface = recipe.task.interface
    try:
        return [
            _Exported(share, to_onnx(route, interface, {}, tensors), interface)
            for share, route in routes_of(rebuild(recipe, tensors, model))
            if share
        ]
    except ExportError:
        return []


def choose_front(records: Mapping[str, Record], yardstick: Yardstick) -> list[str]:
    """Trial ids of the finished students on the front, smallest file first."""
    finished = {key: record.metrics for key, record in records.items() if record.state == "finished"}
    return yardstick.front(finished)


def measure_front(
    front: list[str],
    records: Mapping[str, Record],
    data: Any,
    task: Task,
    settings: TrialSettings,
    mark: RuntimeInt8 | None = None,
) -> tuple[dict[str, float], dict[str, Answers | None]]:
    """The one use of the test split, and latency again now that the machine is quiet.

    Returns:
        Latencies of the ``mark``, measured in turn with the students', none without one; and by trial what is
        kept of each sample.
    """
    paths = [path for trial_id in front if (path := records[trial_id].packed_file) is not None]
    files = [path.read_bytes() for path in paths]
    measured = ray.get([measure_packed.remote(file, data, task, "test", settings) for file in files])
    latencies, machine = ray.get(
        latencies_of_all.remote(files, settings, None if mark is None else (task.interface, mark.graphs))
    )
    of_mark = latencies.pop() if mark is not None else {}
    for trial_id, each, latency in zip(front, measured, latencies, strict=True):
        records[trial_id].metrics |= {**each.qualities, **latency}
        records[trial_id].machine = machine
    return of_mark, {trial_id: each.answers for trial_id, each in zip(front, measured, strict=True)}
