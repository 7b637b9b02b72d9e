import math

import pandas as pd
import pytest

from dashboards import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 B"),
        (950, "950 B"),
        (999, "999 B"),
        (999.6, "1 kB"),
        (12_345, "12.3 kB"),
        (999_600, "1 MB"),
        (1_246_380, "1.25 MB"),
        (5e9, "5 GB"),
        (2.5e12, "2,500 GB"),
        (math.nan, ""),
        (pd.NA, ""),
        (None, ""),
    ],
)
def test_size(value: float, shown: str) -> None:
    assert text.size(value) == shown


def test_numbers() -> None:
    assert [text.number(x) for x in (0.5, 1, 20, 12_345)] == ["0.5", "1", "20", "12,300"]
    assert [text.percent(x) for x in (0.98765, 1, math.nan, pd.NA)] == ["98.77 %", "100.00 %", "", ""]
    assert [text.times(x) for x in (4.06, 37.4, 1234.0, None)] == ["4.1x", "37x", "1,234x", ""]
    minus = "\N{MINUS SIGN}"
    assert [text.points(x) for x in (-0.0056, 0.01, -1e-9, math.nan)] == [f"{minus}0.56", "+1.00", "0.00", ""]
    assert [text.duration(x) for x in (47.6, 200, 3600, 7500, math.nan)] == [
        "48 s",
        "3 min 20 s",
        "1 h 00 min",
        "2 h 05 min",
        "",
    ]
    assert [text.count(n, "trial") for n in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]


def test_method_label() -> None:
    assert text.method_label("quantized_distillation") == "Quantized distillation"
    assert text.method_label(pd.NA) == "Unknown method"
    assert text.method_label("") == "Unknown method"
