"""Small recipes that tests share: every method, trained in a second."""

import inspect
from typing import Any, get_type_hints

from trainables import methods
from trainables.models import ConvNet
from trainables.recipe import Recipe
from trainables.tasks import Digits

TEACHER_ID = "0123456789abcdef"
STUDENT = ConvNet(stages=((6, 6), (8, 8)), hidden=(16,), kernel_size=3, depth=1)

IMAGE_METHODS = tuple(
    method for method in methods.METHODS if issubclass(Digits, get_type_hints(method)["task"])
)
"""Methods that train on any task, and so on images."""


def every_method(epochs: int = 4, sparsity: float = 0.0) -> list[Recipe]:
    """One recipe per method, on digits."""
    recipes = []
    for method in IMAGE_METHODS:
        arguments: dict[str, Any] = {"epochs": epochs, "sparsity": sparsity, "learning_rate": 5e-3}
        if method is methods.alternating_quantization:
            arguments["epochs"] = max(epochs, 3)  # with fewer there is nothing to alternate
        accepted = inspect.signature(method).parameters
        if "teacher_id" in accepted:
            arguments["teacher_id"] = TEACHER_ID
        if "points_learning_rate" in accepted:
            arguments["points_learning_rate"] = 1e-4
        recipes.append(method(Digits(batch_size=128), STUDENT, **arguments))
    return recipes
