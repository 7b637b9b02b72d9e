"""Exports of networks that are one graph, which most tests look at."""

from collections.abc import Mapping

from torch import nn

from trainables.exporting import export
from trainables.interfaces import Classifier
from trainables.quantizers.base import Codes, Dense


def to_onnx(
    model: nn.Module,
    shape: tuple[int, ...],
    metadata: Mapping[str, str],
    tensors: Mapping[str, Codes | Dense] | None = None,
    *,
    reduced_range: bool | None = None,
    weights: export.Weights = "stored",
) -> bytes:
    """The one file of a network of one input of ``shape``."""
    files = export.to_onnx(
        model, Classifier(shape), metadata, tensors, reduced_range=reduced_range, weights=weights
    )
    (data,) = files.values()
    return data
