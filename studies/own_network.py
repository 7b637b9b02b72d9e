"""A user's trained network as the teacher of a study, and slices of it as students."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spaces import Space
from spaces.architectures import SLICE, TEACHER
from studies.checks import called
from studies.study import PRUNED
from trainables.admission import check_constants
from trainables.calling import samples_of
from trainables.models.base import Ready
from trainables.modes import evaluating
from trainables.origins import Given, Slice
from trainables.slicing.cut import Cut
from trainables.weights import digest_of, fitted, read_weights

EPOCHS, TRIALS = 20, 50
"""The epochs are those of the narrowest students."""
COMPUTE = 0.09
"""Of the epochs, that a student may take of the whole network's compute, as measured on CIFAR-10: slices then
come within half a point of students that train four times as long from nothing."""
SPACE = Space(starts={"bits": 4, "learning_rate": 1.5e-3}, also=(PRUNED,))


def of_network(
    network: nn.Module,
    model: Callable[[str], Ready],
    cut: Cut,
    checkpoints: Sequence[Mapping[str, Tensor]] = (),
) -> dict[str, Any]:
    """What a study says of its teacher and students, where the teacher is the user's trained network.

    Args:
        network: on the CPU, as it was given.
        model: its architecture, given the digest of its weights.
        cut: how slices of it are cut, whatever their size.
        checkpoints: what its state was along its training; default none. One that is the network itself is
            left out.
    """
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    own = model(digest_of(state))
    given = Given(own)
    return {
        "teacher": given,
        "students": ((SLICE, Slice(given, cut)), (TEACHER, given)),
        "teacher_epochs": 0,
        "compute": COMPUTE,
        "given": {own.weights: state},
        "route": tuple(
            (Given(model(digest)), before)
            for digest, before in ((digest_of(each), each) for each in checkpoints)
            if digest != own.weights
        ),
    }


def take_weights(network: nn.Module, place: Path) -> None:
    """Load the file of weights at ``place`` into ``network``.

    Raises:
        WeightsError: there is none, it holds no weights, or they do not fit; the message lists what.
    """
    fitted(network, read_weights(place), place.name)


def check_trainable(network: nn.Module, make: Callable[[], nn.Module]) -> None:
    """Refuse a network of which no student can be made.

    Args:
        network: with its weights.
        make: makes it once more.

    Raises:
        ValueError: all of it is frozen, or it has constants that no packed file would hold.
    """
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(
            "all parameters of the network are frozen (requires_grad_(False)), so that no student could be "
            "trained: leave those trainable that may change"
        )
    check_constants(network, make)


def answer_of(network: nn.Module, inputs: Any) -> Tensor:
    """What the network says to a few samples.

    Raises:
        ValueError: it fails, or answers no tensor of a row for each sample.
    """
    with evaluating(network), torch.no_grad():
        output = called(network, inputs)
    if not isinstance(output, Tensor):
        raise ValueError(f"the network must answer one tensor in eval mode, got {type(output).__name__}")
    count = samples_of(inputs)
    if output.dim() == 0 or len(output) != count:
        raise ValueError(
            f"the network must answer a row for each of {count} samples, got {tuple(output.shape)}"
        )
    return output
