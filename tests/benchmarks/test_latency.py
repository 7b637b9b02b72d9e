"""The benchmark of integers in miniature."""

from __future__ import annotations

import pytest
import torch

from benchmarks import latency
from benchmarks.latency import FORMS, measure, table
from trainables.models import ResNet


def test_every_form_is_timed_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(latency, "STUDENTS", {"tiny": ResNet(depth=1, width=0.25)})
    rows = measure(rounds=2, runs=10)
    assert [(row.student, row.form) for row in rows] == [("tiny", form) for form in FORMS]
    assert rows[0].speed_up == 1.0
    assert all(0 < row.p10_ms <= row.median_ms and row.speed_up > 0 for row in rows)
    text = table(rows)
    assert all(form in text for form in FORMS) and len(text.splitlines()) == 4
