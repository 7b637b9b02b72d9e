"""What is left of a tensor when channels are taken out of it, as values and as codes."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from trainables.quantizers.base import Codes, Dense, Grouped, Stored
from trainables.slicing.unread import Left


def picked(tensor: Tensor, left: Left) -> Tensor:
    """The part of ``tensor`` that stays."""
    for dim, indices in left.items():
        tensor = tensor.index_select(dim, indices.to(tensor.device))
    return tensor


def picked_codes(stored: Stored | Grouped, left: Left) -> Codes | Dense:
    """The part that stays of a tensor that was stored whole, without a mask.

    Raises:
        ValueError: it is in groups with bits of their own, or its scales are not those of whole rows.
    """
    if isinstance(stored, Dense):
        return Dense(picked(stored.values, left))
    if not isinstance(stored, Codes):
        raise ValueError("channels cannot be taken out of a weight whose rows or groups have their own bits")
    index = picked(stored.index.reshape(stored.shape), left)
    shape, scale, bucket = tuple(index.shape), stored.scale, stored.bucket_size
    if scale.numel() > 1:
        if scale.numel() != stored.shape[0] or stored.keep is not None or stored.offset is not None:
            raise ValueError("channels cannot be taken out of a weight whose buckets are no rows")
        scale = scale.index_select(0, left[0]) if 0 in left else scale
        bucket = index[0].numel()
    return replace(stored, index=index.reshape(-1), shape=shape, scale=scale, bucket_size=bucket)
