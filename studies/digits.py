"""1,797 handwritten digits of 8x8 pixels, embedded: no download."""

from __future__ import annotations

from spaces.architectures import fresh
from studies.images import DIGITS_FAMILY, IMAGES, sized
from studies.names import IMAGE_ARCHITECTURES
from studies.study import Study, embedded
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.tasks import Digits

STUDY = Study(
    name="digits",
    task=embedded(Digits),
    teacher=Fresh(ConvNet(**DIGITS_FAMILY, dropout=(0.1, 0.2, 0.3))),
    students=fresh(ConvNet(depth=2, width=0.35, **DIGITS_FAMILY)),
    teacher_epochs=40,
    epochs=35,
    trials=100,
    sampler="freeze-thaw",
    space=sized(IMAGES, (1, 3), (0.1, 0.5)),
    teacher_threads=1,
    teacher_views=35,  # one for each epoch: the data is small, and so are they
    architectures=IMAGE_ARCHITECTURES,
)
