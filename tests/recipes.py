"""Small recipes that tests share: every method, trained in a second."""

import inspect
from typing import Any

from trainables import methods
from trainables.models import ConvNet
from trainables.models.base import Model
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.pruners import Magnitude, NoPruner
from trainables.recipe import Recipe
from trainables.tasks import Digits
from trainables.tasks.base import Task

TEACHER_ID = "0123456789abcdef"
STUDENT = ConvNet(stages=((6, 6), (8, 8)), hidden=(16,), kernel_size=3, depth=1)

IMAGE_METHODS = tuple(
    method
    for method in methods.METHODS.values()
    if method.name not in ("sequence_level_distillation", "round_to_nearest")
)
"""Methods that train new networks on any task, and so on images."""


def setting(task: Task, model: Model, epochs: int, sparsity: float = 0.0) -> methods.Setting:
    """A fresh student of ``model``, with a teacher to imitate; pruned to ``sparsity``, if that is above 0."""
    pruner = Magnitude(sparsity) if sparsity else NoPruner()
    return methods.Setting(task, Fresh(model), epochs, teacher=TEACHER_ID, pruner=pruner)


def every_method(epochs: int = 4, sparsity: float = 0.0) -> list[Recipe]:
    """One recipe per method, on digits."""
    recipes = []
    for method in IMAGE_METHODS:
        # With fewer epochs there is nothing to alternate.
        enough = max(epochs, 3) if method is methods.alternating_quantization else epochs
        taken = inspect.signature(method).parameters
        # Those with a pruner of their own are given none.
        given = setting(Digits(batch_size=128), STUDENT, enough, 0.0 if "pruner" in taken else sparsity)
        arguments: dict[str, Any] = {"optimizer": AdamW(5e-3)}
        if "points_learning_rate" in taken:
            arguments["points_learning_rate"] = 1e-4
        recipes.append(method(given, **arguments))
    return recipes
