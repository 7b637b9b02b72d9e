"""The class that a network says of each sample, for the tasks whose samples have one class each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from trainables.calling import call, main_output
from trainables.modes import evaluating
from trainables.predictions import Classes
from trainables.tasks.base import LoadedTask
from trainables.tasks.loaded_tasks import LoadedTasks


class Answers(NamedTuple):
    """What a network says of a split, in the order of its samples.

    Attributes:
        said: the class that it gives the largest number.
        true: the class that the data has.
    """

    said: Classes
    true: Classes

    @property
    def right(self) -> float:
        """The share of samples whose class is found."""
        return float((self.said == self.true).mean())


def answers(network: nn.Module, task: LoadedTask, split: str) -> Answers | None:
    """The classes that ``network`` gives on ``split``, in one pass over it.

    Args:
        network: on the task's device; every module's training flag is as before afterwards.
        task: with its data.
        split: ``validation`` or ``test``.

    Returns:
        None where samples do not have one class each: of text that is translated, of targets that are numbers
        or images, of several tasks at once.
    """
    if isinstance(task, LoadedTasks):
        return None
    said: list[Tensor] = []
    true: list[Tensor] = []
    with evaluating(network), torch.inference_mode():
        for batch in task.in_order(split):
            targets = batch.targets
            if not batch.classes or targets.dim() != 1 or targets.is_floating_point():
                return None
            output = main_output(call(network, batch.inputs))
            if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != len(targets):
                return None
            said.append(output.argmax(1).cpu())
            true.append(targets.cpu())
    if not said:
        return None
    return Answers(*(torch.cat(each).numpy().astype(np.int64) for each in (said, true)))
