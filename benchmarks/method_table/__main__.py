"""Train every method at three sizes and with several seeds, and hold sizes and accuracies against papers.

    python -m benchmarks.method_table STORE --data digits [--seeds 3] [--rows qd lsq ...]
    CIFAR_IMAGES=DIR CIFAR_CHECKPOINT=FILE python -m benchmarks.method_table STORE --data cifar

All students of a size have the same architecture, epochs, batches and learning rate's default; only the
method differs. A run that is there is not trained again, so that it can be stopped and started. Accuracy is
that of the packed file on the test split, from which nothing is chosen. ``cifar`` takes the network and the
images of :mod:`benchmarks.own_front.teacher`, of the training images about ``--images``.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.method_table.bench import Bench, benches
from benchmarks.method_table.report import report
from benchmarks.method_table.rows import ROWS, Row
from spaces.arguments import arguments_of
from trainables.methods import METHODS, Setting
from trainables.optimizers import AdamW
from trainables.origins.base import Origin
from trainables.recipe import Recipe
from trainables.shipping.evaluation import evaluate_file
from trainables.training.trainer import train

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--data", choices=tuple(benches), default="digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of a student; by default 20 of digits, 4 of CIFAR-10")
    parser.add_argument("--images", type=int, default=10_000, help="of CIFAR-10 that are trained on")
    parser.add_argument("--sizes", type=float, nargs="+", help="widths; three by default")
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=list(ROWS), metavar="ROW")
    parser.add_argument("--only-report", action="store_true")
    options = parser.parse_args()
    options.store.mkdir(parents=True, exist_ok=True)
    log = options.store / f"{options.data}.jsonl"
    torch.set_num_threads(1)
    if not options.only_report:
        bench = benches[options.data](options.store, options.images)
        epochs = options.epochs or bench.epochs
        done = {(row["row"], row["size"], row["seed"], row["epochs"]) for row in read(log)}
        for seed in range(options.seeds):
            for size in options.sizes or bench.sizes:
                for name in options.rows:
                    if (name, size, seed, epochs) not in done:
                        with log.open("a") as file:
                            found = run(bench, name, size, seed, epochs)
                            print(json.dumps(found), file=file, flush=True)
                            print(
                                f"{name}, {size}, {seed}: {found.get('test', found.get('refused'))}",
                                flush=True,
                            )
    print(f"{platform.machine()}, 1 thread, torch {torch.__version__}")
    print(report(read(log)))


def read(log: Path) -> list[dict[str, Any]]:
    """The runs that are there."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def run(bench: Bench, name: str, size: float, seed: int, epochs: int) -> dict[str, Any]:
    """One student: what it has of bytes and accuracy, or why there is none."""
    row: dict[str, Any] = {"row": name, "size": size, "seed": seed, "epochs": epochs}
    recipe = recipe_of(bench, name, size, seed, epochs)
    if isinstance(recipe, str):
        return row | {"refused": recipe}
    task = recipe.task.open(bench.arrays, CPU, seed)
    begun = time.process_time()
    try:
        data = train(recipe, task, bench.sources, CPU)
    except ValueError as error:  # what only shows when the student is built
        return row | {"refused": str(error)}
    seconds = time.process_time() - begun
    quality = evaluate_file(data, task, "test")["accuracy"]
    started = type(recipe.origin).__name__
    return row | {"bytes": len(data), "test": quality, "seconds": seconds, "origin": started}


def recipe_of(bench: Bench, name: str, size: float, seed: int, epochs: int) -> Recipe | str:
    """The row's recipe on the first origin that its method takes; or why it takes none."""
    why = ""
    for origin in bench.origins(size):
        try:
            return _of_origin(bench, ROWS[name], origin, seed, epochs)
        except ValueError as error:
            why = str(error)
    return why


def _of_origin(bench: Bench, row: Row, origin: Origin, seed: int, epochs: int) -> Recipe:
    given = Setting(bench.task, origin, epochs, bench.teacher_id, bench.views, pruner=row.pruner, seed=seed)
    method = METHODS[row.method]
    takes = "optimizer" in arguments_of(method)
    optimizer = {"optimizer": AdamW(bench.learning_rate)} if takes else {}
    return method(given, **optimizer, **row.arguments)


if __name__ == "__main__":
    main()
