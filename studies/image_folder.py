"""Your own images, one folder per class (--data DIR)."""

from __future__ import annotations

from spaces.architectures import fresh
from studies.images import FOLDER_OPTIONS, IMAGES, image_folder, sized
from studies.names import IMAGE_ARCHITECTURES
from studies.study import Study
from trainables.models import ResNet
from trainables.origins import Fresh

STUDY = Study(
    name="image_folder",
    task=image_folder,
    options=FOLDER_OPTIONS,
    teacher=Fresh(ResNet(depth=3, width=2.0)),
    students=fresh(ResNet(depth=1, width=1.0)),
    teacher_epochs=30,
    epochs=20,
    trials=50,
    space=sized(IMAGES, (1, 2), (0.25, 1.0)),
    architectures=IMAGE_ARCHITECTURES,
)
