"""Search spaces: functions from an Optuna trial to a recipe."""

from collections.abc import Callable

from spaces.context import Context
from spaces.images import images
from trainables.recipe import Recipe

Space = Callable[..., Recipe]

SPACES: tuple[Space, ...] = (images,)

__all__ = ["SPACES", "Context", "Space", "images"]
