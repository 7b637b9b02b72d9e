"""Where a network adds two tensors."""

from __future__ import annotations

from torch import nn


class Summand(nn.Identity):
    """Stands for one side of an addition, such as the shortcut of a residual block: what goes in comes out.

    Integer arithmetic needs both sides on few levels, and a hook needs a module to hang on. A network that
    adds without it is trained and exported all the same; its additions, and the layers that feed them, stay
    in floating point.
    """
