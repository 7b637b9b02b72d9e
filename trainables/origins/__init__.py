"""How a student comes to be; one origin per file."""

from trainables.origins.base import Origin
from trainables.origins.fresh import Fresh
from trainables.origins.given import Given
from trainables.origins.slice import Slice
from trainables.origins.trained import Trained
from trainables.origins.with_exits import WithExits

ORIGINS: tuple[type[Origin], ...] = (Fresh, Trained, Given, Slice, WithExits)
