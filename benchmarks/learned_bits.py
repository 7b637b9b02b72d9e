"""Learned bits (DiffQ) against uniform bit widths of quantized distillation, at equal packed bytes.

One architecture, one teacher, the same loss, epochs and optimizer: the weights are quantized to one number
of bits (quantized distillation), or their groups have learned bits at several prices of a MB. Each finished
run is a line of ``runs.jsonl`` in the folder, and the same command goes on where it was stopped. Every number
is that of the packed file; accuracies are of the test split, which decides nothing.

A price's accuracy is compared with that of uniform bits at as many bytes, which lies on the line between the
means of two bit widths over log2 of the bytes (beyond the ends, it is that of the end).

    CIFAR_IMAGES=FOLDER python -m benchmarks.learned_bits OUT --task cifar [--epochs 30] [--seeds 3]
    python -m benchmarks.learned_bits OUT --task digits
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.own_front.teacher import pixels
from studies.images import DIGITS_FAMILY
from trainables import methods
from trainables.files import write_file
from trainables.models import ConvNet, ResNet
from trainables.models.base import Model
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.quantizers import PseudoNoise, Uniform
from trainables.recipe import Recipe
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.shipping.sizes import mean_bits
from trainables.tasks import CIFAR10, Digits
from trainables.tasks.base import SPLITS, Arrays, Task
from trainables.teachers.base import Sources
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
TEACHER_ID = "0" * 16
UNIFORM, LEARNED = "uniform bits", "learned bits, price"


@dataclass(frozen=True)
class Setup:
    """What is trained on one task: ``bits`` of the uniform students, ``prices`` of a MB of the others."""

    task: Task
    teacher: Model
    student: Model
    rate: float
    bits: tuple[int, ...]
    prices: tuple[float, ...]


SETUPS = {
    "digits": Setup(
        Digits(),
        ConvNet(**DIGITS_FAMILY),
        ConvNet(depth=2, width=0.15, **DIGITS_FAMILY),
        2e-3,
        (1, 2, 3, 4, 6),
        (3.0, 10.0, 30.0, 100.0, 300.0),
    ),
    "cifar": Setup(
        CIFAR10(batch_size=128),
        ResNet(depth=3, width=1.0),
        ResNet(depth=3, width=1.0),
        2e-3,
        (2, 3, 4, 6),
        (1.0, 3.0, 10.0, 30.0),
    ),
}


def arrays_of(name: str, task: Task, fewer: int) -> Arrays:
    """The data; of the training images every ``fewer``-th."""
    if name == "cifar":
        found = pixels(Path(os.environ["CIFAR_IMAGES"]))
        arrays = {f"{split}_images": found[split][0].numpy() for split in SPLITS}
        arrays |= {f"{split}_labels": found[split][1].numpy() for split in SPLITS}
    else:
        arrays = dict(task.load(None))
    return {key: values[::fewer] if key.startswith("train") else values for key, values in arrays.items()}


def recipes(setup: Setup, epochs: int, group_size: int, seed: int) -> Iterator[tuple[str, float, Recipe]]:
    """What is trained: kind, number of bits or price, and recipe."""
    given = methods.Setting(
        setup.task, Fresh(setup.student), epochs, teacher=TEACHER_ID, teacher_views=None, seed=seed
    )
    optimizer = AdamW(setup.rate)
    for bits in setup.bits:
        distilled = methods.quantized_distillation(given, quantizer=Uniform(bits), optimizer=optimizer)
        yield UNIFORM, bits, distilled
    for price in setup.prices:
        part = PseudoNoise(group_size, price)
        learned = methods.pseudo_quantization_noise(given, quantizer=part, optimizer=optimizer)
        imitation = {name: getattr(distilled, name) for name in ("teacher", "losses", "task_weight")}
        yield LEARNED, price, replace(learned, **imitation)


def trained(recipe: Recipe, arrays: Arrays, sources: Sources) -> Trainer:
    """The trainer of ``recipe``, finished."""
    trainer = Trainer(recipe, recipe.task.open(arrays, CPU, recipe.seed), sources, CPU)
    while not trainer.finished:
        trainer.train_epoch()
    return trainer


def teacher_of(setup: Setup, arrays: Arrays, epochs: int, kept: Path) -> torch.nn.Module:
    """The trained teacher, from the folder where it was kept."""
    if not kept.exists():
        recipe = methods.full_precision(methods.Setting(setup.task, Fresh(setup.teacher), epochs))
        write_file(kept, trained(recipe, arrays, NoSources()).ship())
    return open_student(kept.read_bytes())[1]


def table(runs: list[dict[str, Any]]) -> str:
    """Means over seeds, and what learned bits gain over uniform ones at as many bytes."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["kind"], run["value"]), []).append(run)
    means = {
        key: [statistics.mean(run[name] for run in some) for name in ("bytes", "accuracy", "mean_bits")]
        for key, some in groups.items()
    }
    known = sorted(values for (kind, _), values in means.items() if kind == UNIFORM)
    lines = [f"{'':<26}{'bytes':>9}{'bits':>7}{'accuracy %':>12}{'runs':>6}{'gain, points':>14}"]
    for (kind, value), (size, accuracy, bits) in sorted(means.items(), reverse=True):
        line = f"{f'{kind} {value:g}':<26}{size:>9.0f}{bits:>7.2f}{100 * accuracy:>12.2f}"
        line += f"{len(groups[kind, value]):>6}"
        if kind == LEARNED and known:
            there = np.interp(
                np.log2(size), [np.log2(each[0]) for each in known], [each[1] for each in known]
            )
            spread = [run["accuracy"] for run in groups[kind, value]]
            error = statistics.stdev(spread) / len(spread) ** 0.5 if len(spread) > 1 else float("nan")
            line += f"{100 * (accuracy - there):>+8.2f} +-{100 * error:.2f}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, then print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument("--task", choices=sorted(SETUPS), default="digits")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--fewer", type=int, default=1, help="train on every so many images")
    parser.add_argument("--values", help="bits and prices to train, such as 2,3,10; all by default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    setup, log = SETUPS[arguments.task], arguments.out / "runs.jsonl"
    arrays = arrays_of(arguments.task, setup.task, arguments.fewer)
    kept = arguments.out / f"teacher-{arguments.task}-{arguments.epochs}-{arguments.fewer}.rdz"
    sources = LocalSources(lambda recipe_id: teacher_of(setup, arrays, arguments.epochs, kept))
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    wanted = None if arguments.values is None else {float(each) for each in arguments.values.split(",")}
    shown = []
    for seed in range(arguments.seeds):
        for kind, value, recipe in recipes(setup, arguments.epochs, arguments.group_size, seed):
            if wanted is not None and value not in wanted:
                continue
            key: dict[str, Any] = {"recipe": recipe.recipe_id, "fewer": arguments.fewer}
            found = [run for run in done if key.items() <= run.items()]
            if not found:
                trainer = trained(recipe, arrays, sources)
                found = [key | {"kind": kind, "value": value, "seed": seed} | measured(trainer)]
                with log.open("a") as file:
                    file.write(json.dumps(found[0]) + "\n")
                print(json.dumps(found[0]), flush=True)
            shown += found[:1]
    print(table(shown))


def measured(trainer: Trainer) -> dict[str, float]:
    """Of the packed file: its bytes, bits of a weight, and accuracy on the test split."""
    data = trainer.ship()
    accuracy = evaluate_file(data, trainer.task, "test")["accuracy"]
    return {"bytes": len(data), "mean_bits": mean_bits(data), "accuracy": accuracy}


if __name__ == "__main__":
    main()
