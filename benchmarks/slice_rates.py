"""Which learning rate slices of a trained network learn most with, by their width.

    python -m benchmarks.slice_rates examples/own_network.py [--seeds 2] [--widths 0.1 0.2 0.4 0.7 1]

Each slice has the compute of a sweep's, so narrow ones more epochs. A cell is the mean accuracy on the
validation split of the packed files, in percent, trained from labels or in 3 bits from the teacher's answers,
with the learning rate that stands above: the slice's own, not that which a sweep divides by the width.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import replace
from pathlib import Path

import torch

from search.planning.compute import with_compute
from search.teaching.given import packed_as_given
from spaces.compute import epochs_for
from studies.job import study_of_file
from trainables import methods
from trainables.optimizers import AdamW
from trainables.origins import Given, Slice
from trainables.quantizers import Uniform
from trainables.recipe import Recipe
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.slicing.cut import Cut
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import train

KINDS = ("labels", "3 bits")


def recipe_of(kind: str, given: methods.Setting, rate: float) -> Recipe:
    """How a cell is trained."""
    if kind == "labels":
        return methods.full_precision(given, optimizer=AdamW(rate))
    return methods.quantized_distillation(given, quantizer=Uniform(3), optimizer=AdamW(rate))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--widths", type=float, nargs="+", default=[0.1, 0.2, 0.4, 0.7, 1.0])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    study = study_of_file(options.job, print)
    task = study.make_task(None, {})
    assert study.arrays is not None and isinstance(study.teacher, Given)  # of a job file
    whole = study.teacher_recipe(task)
    context = with_compute(study.context(task, whole.recipe_id, 0), study, None, print)
    opened = [task.open(study.arrays, cpu, seed) for seed in range(options.seeds)]
    teacher = open_student(packed_as_given(whole, opened[0], study.given))[1]
    sources = LocalSources(lambda recipe_id: teacher, study.given)
    print(f"{platform.machine()}, 1 thread, torch {torch.__version__}, {options.seeds} seeds\n")
    print("| | width | epochs | " + " | ".join(f"{rate:g}" for rate in options.rates) + " |")
    print("|---" * (3 + len(options.rates)) + "|")
    for kind in KINDS:
        for width in options.widths:
            origin = Slice(study.teacher, Cut(width=width))
            epochs = max(epochs_for(origin, task, context.epochs, context.compute), 1)
            given = methods.Setting(task, origin, epochs, whole.recipe_id, context.teacher_views)
            cells = []
            for rate in options.rates:
                recipe = recipe_of(kind, given, rate)
                files = [train(replace(recipe, seed=i), each, sources, cpu) for i, each in enumerate(opened)]
                found = [evaluate_file(file, opened[0], "validation")["accuracy"] for file in files]
                cells.append(f"{100 * sum(found) / len(found):.1f}")
            print(f"| {kind} | {width:g} | {epochs} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
