"""Sentences and spoken words: teachers, small students, and students of few labels, on packed files.

    python -m benchmarks.small_tasks sentences --data DIR --set trec --out table/
    python -m benchmarks.small_tasks labels --data DIR --set trec --out table/
    python -m benchmarks.small_tasks words --out table/
    python -m benchmarks.small_tasks words --data DIR --split recordings --out table/

``sentences`` trains a network of convolutions over words (Kim 2014, random vectors) and what is smaller: it
in quantized distillation at smaller widths, and a bag of subwords. ``labels`` keeps a tenth of the labels of
the training split: the network trained on these alone, and the same taught by the answers of ``--teacher``,
which was trained on them too, to all training sentences. ``words`` trains the study's teacher of recordings
and its students by quantized distillation. Each line is one training of one seed: accuracy of the packed
file on validation and test, bytes, seconds. What ``--out`` holds is not trained again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from trainables import methods
from trainables.models import DSCNN, TextBag, TextCNN, TextTransformer, TimeCNN
from trainables.models.base import Model
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.recipe import Recipe
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.tasks import SentenceFolder, SoundFolder, SpokenWords
from trainables.tasks.base import Arrays, LoadedTask, Task
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import Trainer

TEACHER = "0" * 16
CPU = torch.device("cpu")


class Cell(NamedTuple):
    """One training: its name, the student, how it is trained, and the name of its teacher's."""

    name: str
    model: Model
    epochs: int
    learning_rate: float
    method: str = "full_precision"
    bits: int = 4
    teacher: str = ""


def sentences() -> Iterator[Cell]:
    """The teacher of sentences, then students of a fiftieth of its bytes and less."""
    yield Cell("cnn", TextCNN(), 12, 2e-3)
    for size in (12, 8):
        model = TextCNN(embedding=size, maps=40, dropout=0.2)
        yield Cell(f"cnn-e{size}-qd4", model, 16, 5e-3, "quantized_distillation", teacher="cnn")
    yield Cell("cnn-e8", TextCNN(embedding=8, maps=40, dropout=0.2), 16, 5e-3)
    yield Cell("bag-e12-qd4", TextBag(embedding=12), 16, 1e-2, "quantized_distillation", teacher="cnn")


def labels() -> Iterator[Cell]:
    """Few labels: alone, and taught by a larger network of the same few labels."""
    yield Cell("few-cnn", TextCNN(width=0.5), 40, 2e-3)
    yield Cell("few-transformer", TextTransformer(), 40, 1e-3)
    yield Cell(
        "few-taught", TextCNN(width=0.5), 40, 2e-3, "knowledge_distillation", teacher="few-transformer"
    )


def words() -> Iterator[Cell]:
    """The teacher of recordings, then students of at most 20 kB."""
    yield Cell("time-cnn", TimeCNN(depth=4, width=1.5), 30, 5e-3)
    students: tuple[tuple[str, Model], ...] = (
        ("time-cnn", TimeCNN(width=0.5)),
        ("ds-cnn", DSCNN(width=0.5)),
    )
    for name, model in students:
        yield Cell(f"{name}-w0.5-qd4", model, 30, 1e-2, "quantized_distillation", teacher="time-cnn")


KINDS = {"sentences": sentences, "labels": labels, "words": words}


def task_of(arguments: argparse.Namespace) -> Task:
    """The task that the command line names."""
    if arguments.kind == "words":
        if arguments.data is None:
            return SpokenWords()
        return SoundFolder.examine(arguments.data, split=arguments.split)[0]
    share = 0.1 if arguments.kind == "labels" else 1.0
    return SentenceFolder.examine(arguments.data, set=arguments.set, labels=share)[0]


def recipe_of(cell: Cell, task: Task, seed: int) -> Recipe:
    """How a cell is trained."""
    views = None if cell.teacher else 1
    given = methods.Setting(task, Fresh(cell.model), cell.epochs, TEACHER, views, seed=seed)
    optimizer = AdamW(cell.learning_rate)
    if cell.method == "full_precision":
        return methods.full_precision(given, optimizer=optimizer)
    if cell.method == "knowledge_distillation":
        return methods.knowledge_distillation(given, optimizer=optimizer)
    return methods.quantized_distillation(given, quantizer=Uniform(cell.bits), optimizer=optimizer)


def trained(recipe: Recipe, loaded: LoadedTask, teacher: nn.Module | None) -> bytes:
    """The packed file of a recipe after its training."""

    def found(recipe_id: str) -> nn.Module:
        assert teacher is not None
        return teacher

    trainer = Trainer(recipe, loaded, LocalSources(found), CPU)
    while not trainer.finished:
        trainer.train_epoch()
    return trainer.ship()


def run(cells: list[Cell], task: Task, arrays: Arrays, seed: int, out: Path) -> list[dict[str, Any]]:
    """Train what is not there yet; returns all rows of a seed."""
    rows = []
    for cell in cells:
        file, told = (out / f"{cell.name}-{seed}{suffix}" for suffix in (".rdz", ".json"))
        if not told.exists():
            loaded = task.open(arrays, CPU, seed)
            teacher = None
            if cell.teacher:
                teacher = open_student((out / f"{cell.teacher}-{seed}.rdz").read_bytes())[1].eval()
            begun = time.monotonic()
            data = trained(recipe_of(cell, task, seed), loaded, teacher)
            row = {"name": cell.name, "seed": seed, "bytes": len(data)}
            for split in ("validation", "test"):
                row[split] = evaluate_file(data, loaded, split)["accuracy"]
            file.write_bytes(data)
            told.write_text(json.dumps({**row, "seconds": round(time.monotonic() - begun, 1)}))
        rows.append(json.loads(told.read_text()))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Means over seeds, and the least and the greatest test accuracy."""
    lines = ["| training | bytes | validation | test | least to greatest |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        tests = [100 * row["test"] for row in own]
        size, validation = (sum(row[key] for row in own) / len(own) for key in ("bytes", "validation"))
        lines.append(
            f"| {name} | {size:,.0f} | {100 * validation:.2f} | {sum(tests) / len(tests):.2f} | "
            f"{min(tests):.1f} to {max(tests):.1f} |"
        )
    return "\n".join(lines)


def main(words_: list[str] | None = None) -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--set", default="")
    parser.add_argument("--split", default="speakers")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of each training, for trying")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(words_)
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    task = task_of(arguments)
    arrays = task.load(arguments.data)
    cells = list(KINDS[arguments.kind]())
    if arguments.epochs:
        cells = [cell._replace(epochs=arguments.epochs) for cell in cells]
    rows = [row for seed in range(arguments.seeds) for row in run(cells, task, arrays, seed, arguments.out)]
    print(table(rows))


if __name__ == "__main__":
    main()
