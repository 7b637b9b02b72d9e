"""What each format of `rayduce export` weighs and takes: ResNet-20 as float32, 4-bit and int8, one thread.

The students are untrained (latency depends on the architecture, not on the weights). Formats whose libraries
are missing are left out. The files take turns, in an order that rotates; a ratio to ONNX in float32 is the
median over the rounds of what two files took in the same round.

    python benchmarks/formats.py [--rounds 9] [--runs 60]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from benchmarks.latency import _images, student_copy
from trainables import methods
from trainables.activations import NoActivationQuantizer
from trainables.compression.compressed_weight import compress
from trainables.exporting.formats import FORMATS, format_of
from trainables.exporting.formats.base import GraphFormat, Shipped, Wishes
from trainables.interfaces.base import Run
from trainables.metrics.latency import fingerprint
from trainables.metrics.turns import alone
from trainables.models import ResNet
from trainables.origins import Fresh
from trainables.quantizers import NoQuantizer, Uniform
from trainables.recipe import Recipe
from trainables.runtime import load
from trainables.shipping.evaluation import rebuild, ship
from trainables.shipping.packed_file import unpack
from trainables.tasks import CIFAR10
from trainables.training.export_costs import facts_of

STUDENT = ResNet(depth=3, width=1.0)
WARM_UP = 10
LIBRARIES = ("torch", "onnxruntime", "openvino", "executorch", "litert-torch", "ai-edge-litert")


@dataclass(frozen=True)
class Row:
    """One file, or the two of OpenVINO: bytes, milliseconds, and ONNX's in float32 over its own."""

    kind: str
    format: str
    file_bytes: int
    p10_ms: float
    median_ms: float
    speed_up: float


def recipes() -> dict[str, Recipe]:
    """How the students are compressed, by kind."""
    int8 = methods.int8_post_training_quantization(methods.Setting(CIFAR10(), Fresh(STUDENT), epochs=0))
    floats = replace(int8, activations=NoActivationQuantizer())
    return {
        "float32": replace(floats, quantizer=NoQuantizer(), exempt_dtype="float32"),
        "4-bit": replace(floats, quantizer=Uniform(4, 256)),
        "int8": int8,
    }


def packed(recipe: Recipe) -> Shipped:
    """An untrained student."""
    task = CIFAR10()
    torch.manual_seed(0)
    network = STUDENT.build(task.input_shape, task.outputs)
    content = ship(recipe, compress(student_copy(network, STUDENT, task), recipe), _images)
    _, tensors, model = unpack(content)
    facts = facts_of(recipe, len(content))
    return Shipped(recipe, tensors, content, facts, {}, lambda: rebuild(recipe, tensors, model))


def made(student: Shipped) -> dict[str, tuple[int, Run]]:
    """Bytes and what runs, by format."""
    found: dict[str, tuple[int, Run]] = {}
    for name in FORMATS:
        chosen = format_of(name)
        if name in ("rdz", "safetensors") or chosen.lacking():
            continue
        if isinstance(chosen, GraphFormat):
            (graph,) = chosen.make(student, student.build(), Wishes()).values()
            found[name] = (sum(map(len, graph.files.values())), graph.run)
        else:
            (data,) = chosen.write(student, Path(f"student{chosen.suffix}"), Wishes()).files.values()
            found[name] = (len(data), load({"network": data})["network"])
    return found


def on_one_thread() -> None:
    """Tell the runtimes that have threads of their own."""
    torch.set_num_threads(1)
    if not format_of("pte").lacking():
        from executorch.extension.pybindings import portable_lib

        portable_lib._unsafe_reset_threadpool(1)  # has no public name; before any program is loaded


def measure(rounds: int, runs: int) -> list[Row]:
    """Time all files in turns.

    Args:
        rounds: how often each file has its turn.
        runs: timed runs in a turn, after 10 to warm up.
    """
    on_one_thread()
    students = {kind: packed(recipe) for kind, recipe in recipes().items()}
    files = {(kind, name): each for kind, student in students.items() for name, each in made(student).items()}
    values = np.random.default_rng(0).standard_normal((1, *CIFAR10().input_shape), dtype=np.float32)
    seconds: dict[tuple[str, str], list[list[float]]] = {key: [] for key in files}
    keys = list(files)
    with alone():
        for number in range(rounds):
            for key in keys[number % len(keys) :] + keys[: number % len(keys)]:
                seconds[key].append(_turn(files[key][1], values, runs))
    rows = [Row(kind, "rdz", len(each.content), 0.0, 0.0, 0.0) for kind, each in students.items()]
    return rows + [_row(key, files[key][0], seconds) for key in keys]


def _turn(run: Run, values: np.ndarray, runs: int) -> list[float]:
    feed: Mapping[str, np.ndarray] = {"input": values}
    for _ in range(WARM_UP):
        run(feed)
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        run(feed)
        taken.append(time.perf_counter() - start)
    return taken


def _row(key: tuple[str, str], file_bytes: int, seconds: Mapping[tuple[str, str], list[list[float]]]) -> Row:
    kind, name = key
    every = 1000 * np.concatenate([np.asarray(turn) for turn in seconds[key]])
    ratios = [
        float(np.percentile(ours, 10)) / float(np.percentile(theirs, 10))
        for ours, theirs in zip(seconds["float32", "onnx"], seconds[key], strict=True)
    ]
    p10, median = (float(value) for value in np.percentile(every, [10, 50]))
    return Row(kind, name, file_bytes, p10, median, statistics.median(ratios))


def table(rows: list[Row]) -> str:
    """The rows as text, by kind."""
    lines = [f"{'':<10}{'':<14}{'file bytes':>12}{'p10 ms':>9}{'median ms':>11}{'speed-up':>10}"]
    for row in sorted(rows, key=lambda row: list(recipes()).index(row.kind)):
        timed = f"{row.p10_ms:>9.3f}{row.median_ms:>11.3f}{row.speed_up:>9.2f}x" if row.p10_ms else ""
        lines.append(f"{row.kind:<10}{row.format:<14}{row.file_bytes:>12,}{timed}")
    return "\n".join(lines)


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=60)
    arguments = parser.parse_args()
    rows = measure(arguments.rounds, arguments.runs)
    print(f"machine: {json.dumps(fingerprint())}")
    print(f"python {platform.python_version()}, { ({name: _version(name) for name in LIBRARIES}) }")
    print(f"{arguments.rounds} rounds of {arguments.runs} runs, batch 1, one thread, 3x32x32")
    print(table(rows))


if __name__ == "__main__":
    main()
