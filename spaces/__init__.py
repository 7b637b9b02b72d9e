"""Search spaces: from an Optuna trial to a recipe."""

from spaces.context import Context
from spaces.space import Space

__all__ = ["Context", "Space"]
