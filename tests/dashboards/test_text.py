import math

import pandas as pd

from dashboards import text
from tests.dashboards.frames import ACCURACY, BLEU


def test_size() -> None:
    assert [text.size(x) for x in (12_345, math.nan, pd.NA, None)] == ["12.3 kB", "", "", ""]


def test_numbers() -> None:
    assert [text.number(x) for x in (0.5, 1, 20, 12_345, None)] == ["0.5", "1", "20", "12,300", ""]
    assert [text.share(x) for x in (0.287, 1, math.nan, pd.NA)] == ["29 %", "100 %", "", ""]
    assert [text.times(x) for x in (4.06, 37.4, 1234.0, None)] == ["4.1x", "37x", "1,234x", ""]
    assert [text.milliseconds(x) for x in (0.25, None)] == ["0.250", ""]
    minus = "\N{MINUS SIGN}"
    told = [text.points(ACCURACY, x, 98.0) for x in (-0.56, 1, -1e-7, math.nan)]
    assert told == [f"{minus}0.56", "+1.00", "0.00", ""]
    assert [text.duration(x) for x in (47.6, 7500, math.nan)] == ["48 s", "2 h 05 min", ""]


def test_scores_are_shown_as_their_quality_says() -> None:
    unmeasured = (math.nan, math.inf, pd.NA, None)
    assert [text.score(ACCURACY, x) for x in (0.98765, 1, *unmeasured)] == ["98.77 %", "100.00 %"] + [""] * 4
    assert [text.score(BLEU, x) for x in (34.2, 0, *unmeasured)] == ["34.20", "0.00"] + [""] * 4


def test_method_label() -> None:
    assert text.method_label("quantized_distillation") == "Quantized distillation"
    assert text.method_label("int8_post_training_quantization") == "Int8 post-training quantization"
    assert text.method_label("quantization_aware_training") == "Quantization-aware training"
    assert text.method_label(pd.NA) == "Unknown method"
    assert text.method_label("") == "Unknown method"


def test_a_setting_keeps_every_digit() -> None:
    assert [text.whole(value) for value in (2, 1024, pd.NA, None)] == ["2", "1,024", "", ""]


def test_a_command_about_a_users_own_student_names_its_code():
    from dashboards.pages.trial import own_code

    assert own_code("net.py") == " --model net.py" and own_code("my net.py") == " --model 'my net.py'"
    assert own_code("project.nets:Small") == " --model project.nets:Small"
    assert own_code("ConvNet") == "" and own_code(None) == ""
