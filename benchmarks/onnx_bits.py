"""How few bits an ONNX file of a student takes, whether it says the same, and how fast it is.

    CIFAR_IMAGES=DIR CIFAR_CHECKPOINT=FILE python -m benchmarks.onnx_bits RUNS [--images 10000] [--rounds 15]

The students are the network of :mod:`benchmarks.own_front.job`, rounded as it is, without further training,
to each number of bits by each quantizer; they are packed, and exported in both forms. For each:

- ``packed``, ``onnx``, ``float32``: bytes of the packed file, the export and the export of float32 weights;
- ``differ``: test images for which the export, in ONNX Runtime as anybody opens it, and the packed file,
  decoded in PyTorch, choose another class, and ``tied``, those of them whose two logits are closer than 1e-4
  of the largest;
- ``time``: the export's time for one image over that of the float32 one, one thread: they take turns, and it
  is the median of the ratios of their medians in a round.

Packed files are kept in ``RUNS``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.own_front.teacher import normalised, pixels
from spaces.architectures import TEACHER
from studies.job import study_of_file
from trainables import methods
from trainables.exporting.export import to_onnx
from trainables.files import write_file
from trainables.metrics.latency import fingerprint
from trainables.metrics.turns import alone
from trainables.optimizers import AdamW
from trainables.pruners import Magnitude
from trainables.quantizers import Graded, LearnedPoints, LearnedStep, Symmetric, Uniform
from trainables.quantizers.base import Quantizer
from trainables.runtime import open_session
from trainables.shipping.evaluation import rebuild
from trainables.shipping.packed_file import unpack
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training.trainer import Trainer

JOB = Path("benchmarks/own_front/job.py")
CPU = torch.device("cpu")
BATCH = 250
TIE = 1e-4
RUNS_OF_A_TURN = 60


@dataclass(frozen=True)
class Row:
    """What was found of one student."""

    name: str
    bits: float
    packed: int
    onnx: int
    float32: int
    differ: int
    tied: int
    time: float


def students() -> Iterator[tuple[str, float, Quantizer, float]]:
    """Name, nominal bits, quantizer and share of pruned weights of each."""
    for bits in range(1, 9):
        yield "uniform, buckets of 256", bits, Uniform(bits), 0.0
    for bits in range(2, 9):
        yield "symmetric per channel", bits, Symmetric(bits), 0.0
    for bits in range(2, 9):
        yield "learned step per tensor", bits, LearnedStep(bits), 0.0
    for bits in range(1, 9):
        yield "learned points, buckets of 256", bits, LearnedPoints(bits), 0.0
    yield "2 to 6 bits by rows", 4, Graded(0.5, 0.5, 0.5, 1.0, least=2, most=6), 0.0
    for sparsity in (0.5, 0.8, 0.95):
        yield f"uniform, {sparsity:.0%} pruned", 4, Uniform(4), sparsity
        yield f"symmetric, {sparsity:.0%} pruned", 4, Symmetric(4), sparsity


class Bench:
    """The job's network, packed in all ways, and its test images."""

    def __init__(self, runs: Path, images: int) -> None:
        runs.mkdir(parents=True, exist_ok=True)
        self.runs = runs
        self.study = study_of_file(JOB, print)
        self.task = self.study.make_task(None, {})
        self.sources = LocalSources(NoSources().network, self.study.given)
        pictures, _ = pixels(Path(os.environ["CIFAR_IMAGES"]))["test"]
        self.images = normalised(pictures[:images])

    def packed(self, quantizer: Quantizer, sparsity: float) -> bytes:
        """The packed file of the network as it is, rounded; made once."""
        origin = dict(self.study.students)[TEACHER]
        given = methods.Setting(self.task, origin, 0, None)
        if sparsity:
            given = methods.Setting(self.task, origin, 0, None, pruner=Magnitude(sparsity))
        recipe = given.recipe(given.phase(AdamW(), 0, prune=False), quantizer=quantizer)
        path = self.runs / f"{recipe.recipe_id}.rdz"
        if not path.exists():
            trainer = Trainer(recipe, self.task.open(self.study.arrays or {}, CPU, 0), self.sources, CPU)
            while not trainer.finished:
                trainer.train_epoch()
            write_file(path, trainer.ship())
        return path.read_bytes()

    def row(self, name: str, bits: float, data: bytes, rounds: int) -> Row:
        """Export a packed file in both forms, and compare."""
        recipe, tensors, model = unpack(data)
        student, interface = rebuild(recipe, tensors, model), recipe.task.interface
        forms: dict[str, bytes] = {}
        (forms["stored"],) = to_onnx(student, interface, {}, tensors).values()
        (forms["float32"],) = to_onnx(student, interface, {}, tensors, weights="float32").values()
        sessions = {form: open_session(each) for form, each in forms.items()}
        differ = tied = 0
        for batch in self.images.split(BATCH):
            ours = _logits(student, batch)
            (theirs,) = sessions["stored"].run(None, {"input": batch.numpy()})
            for mine, their in zip(ours, theirs, strict=True):
                if mine.argmax() != their.argmax():
                    differ += 1
                    close = abs(mine[mine.argmax()] - mine[their.argmax()]) < TIE * np.abs(mine).max()
                    tied += bool(close)
        ratio = _ratio(sessions, self.images[:1].numpy(), rounds)
        return Row(name, bits, len(data), len(forms["stored"]), len(forms["float32"]), differ, tied, ratio)


@torch.no_grad()
def _logits(student: torch.nn.Module, batch: Tensor) -> np.ndarray:
    found: np.ndarray = student(batch).numpy()
    return found


def _ratio(sessions: Mapping[str, Any], values: np.ndarray, rounds: int) -> float:
    """Time of the stored form over the float32 one."""
    for session in sessions.values():
        _median(session, values)
    ratios = []
    with alone():
        for number in range(rounds):
            order = list(sessions) if number % 2 else list(sessions)[::-1]
            taken = {form: _median(sessions[form], values) for form in order}
            ratios.append(taken["stored"] / taken["float32"])
    return statistics.median(ratios)


def _median(session: Any, values: np.ndarray) -> float:
    taken = []
    for _ in range(RUNS_OF_A_TURN):
        start = time.perf_counter()
        session.run(None, {"input": values})
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def line(row: Row) -> str:
    """A row as it is printed."""
    return (
        f"{row.name:<32}{row.bits:>5g}{row.packed:>10,}{row.onnx:>10,}{row.onnx / row.packed:>8.2f}"
        f"{row.float32 / row.onnx:>9.1f}{32 / (row.bits + 1):>9.1f}"
        f"{row.differ:>8}{row.tied:>6}{row.time:>7.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="students whose name begins so")
    parser.add_argument("--bits", type=int, nargs="*", help="students of so many")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(options.runs, options.images)
    names = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnx", "onnxruntime"))
    print(f"{fingerprint()}, {names}; {len(bench.images)} images, {options.rounds} rounds\n")
    print(
        f"{'student':<32}{'bits':>5}{'packed':>10}{'onnx':>10}{'ratio':>8}{'float32':>9}{'32/(b+1)':>9}"
        f"{'differ':>8}{'tied':>6}{'time':>7}"
    )
    for name, bits, quantizer, sparsity in students():
        if name.startswith(options.only) and (not options.bits or bits in options.bits):
            print(line(bench.row(name, bits, bench.packed(quantizer, sparsity), options.rounds)), flush=True)


if __name__ == "__main__":
    main()
