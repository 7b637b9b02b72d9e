"""The list of what is reported."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from trainables.metrics import METRICS, QUALITIES, quality_of
from trainables.metrics.base import Metric, Quality


def test_names_are_unique_and_explained() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert {"validation_accuracy", "accuracy", "validation_perplexity", "chrf", "latency_beam_ms"} <= {*names}
    assert {"packed_bytes", "compression_ratio", "latency_ms", "macs", "parameters", "seconds"} <= {*names}
    for metric in METRICS:
        assert metric.label
        assert metric.meaning.endswith(".")
    goals = {metric.name: metric.goal for metric in METRICS}
    assert goals["bleu"] == goals["validation_chrf"] == "up"
    assert goals["perplexity"] == goals["latency_beam_ms"] == "down"


def test_students_are_selected_by_something_whose_best_is_known() -> None:
    for quality in QUALITIES:
        assert math.isfinite(quality.best)
        assert quality_of(quality.name) is quality


@pytest.mark.parametrize(
    ("name", "value", "text", "heading"),
    [("accuracy", 0.9889, "98.89 %", "accuracy (%)"), ("bleu", 34.2, "34.20", "BLEU")],
)
def test_a_quality_is_read_in_points(name: str, value: float, text: str, heading: str) -> None:
    quality = quality_of(name)
    assert quality.text(value) == text
    assert quality.points(value) == pytest.approx(float(text.split()[0]))
    assert quality.heading == heading
    assert quality.points(quality.highest) == 100
    assert quality.validation == f"validation_{name}"


def test_a_metric_that_nobody_knows_is_refused() -> None:
    for name in ("f1", "perplexity", "validation_accuracy"):
        with pytest.raises(ValueError, match=f"one of accuracy, bleu, .* got metric='{name}'"):
            quality_of(name)


@pytest.mark.parametrize(
    "wrong", [{"lowest": 1.0}, {"lowest": math.inf}, {"scale": 0.0}, {"highest": math.nan}, {"goal": "on"}]
)
def test_a_quality_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"got .*{next(iter(wrong))}="):
        Quality(
            **{"name": "a", "label": "a", "goal": "up", "meaning": "A.", "lowest": 0, "highest": 1, **wrong}
        )


def test_a_goal_is_up_or_down() -> None:
    with pytest.raises(ValueError, match="goal must be one of up, down, got goal='left'"):
        Metric("a", "a", "left", "", "A.")


def test_the_list_loads_no_torch() -> None:
    program = "import sys, trainables.metrics; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
