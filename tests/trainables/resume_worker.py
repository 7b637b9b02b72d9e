"""Run in a process of its own: resume each checkpoint of a folder, train on, write the packed file."""

import json
import sys
from functools import partial
from pathlib import Path

import torch
from torch import nn

from tests.trainables.teachers import small_teacher
from trainables.recipe import recipe_from_dict
from trainables.tasks.base import Task
from trainables.trainer import Trainer


def _teacher(task: Task, recipe_id: str) -> nn.Module:
    return small_teacher(task)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        recipe = recipe_from_dict(json.loads((folder / "recipe.json").read_text()))
        device = torch.device("cpu")
        task = recipe.task.open(recipe.task.load(None), device, recipe.seed)
        trainer = Trainer(recipe, task, partial(_teacher, recipe.task), device)
        trainer.load(folder)
        while not trainer.finished:
            trainer.train_epoch()
        (folder / "resumed.rdz").write_bytes(trainer.ship())
        trainer.save(folder / "end")
