"""Search spaces: from an Optuna trial to a recipe."""

from spaces.context import Context
from spaces.images import images
from spaces.space import Space
from spaces.translation import translation

__all__ = ["Context", "Space", "images", "translation"]
