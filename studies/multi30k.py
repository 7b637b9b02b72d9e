"""29,000 German-English descriptions of photographs (--data DIR)."""

from __future__ import annotations

from spaces.architectures import fresh
from studies.images import sized
from studies.study import Study
from studies.translation import TRANSLATION, text_task
from trainables.models import LSTM
from trainables.origins import Fresh
from trainables.tasks import Multi30k

STUDY = Study(
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
)
