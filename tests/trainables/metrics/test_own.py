"""Qualities that users bring: their spelling, and what is no spelling of any."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.metrics import METRICS, QUALITIES, Quality, own_quality, quality_of, spelled
from trainables.metrics.own import TAKEN

RMSE = own_quality("rmse", "down", label="RMSE", unit="m")
TOLD = {"goal": "down", "label": "RMSE", "name": "rmse", "scale": 1.0, "unit": "m"}
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True).filter(
    lambda name: (
        name not in TAKEN | {metric.name for metric in METRICS}
        and not name.startswith(("validation_", "teacher_"))
    )
)


@st.composite
def qualities(draw: st.DrawFn) -> Quality:
    letters = st.text(st.sampled_from("abcÄ²µ%/ 1€"), max_size=40).map(lambda text: " ".join(text.split()))
    ends = sorted(draw(st.lists(NUMBERS, min_size=2, max_size=2, unique=True)))
    return own_quality(
        draw(NAMES),
        draw(st.sampled_from(["up", "down"])),
        label=draw(letters.filter(bool)),
        unit=draw(letters),
        scale=draw(st.floats(0, exclude_min=True, allow_infinity=False)),
        lowest=draw(st.sampled_from([None, ends[0]])),
        highest=draw(st.sampled_from([None, ends[1]])),
    )


@given(qualities())
def test_a_spelling_is_read_as_the_quality_that_it_spells(quality: Quality) -> None:
    text = spelled(quality)
    assert quality_of(text) == quality
    assert text.isascii() and len(text) < 2000
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert spelled(quality_of(text)) == text


def test_the_spelling_is_fixed() -> None:
    assert spelled(RMSE) == '{"goal":"down","label":"RMSE","name":"rmse","scale":1.0,"unit":"m"}'
    f1 = own_quality("f1", lowest=0, highest=1, scale=100, unit="%")
    assert spelled(f1) == (
        '{"goal":"up","highest":1.0,"label":"f1","lowest":0.0,"name":"f1","scale":100.0,"unit":"%"}'
    )
    assert [spelled(quality) for quality in QUALITIES][:3] == ["accuracy", "bleu", "macro_f1"]
    with pytest.raises(ValueError, match="only a quality that own_quality makes"):
        spelled(replace(RMSE, meaning="Another."))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "accuracy"}, "means something else, got name='accuracy'"),
        ({"name": "packed_bytes"}, "means something else"),
        ({"name": "depth"}, "means something else"),
        ({"name": "validation_rmse"}, "must not begin with"),
        ({"name": "teacher_rmse"}, "must not begin with"),
        ({"name": "device_rmse"}, "must not begin with"),
        ({"name": "RMSE"}, "got name='RMSE'"),
        ({"name": "a" * 33}, "up to 31"),
        ({"name": "a\n"}, "up to 31"),
        ({"name": "../a"}, "up to 31"),
        ({"name": 1}, "got name=1"),
        ({"goal": "left"}, "goal must be one of up, down, got goal='left'"),
        ({"goal": ["up"]}, r"got metric="),
        ({"label": ""}, "the label of a quality must be 1 to 40"),
        ({"label": "a" * 41}, "1 to 40 letters"),
        ({"label": "<script>alert(1)</script>"}, "got label='<script>"),
        ({"label": "[red]"}, "the label"),
        ({"label": "a|b"}, "the label"),
        ({"label": "a\u202eb"}, "the label"),
        ({"label": " a"}, "the label"),
        ({"label": 3}, "the label"),
        ({"unit": "<b>"}, "the unit of a quality must be 0 to 40"),
        ({"unit": None}, "must have no null"),
        ({"scale": 0.0}, "scale must be above 0"),
        ({"scale": -1.0}, "scale must be above 0"),
        ({"scale": True}, "the scale of a quality must be a finite number"),
        ({"scale": "1.0"}, "the scale of a quality must be a finite number"),
        ({"scale": 10**400}, "metric must be|finite number"),
        ({"scale": 1}, "metric must be spelled"),
        ({"lowest": None}, "must have no null"),
        ({"lowest": 2.0, "highest": 1.0}, "lowest must be below highest"),
        ({"more": 1}, "metric must have the keys"),
    ],
)
def test_what_spells_no_quality_is_refused_in_one_sentence(changes: dict[str, Any], why: str) -> None:
    text = json.dumps({**TOLD, **changes}, sort_keys=True, separators=(",", ":"))
    with pytest.raises(ValueError, match=why) as caught:
        quality_of(text)
    told = str(caught.value)
    assert "\n" not in told and len(told) < 400 and told.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "{} ",
        "",
        "RMSE",
        "x" * 100_000,
        "{" + " " * 100_000 + "}",
        '{"a":' * 100_000,
        spelled(RMSE).replace('"scale":1.0', '"scale":NaN'),
        spelled(RMSE).replace('"scale":1.0', '"scale":1e999'),
        spelled(RMSE).replace(",", ", "),
        spelled(RMSE)[:-1] + ',"unit":"m"}',
        json.dumps({key: value for key, value in TOLD.items() if key != "unit"}),
        json.dumps([TOLD]),
        json.dumps(TOLD),
    ],
)
def test_other_text_spells_no_quality(text: str) -> None:
    with pytest.raises(ValueError, match=r"^metric must ") as caught:
        quality_of(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("quality", "value", "text"),
    [
        (RMSE, 0.0123456, "0.01235 m"),
        (RMSE, 34.2, "34.20 m"),
        (RMSE, 1234567.8, "1,234,568 m"),
        (RMSE, 3.2e-9, "3.200e-09 m"),
        (RMSE, 0.0, "0.00 m"),
        (own_quality("rmse", "down", unit="mm", scale=1000), 0.0123456, "12.35 mm"),
        (own_quality("f1", lowest=0, highest=1), 0.87654, "0.8765"),
        (own_quality("f1", lowest=0, highest=1, scale=100, unit="%"), 0.87654, "87.65 %"),
        (own_quality("count", lowest=0, highest=100_000), 31234.4, "31234"),
        (RMSE, math.inf, "inf m"),
    ],
)
def test_values_are_read_to_four_digits_or_as_fine_as_their_range(
    quality: Quality, value: float, text: str
) -> None:
    assert quality.text(value) == text


def test_less_of_an_error_is_better() -> None:
    assert (RMSE.behind, RMSE.step(), RMSE.step(1)) == ("above", "m", "m")
    assert RMSE.lost(0.03, 0.01) == 0.02 == -RMSE.lost(0.01, 0.03) == RMSE.difference(0.03, 0.01)
    assert (RMSE.best, RMSE.worst, RMSE.ranged) == (-math.inf, math.inf, False)
    bounded = own_quality("mse", "down", lowest=0)
    assert (bounded.best, bounded.worst, bounded.ranged) == (0, math.inf, False)
    assert [bounded.loss(value) for value in (0.5, 0.0, -1e-9)] == [0.5, 0.0, 0.0]
    assert [RMSE.loss(value) for value in (0.5, -0.5)] == [0.5, -0.5]
    accuracy = QUALITIES[0]
    assert (accuracy.behind, accuracy.step(), accuracy.step(1)) == ("below", "points", "point")
    assert (accuracy.lost(0.56, 0.57), accuracy.loss(0.56)) == (1.0, 1.0 - 0.56)
    assert own_quality("tiny", "down").lost(3e-13, 1e-13) == pytest.approx(2e-13)
