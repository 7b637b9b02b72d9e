"""Batch normalisation that is folded into a weight before the weight is quantized.

Jacob et al. 2018, section 3.2: the weights that are rounded are those that are multiplied by in use, and
these have the normalisation's factor in them. The factor here is the one in use, of the running variance, in
training too (the paper's needs a second convolution per step, for the batch's own): the layer multiplies by
the rounded folded weight divided by the factor, and the normalisation behind it does what it always does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from trainables.folding import folded, is_foldable

SMALLEST = 2.0**-10
"""Factors of smaller magnitude stay outside of the weight: in it, they would leave nothing of it to round."""


@dataclass(frozen=True, eq=False)
class Norm:
    """What is folded into a weight; no module itself, so that it is in no state dict twice.

    Attributes:
        module: the normalisation.
    """

    module: _NormBase


def norm_at(network: nn.Module, name: str) -> Norm:
    """The normalisation ``name`` of ``network``.

    Raises:
        TypeError: it is none by running statistics.
    """
    module = network.get_submodule(name)
    if not is_foldable(module):
        raise TypeError(f"{name} is no normalisation by running statistics but {type(module).__name__}")
    return Norm(module)


def factor(norm: Norm | None, weight: Tensor) -> Tensor | None:
    """By what ``weight`` is multiplied before it is quantized: a number per output channel (first dimension).

    None where nothing is folded into it. No gradient goes through it: that of rounding is straight through,
    so a factor that is divided by again has none.
    """
    if norm is None:
        return None
    by = _inside(folded(norm.module)[0]).to(weight.device)
    return by.view(-1, *(1,) * (weight.dim() - 1))


def left_over(norm: Norm | None, scale: Tensor) -> Tensor:
    """What of a normalisation's ``scale`` is still to be multiplied by behind the folded weight."""
    return scale if norm is None else scale / _inside(scale)


def _inside(scale: Tensor) -> Tensor:
    return torch.where(scale.abs() < SMALLEST, torch.ones_like(scale), scale)
