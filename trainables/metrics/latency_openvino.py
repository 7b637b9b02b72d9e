"""How long one use of a student takes in OpenVINO, where that is installed."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from trainables.exporting.openvino_runtime import is_installed, load_openvino, without_two_bits
from trainables.interfaces.base import Interface
from trainables.metrics.latency import RUNS, Latency, timed

NAME = "latency_openvino_ms"


def measure_in_openvino(
    graphs: Mapping[str, bytes], interface: Interface, runs: int = RUNS
) -> dict[str, Latency]:
    """What :func:`trainables.metrics.latency.measure_latencies` calls ``latency_ms``, in OpenVINO.

    With the settings of :data:`trainables.exporting.openvino_runtime.EXACT`: one thread, and the
    arithmetic of the student.

    Args:
        graphs: ONNX files by name.
        interface: how the network is used.
        runs: at least 100.

    Returns:
        ``latency_openvino_ms``; nothing where OpenVINO is not installed, or does not read the graphs.
    """
    if not is_installed():
        return {}
    try:
        loaded = {name: load_openvino(without_two_bits(data)) for name, data in graphs.items()}
    except (
        Exception
    ):  # its errors share no base of their own; a student that it cannot hold has no such number
        return {}
    return {NAME: timed(functools.partial(interface.work()["latency_ms"], loaded), runs)}
