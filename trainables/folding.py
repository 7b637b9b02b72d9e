"""Normalisation by running statistics as what it is at inference: a multiplication and an addition."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm


class ChannelAffine(nn.Module):
    """``x * scale + shift`` along dimension 1.

    Attributes:
        scale: float32, shape (channels,).
        shift: float32, shape (channels,).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return x * self.scale.view(shape) + self.shift.view(shape)


def is_foldable(module: nn.Module) -> TypeGuard[_NormBase]:
    """Whether ``module`` is a normalisation by running statistics, as PyTorch computes it.

    That is batch normalisation, and instance normalisation that tracks them. A class of a user's that is
    derived from one and has a forward pass of its own may do anything.
    """
    if isinstance(module, _InstanceNorm):
        return module.running_mean is not None and type(module).forward is _InstanceNorm.forward
    return isinstance(module, _BatchNorm) and type(module).forward is _BatchNorm.forward


@torch.no_grad()
def folded(norm: _NormBase) -> tuple[Tensor, Tensor]:
    """Scale and shift, float32 of shape (channels,), that equal ``norm`` in eval mode.

    Raises:
        ValueError: the module keeps no running statistics, so it has no fixed inference form.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(f"cannot fold {norm}: it keeps no running statistics")
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    return scale.float(), shift.float()


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """Replace what :func:`is_foldable` in ``model``, in place, by a :class:`ChannelAffine`."""
    made: dict[nn.Module, ChannelAffine] = {}
    # Under all of its names: a module that is used in two places stays one.
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if is_foldable(module):
            if module not in made:
                made[module] = affine = ChannelAffine(module.num_features)
                if module.running_mean is not None:
                    affine.scale.data, affine.shift.data = folded(module)
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, made[module])
    return model
