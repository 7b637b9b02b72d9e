"""60,000 colour pictures of 100 classes, 32x32 (--data DIR)."""

from __future__ import annotations

from spaces.architectures import fresh
from studies.images import IMAGES, sized
from studies.names import IMAGE_ARCHITECTURES
from studies.study import Study, embedded
from trainables.models import ResNet
from trainables.origins import Fresh
from trainables.tasks import CIFAR100

STUDY = Study(
    name="cifar100",
    task=embedded(CIFAR100),
    teacher=Fresh(ResNet(depth=3, width=8.0)),
    students=fresh(ResNet(depth=1, width=1.0)),
    teacher_epochs=150,
    epochs=100,
    trials=100,
    space=sized(IMAGES, (1, 3), (0.5, 4.0)),
    architectures=IMAGE_ARCHITECTURES,
)
