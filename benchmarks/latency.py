"""What 8-bit integers gain in ONNX Runtime: each student as float32 and as int8, one input, one thread.

The students are untrained (latency depends on the architecture, not on the weights) and leave through the
same export as trained ones, checks included. The files take turns, in an order that rotates; a ratio is the
median over the rounds of what two files took in the same round, so that a machine that slows down for a while
slows both.

    python benchmarks/latency.py [--rounds 15] [--runs 100]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables import methods
from trainables.activations import NoActivationQuantizer
from trainables.compression.compressed_weight import compress
from trainables.exporting.export import to_onnx
from trainables.exporting.integer_weight import has_wide_products
from trainables.metrics.latency import fingerprint
from trainables.metrics.turns import alone
from trainables.models import ResNet
from trainables.models.base import Model
from trainables.models.convnet import PAPER_STUDENT_2
from trainables.origins import Fresh
from trainables.runtime import open_session
from trainables.shipping.evaluation import rebuild, ship
from trainables.shipping.packed_file import unpack
from trainables.tasks import CIFAR10

STUDENTS: Mapping[str, Model] = {
    "ResNet-20": ResNet(depth=3, width=1.0),
    "ResNet-20, half as wide": ResNet(depth=3, width=0.5),
    "ResNet-20, twice as wide": ResNet(depth=3, width=2.0),
    "the paper's student 2": PAPER_STUDENT_2,
}
FORMS = ("float32", "int8", "int8, reduced range")
WARM_UP = 10


@dataclass(frozen=True)
class Row:
    """One file: milliseconds over all rounds, and float32's over its own, median over the rounds."""

    student: str
    form: str
    file_bytes: int
    p10_ms: float
    median_ms: float
    speed_up: float


def files(student: Model) -> dict[str, bytes]:
    """ONNX files of an untrained student, by form."""
    task = CIFAR10()
    torch.manual_seed(0)
    recipe = methods.int8_post_training_quantization(methods.Setting(task, Fresh(student), epochs=0))
    network = student.build(task.input_shape, task.outputs)
    made = {}
    for form in FORMS:
        this = replace(recipe, activations=NoActivationQuantizer()) if form == "float32" else recipe
        tensors = unpack(ship(this, compress(student_copy(network, student, task), this), _images)).tensors
        (made[form],) = to_onnx(
            rebuild(this, tensors), task.interface, {}, tensors, reduced_range=form == FORMS[2]
        ).values()
    return made


def student_copy(network: torch.nn.Module, student: Model, task: CIFAR10) -> torch.nn.Module:
    """A plain network with the weights of another: compressing changes it in place."""
    copied = student.build(task.input_shape, task.outputs)
    copied.load_state_dict(network.state_dict())
    return copied


def _images() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    yield torch.randn(128, *CIFAR10().input_shape, generator=generator)


def measure(rounds: int, runs: int) -> list[Row]:
    """Time all files in turns.

    Args:
        rounds: how often each file has its turn.
        runs: timed runs in a turn, after 10 to warm up.
    """
    contents = {(name, form): data for name, model in STUDENTS.items() for form, data in files(model).items()}
    sessions = {key: open_session(data) for key, data in contents.items()}
    values = np.random.default_rng(0).standard_normal((1, *CIFAR10().input_shape), dtype=np.float32)
    seconds: dict[tuple[str, str], list[list[float]]] = {key: [] for key in sessions}
    keys = list(sessions)
    with alone():
        for number in range(rounds):
            for key in keys[number % len(keys) :] + keys[: number % len(keys)]:
                seconds[key].append(_turn(sessions[key], values, runs))
    return [_row(key, len(contents[key]), seconds) for key in keys]


def _turn(session: Any, values: np.ndarray, runs: int) -> list[float]:
    feed = {"input": values}
    for _ in range(WARM_UP):
        session.run(None, feed)
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        session.run(None, feed)
        taken.append(time.perf_counter() - start)
    return taken


def _row(key: tuple[str, str], file_bytes: int, seconds: Mapping[tuple[str, str], list[list[float]]]) -> Row:
    name, form = key
    every = 1000 * np.concatenate([np.asarray(turn) for turn in seconds[key]])
    base = seconds[name, "float32"]
    ratios = [
        float(np.percentile(ours, 10)) / float(np.percentile(theirs, 10))
        for ours, theirs in zip(base, seconds[key], strict=True)
    ]
    p10, median = (float(value) for value in np.percentile(every, [10, 50]))
    return Row(name, form, file_bytes, p10, median, statistics.median(ratios))


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = [f"{'':<26}{'':<22}{'p10 ms':>9}{'median ms':>11}{'speed-up':>10}{'file kB':>9}"]
    for row in rows:
        lines.append(
            f"{row.student:<26}{row.form:<22}{row.p10_ms:>9.3f}{row.median_ms:>11.3f}"
            f"{row.speed_up:>9.2f}x{row.file_bytes / 1000:>9.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--runs", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(arguments.rounds, arguments.runs)
    print(f"machine: {json.dumps(fingerprint())}")
    print(f"VNNI or wider: {has_wide_products()}; python {platform.python_version()}, ", end="")
    print({name: version(name) for name in ("onnxruntime", "onnx", "torch")})
    print(f"{arguments.rounds} rounds of {arguments.runs} runs, batch 1, one thread, 3x32x32")
    print(table(rows))


if __name__ == "__main__":
    main()
