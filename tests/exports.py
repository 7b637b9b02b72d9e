"""Exports of networks that are one graph, which most tests look at."""

from collections.abc import Mapping

import torch
from torch import nn

from trainables import methods
from trainables.compression.compressed_weight import compress
from trainables.exporting import export
from trainables.interfaces import Classifier
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.quantizers.base import Stored
from trainables.shipping.evaluation import ship
from trainables.tasks import Digits


def to_onnx(
    model: nn.Module,
    shape: tuple[int, ...],
    metadata: Mapping[str, str],
    tensors: Mapping[str, Stored] | None = None,
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


def packed_student() -> bytes:
    """The file of an untrained student of 4 bits, of digits."""
    model = ConvNet(stages=((6,), (8,)), hidden=(16,), kernel_size=3, depth=1)
    given = methods.Setting(Digits(), Fresh(model), epochs=1, teacher="0" * 16)
    recipe = methods.quantized_distillation(given)
    torch.manual_seed(0)
    return ship(recipe, compress(model.build(recipe.task.input_shape, 10), recipe))
