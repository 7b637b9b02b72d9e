"""How tasks of classes measure a network by the quality that was chosen."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from trainables.batch import Batch
from trainables.calling import call
from trainables.metrics.samples import OF_CLASSES
from trainables.modes import evaluating


def check_class_quality(name: str) -> None:
    """Refuse what cannot be measured on classes.

    Raises:
        ValueError: there is no such quality; the message lists those that there are.
    """
    if name not in OF_CLASSES:
        raise ValueError(f"quality must be one of {', '.join(OF_CLASSES)}, got quality={name!r}")


def scored(model: nn.Module, batches: Iterable[Batch], quality: str) -> dict[str, float]:
    """``{quality: value}`` of ``model``, put in eval mode for as long, on the samples of ``batches``.

    Args:
        model: answers logits of classes, one row for each sample.
        batches: with the classes as their targets.
        quality: a name in :data:`trainables.metrics.samples.OF_CLASSES`.
    """
    with evaluating(model), torch.inference_mode():
        both = [(call(model, batch.inputs).float().cpu(), batch.targets.cpu()) for batch in batches]
        outputs, targets = (torch.cat(each).numpy() for each in zip(*both, strict=True))
    return {quality: OF_CLASSES[quality](outputs, targets)}
