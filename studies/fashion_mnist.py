"""70,000 pictures of clothes, 28x28 grey (--data DIR)."""

from __future__ import annotations

from spaces.architectures import fresh
from studies.images import IMAGES, sized
from studies.names import IMAGE_ARCHITECTURES
from studies.study import Study, embedded
from trainables.models import ResNet
from trainables.origins import Fresh
from trainables.tasks import FashionMNIST

STUDY = Study(
    name="fashion_mnist",
    task=embedded(FashionMNIST),
    teacher=Fresh(ResNet(depth=3, width=2.0)),
    students=fresh(ResNet(depth=1, width=1.0)),
    teacher_epochs=15,
    epochs=10,
    trials=50,
    space=sized(IMAGES, (1, 2), (0.25, 1.0)),
    architectures=IMAGE_ARCHITECTURES,
)
