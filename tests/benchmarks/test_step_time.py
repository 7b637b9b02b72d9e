"""The step-time benchmark compares what it says, on real trainers."""

from __future__ import annotations

import time

import pytest
import torch

from benchmarks import step_time
from benchmarks.step_time import Variant, measure, report, variants
from trainables.models import ResNet
from trainables.teachers import Fixed, NoTeacher, Remembered


def test_variants_differ_from_their_base_in_what_is_measured() -> None:
    chosen = {variant.name: variant for variant in variants()}
    assert len(chosen) == len(variants())
    teachers = [type(variant.recipe.teacher) for variant in chosen.values()]
    assert teachers == [NoTeacher, Fixed, Remembered, Remembered, Remembered]
    for variant in chosen.values():
        assert len(variant.recipe.phases) == 1 and variant.recipe.epochs == step_time.EPOCHS
        if variant.base is not None:
            base = chosen[variant.base].recipe
            assert (base.task, base.model) == (variant.recipe.task, variant.recipe.model)
    quantizing = {name: variant.recipe.phases[0].quantize for name, variant in chosen.items()}
    assert sorted(name for name, on in quantizing.items() if on) == [
        "learned points, 4 bits",
        "quantized distillation, 4 bits",
    ]


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    recipe = variants()[0].recipe
    chosen = [Variant("plain", recipe), Variant("more", recipe, base="plain", bar=1.15)]
    # The second round was slow for both; medians of times alone would give 1.2.
    text = report(chosen, {"plain": [1.0, 5.0, 1.0], "more": [1.2, 5.5, 1.1]})
    first, second = text.splitlines()[1:]
    assert first.split() == ["plain", "1000.0"]
    assert second.split() == ["more", "1200.0", "1.100", "1.100", "-", "1.200", "1.15", "plain"]


def test_every_variant_really_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_time, "STUDENT", ResNet(depth=1, width=0.25))
    monkeypatch.setattr(step_time, "BATCH_SIZE", 8)
    monkeypatch.setattr(step_time, "TEACHER", ResNet(depth=1, width=0.25))
    chosen = variants()
    taken = measure(chosen, torch.device("cpu"), 2, 2, time.process_time)
    assert {name: len(times) for name, times in taken.items()} == {variant.name: 2 for variant in chosen}
    assert all(seconds > 0 for times in taken.values() for seconds in times)
    assert "undistilled" in report(chosen, taken)
