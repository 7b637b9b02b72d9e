"""How tasks of classes measure a network by the quality that was chosen."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from trainables.batch import Batch
from trainables.calling import call, main_output
from trainables.metrics.evidence import EVIDENCE
from trainables.metrics.samples import OF_CLASSES
from trainables.modes import evaluating
from trainables.predictions import Answers
from trainables.tasks.base import Measured


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
    outputs, targets = outputs_of(model, batches)
    return {quality: OF_CLASSES[quality](outputs, targets)}


def scored_with_answers(model: nn.Module, batches: Iterable[Batch], quality: str) -> Measured:
    """What :func:`scored` says, and what of each sample it follows from; arguments as there."""
    outputs, targets = outputs_of(model, batches)
    return Measured({quality: OF_CLASSES[quality](outputs, targets)}, answers_of(outputs, targets, quality))


def answers_of(outputs: np.ndarray, targets: np.ndarray, quality: str, *, classes: bool = True) -> Answers:
    """What is kept of a network that answered so.

    Args:
        outputs: of all samples, in their order.
        targets: likewise.
        quality: its name; what decides it is kept.
        classes: whether outputs are logits of classes, one row for each sample; default True.
    """
    evidence = EVIDENCE.get(quality)
    table = None if evidence is None else evidence.table(outputs, targets)
    if not classes:
        return Answers(table=table)
    return Answers(outputs.argmax(1).astype(np.int64), targets.astype(np.int64), table)


def outputs_of(model: nn.Module, batches: Iterable[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """What ``model``, put in eval mode for as long, answers to all samples, and their targets.

    Answers in less than single precision become float32.
    """
    with evaluating(model), torch.inference_mode():
        both = [(call(model, batch.inputs).cpu(), batch.targets.cpu()) for batch in batches]
    outputs, targets = (torch.cat(each) for each in zip(*both, strict=True))
    return (outputs if outputs.dtype == torch.float64 else outputs.float()).numpy(), targets.numpy()


def classes_of(model: nn.Module, batches: Iterable[Batch]) -> Answers | None:
    """The class that ``model``, put in eval mode for as long, gives each sample.

    Returns:
        None where samples do not have one class each, such as where targets are numbers or images.
    """
    said: list[Tensor] = []
    true: list[Tensor] = []
    with evaluating(model), torch.inference_mode():
        for batch in batches:
            targets = batch.targets
            if not batch.classes or targets.dim() != 1 or targets.is_floating_point():
                return None
            output = main_output(call(model, batch.inputs))
            if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != len(targets):
                return None
            said.append(output.argmax(1).cpu())
            true.append(targets.cpu())
    return Answers(*(torch.cat(each).numpy().astype(np.int64) for each in (said, true))) if said else None
