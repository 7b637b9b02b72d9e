import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards import figures
from dashboards.axes import SIZE, Axis, axes_of, axis_of, lost_axis, quality_axis
from dashboards.figures.compare import Side, compare
from dashboards.figures.front import folded_groups, front_figure
from dashboards.figures.front_view import MANY, VIEW, FrontView, front_view, quality_range, staircase
from dashboards.figures.labels import Labels
from dashboards.figures.parameters import round_numbers
from dashboards.figures.parts import round_ticks
from dashboards.figures.progress import corner_of
from dashboards.pages.parameters import _objectives
from dashboards.theme import DARK, LIGHT, THEMES, theme_of
from search.objectives.mark import RuntimeMark
from search.store.store import StoreError
from tests.dashboards.frames import ACCURACY, BLEU, bleu_sweep, bleu_trials, sweep, trials

FRONT = trials(
    {"packed_bytes": 1_000, "validation_accuracy": 0.90, "front": True},
    {"packed_bytes": 4_000, "validation_accuracy": 0.95, "front": True, "method": "full_precision"},
    {"packed_bytes": 9_000, "validation_accuracy": 0.80, "bits": None, "bucket_size": None},
    {"packed_bytes": 8_000, "validation_accuracy": 0.20},
)
BARE: dict[str, Any] = {"metrics": {}}
PERCENT = Axis("share", "share", "Share (%)", "up")


def view_of(frame: pd.DataFrame, **settings: Any) -> FrontView:
    return front_view([(sweep(), frame)], **settings)


def traces(figure: go.Figure, name: str) -> list[go.Scatter]:
    return [trace for trace in figure.data if trace.name == name]


def notes(figure: go.Figure) -> list[str]:
    return [annotation.text for annotation in figure.layout.annotations]


def test_the_view_is_in_kilobytes_and_percent() -> None:
    data = view_of(FRONT).data
    assert data["x"].tolist() == [1.0, 4.0, 9.0, 8.0]
    assert data["y"].tolist() == pytest.approx([90, 95, 80, 20])
    assert data["front"].tolist() == [True, True, False, False]
    assert data["group"].tolist()[:2] == ["Quantized distillation", "Full precision"]


def test_only_ended_and_measured_trials_are_drawn() -> None:
    data = view_of(
        trials(
            {"state": "running"},
            {"state": "failed"},
            {"state": "stopped", "name": "kept"},
            {"state": "pruned", "name": "seen last"},
            {"validation_accuracy": math.nan},
            {"packed_bytes": None},
            {"packed_bytes": 0},
        )
    ).data
    assert len(data) == 2
    assert "kept" in data["hover"][0] and "stopped" in data["hover"][0]
    assert "seen last" in data["hover"][1] and "ended early" in data["hover"][1]


def test_hover_tells_the_recipe_in_words() -> None:
    [hover, bare] = view_of(
        trials({}, {"bits": None, "bucket_size": None, "latency_ms": None, "sparsity": 0.0})
    ).data["hover"]
    for part in ("<b>qd-4bit</b>", "4 bit", "buckets of 256", "depth 2", "width 0.5", "29 % zeros"):
        assert part in hover
    for part in ("100x smaller", "0.25 ms"):
        assert part in hover
    for part in (" bit", "buckets", " ms", "zeros", "nan", "NA", "None", "finished"):
        assert part not in bare


def test_names_from_the_store_are_text_in_every_figure() -> None:
    hostile = "<script>alert(1)</script><img src=x>"
    frame = trials(
        {"name": hostile, "method": hostile, "model": hostile, "front": True},
        {"name": hostile, "method": "full_precision"},
    )
    of = sweep(name=hostile)
    for colour in figures.COLOURS:
        for several in ([(of, frame)], [(of, frame), (sweep(name=hostile + "2", run_id="e" * 32), frame)]):
            shown = front_figure(front_view(several, colour=colour)).to_json()
            assert "<script" not in shown and "<img" not in shown
    sides = [figures.Side(hostile, of, frame), figures.Side(hostile + "2", of, frame)]
    compared = figures.compare(sides)
    column = pd.Series([hostile, "b"], name=hostile, index=["a", "b"], dtype="string")
    values = pd.Series([1.0, 2.0], index=["a", "b"])
    axis, front = quality_axis(ACCURACY), pd.Series([True, False], index=["a", "b"])
    tensors = pd.DataFrame(
        {
            "name": [hostile],
            "bytes": [3.0],
            "entropy_bytes": [2.0],
            "bits": [4.0],
            "sparsity": [0.0],
            "share": [1.0],
        }
    )
    for figure in (
        figures.fronts_figure(compared),
        figures.growth_figure(compared),
        figures.slice_figure(column, values, axis, front),
        figures.contour_figure(column, column, values, axis),
        figures.parallel_figure(column.to_frame(), values, axis),
        figures.importance_figure(
            {hostile: pd.DataFrame({"share": {hostile: 1.0}, "low": {hostile: 0.9}, "high": {hostile: 1.0}})}
        ),
        figures.bytes_figure(tensors),
    ):
        shown = figure.to_json()
        assert "<script" not in shown and "<img" not in shown


def test_bleu_is_drawn_as_it_is() -> None:
    frame = bleu_trials(
        {"packed_bytes": 1_000, "validation_bleu": 30.5, "front": True},
        {"packed_bytes": 4_000, "front": True},
        {"packed_bytes": 9_000, "validation_bleu": 0.4},
    )
    view = front_view([(bleu_sweep(), frame)])
    assert view.data["y"].tolist() == [30.5, 34.2, 0.4]
    figure = front_figure(view)
    assert figure.layout.yaxis.title.text == "Validation BLEU"
    low, high = figure.layout.yaxis.range
    assert 25 < low < 30.5 and 36 < high < 40
    assert notes(figure) == ["1 below this view; double-click shows all"]
    line, star = traces(figure, "Teacher")
    assert list(line.y) == [36, 36] and star.y[0] == 36


def test_members_of_the_front_stand_out() -> None:
    figure = front_figure(view_of(FRONT))
    dominated, front, legend = traces(figure, "Quantized distillation")
    assert list(front.x) == [1.0]
    assert list(dominated.x) == [9.0, 8.0]
    assert front.marker.size > dominated.marker.size
    assert dominated.marker.opacity < 0.5 < front.marker.opacity == 1
    assert front.marker.color == dominated.marker.color == legend.marker.color
    assert list(front.customdata) == [f"{0:032x}"]
    assert legend.showlegend is None
    assert (front.showlegend, dominated.showlegend) == (False, False)
    assert all(trace.customdata is None for trace in front_figure(view_of(FRONT), ids=False).data)


def test_a_legend_of_many_methods_names_those_on_the_front_and_counts_the_others() -> None:
    def named(methods: int) -> tuple[list[str], go.Figure]:
        rows = [
            {"packed_bytes": 1_000 + i, "validation_accuracy": 0.9, "front": i < 2, "method": f"method_{i}"}
            for i in range(methods)
        ]
        figure = front_figure(view_of(trials(*rows)))
        return [t.name for t in figure.data if t.x == (None,) and t.name.startswith(("Method", "1"))], figure

    few, _ = named(12)
    assert len(few) == 12
    rows = [{"front": i < 12, "method": f"method_{i}"} for i in range(13)]
    assert not folded_groups(view_of(trials(*rows))), "one has room for its name"
    many, figure = named(15)
    assert many == ["Method 0", "Method 1", "13 others, not on the front"]
    [entry] = traces(figure, many[-1])
    others = [trace for trace in figure.data if trace.name == "Method 9"]
    assert others and {trace.legendgroup for trace in others} == {entry.legendgroup}, "a click hides them all"
    assert all("Method 9" in trace.hovertemplate for trace in others), "a mark says its own"
    assert traces(figure, "Method 1")[0].legendgroup != entry.legendgroup


def test_the_front_is_a_staircase_to_the_right_edge() -> None:
    figure = front_figure(view_of(FRONT))
    [line] = traces(figure, "Front")
    assert line.line.shape == "hv"
    assert list(line.x)[:2] == [1.0, 4.0]
    assert list(line.y) == pytest.approx([90, 95, 95])
    assert math.log10(line.x[-1]) == pytest.approx(figure.layout.xaxis.range[1])


def test_the_teacher_is_a_star_and_a_line_where_it_was_measured() -> None:
    line, star = traces(front_figure(view_of(FRONT)), "Teacher")
    assert list(line.y) == [98, 98]
    assert (star.x[0], star.y[0], star.marker.symbol) == (400.0, 98, "star")
    known = {"teacher_validation_accuracy": 0.98}
    assert len(traces(front_figure(front_view([(sweep(metrics=known), FRONT)])), "Teacher")) == 1
    assert traces(front_figure(front_view([(sweep(**BARE), FRONT)])), "Teacher") == []


def test_what_onnx_runtime_makes_of_the_teacher_is_a_cross() -> None:
    values = {"onnx_bytes": 120_000.0, "validation_accuracy": 0.97, "accuracy": 0.96, "latency_ms": 0.05}
    marked = sweep(mark=RuntimeMark("static", values=values))
    own = "ONNX Runtime's own int8 of the teacher"
    figure = front_figure(front_view([(marked, FRONT)]))
    [cross] = traces(figure, f"{own} (bytes of its ONNX file)")
    assert (cross.x[0], cross.y[0], cross.marker.symbol) == (120.0, 97, "x")
    assert "its ONNX file" in cross.hovertext[0] and cross.customdata is None

    test, latency = quality_axis(ACCURACY, test=True), axis_of(ACCURACY, "latency_ms", SIZE)
    frame = FRONT.assign(latency_ms=[0.01, 0.02, 0.03, 0.04])
    figure = front_figure(front_view([(marked, frame.assign(accuracy=0.9))], x=latency, y=test))
    [cross] = traces(figure, own)
    assert (cross.x[0], cross.y[0]) == (0.05, 96) and "ONNX file" not in cross.hovertext[0]
    assert 10 ** figure.layout.xaxis.range[0] < 0.05 < 10 ** figure.layout.xaxis.range[1]

    unknown = axis_of(ACCURACY, "macs", SIZE)
    assert traces(front_figure(front_view([(marked, frame.assign(macs=5e6))], x=unknown)), own) == []
    several = front_view([(marked, FRONT), (sweep(name="<b>", mark=marked.mark), FRONT)])
    names = [trace.name for trace in front_figure(several).data]
    assert "ONNX Runtime's own int8 of &lt;b&gt;'s teacher (bytes of its ONNX file)" in names


def test_the_best_in_full_precision_are_ringed() -> None:
    frame = trials(
        {
            "bits": None,
            "mean_bits": 32.0,
            "sparsity": 0.0,
            "packed_bytes": 9_000,
            "validation_accuracy": 0.97,
        },
        {
            "bits": None,
            "mean_bits": 32.0,
            "sparsity": 0.0,
            "packed_bytes": 9_500,
            "validation_accuracy": 0.96,
        },
        {"packed_bytes": 1_000, "front": True},
    )
    [rings] = traces(front_figure(view_of(frame)), "Best in full precision")
    assert list(rings.x) == [9.0] and list(rings.y) == pytest.approx([97])


def test_axes_name_their_units_and_show_the_front() -> None:
    figure = front_figure(view_of(FRONT))
    assert figure.layout.xaxis.type == "log"
    assert "kB = 1000 bytes" in figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text == "Validation accuracy (%)"
    low, high = figure.layout.yaxis.range
    assert 80 < low < 90, "students that learned nothing do not squeeze the front"
    assert high > 98
    assert notes(figure) == ["2 below this view; double-click shows all"]


def test_any_two_numbers_have_a_front_of_their_own() -> None:
    frame = trials(
        {"latency_ms": 0.5, "validation_accuracy": 0.9, "front": False},
        {"latency_ms": 0.2, "validation_accuracy": 0.8, "front": False},
        {"latency_ms": 0.6, "validation_accuracy": 0.7, "front": True},
        {"latency_ms": 0.1, "validation_accuracy": 0.99, "state": "pruned"},
        {"latency_ms": None, "validation_accuracy": 0.99},
    )
    view = view_of(frame, x=axis_of(ACCURACY, "latency_ms", SIZE))
    assert view.data["front"].tolist() == [True, True, False, False]
    figure = front_figure(view)
    assert figure.layout.xaxis.title.text == "Latency, one input (ms, logarithmic)"
    assert list(traces(figure, "Front")[0].x)[:2] == [0.2, 0.5]


@pytest.mark.parametrize(
    "quality, frame", [(ACCURACY, FRONT), (BLEU, bleu_trials({}, {"packed_bytes": 100}))]
)
def test_every_axis_can_be_drawn_either_way(quality, frame) -> None:
    of = sweep() if quality is ACCURACY else bleu_sweep()
    axes = [axis for axis in axes_of(quality) if axis.key in frame]
    assert len(axes) > 3
    for x, y in zip(axes, [*axes[1:], axes[0]], strict=True):
        assert front_figure(front_view([(of, frame)], x=x, y=y)).layout.height
    with pytest.raises(ValueError, match="colour must be one of"):
        front_view([(of, frame)], colour="shape")
    with pytest.raises(ValueError, match="at least one sweep"):
        front_view([])


def test_three_numbers_are_drawn_in_space() -> None:
    view = view_of(FRONT.assign(latency_ms=[0.1, 0.2, 0.05, 0.3]), z=axis_of(ACCURACY, "latency_ms", SIZE))
    assert view.data["front"].tolist() == [True, True, True, False], "the third is the fastest"
    figure = front_figure(view, DARK)
    assert {trace.type for trace in figure.data} == {"scatter3d"}
    assert figure.layout.scene.zaxis.title.text == "Latency, one input (ms)"


def test_sweeps_lie_over_each_other_each_with_its_front() -> None:
    second = sweep(name="digits-2", run_id="e" * 32)
    view = front_view([(sweep(), FRONT), (second, FRONT)], colour="sweep")
    assert view.groups == ("digits-1", "digits-2")
    figure = front_figure(view)
    assert len(traces(figure, "Front of digits-1")) == len(traces(figure, "Front of digits-2")) == 1
    other = (bleu_sweep(), bleu_trials({}))
    assert len(front_view([(sweep(), FRONT), other]).data) == 4, "another metric cannot stand on the axis"


def test_budgets_shade_what_keeps_to_them() -> None:
    of = sweep(params={"limits.packed_bytes": "5000", "max_drop": "3"})
    assert figures.limits_of(of) == {"packed_bytes": 5.0, "validation_accuracy": 95.0}
    figure = front_figure(front_view([(of, FRONT)]))
    [region] = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert (region.x0, region.y0) == (5.0, 95.0)
    assert region.x1 < 1e-6 and region.y1 > 1e5
    assert {"budget: at most 5 kB", "budget: at least 95 %"} <= set(notes(figure))
    assert not front_figure(view_of(FRONT)).layout.shapes
    with pytest.raises(StoreError, match="limits that are none"):
        figures.limits_of(sweep(params={"limits.packed_bytes": "many"}))


@pytest.mark.parametrize(("drop", "text"), [("1", "1 point"), ("0", "0 points"), ("0.5", "0.5 points")])
def test_a_limit_of_loss_is_told_where_its_line_is(drop: str, text: str) -> None:
    of = sweep(params={"max_drop": drop})
    figure = front_figure(front_view([(of, FRONT)], scale="lost"))
    [line] = [shape for shape in figure.layout.shapes if shape.type == "line"]
    [note] = [each for each in figure.layout.annotations if each.text.startswith("budget")]
    assert note.text == f"budget: at most {text} lost"
    # On a logarithmic axis a line stands at the value, a text at its logarithm.
    assert figure.layout.yaxis.type == "log" and note.y == pytest.approx(math.log10(line.y0))
    assert note.yref in (None, "y") and line.y0 == (float(drop) or lost_axis(of).floor)


def test_a_sweep_is_drawn_by_the_size_that_it_searched_by() -> None:
    params = {
        "size": "onnx_bytes",
        "minimized": "macs",
        "limits.macs": "2000000",
        "limits.onnx_bytes": "8000",
    }
    of = sweep(params=params, metrics={**sweep().metrics, "teacher_onnx_bytes": 2e6})
    assert figures.limits_of(of) == {"macs": 2.0, "onnx_bytes": 8.0}
    frame = trials({"onnx_bytes": 5_000, "packed_bytes": 4_000, "front": True})
    view = front_view([(of, frame)])
    assert view.x.key == "onnx_bytes" and view.data["x"].tolist() == [5.0] and view.data["front"].all()
    figure = front_figure(view)
    assert figure.layout.xaxis.title.text == "Size in ONNX (kB = 1000 bytes, logarithmic)"
    assert "budget: at most 8 kB" in notes(figure) and view.teachers[0].x == 2_000.0
    assert front_view([(sweep(), frame)]).x == SIZE
    assert corner_of(frame, of).size == 2e6
    assert [axis.key for axis in _objectives(of)] == ["validation_accuracy", "onnx_bytes", "macs"]
    compared = compare([Side("a", of, frame), Side("b", sweep(), frame)])
    assert compared.size == SIZE  # the only size that both searched by, or have
    assert compare([Side("a", of, frame), Side("b", of, frame)]).points["x"].tolist() == [5.0, 5.0]


def test_what_is_over_the_budget_or_pruned_is_drawn_faint_and_on_no_front() -> None:
    frame = trials(
        {"latency_ms": 0.30, "front": True},
        {"latency_ms": 0.10, "feasible": False},
        {"latency_ms": 0.05, "state": "pruned"},
        {"latency_ms": 0.40},
    )
    for x in (SIZE, axis_of(ACCURACY, "latency_ms", SIZE)):
        data = front_view([(sweep(), frame)], x=x).data
        assert data["front"].tolist() == [True, False, False, False]
        assert data["state"].tolist() == ["finished", "finished", "pruned", "finished"]


def test_repeated_recipes_show_their_spread() -> None:
    frame = trials(
        {"validation_accuracy": 0.9, "seedless_id": "same"},
        {"validation_accuracy": 0.94, "seedless_id": "same"},
        {"validation_accuracy": 0.5, "seedless_id": "alone"},
        {"validation_accuracy": 0.1, "seedless_id": "same", "state": "stopped"},
    )
    [row] = view_of(frame).spread.to_dict("records")
    assert (row["low"], row["high"], row["count"]) == (pytest.approx(90), pytest.approx(94), 2)
    [bars] = traces(front_figure(view_of(frame)), "Mean and spread over seeds")
    assert list(bars.y) == pytest.approx([92])
    assert list(bars.error_y.array) == list(bars.error_y.arrayminus) == pytest.approx([2])


@pytest.mark.parametrize("rows", [[], [{"state": "failed", "validation_accuracy": None}]])
def test_nothing_to_draw_is_said(rows: list[dict]) -> None:
    assert notes(front_figure(front_view([(sweep(**BARE), trials(*rows))]))) == ["No trial has ended yet"]


def test_one_trial_has_room_around_it() -> None:
    figure = front_figure(front_view([(sweep(**BARE), trials({"front": True}))]))
    low, high = figure.layout.xaxis.range
    assert low < math.log10(4.0) < high
    low, high = figure.layout.yaxis.range
    assert low < 95 < high
    assert math.isfinite(low) and math.isfinite(high)


def test_staircase_leaves_out_what_is_no_step() -> None:
    data = view_of(
        trials(
            {"packed_bytes": 2_000, "validation_accuracy": 0.5, "front": True},
            {"packed_bytes": 1_000, "validation_accuracy": 0.9, "front": True},
            {"packed_bytes": 3_000, "validation_accuracy": 0.95, "front": True},
            {"packed_bytes": 3_000, "validation_accuracy": 0.94, "front": True},
        )
    ).data
    assert staircase(data)["x"].tolist() == [1.0, 3.0]
    assert staircase(data)["y"].tolist() == pytest.approx([90, 95])


def test_colours_keep_their_place_as_trials_end() -> None:
    rows = [{"method": "a", "state": "running"}, {"method": "b"}, {"method": "c"}]
    before = view_of(trials(*rows))
    after = view_of(trials({"method": "a"}, *rows[1:], {"method": "d"}))
    assert before.groups == ("A", "B", "C") and after.groups == ("A", "B", "C", "D")
    assert {trace.name: trace.marker.color for trace in front_figure(before).data if trace.mode == "markers"}[
        "B"
    ] == LIGHT.colour(1)


def test_many_marks_are_drawn_by_webgl_in_few_bytes() -> None:
    rows = [{"packed_bytes": 1000 + i, "validation_accuracy": 0.9 + 1e-6 * i} for i in range(MANY + 1)]
    figure = front_figure(view_of(trials(*rows)), ids=False)
    assert "scattergl" in {trace.type for trace in figure.data}
    assert len(figure.to_json()) / len(rows) < 130


@given(st.lists(st.floats(0, 1), max_size=6), st.lists(st.floats(0, 1), max_size=6))
def test_the_quality_axis_shows_the_whole_front(front: list[float], others: list[float]) -> None:
    values = 100 * np.array([*front, *others])
    flags = np.array([True] * len(front) + [False] * len(others), dtype=bool)
    low, high = quality_range(values, flags, quality_axis(ACCURACY), [98.0])
    assert low < high
    near = [q for q in front if q >= max(front) - VIEW + 1e-9]
    assert all(low <= 100 * q <= high for q in [*near, 0.98])


@given(st.lists(st.floats(1e-2, 1e7), min_size=1, max_size=5))
def test_ticks_are_round_and_few(sizes: list[float]) -> None:
    ticks = round_ticks(sizes)
    inside = [t for t in ticks if min(sizes) <= t <= max(sizes)]
    assert ticks == sorted(ticks)
    assert len(inside) <= 12
    assert min(ticks) <= min(sizes)
    assert all(float(f"{tick:.1e}") == tick for tick in ticks), "two digits at most"
    low, high = math.log10(min(sizes)), math.log10(max(sizes))
    shown = [tick for tick in ticks if low - 0.08 <= math.log10(tick) <= high + 0.08]
    assert shown, "an axis is padded by at least 0.08"


def _luminance(colour: str) -> float:
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", [*THEMES])
def test_both_themes_can_be_read(name: str) -> None:
    theme = theme_of(name)
    assert theme.template in pio.templates

    def contrast(colour: str) -> float:
        light, dark = sorted((_luminance(colour), _luminance(theme.paper)), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    assert contrast(theme.ink) > 10 and contrast(theme.soft) > 4.5
    assert all(contrast(colour) > 2 for colour in theme.palette)
    assert len(set(theme.palette)) == 8
    assert theme_of("unheard of") is LIGHT


@pytest.mark.parametrize(
    ("x", "y", "wanted", "allowed"),
    [
        (50.0, 50.0, "top center", {"top center"}),
        (50.0, 99.0, "top center", {"bottom center"}),
        (50.0, 1.0, "bottom left", {"top left"}),
        (98.0, 50.0, "top right", {"top left"}),
        (1.0, 50.0, "top left", {"top right"}),
        (1.0, 99.0, "top left", {"bottom right"}),
        (99.0, 1.0, "bottom right", {"top left"}),
    ],
)
def test_labels_turn_away_from_the_edges(x: float, y: float, wanted: str, allowed: set[str]) -> None:
    labels = Labels(PERCENT, (0.0, 100.0), PERCENT, (0.0, 100.0))
    assert labels.side(x, y, 10, "full precision", wanted) in allowed


def test_labels_keep_away_from_marks_and_from_one_another() -> None:
    labels = Labels(PERCENT, (0.0, 100.0), PERCENT, (100.0, 0.0))  # less stands on top
    labels.keep_free(50, 50, 12)
    labels.keep_free(50, 44, 12)
    first = labels.side(50, 50, 12, "Teacher", "top center")
    assert first != "top center", "the other mark stands there"
    assert labels.side(50, 50, 12, "Teacher", "top center") != first


@pytest.mark.parametrize("scale", ["lost", "near", "all"])
def test_full_precision_that_loses_nothing_has_its_label_inside(scale: str) -> None:
    best = {"bits": None, "mean_bits": 32.0, "sparsity": 0.0, "packed_bytes": 9_000}
    frame = trials({**best, "validation_accuracy": 1.0}, {"packed_bytes": 1_000, "validation_accuracy": 0.6})
    figure = front_figure(view_of(frame, scale=scale))
    [ring] = traces(figure, "Best in full precision")
    axis, [y] = figure.layout.yaxis, ring.y
    low, high = axis.range
    room = (high - (math.log10(y) if axis.type == "log" else y)) / (high - low)
    # A laptop's plot is some 300 pixels tall; half the ring and a line of text take 24.
    assert ring.textposition.startswith("bottom") or 300 * room >= 24
    assert ring.cliponaxis is False


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.502, 1.0, [0.6, 0.7, 0.8, 0.9, 1.0]),
        (0.11, 0.8, [0.2, 0.4, 0.6, 0.8]),
        (-3.0, 7.0, [-2.0, 0.0, 2.0, 4.0, 6.0]),
        (5.0, 5.0, [5.0]),
        (12.0, 9_000.0, [2_000.0, 4_000.0, 6_000.0, 8_000.0]),
    ],
)
def test_ticks_are_round_numbers_equally_far_apart(low: float, high: float, ticks: list[float]) -> None:
    assert round_numbers(low, high) == pytest.approx(ticks)


def test_numbers_stand_where_they_are_between_parallel_axes() -> None:
    """Six depths as six choices would look equally far apart."""
    depth = pd.Series([0.502, 0.509, 0.512, 0.548, 0.627, 1.0], name="origin.cut.depth")
    frame = pd.DataFrame({"origin.cut.depth": depth, "bits": [1.0, 2.0, 3.0, 4.0, 8.0, 8.0]})
    figure = figures.parallel_figure(frame, pd.Series([0.9] * 5 + [0.8]), quality_axis(ACCURACY))
    by_label = {dimension.label: dimension for dimension in figure.data[0].dimensions}
    cut = by_label["depth<br>(cut)"]
    assert list(cut["values"]) == pytest.approx(depth.round(4).tolist())
    assert [float(text) for text in cut.ticktext] == pytest.approx(list(cut.tickvals))
    assert list(by_label["bits"].ticktext) == ["1", "2", "3", "4", "8"], "few whole numbers are choices"
