"""What each method adds to a training step over the same training without it.

ResNet-20 on batches of 128 images, real trainers that take turns, ratios within rounds: measured as
:mod:`benchmarks.step_time` says. A method has one row in :func:`pairs`.

    python -m benchmarks.method_steps [--only NAME] [--rounds 9] [--steps 2] [--device cuda]
"""

from __future__ import annotations

import argparse
import json
import time
from typing import NamedTuple

import torch

from benchmarks.step_time import BATCH_SIZE, EPOCHS, STUDENT, Variant, measure, report
from trainables import methods
from trainables.metrics.latency import fingerprint
from trainables.origins import Fresh
from trainables.recipe import Recipe
from trainables.tasks import CIFAR10


class Pair(NamedTuple):
    """A method's training, the same without it, and the largest ratio of their steps that is good enough."""

    name: str
    recipe: Recipe
    without: Recipe
    bar: float


def pairs() -> list[Pair]:
    """What is compared."""
    given = methods.Setting(CIFAR10(batch_size=BATCH_SIZE), Fresh(STUDENT), EPOCHS)
    plain = methods.full_precision(given)
    return [
        Pair("learned bits", methods.pseudo_quantization_noise(given), plain, 1.2),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="the name of one row")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=9, help="at least 2")
    parser.add_argument("--steps", type=int, default=2, help="per epoch, at least 1")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    print(f"machine: {json.dumps(fingerprint())}, torch {torch.__version__}")
    for pair in pairs():
        if arguments.only in (None, pair.name):
            base = f"without {pair.name}"
            chosen = [Variant(base, pair.without), Variant(pair.name, pair.recipe, base, pair.bar)]
            taken = measure(chosen, device, arguments.steps, arguments.rounds, clock)
            print(report(chosen, taken), flush=True)


if __name__ == "__main__":
    main()
