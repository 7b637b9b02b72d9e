"""How few bits an ONNX file of a student takes, whether it says the same, and how fast it is.

    CIFAR_IMAGES=DIR CIFAR_CHECKPOINT=FILE python -m benchmarks.onnx_bits RUNS [--images 10000] [--rounds 15]

The students are the network of :mod:`benchmarks.own_front.teacher`, rounded as it is, without further
training, to each number of bits by each quantizer; they are packed, and exported in both forms. For each:

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
import safetensors.torch
import torch
from torch import Tensor

from benchmarks.own_front.network import resnet
from benchmarks.own_front.teacher import normalised, pixels
from trainables import methods
from trainables.compression.compressed_weight import compress, compressed_weights, stored_tensors
from trainables.exporting.export import to_onnx
from trainables.files import write_file
from trainables.folding import fold_batch_norms
from trainables.interfaces import Classifier
from trainables.metrics.latency import fingerprint
from trainables.metrics.turns import alone
from trainables.models import ResNet
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.pruners import Magnitude, NoPruner
from trainables.pruners.base import Pruner
from trainables.quantizers import Graded, LearnedPoints, LearnedStep, Symmetric, Uniform
from trainables.quantizers.base import Quantizer, joined
from trainables.runtime import open_session
from trainables.shipping.packed_file import pack, unpack
from trainables.tasks import CIFAR10

BATCH = 250
TIE = 1e-4
RUNS_OF_A_TURN = 60


@dataclass(frozen=True)
class Row:
    """What was found of one student."""

    name: str
    bits: int
    packed: int
    onnx: int
    float32: int
    differ: int
    tied: int
    time: float


def students() -> Iterator[tuple[str, int, Quantizer, Pruner]]:
    """Name, nominal bits, quantizer and pruner of each."""
    for bits in range(1, 9):
        yield "uniform, buckets of 256", bits, Uniform(bits), NoPruner()
    for bits in range(2, 9):
        yield "symmetric per channel", bits, Symmetric(bits), NoPruner()
    for bits in range(2, 9):
        yield "learned step per tensor", bits, LearnedStep(bits), NoPruner()
    for bits in range(1, 9):
        yield "learned points, buckets of 256", bits, LearnedPoints(bits), NoPruner()
    yield "2 to 6 bits by rows", 4, Graded(0.5, 0.5, 0.5, 1.0, least=2, most=6), NoPruner()
    for sparsity in (0.5, 0.8, 0.95):
        yield f"uniform, {sparsity:.0%} pruned", 4, Uniform(4), Magnitude(sparsity)
        yield f"symmetric, {sparsity:.0%} pruned", 4, Symmetric(4), Magnitude(sparsity)


class Bench:
    """A trained network, packed in all ways, and its test images."""

    def __init__(self, runs: Path, images: int) -> None:
        runs.mkdir(parents=True, exist_ok=True)
        self.runs = runs
        self.weights = safetensors.torch.load_file(os.environ["CIFAR_CHECKPOINT"])
        pictures, _ = pixels(Path(os.environ["CIFAR_IMAGES"]))["test"]
        self.images = normalised(pictures[:images])

    def packed(self, quantizer: Quantizer, pruner: Pruner) -> bytes:
        """The packed file of the network as it is, rounded; made once."""
        given = methods.Setting(CIFAR10(), Fresh(ResNet()), 0, pruner=pruner)
        recipe = given.recipe(given.phase(AdamW(), 0), quantizer=quantizer)
        path = self.runs / f"{recipe.recipe_id}.rdz"
        if not path.exists():
            network = resnet()
            network.load_state_dict(self.weights)
            student = compress(network.eval(), recipe)
            for _, compressed, weight in compressed_weights(student):
                compressed.start_quantizing(weight)
            write_file(path, pack(recipe, stored_tensors(student, recipe)))
        return path.read_bytes()

    def row(self, name: str, bits: int, data: bytes, rounds: int) -> Row:
        """Export a packed file in both forms, and compare."""
        tensors, interface = unpack(data).tensors, Classifier((3, 32, 32))
        student = fold_batch_norms(resnet().eval())
        student.load_state_dict({name: each.decode() for name, each in joined(tensors).items()})
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
        f"{row.name:<32}{row.bits:>5}{row.packed:>10,}{row.onnx:>10,}{row.onnx / row.packed:>8.2f}"
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
    for name, bits, quantizer, pruner in students():
        if name.startswith(options.only) and (not options.bits or bits in options.bits):
            row = bench.row(name, bits, bench.packed(quantizer, pruner), options.rounds)
            print(line(row), flush=True)


if __name__ == "__main__":
    main()
