"""20,000 German-English sentences of a grammar over CLDR data, embedded: no download."""

from __future__ import annotations

from dataclasses import replace

from spaces.architectures import fresh
from studies.images import sized
from studies.study import Study
from studies.translation import TRANSLATION, text_task
from trainables.models import Transformer
from trainables.origins import Fresh
from trainables.tasks import Phrases

STUDY = Study(
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
)
