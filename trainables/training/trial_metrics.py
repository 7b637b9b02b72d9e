"""What all trials of a sweep share, and what is measured once of a student."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from trainables.exporting.checking import ExportError
from trainables.exporting.export import to_onnx
from trainables.metrics import LATENCY, costs_of, quality_of
from trainables.metrics.device import Device
from trainables.metrics.latency import known_latencies, latencies_of, mean_latencies
from trainables.metrics.macs import macs
from trainables.models.allowed import Allowed
from trainables.recipe import Recipe
from trainables.routes import routes_of
from trainables.shipping.evaluation import weights_of
from trainables.shipping.packed_file import unpack
from trainables.shipping.sizes import mean_bits, parameters, sparsity
from trainables.store_mark import StoreMark
from trainables.training.export_costs import Measured, counted, export_key, exported, first_costs
from trainables.training.shared_phases import PhaseFolder

USES = 20
"""Of a finished student, for the shares of its layers in the latency."""


@dataclass(frozen=True)
class TrialSettings:
    """What all trials of a sweep share beside the data.

    Attributes:
        latency_table: folder of measured latencies; None leaves them out.
        teacher_bytes: length of the teacher's full-precision file, the base of ``compression_ratio``.
        own: code of the user's own that may be imported.
        device: where to train, ``cpu`` or ``cuda``.
        threads: of a trial on the CPU.
        first: names of costs that are measured before a student trains, as far as they are known by then
            (:data:`BEFORE_TRAINING`), because what the sweep decides about it depends on them. Others are
            measured afterwards; latencies that the table has already are told in either case.
        store_mark: what a node must see of the store before it may work; None on the driver's machine.
        trials: folder in which each trial has one of its own; None keeps nothing of a trial.
        measured_on: the user's own device that is asked about each student; None asks none.
        phases: where first phases are kept for trials that share them; None keeps none.
    """

    latency_table: Path | None
    teacher_bytes: int
    own: tuple[Allowed, ...] = ()
    device: str = "cpu"
    threads: int = 1
    first: frozenset[str] = frozenset()
    store_mark: StoreMark | None = None
    trials: Path | None = None
    measured_on: Device | None = None
    phases: PhaseFolder | None = None


def final_metrics(
    recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings
) -> dict[str, float]:
    """What is counted once per trial, on the packed file ``data`` and the ``student`` rebuilt from it.

    ``compression_ratio`` (teacher's full-precision file over this file), ``macs`` (of one use, see the task's
    interface, on average), ``full_macs`` (of one that takes the longest route), ``early_share`` (of inputs
    that take a shorter one), ``parameters``, ``sparsity`` (zeros among compressed weights) and ``mean_bits``
    (stored bits per compressed weight).
    """
    tensors, interface = unpack(data).tensors, recipe.task.interface
    costs = [(share, macs(route, interface)) for share, route in routes_of(student)]
    return {
        "compression_ratio": settings.teacher_bytes / len(data),
        "macs": round(sum(share * cost for share, cost in costs)),
        "full_macs": costs[-1][1],
        "early_share": sum(share for share, _ in costs[:-1]),
        "parameters": parameters(weights_of(tensors)),
        "sparsity": sparsity(tensors),
        "mean_bits": mean_bits(data),
    }


def export_metrics(recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings) -> Measured:
    """What is measured of the ONNX export of a student, which is made once.

    ``onnx_bytes`` (length of all its files), what :func:`latencies` gives, ``ram_bytes`` (see
    :func:`trainables.exporting.ram.ram_bytes`), and its layers. A student without an ONNX form has none.

    Raises:
        OSError: the table of latencies cannot be written.
    """
    try:
        files = exported(recipe, data, student)
        timed = latencies(recipe, data, student, settings, files)
    except ExportError as error:  # the student is what it is; only numbers are missing
        return Measured({}, f"no latency, memory or size in ONNX: {error}", [])
    # Shares are told apart within one run, so that other trials beside it matter little.
    found = counted(recipe, data, student, files, 0 if settings.latency_table is None else USES)
    return found._replace(numbers=timed | found.numbers)


def latencies(
    recipe: Recipe,
    data: bytes,
    student: nn.Module,
    settings: TrialSettings,
    files: Mapping[str, bytes] | None = None,
) -> dict[str, float]:
    """``latency_ms`` and what else the task's interface times, in ONNX Runtime, one thread, batch 1, p10.

    Of a student that takes several routes it is the mean over the validation samples of what theirs takes.
    They are of what :func:`trainables.exporting.export.to_onnx` makes of the file, so in 8-bit integers if
    the student has them. None at all without a table to look them up in.

    Args:
        recipe: of the student.
        data: its packed file.
        student: rebuilt from that.
        settings: with the table.
        files: its export; None (default) makes one where the table lacks the student. Each route of several
            is exported by itself in any case.

    Raises:
        ExportError: the student has no ONNX form that does what it does.
    """
    if settings.latency_table is None:
        return {}
    interface, packed, found = recipe.task.interface, unpack(data), []
    for share, route in routes_of(student):
        if share:
            key = export_key(packed, route)
            export: Callable[[], Mapping[str, bytes]]
            export = partial(to_onnx, route, interface, {}, packed.tensors)
            if files is not None and route is student:
                export = partial(dict, files)
            found.append((share, latencies_of(key, export, interface, settings.latency_table)))
    return mean_latencies(found)


def first_metrics(
    recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings
) -> dict[str, float]:
    """What is known of a student before it trains: the costs that the settings want first, and latencies.

    Args:
        recipe: of the student.
        data: its packed file as it begins.
        student: rebuilt from that, on the CPU.
        settings: of the sweep; ``first`` says what is wanted.
    """
    found = _first_latencies(recipe, data, student, settings)
    for names, measure in BEFORE_TRAINING:
        if not names.isdisjoint(settings.first):
            found |= measure(recipe, data, student, settings)
    return found


def settled(recipe: Recipe, result: Mapping[str, Any]) -> dict[str, Any]:
    """What of the ``result`` of an untrained student tells how large the trained one will be.

    Nothing where channels are cut away in training; no sizes where the bits of weights are learned.
    """
    if recipe.pruner.cuts:
        return {}
    sizes = {cost.name for cost in costs_of(quality_of(recipe.task.metric)) if 0 < cost.trained_share < 1}
    return {k: v for k, v in result.items() if not (recipe.quantizer.learns_size and k in sizes)}


Measure = Callable[[Recipe, bytes, nn.Module, TrialSettings], dict[str, float]]
"""Takes a recipe, the packed file of its untrained student, that student on the CPU, and the settings."""


def _work(recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings) -> dict[str, float]:
    """Which inputs will take which route is decided in training, and with it ``macs``."""
    routes = routes_of(student)
    full = macs(routes[-1][1], recipe.task.interface)
    return {"full_macs": full, **({"macs": full} if len(routes) == 1 else {})}


def _parameters(recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings) -> dict[str, float]:
    return {"parameters": parameters(weights_of(unpack(data).tensors))}


def _export(recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings) -> dict[str, float]:
    return first_costs(recipe, data, student, size="onnx_bytes" in settings.first)


BEFORE_TRAINING: tuple[tuple[frozenset[str], Measure], ...] = (
    (frozenset({"macs", "full_macs"}), _work),
    (frozenset({"parameters"}), _parameters),
    (frozenset({"onnx_bytes", "ram_bytes"}), _export),
)
"""How costs are known of a student that has not trained, by the metrics that one measurement gives.

What stands here can be limited before training, and its :attr:`trainables.metrics.Metric.trained_share` says
how much of it a trained student has at least. A measurement leaves out what it cannot know yet. Packed sizes
stand in every result, and latencies are looked up in a table first.
"""


def _first_latencies(
    recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings
) -> dict[str, float]:
    """What :func:`latencies` gives, as far as it is known before the student trains.

    That is what the table has, or all of it where the settings want it first. A student without an ONNX form
    has none; why is said at its end. Nor has one that takes several routes: which ones, training decides.
    """
    if settings.latency_table is None or len(routes_of(student)) > 1:
        return {}
    if any(name.startswith(LATENCY) for name in settings.first):
        try:
            return latencies(recipe, data, student, settings)
        except ExportError:
            return {}
    key = export_key(unpack(data), student)
    known = known_latencies(key, recipe.task.interface, settings.latency_table)
    return mean_latencies([(1.0, known)])
