"""What a slice inherits: a network of half the channels after two epochs, begun as a slice and begun anew.

    CIFAR_IMAGES=DIR CIFAR_CHECKPOINT=FILE python -m benchmarks.slice_start [--seeds 3] [--epochs 2]

Both have the same shape, the same teacher (knowledge distillation), the same batches and the same steps; the
second one's weights are drawn anew (``Slice(restart=True)``). Validation accuracy, from the packed files. The
images and the checkpoint are those of :mod:`benchmarks.own_front.teacher`.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path

import torch

from search.teaching.given import packed_as_given
from studies.job import study_of_file
from trainables import methods
from trainables.losses import SoftTargets
from trainables.optimizers import AdamW
from trainables.origins import Given, Slice
from trainables.schedules import Constant
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.slicing.cut import Cut
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import train

JOB = Path(__file__).parent / "own_front" / "job.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--width", type=float, default=0.5)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    study = study_of_file(JOB, print)
    task = study.make_task(None, {})
    arrays = study.arrays
    assert arrays is not None and isinstance(study.teacher, Given)  # of a job file
    recipe = study.teacher_recipe(task)
    teacher_file = packed_as_given(recipe, task.open(arrays, torch.device("cpu"), 0), study.given)
    teacher = open_student(teacher_file)[1].to(device)
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {device.type}"
    )
    found: dict[str, list[float]] = {}
    sources = LocalSources(lambda recipe_id: teacher, study.given)
    for seed in range(options.seeds):
        opened = task.open(arrays, device, seed)
        for name, restart in (("slice", False), ("new", True)):
            origin = Slice(study.teacher, Cut(width=options.width), restart)
            setting = methods.Setting(
                task, origin, options.epochs, recipe.recipe_id, options.epochs, seed=seed
            )
            imitation = SoftTargets(Constant(4.0), Constant(0.7))
            begun = time.perf_counter()
            student = methods.knowledge_distillation(
                setting, imitation=imitation, optimizer=AdamW(2e-3 if restart else 1e-3)
            )
            data = train(student, opened, sources, device)
            accuracy = evaluate_file(data, opened, "validation")["accuracy"]
            found.setdefault(name, []).append(100 * accuracy)
            seconds = time.perf_counter() - begun
            print(f"seed {seed}, {name}: {100 * accuracy:.2f} %, {seconds:.0f} s", flush=True)
    print(f"teacher: {100 * evaluate_file(teacher_file, opened, 'validation')['accuracy']:.2f} %")
    means = {name: statistics.mean(values) for name, values in found.items()}
    print(
        f"slice {means['slice']:.2f} %, new {means['new']:.2f} %: {means['slice'] - means['new']:.2f} points"
    )


if __name__ == "__main__":
    main()
