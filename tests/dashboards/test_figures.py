import math

import plotly.graph_objects as go
import plotly.io as pio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.figures import (
    PALETTE,
    TEMPLATE,
    VIEW_POINTS,
    Teacher,
    front_data,
    front_figure,
    method_colours,
    quality_range,
    size_ticks,
    staircase,
)
from tests.dashboards.frames import ACCURACY, BLEU, bleu_trials, trials
from trainables.metrics import Quality

FRONT = trials(
    {"packed_bytes": 1_000, "validation_accuracy": 0.90, "front": True},
    {"packed_bytes": 4_000, "validation_accuracy": 0.95, "front": True, "method": "full_precision"},
    {"packed_bytes": 9_000, "validation_accuracy": 0.80, "bits": None, "bucket_size": None},
    {"packed_bytes": 8_000, "validation_accuracy": 0.20},
)
TEACHER = Teacher(quality=0.98, packed_bytes=400_000)


def traces(figure: go.Figure, name: str) -> list[go.Scatter]:
    return [trace for trace in figure.data if trace.name == name]


def test_front_data_is_in_kilobytes_and_percent() -> None:
    data = front_data(FRONT, ACCURACY)
    assert data["kilobytes"].tolist() == [1.0, 4.0, 9.0, 8.0]
    assert data["quality"].tolist() == pytest.approx([90, 95, 80, 20])
    assert data["front"].tolist() == [True, True, False, False]
    assert data["method"].tolist()[:2] == ["Quantized distillation", "Full precision"]


def test_only_ended_and_measured_trials_are_drawn() -> None:
    data = front_data(
        trials(
            {"state": "running"},
            {"state": "failed"},
            {"state": "stopped", "name": "kept"},
            {"validation_accuracy": math.nan},
            {"packed_bytes": None},
            {"packed_bytes": 0},
        ),
        ACCURACY,
    )
    assert len(data) == 1
    assert "kept" in data["hover"][0]


def test_hover_tells_everything_that_was_measured() -> None:
    [hover, bare] = front_data(
        trials({"accuracy": 0.94}, {"bits": None, "bucket_size": None, "latency_ms": None}), ACCURACY
    )["hover"]
    for part in (
        "<b>qd-4bit</b>",
        "Quantized distillation",
        "4 bit",
        "buckets of 256",
        "depth 2",
        "width 0.5",
    ):
        assert part in hover
    for part in ("sparsity 29 %", "4 kB", "100x smaller", "0.25 ms", "95.00 % validation", "94.00 % test"):
        assert part in hover
    for part in ("bit<", "bit ·", "buckets", " ms", "test", "nan", "NA", "None"):
        assert part not in bare.replace("qd-4bit", "")


def test_names_from_the_store_are_text_in_the_figure() -> None:
    hostile = trials({"name": "<script>alert(1)</script>", "method": "<img src=x>", "front": True})
    figure = front_figure(front_data(hostile, ACCURACY), ACCURACY, teacher=TEACHER)
    shown = figure.to_json()
    assert "&lt;script&gt;" in front_data(hostile, ACCURACY)["hover"][0]
    assert "<script" not in shown
    assert "<img" not in shown


def test_bleu_is_drawn_as_it_is() -> None:
    frame = bleu_trials(
        {"packed_bytes": 1_000, "validation_bleu": 30.5, "front": True},
        {"packed_bytes": 4_000, "front": True},
        {"packed_bytes": 9_000, "validation_bleu": 0.4},
    )
    data = front_data(frame, BLEU)
    assert data["quality"].tolist() == [30.5, 34.2, 0.4]
    figure = front_figure(data, BLEU, teacher=Teacher(36.0, 400_000))
    assert figure.layout.yaxis.title.text == "Validation BLEU"
    low, high = figure.layout.yaxis.range
    assert 25 < low < 30.5 and 36 < high < 40
    assert [a.text for a in figure.layout.annotations] == ["1 below this view; double-click shows all"]
    line, star = traces(figure, "Teacher")
    assert list(line.y) == [36, 36] and star.y[0] == 36
    assert "BLEU 36.00 validation" in star.hovertext[0]


def test_hover_tells_what_is_reported_beside_bleu_where_it_was() -> None:
    measured = {"bleu": 33.9, "chrf": 57.5, "perplexity": 5.456}
    bare = {"validation_chrf": None, "validation_perplexity": math.inf, "latency_beam_ms": None}
    [hover, without] = front_data(bleu_trials(measured, bare), BLEU)["hover"]
    for line in (
        "latency with a beam of 5: 21.5 ms",
        "BLEU 34.20 validation · 33.90 test",
        "chrF 58.11 validation · 57.50 test",
        "perplexity 5.20 validation · 5.46 test",
    ):
        assert line in hover.split("<br>")
    assert "BLEU 34.20 validation" in without.split("<br>")
    for part in ("%", "chrF", "perplexity", "beam", "inf", "nan"):
        assert part not in without.replace("sparsity 29 %", "")


@pytest.mark.parametrize("quality", [ACCURACY, BLEU])
def test_nothing_measured_leaves_the_whole_range(quality: Quality) -> None:
    assert quality_range(front_data(trials(), ACCURACY), quality, None) == (0, 100)


def test_members_of_the_front_stand_out() -> None:
    figure = front_figure(front_data(FRONT, ACCURACY), ACCURACY, teacher=TEACHER)
    dominated, front, legend = traces(figure, "Quantized distillation")
    assert list(front.x) == [1.0]
    assert list(dominated.x) == [9.0, 8.0]
    assert front.marker.size > dominated.marker.size
    assert dominated.marker.opacity < 0.5 < front.marker.opacity == 1
    assert front.marker.color == dominated.marker.color == legend.marker.color
    assert len(front.customdata) == len(front.hovertext) == 1
    assert legend.showlegend is None
    assert (front.showlegend, dominated.showlegend) == (False, False)


def test_the_front_is_a_staircase_to_the_right_edge() -> None:
    figure = front_figure(front_data(FRONT, ACCURACY), ACCURACY, teacher=TEACHER)
    [line] = traces(figure, "Front")
    assert line.line.shape == "hv"
    assert list(line.x)[:2] == [1.0, 4.0]
    assert list(line.y) == pytest.approx([90, 95, 95])
    assert math.log10(line.x[-1]) == pytest.approx(figure.layout.xaxis.range[1])


def test_the_teacher_is_a_star_and_a_line() -> None:
    line, star = traces(front_figure(front_data(FRONT, ACCURACY), ACCURACY, teacher=TEACHER), "Teacher")
    assert list(line.y) == [98, 98]
    assert (star.x[0], star.y[0], star.marker.symbol) == (400.0, 98, "star")
    assert "400 kB" in star.hovertext[0]


def test_a_teacher_of_unknown_size_is_a_line_and_an_unmeasured_one_nothing() -> None:
    data = front_data(FRONT, ACCURACY)
    assert len(traces(front_figure(data, ACCURACY, teacher=Teacher(0.98, math.nan)), "Teacher")) == 1
    assert traces(front_figure(data, ACCURACY, teacher=Teacher(math.nan, 4_000)), "Teacher") == []
    assert traces(front_figure(data, ACCURACY), "Teacher") == []


def test_axes_name_their_units_and_show_the_front() -> None:
    figure = front_figure(front_data(FRONT, ACCURACY), ACCURACY, teacher=TEACHER)
    assert figure.layout.xaxis.type == "log"
    assert "kB = 1000 bytes" in figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text == "Validation accuracy (%)"
    low, high = figure.layout.yaxis.range
    assert 80 < low < 90, "students that learned nothing do not squeeze the front"
    assert high > 98
    assert [a.text for a in figure.layout.annotations] == ["2 below this view; double-click shows all"]
    assert figure.layout.template.layout.colorway == PALETTE
    assert TEMPLATE in pio.templates


@pytest.mark.parametrize("rows", [[], [{"state": "failed", "validation_accuracy": None}]])
def test_nothing_to_draw_is_said(rows: list[dict]) -> None:
    figure = front_figure(front_data(trials(*rows), ACCURACY), ACCURACY)
    assert [a.text for a in figure.layout.annotations] == ["No trial has ended yet"]


def test_one_trial_has_room_around_it() -> None:
    figure = front_figure(front_data(trials({"front": True}), ACCURACY), ACCURACY)
    low, high = figure.layout.xaxis.range
    assert low < math.log10(4.0) < high
    low, high = figure.layout.yaxis.range
    assert low < 95 < high
    assert math.isfinite(low) and math.isfinite(high)


def test_staircase_leaves_out_what_is_no_step() -> None:
    data = front_data(
        trials(
            {"packed_bytes": 2_000, "validation_accuracy": 0.5, "front": True},
            {"packed_bytes": 1_000, "validation_accuracy": 0.9, "front": True},
            {"packed_bytes": 3_000, "validation_accuracy": 0.95, "front": True},
            {"packed_bytes": 3_000, "validation_accuracy": 0.94, "front": True},
        ),
        ACCURACY,
    )
    assert staircase(data)["kilobytes"].tolist() == [1.0, 3.0]
    assert staircase(data)["quality"].tolist() == pytest.approx([90, 95])


def test_colours_keep_their_order_as_methods_appear() -> None:
    before = method_colours(["B", "A", "B"])
    after = method_colours(["B", "A", "B", "0", "C"])
    assert before.items() <= after.items()
    assert len(set(after.values())) == 4


@given(st.lists(st.floats(0, 1), max_size=6), st.lists(st.floats(0, 1), max_size=6))
def test_the_quality_axis_shows_the_whole_front(front: list[float], others: list[float]) -> None:
    rows = [{"validation_accuracy": q, "front": True} for q in front]
    rows += [{"validation_accuracy": q, "front": False} for q in others]
    data = front_data(trials(*rows), ACCURACY)
    low, high = quality_range(data, ACCURACY, TEACHER)
    assert low < high
    near = [q for q in front if q >= max(front) - VIEW_POINTS / 100 + 1e-9]
    assert all(low <= 100 * q <= high for q in [*near, TEACHER.quality])


@given(st.lists(st.floats(1e-2, 1e7), min_size=1, max_size=5))
def test_size_ticks_are_round_and_few(sizes: list[float]) -> None:
    ticks = size_ticks(sizes)
    inside = [t for t in ticks if min(sizes) <= t <= max(sizes)]
    assert ticks == sorted(ticks)
    assert len(inside) <= 12
    assert min(ticks) <= min(sizes)
    assert {f"{t:.0e}"[0] for t in ticks} <= {"1", "2", "3", "5"}
