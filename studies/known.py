"""The studies that ``rayduce sweep`` knows by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from spaces.architectures import fresh
from studies.images import DIGITS_FAMILY, FOLDER_OPTIONS, IMAGES, image_folder, sized
from studies.names import StudyError, check_name
from studies.own_images import NETWORK_OPTIONS, study_of_images
from studies.study import Study, embedded
from studies.translation import TRANSLATION, text_folder, text_task
from trainables.models import LSTM, ConvNet, Custom, ResNet, Transformer
from trainables.models.custom import allow, code_of_target
from trainables.origins import Fresh
from trainables.tasks import (
    CIFAR10,
    CIFAR100,
    Digits,
    FashionMNIST,
    Multi30k,
    Phrases,
)

STUDIES: tuple[Study, ...] = (
    Study(
        name="digits",
        task=embedded(Digits),
        teacher=Fresh(ConvNet(**DIGITS_FAMILY, dropout=(0.1, 0.2, 0.3))),
        students=fresh(ConvNet(depth=2, width=0.35, **DIGITS_FAMILY)),
        teacher_epochs=40,
        epochs=35,
        trials=100,
        space=sized(IMAGES, (1, 3), (0.1, 0.5)),
        teacher_threads=1,
        teacher_views=35,  # one for each epoch: the data is small, and so are they
    ),
    Study(
        name="fashion_mnist",
        task=embedded(FashionMNIST),
        teacher=Fresh(ResNet(depth=3, width=2.0)),
        students=fresh(ResNet(depth=1, width=1.0)),
        teacher_epochs=15,
        epochs=10,
        trials=50,
        space=sized(IMAGES, (1, 2), (0.25, 1.0)),
    ),
    Study(
        name="cifar10",
        task=embedded(CIFAR10),
        teacher=Fresh(ResNet(depth=3, width=4.0)),
        students=fresh(ResNet(depth=1, width=1.0)),
        teacher_epochs=100,
        epochs=60,
        trials=100,
        space=sized(IMAGES, (1, 3), (0.5, 2.0)),
    ),
    Study(
        name="cifar100",
        task=embedded(CIFAR100),
        teacher=Fresh(ResNet(depth=3, width=8.0)),
        students=fresh(ResNet(depth=1, width=1.0)),
        teacher_epochs=150,
        epochs=100,
        trials=100,
        space=sized(IMAGES, (1, 3), (0.5, 4.0)),
    ),
    Study(
        name="phrases",
        task=text_task(Phrases),
        options=("vocabulary",),
        # The sentences are as many as the grammar makes, and few epochs fit them: nothing is to be dropped.
        teacher=Fresh(Transformer(depth=2, units=64, dropout=0.0)),
        students=fresh(Transformer(depth=1, width=0.7, units=64, dropout=0.0)),
        teacher_epochs=4,
        epochs=2,
        trials=16,
        # The teacher has to translate the training split, which takes longer than the trials.
        space=sized(replace(TRANSLATION, without=("sequence_level_distillation",)), (1, 2), (0.25, 1.0)),
        teacher_threads=1,
        teacher_views=1,
        teacher_learning_rate=3e-3,
        start_from_teacher=True,
    ),
    Study(
        name="multi30k",
        task=text_task(Multi30k),
        options=("vocabulary", "test"),
        teacher=Fresh(LSTM(depth=2, dropout=0.3)),
        students=fresh(LSTM(depth=1, width=0.5, dropout=0.1)),
        teacher_epochs=14,
        epochs=10,
        trials=50,
        space=sized(TRANSLATION, (1, 2), (0.25, 1.0)),
        teacher_views=1,
        teacher_learning_rate=3e-3,
        start_from_teacher=True,
    ),
    Study(
        name="text_pairs",
        task=text_folder,
        options=("source", "target", "test", "vocabulary"),
        teacher=Fresh(Transformer(depth=2, dropout=0.2)),
        students=fresh(Transformer(depth=2, width=0.5)),
        teacher_epochs=20,
        epochs=12,
        trials=50,
        space=sized(TRANSLATION, (1, 3), (0.25, 1.0)),
        teacher_views=1,
        teacher_learning_rate=3e-3,
        start_from_teacher=True,
    ),
    Study(
        name="image_folder",
        task=image_folder,
        options=FOLDER_OPTIONS,
        teacher=Fresh(ResNet(depth=3, width=2.0)),
        students=fresh(ResNet(depth=1, width=1.0)),
        teacher_epochs=30,
        epochs=20,
        trials=50,
        space=sized(IMAGES, (1, 2), (0.25, 1.0)),
    ),
)


def find_study(
    name: str,
    *,
    own_model: str | None = None,
    data: Path | None = None,
    about_data: Mapping[str, Any] | None = None,
) -> Study:
    """The study called ``name``; with ``own_model`` (``module:Class``) as its student.

    Args:
        name: of the study.
        own_model: the class; where ``about_data`` names a network of the user's, the file that it is in.
        data: directory of the data set, which is read where a network is named.
        about_data: options about the data, as they were given; default none.

    Raises:
        StudyError: no such study, the class cannot be imported, or the network cannot be used.
        DataError: a network is named, and the directory cannot be used.
    """
    check_name(name)
    study = next(each for each in STUDIES if each.name == name)
    about = about_data or {}
    for option in NETWORK_OPTIONS:
        if option in about and name != "image_folder":
            raise StudyError(f"--{option} is not for the study {name}.")
    if any(option in about for option in NETWORK_OPTIONS):
        return study_of_images(study, data, about, own_model)
    if "teacher_epochs" in about and "teacher_epochs" in study.options:
        epochs = about["teacher_epochs"]
        if type(epochs) is not int or epochs < 1:
            raise StudyError(f"--teacher-epochs must be a number of at least 1, got {epochs!r}.")
        study = replace(study, teacher_epochs=epochs)
    if own_model is None:
        return study
    allow(own_model)
    try:
        code = code_of_target(own_model)
    except ValueError as error:
        raise StudyError(f"--model {own_model}: {error}.") from error
    return replace(
        study,
        # How an own model's channels begin is unknown; the study's narrowest may leave it nothing.
        space=replace(study.space, ranges={**study.space.ranges, "width": (0.25, 1.0)}),
        students=fresh(Custom(target=own_model, depth=1, width=1.0, code=code)),
        # Who starts from the teacher has its architecture, and is none of the user's.
        start_from_teacher=False,
    )
