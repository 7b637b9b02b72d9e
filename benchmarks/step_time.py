"""What distillation and quantization add to a training step, measured with the trainer itself.

The student is the CIFAR ResNet-20, the batch 128 images of 32x32x3 (random ones: their content costs
nothing), the teacher that of the study ``cifar10``. Each variant is a real trainer on an epoch of few steps;
the variants take turns in an order that rotates, and a ratio is the median over the rounds of what two
variants took in the same round, so that a machine that slows down for a while slows both. One thread on the
CPU is timed by the processor's clock, which stands still while other processes have the core.

    python benchmarks/step_time.py [--device cuda] [--rounds 25] [--steps 4]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from studies.known import find_study
from trainables import methods
from trainables.batch import Batch
from trainables.metrics.latency import fingerprint
from trainables.models import ResNet
from trainables.models.base import Model
from trainables.origins import Fresh
from trainables.recipe import Recipe
from trainables.tasks import CIFAR10
from trainables.tasks.base import SPLITS, LoadedTask
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import Trainer

STUDENT = ResNet(depth=3, width=1.0)
TEACHER = find_study("cifar10").teacher.model
BATCH_SIZE = 128
TEACHER_ID = "0" * 16
VIEWS = 4  # a lookup costs the same in any number of views; filling them is not what is measured
EPOCHS = 1_000_000  # more than are ever run, so that no phase ends


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Attributes:
        name: to be printed.
        recipe: what the trainer runs.
        base: name of the variant it is compared with, or None.
        bar: the largest ratio that is good enough, or None.
    """

    name: str
    recipe: Recipe
    base: str | None = None
    bar: float | None = None


def variants() -> list[Variant]:
    """What is compared, each after its base."""
    task = CIFAR10(batch_size=BATCH_SIZE)
    taught = methods.Setting(task, Fresh(STUDENT), EPOCHS, teacher=TEACHER_ID, teacher_views=VIEWS)
    points = methods.differentiable_quantization(taught)
    learning = replace(points.phases[-1], epochs=EPOCHS)
    return [
        Variant("undistilled", methods.full_precision(methods.Setting(task, Fresh(STUDENT), epochs=EPOCHS))),
        Variant(
            "distilled, teacher live",
            methods.knowledge_distillation(
                methods.Setting(task, Fresh(STUDENT), epochs=EPOCHS, teacher=TEACHER_ID, teacher_views=None)
            ),
            base="undistilled",
        ),
        Variant(
            "distilled, teacher remembered",
            methods.knowledge_distillation(taught),
            base="undistilled",
            bar=1.05,
        ),
        Variant(
            "quantized distillation, 4 bits",
            methods.quantized_distillation(taught),
            base="distilled, teacher remembered",
            bar=1.15,
        ),
        Variant(
            "learned points, 4 bits",
            replace(points, phases=(learning,)),
            base="distilled, teacher remembered",
            bar=1.30,
        ),
    ]


def random_images(count: int) -> dict[str, np.ndarray]:
    """A data set of CIFAR's shapes."""
    random = np.random.RandomState(0)
    arrays = {}
    for split in SPLITS:
        size = count if split == "train" else 1
        arrays[f"{split}_images"] = random.randint(0, 256, (size, 3, 32, 32), dtype=np.uint8)
        arrays[f"{split}_labels"] = random.randint(0, 10, size).astype(np.int64)
    return arrays


def measure(
    chosen: Sequence[Variant],
    device: torch.device,
    steps: int,
    rounds: int,
    clock: Callable[[], float],
    teacher: Model = TEACHER,
    images: int = 0,
) -> dict[str, list[float]]:
    """Seconds per step of each variant in every round; the first two rounds warm up and do not count.

    There are at least ``images`` training images; an epoch sees those of its first ``steps`` batches.
    """
    torch.manual_seed(0)
    network = teacher.build((3, 32, 32), 10)
    sources = LocalSources(lambda recipe_id: network)
    arrays = random_images(max(images, steps * BATCH_SIZE))
    trainers: dict[str, Trainer] = {}
    for variant in chosen:
        opened = cast(LoadedTask, _FirstSteps(variant.recipe.task.open(arrays, device, 0), steps))
        trainers[variant.name] = Trainer(variant.recipe, opened, sources, device)
    taken: dict[str, list[float]] = {variant.name: [] for variant in chosen}
    for number in range(rounds + 2):
        names = list(trainers)
        for place in range(len(names)):
            name = names[(number + place) % len(names)]
            _wait(device)
            start = clock()
            trainers[name].train_epoch()
            _wait(device)
            if number >= 2:
                taken[name].append((clock() - start) / steps)
    return taken


def report(chosen: Sequence[Variant], taken: Mapping[str, Sequence[float]]) -> str:
    """A table of medians and of ratios with their quartiles."""
    lines = [f"{'':<32}{'ms per step':>12}{'ratio':>8}{'quartiles':>16}{'bar':>6}  to"]
    for variant in chosen:
        line = f"{variant.name:<32}{1000 * statistics.median(taken[variant.name]):>12.1f}"
        if variant.base is not None:
            pairs = zip(taken[variant.name], taken[variant.base], strict=True)
            low, middle, high = statistics.quantiles([ours / base for ours, base in pairs], n=4)
            bar = "" if variant.bar is None else f"{variant.bar:.2f}"
            line += f"{middle:>8.3f}{f'{low:.3f} - {high:.3f}':>16}{bar:>6}  {variant.base}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=25, help="at least 2")
    parser.add_argument("--steps", type=int, default=4, help="per epoch, at least 1")
    parser.add_argument("--threads", type=int, default=1, help="on the CPU")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    chosen = variants()
    alone = device.type == "cpu" and arguments.threads == 1
    clock = time.process_time if alone else time.perf_counter
    taken = measure(chosen, device, arguments.steps, arguments.rounds, clock)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{arguments.threads} thread(s)"
    print(f"machine: {json.dumps(fingerprint())}")
    print(f"{where}, python {platform.python_version()}, torch {torch.__version__}")
    print(
        f"{clock.__name__}, {arguments.rounds} rounds of {arguments.steps} steps, "
        f"student of {_size(STUDENT)} parameters"
    )
    print(report(chosen, taken))


class _FirstSteps:
    """A task whose epochs have so many steps, however large its data."""

    def __init__(self, task: LoadedTask, steps: int) -> None:
        self._task, self._steps = task, steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def steps(self, split: str) -> int:
        return self._steps

    def batches(self, split: str, epoch: int, view: int | None = None) -> Iterator[Batch]:
        return islice(self._task.batches(split, epoch, view), self._steps)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _size(model: ResNet) -> str:
    network: nn.Module = model.build((3, 32, 32), 10)
    return f"{sum(parameter.numel() for parameter in network.parameters()):,}"


if __name__ == "__main__":
    main()
