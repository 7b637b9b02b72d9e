"""Recipes without a search: train a teacher and one 2-bit student on digits, pack it, read it back.

python examples/train_one_student.py [--epochs 15] [--out student.rdz]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from trainables import methods
from trainables.files import write_file
from trainables.models import ConvNet
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.tasks import Digits
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training.trainer import train


def main() -> None:
    """Train, pack, read back and print what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("student.rdz"))
    arguments = parser.parse_args()

    task = Digits()
    device = torch.device("cpu")
    data = task.open(task.load(None), device, seed=0)
    large = ConvNet(stages=((64, 64), (128, 128)), hidden=(128,), kernel_size=3)
    small = ConvNet(depth=2, width=0.25, stages=((64, 64), (128, 128)), hidden=(128,), kernel_size=3)

    teacher_recipe = methods.full_precision(methods.Setting(task, Fresh(large), epochs=arguments.epochs))
    teacher_file = train(teacher_recipe, data, NoSources(), device)
    _, teacher = open_student(teacher_file)

    recipe = methods.quantized_distillation(
        methods.Setting(task, Fresh(small), epochs=arguments.epochs, teacher=teacher_recipe.recipe_id),
        quantizer=Uniform(2, 64),
        optimizer=AdamW(5e-3),
    )
    student_file = train(recipe, data, LocalSources(lambda recipe_id: teacher), device)
    write_file(arguments.out, student_file)

    for name, file in (("teacher", teacher_file), ("student", student_file)):
        accuracy = evaluate_file(file, data, "test")["accuracy"]
        print(f"{name}: {len(file):>9,} bytes, test accuracy {100 * accuracy:.2f} %")
    print(f"{len(teacher_file) / len(student_file):.0f} times smaller: {arguments.out}")


if __name__ == "__main__":
    main()
