"""Run in a process of its own: resume each checkpoint of a folder, train on, write the packed file.

Arguments: the folder and, for tasks that are not embedded, that of their data.
"""

import json
import sys
from pathlib import Path

import torch

from tests.trainables.teachers import data_of, local_sources
from trainables.recipe import recipe_from_dict
from trainables.training.trainer import Trainer

if __name__ == "__main__":
    torch.set_num_threads(1)
    data = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        recipe = recipe_from_dict(json.loads((folder / "recipe.json").read_text()))
        device = torch.device("cpu")
        task = recipe.task.open(data_of(recipe.task, data), device, recipe.seed)
        trainer = Trainer(recipe, task, local_sources(recipe.task), device)
        trainer.load(folder)
        while not trainer.finished:
            trainer.train_epoch()
        (folder / "resumed.rdz").write_bytes(trainer.ship())
        trainer.save(folder / "end")
