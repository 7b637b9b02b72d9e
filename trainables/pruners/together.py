"""What masks decide together, by one threshold for all of them; and masks of whole channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def shares(scores: Sequence[Tensor]) -> list[Tensor]:
    """Each score as a share of the sum of all; as they are where all are zero."""
    whole = torch.cat([each.reshape(-1) for each in scores]).sum()
    return [each / whole for each in scores] if float(whole) else list(scores)


def most_salient(
    scores: Sequence[Tensor], share: float, staying: Sequence[Tensor], one_each: bool = False
) -> list[Tensor]:
    """True at the ``int(n * share)`` largest of all ``n`` scores together, and at what equals their last.

    Args:
        scores: of any shapes; at least one number in all.
        share: in [0, 1]; at least one is kept.
        staying: bool, of their shapes: what may be kept at all.
        one_each: whether the largest of each tensor is kept in any case.
    """
    left = [torch.where(mask, each, -torch.inf) for each, mask in zip(scores, staying, strict=True)]
    every = torch.cat([each.reshape(-1) for each in left])
    threshold = every.topk(max(int(len(every) * share), 1)).values[-1]
    found = [each >= threshold for each in left]
    return [mask | (each == each.max()) if one_each else mask for mask, each in zip(found, left, strict=True)]


def channels_of(keep: Tensor) -> Tensor:
    """The channels (dimension 1) of which anything stays; bool, shape (channels,)."""
    return keep.transpose(0, 1).flatten(1).any(1)


def spread(channels: Tensor, like: Tensor) -> Tensor:
    """A mask of whole channels, of the shape of the weight's mask ``like``."""
    return channels.reshape(1, -1, *[1] * (like.dim() - 2)).expand_as(like).contiguous()
