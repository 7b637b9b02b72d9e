"""What is in a student's file, for those who cannot open it because they have no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainables.codecs.base import Stored
from trainables.exporting.layers import Layer
from trainables.quantizers.base import Codes, MixedCodes
from trainables.sealed import sealed
from trainables.shipping.packed_file import describe, unpack

BINS = 32


def contents_json(data: bytes, layers: Sequence[Layer] = ()) -> bytes:
    """What is in a packed file, as sealed JSON: ``tensors`` and ``layers``.

    ``tensors`` are the rows of :func:`trainables.shipping.packed_file.describe`, each with ``levels``;
    ``layers`` the costs of each layer, with the fields of :class:`trainables.exporting.layers.Layer`.

    ``levels`` is a list of [value, how many elements have it], ascending; of a codebook its values, of an
    even grid the numbers of its levels (from the one worth zero on a centred grid), both in units of the
    bucket's scale; of a tensor stored by value the middles of 32 bins, or the values where they are too close
    for bins; of one whose groups have bits of their own such middles in units of its scale. It is empty for
    the header.

    Args:
        data: the packed file.
        layers: of the student; none (default) where they are not known.

    Raises:
        PackedFileError: ``data`` is no packed file.
    """
    tensors = unpack(data)[1]
    rows = [row | {"levels": _levels(tensors.get(row["name"]))} for row in describe(data)]
    return sealed({"tensors": rows, "layers": [layer.as_row() for layer in layers]})


def _levels(tensor: Stored | None) -> list[tuple[float, int]]:
    if tensor is None:
        return []
    if isinstance(tensor, Codes):
        counts = np.bincount(tensor.index.numpy(), minlength=2**tensor.bits if tensor.codebook is None else 0)
        if tensor.codebook is not None:
            values = tensor.codebook.numpy()[: len(counts)].astype(float)
        else:
            values = np.arange(len(counts), dtype=float) - (tensor.zero or 0)
        order = np.argsort(values, kind="stable")
        return _pairs(values[order], counts[order])
    decoded = tensor.decode().float()
    if isinstance(tensor, MixedCodes) and tensor.scale.any():
        decoded = decoded / tensor.scale
    values = (decoded if tensor.keep is None else decoded[tensor.keep]).numpy()
    finite = values[np.isfinite(values)]
    if not finite.size:
        return []
    finite = finite.astype(float)
    if (np.ptp(finite) or 1.0) / BINS <= np.spacing(np.abs(finite).max()):  # no numbers lie between such bins
        return _pairs(*np.unique(finite, return_counts=True))
    counts, edges = np.histogram(finite, bins=BINS)
    return _pairs((edges[:-1] + edges[1:]) / 2, counts)


def _pairs(values: Any, counts: Any) -> list[tuple[float, int]]:
    return [(float(f"{value:.6g}"), int(count)) for value, count in zip(values, counts, strict=True)]
