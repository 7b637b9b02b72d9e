"""The studies that ``rayduce sweep`` knows by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from spaces.architectures import fresh
from studies import (
    cifar10,
    cifar100,
    digits,
    fashion_mnist,
    image_folder,
    keywords,
    multi30k,
    phrases,
    sentences,
    text_pairs,
)
from studies.names import StudyError, check_name
from studies.own_images import NETWORK_OPTIONS, study_of_images
from studies.study import Study
from trainables.models import Custom
from trainables.models.custom import allow, code_of_target

STUDIES: tuple[Study, ...] = (
    digits.STUDY,
    fashion_mnist.STUDY,
    cifar10.STUDY,
    cifar100.STUDY,
    phrases.STUDY,
    multi30k.STUDY,
    text_pairs.STUDY,
    image_folder.STUDY,
    sentences.STUDY,
    keywords.STUDY,
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
    if "architectures" in about:
        if own_model is not None or any(option in about for option in NETWORK_OPTIONS):
            raise StudyError("Your own network says what students are made of: leave out --architectures.")
        study = study.of_architectures(str(about["architectures"]))
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
