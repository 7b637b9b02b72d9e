"""The studies that ``rayduce sweep`` knows by name."""

from __future__ import annotations

from dataclasses import replace

from spaces.architectures import fresh
from studies.images import DIGITS_FAMILY, IMAGES, image_folder, sized
from studies.study import Study, StudyError, embedded
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
        summary="1,797 handwritten digits of 8x8 pixels, embedded: no download",
        task=embedded(Digits),
        needs_data=False,
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
        summary="70,000 pictures of clothes, 28x28 grey (--data DIR)",
        task=embedded(FashionMNIST),
        needs_data=True,
        teacher=Fresh(ResNet(depth=3, width=2.0)),
        students=fresh(ResNet(depth=1, width=1.0)),
        teacher_epochs=15,
        epochs=10,
        trials=50,
        space=sized(IMAGES, (1, 2), (0.25, 1.0)),
    ),
    Study(
        name="cifar10",
        summary="60,000 colour pictures of 10 classes, 32x32 (--data DIR)",
        task=embedded(CIFAR10),
        needs_data=True,
        teacher=Fresh(ResNet(depth=3, width=4.0)),
        students=fresh(ResNet(depth=1, width=1.0)),
        teacher_epochs=100,
        epochs=60,
        trials=100,
        space=sized(IMAGES, (1, 3), (0.5, 2.0)),
    ),
    Study(
        name="cifar100",
        summary="60,000 colour pictures of 100 classes, 32x32 (--data DIR)",
        task=embedded(CIFAR100),
        needs_data=True,
        teacher=Fresh(ResNet(depth=3, width=8.0)),
        students=fresh(ResNet(depth=1, width=1.0)),
        teacher_epochs=150,
        epochs=100,
        trials=100,
        space=sized(IMAGES, (1, 3), (0.5, 4.0)),
    ),
    Study(
        name="phrases",
        summary="20,000 German-English sentences of a grammar over CLDR data, embedded: no download",
        task=text_task(Phrases),
        options=("vocabulary",),
        needs_data=False,
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
        summary="29,000 German-English descriptions of photographs (--data DIR)",
        task=text_task(Multi30k),
        options=("vocabulary", "test"),
        needs_data=True,
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
        summary="your own sentences and their translations, two files per split (--data DIR)",
        task=text_folder,
        options=("source", "target", "test", "vocabulary"),
        needs_data=True,
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
        summary="your own images, one folder per class (--data DIR)",
        task=image_folder,
        options=("image_size",),
        needs_data=True,
        teacher=Fresh(ResNet(depth=3, width=2.0)),
        students=fresh(ResNet(depth=1, width=1.0)),
        teacher_epochs=30,
        epochs=20,
        trials=50,
        space=sized(IMAGES, (1, 2), (0.25, 1.0)),
    ),
)


def find_study(name: str, *, own_model: str | None = None) -> Study:
    """The study called ``name``; with ``own_model`` (``module:Class``) as its student.

    Raises:
        StudyError: no such study, or the class cannot be imported.
    """
    for study in STUDIES:
        if study.name == name:
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
    raise StudyError(f"There is no study {name!r}; choose one of {', '.join(s.name for s in STUDIES)}.")
