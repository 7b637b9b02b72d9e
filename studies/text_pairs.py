"""Your own sentences and their translations, two files per split (--data DIR)."""

from __future__ import annotations

from spaces.architectures import fresh
from studies.images import sized
from studies.study import Study
from studies.translation import TRANSLATION, text_folder
from trainables.models import Transformer
from trainables.origins import Fresh

STUDY = Study(
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
)
