"""A user's trained network on their folder of images as a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from studies.checks import cut_of
from studies.images import FOLDER_OPTIONS
from studies.names import StudyError
from studies.own_network import EPOCHS, SPACE, TRIALS, answer_of, check_trainable, of_network, take_weights
from studies.study import Study
from trainables.foreign import shown
from trainables.models.base import Ready
from trainables.models.own import Own, made_by, takes_classes
from trainables.models.published import LIBRARIES, Published, published
from trainables.own_code import CodeError, OwnCode, allow_file, code_of_file, module_of
from trainables.tasks.image_folder import ImageFolder

NETWORK_OPTIONS = ("network", "weights")
"""Of the command line, about a trained network."""


@dataclass(frozen=True)
class _Named:
    """A network that was named, with its untrained weights.

    Attributes:
        build: makes it, given the task.
        model: its architecture, given the task and the digest of its weights.
        code: of the user's file; None for an architecture of a library.
        module: of the user's file; None for an architecture of a library.
    """

    build: Callable[[ImageFolder], nn.Module]
    model: Callable[[ImageFolder, str], Ready]
    code: OwnCode | None = None
    module: ModuleType | None = None


def file_of_network(network: str) -> str | None:
    """The user's file in ``FILE.py:function``; None where an architecture of a library is named."""
    library, _, _ = network.partition(":")
    return None if library in LIBRARIES else network.rpartition(":")[0]


def study_of_images(
    study: Study, directory: Path | None, given: Mapping[str, Any], own_file: str | None = None
) -> Study:
    """The study of a trained network on a folder of images.

    Args:
        study: that of the folder without a network.
        directory: of the images.
        given: of the options about data those that were given, with ``network`` or ``weights``.
        own_file: the user's file, where it lies elsewhere than ``network`` says; None (default) where not.

    Raises:
        StudyError: one sentence that says what does not fit.
        DataError: the directory cannot be used.
    """
    if "network" not in given:
        raise StudyError(
            "--weights needs --network, which says what the weights are of: FILE.py:function, "
            "torchvision:NAME or timm:NAME."
        )
    network = str(given["network"])
    if "weights" not in given:
        raise StudyError(
            f"--network {shown(network)} needs --weights FILE with the trained weights: students are made of "
            "a trained network."
        )
    if "teacher_epochs" in given:
        raise StudyError(f"{shown(network)} is the teacher as it is: leave out --teacher-epochs.")
    about = {name: value for name, value in given.items() if name not in NETWORK_OPTIONS}
    task, notes = study.examine(directory, about)
    assert isinstance(task, ImageFolder)  # of the study of a folder
    try:
        named = _named(network, own_file)
        task, trained = _fitting(named, task, Path(str(given["weights"])), "mean" in given)
        cut = cut_of(named.module, trained)
    except ValueError as error:  # CodeError and WeightsError are such
        raise StudyError(f"{shown(network)} cannot be used: {str(error).rstrip('.')}.") from error
    found = task
    return replace(
        study,
        task=lambda directory, **given: (found, notes),
        options=(*FOLDER_OPTIONS, *NETWORK_OPTIONS),
        epochs=EPOCHS,
        trials=TRIALS,
        space=SPACE,
        code=named.code,
        **of_network(trained, lambda weights: named.model(found, weights), cut),
    )


def _fitting(
    named: _Named, task: ImageFolder, weights: Path, channels_are_told: bool
) -> tuple[ImageFolder, nn.Module]:
    """The task with the channels that the network takes, and the network with its weights.

    Grey images are also given as three equal channels, as torchvision's own folders give them.

    Raises:
        ValueError: the network cannot be built, or does not fit its weights or the images.
    """
    choices = (task,) if task.channels == 3 or channels_are_told else (task, replace(task, channels=3))
    errors = []
    for choice in choices:
        try:
            return choice, _trained(named, choice, weights)
        except ValueError as error:
            errors.append(error)
    raise errors[0]


def _trained(named: _Named, task: ImageFolder, weights: Path) -> nn.Module:
    """The network with its weights, which answers the images of the task."""
    network = named.build(task).cpu()
    take_weights(network, weights)
    answer = answer_of(network.eval(), torch.zeros(2, *task.input_shape))
    if tuple(answer.shape[1:]) != (task.outputs,):
        names = shown(", ".join(task.classes), 100)
        raise ValueError(
            f"it answers {tuple(answer.shape[1:])} numbers for an image, and the folder has {task.outputs} "
            f"classes: {names}"
        )
    check_trainable(network, lambda: named.build(task))
    task.interface.check(network, task.outputs)
    return network


def _named(network: str, own_file: str | None) -> _Named:
    """What the user named as ``FILE.py:function``, ``torchvision:NAME`` or ``timm:NAME``.

    Raises:
        ValueError: it is none of these, or the file cannot be used.
    """
    library, _, name = network.partition(":")
    if library in LIBRARIES and name:
        return _Named(
            lambda task: published(library, name, task.channels, task.outputs),
            lambda task, weights: Published(library, name, weights),
        )
    file, _, function = network.rpartition(":")
    if not file.endswith(".py") or not function.isidentifier():
        raise CodeError("a network is named as FILE.py:function, torchvision:NAME or timm:NAME")
    path = Path(own_file or file)
    allow_file(path)
    told = takes_classes(path.stem, function)
    made_by(path.stem, function, 2 if told else None)  # so that functions import what they need
    code = code_of_file(path)

    def model(task: ImageFolder, weights: str) -> Own:
        return Own(path.stem, code.digest, weights, function, task.outputs if told else None)

    def build(task: ImageFolder) -> nn.Module:
        return made_by(path.stem, function, task.outputs if told else None)

    return _Named(build, model, code, module_of(path.stem))
