"""Figures of trial, progress, parameters and comparison: what they compute, without a browser."""

import math

import numpy as np
import pandas as pd
import pytest

from dashboards import figures
from dashboards.axes import SIZE, quality_axis
from dashboards.figures.parameters import contour_data, parameter_label
from dashboards.figures.progress import corner_of
from dashboards.pages.compare import _at_size, _tables
from dashboards.table import arranged, columns_of, page_of, to_csv
from search.objectives.front import size_loss_hypervolume
from tests.dashboards.frames import ACCURACY, bleu_sweep, sweep, trials

START = pd.Timestamp("2026-01-02 03:04", tz="UTC")


def ended(*rows: dict) -> pd.DataFrame:
    """Trials that ended a minute apart."""
    return trials(*({"end_time": START + pd.Timedelta(minutes=i + 1), **row} for i, row in enumerate(rows)))


def test_hypervolume_grows_with_the_front_only() -> None:
    frame = ended(
        {"packed_bytes": 4_000, "validation_accuracy": 0.9},
        {"packed_bytes": 8_000, "validation_accuracy": 0.8},
        {"packed_bytes": 1_000, "validation_accuracy": 0.99, "state": "pruned"},
        {"packed_bytes": 1_000, "validation_accuracy": 0.5},
        {"state": "running", "end_time": pd.NaT},
    )
    data = figures.progress_data(frame, sweep())
    assert data["trial"].tolist() == [1, 2, 3, 4]
    assert data["minutes"].tolist() == pytest.approx([1, 2, 3, 4])
    assert data["improved"].tolist() == [True, False, False, True]
    expected = size_loss_hypervolume(
        [4_000, 1_000], [0.9, 0.5], ACCURACY, reference_bytes=400_000, teacher_value=0.98
    )
    assert data["hypervolume"].iloc[-1] == pytest.approx(expected)
    assert figures.progress_data(trials(), sweep()).empty
    assert corner_of(frame, sweep(metrics={})).size == 8_000
    for against in ("trials", "time"):
        assert figures.progress_figure(data, against).layout.xaxis.title.text
    with pytest.raises(ValueError, match="against must be one of"):
        figures.progress_figure(data, "size")


def test_students_trained_together_are_one_trial() -> None:
    frame = ended(
        {"packed_bytes": 4_000, "validation_accuracy": 0.9, "trial_id": "00000"},
        {"packed_bytes": 2_000, "validation_accuracy": 0.9, "trial_id": "00000.2", "trained_with": "00000"},
        {"packed_bytes": 1_000, "validation_accuracy": 0.8, "trial_id": "00001"},
    )
    data = figures.progress_data(frame, sweep())
    assert data["trial"].tolist() == [1, 2] and data["improved"].tolist() == [True, True]
    both = size_loss_hypervolume([2_000], [0.9], ACCURACY, reference_bytes=400_000, teacher_value=0.98)
    assert data["hypervolume"][0] == pytest.approx(both), "its peer's student counts"
    sides = [figures.Side("all", sweep(), frame), figures.Side("one", sweep(), frame.iloc[2:])]
    assert figures.compare(sides).counts == (1, 1) and len(figures.compare(sides).points) == 3
    assert figures.compare(sides, every=True).counts == (2, 1)


def test_states_and_what_is_to_come() -> None:
    counts = figures.states_data(trials({}, {"state": "failed"}, {"state": "pruned"}, {}))
    assert counts.to_dict() == {"finished": 2, "pruned": 1, "failed": 1}
    figure = figures.states_figure(counts, 10)
    assert figure.layout.xaxis.range == (0, 10), "the bar is as wide as its place"
    names = [bar.name for bar in figure.data]
    assert names == ["2 finished", "1 ended early", "1 failed", "6 to come"]


def test_time_left_follows_the_pace() -> None:
    running = sweep(state="running", params={"trials": "10"})
    frame = ended({}, {}, {}, {})
    now = START + pd.Timedelta(minutes=4)
    assert figures.seconds_left(frame, running, now) == pytest.approx(6 * 60)
    assert figures.seconds_left(frame, running, now + pd.Timedelta(seconds=30)) == pytest.approx(5.5 * 60)
    for frame_, of in ((frame, sweep()), (frame.iloc[:1], running), (frame, sweep(state="running"))):
        assert math.isnan(figures.seconds_left(frame_, of, now))
    # Where trainings are counted, two of eight were done in four minutes.
    counted = sweep(state="running", params={"trials": "80", "trainings": "8"})
    parts = frame.assign(trained=[1.0, 0.5, 0.25, 0.25], start_time=START)
    assert figures.seconds_left(parts, counted, now) == pytest.approx(12 * 60)
    assert math.isnan(figures.seconds_left(parts.assign(trained=0.0), counted, now))


def test_two_sweeps_are_compared_after_equally_many_trials() -> None:
    left = ended(
        {"packed_bytes": 4_000, "validation_accuracy": 0.9},
        {"packed_bytes": 2_000, "validation_accuracy": 0.7},
    )
    right = ended(
        {"packed_bytes": 3_000, "validation_accuracy": 0.8},
        {"packed_bytes": 9_000, "validation_accuracy": 0.95},
        {"packed_bytes": 100, "validation_accuracy": 0.99},
    )
    found = figures.compare([figures.Side("a", sweep(), left), figures.Side("b", sweep(), right)])
    assert found.budget == 2
    assert found.points["x"].tolist() == [4.0, 2.0, 3.0, 9.0], "the third of the longer one is not counted"
    assert list(found.sizes.loc[5.0]) == pytest.approx([90, 80])
    assert math.isnan(found.sizes["b"].loc[2.0])
    assert found.qualities.iloc[0].tolist()[1] == 9.0 and math.isnan(found.qualities.iloc[0].tolist()[0])
    assert [trace.name for trace in figures.growth_figure(found).data] == ["a", "b"]
    nothing = figures.compare([figures.Side("a", sweep(), trials()), figures.Side("b", sweep(), right)])
    assert nothing.budget == 0 and nothing.points.empty
    assert (
        figures.fronts_figure(nothing).layout.annotations
        and figures.growth_figure(nothing).layout.annotations
    )
    with pytest.raises(ValueError, match="of one metric"):
        figures.compare([figures.Side("a", sweep(), left), figures.Side("b", bleu_sweep(), left)])
    with pytest.raises(ValueError, match="at least two"):
        figures.compare([figures.Side("a", sweep(), left)])


def test_one_trial_of_each_is_a_mark_and_a_table_without_rows_says_why() -> None:
    def compared(*rows: dict) -> figures.Comparison:
        return figures.compare([figures.Side(f"side {i}", sweep(), ended(row)) for i, row in enumerate(rows)])

    alike = compared({"packed_bytes": 1_010}, {"packed_bytes": 1_011})
    assert [trace.mode for trace in figures.growth_figure(alike).data] == ["markers", "markers"]
    assert alike.sizes.empty and "about one size" in str(_tables(alike))
    beyond = compared({"feasible": False}, {"feasible": False})
    assert str(_tables(beyond)).count("No finished student of either is within the limits.") == 2
    assert [_at_size(ratio) for ratio in (0.999, 0.5)] == ["at the same size", "at 0.5 times the size"]


def test_every_choice_of_a_parameter_is_named() -> None:
    frame = trials({"method": "full_precision"}, {"method": "quantized_distillation"})
    values = pd.Series([90.0, 91.0])
    figure = figures.slice_figure(frame["method"], values, quality_axis(ACCURACY), frame["front"])
    assert figure.layout.xaxis.ticktext == ("full precision", "quantized distillation")
    assert figure.layout.xaxis.ticklabeloverflow == "allow", "else Plotly leaves out a long last one"


def test_the_smallest_tensors_share_a_bar() -> None:
    tensors = pd.DataFrame(
        {
            "name": [f"t{i}" for i in range(6)],
            "bytes": [1.0, 50.0, 3.0, 20.0, 5.0, 21.0],
            "entropy_bytes": [1.0] * 6,
            "bits": [4.0] * 6,
            "sparsity": [0.5] * 6,
            "share": [0.01, 0.5, 0.03, 0.2, 0.05, 0.21],
        }
    )
    rows = figures.bytes_data(tensors, most=4)
    assert rows["name"].tolist() == ["t1", "t5", "t3", "3 others"]
    assert rows["bytes"].sum() == 100 and rows["share"].sum() == pytest.approx(1)
    assert len(figures.bytes_data(tensors)) == 6


def test_curves_are_in_points_and_know_the_teacher() -> None:
    history = pd.DataFrame(
        {"validation_accuracy": [0.5, np.nan, 0.9], "loss": [1.0, 0.5, np.nan]}, index=[1, 2, 3]
    )
    figure = figures.curves_figure(history, ACCURACY, teacher=0.98)
    assert list(figure.data[0].x) == [1, 3] and list(figure.data[0].y) == [50, 90]
    assert list(figure.data[1].x) == [1, 2]
    assert figure.layout.shapes[0].y0 == 98
    assert figure.layout.annotations[-1].yanchor == "bottom", "above the line, as the curve ends below it"
    better = figures.curves_figure(history, ACCURACY, teacher=0.88)
    assert better.layout.annotations[-1].yanchor == "top"
    assert figures.curves_figure(pd.DataFrame(), ACCURACY).layout.annotations


def test_cells_hold_the_best_that_was_tried_there() -> None:
    index = ["a", "b", "c", "d"]
    first = pd.Series([2.0, 2.0, 4.0, np.nan], index=index, name="bits")
    second = pd.Series(["x", "x", "y", "y"], index=index, name="kind", dtype="string")
    values = pd.Series([1.0, 3.0, 2.0, np.nan], index=index)
    columns, rows, grid = contour_data(first, second, values, up=True)
    assert (columns, rows) == (["2", "4"], ["x", "y"])
    assert grid[0, 0] == 3 and grid[1, 1] == 2 and math.isnan(grid[0, 1]) and math.isnan(grid[1, 0])
    assert contour_data(first, second, values, up=False)[2][0, 0] == 1


def test_every_kind_of_parameter_can_be_drawn() -> None:
    random = np.random.default_rng(0)
    index = [f"r{i}" for i in range(40)]
    values = pd.Series(random.uniform(1, 50, 40), index=index)
    frame = pd.DataFrame(
        {
            "rate": 10 ** random.uniform(-4, -1, 40),
            "linear": random.uniform(0, 1, 40),
            "often": np.where(random.random(40) < 0.5, random.uniform(0, 1, 40), np.nan),
            "few": random.choice([1.0, 2.0], 40),
            "text": pd.Series(random.choice(["None", "64", "256"], 40), dtype="string", index=index).values,
        },
        index=index,
    )
    front = values > 40
    for axis in (SIZE, quality_axis(ACCURACY)):
        assert len(figures.parallel_figure(frame, values, axis).data[0].dimensions) == 6
        for name in frame:
            assert figures.slice_figure(frame[name], values, axis, front).data
            assert figures.contour_figure(frame[name], frame["few"], values, axis).data
    ticks = figures.slice_figure(frame["text"], values, SIZE, front).layout.xaxis.ticktext
    assert list(ticks) == ["64", "256", "None"], "numbers by size"


@pytest.mark.parametrize(
    "name, label",
    [
        ("method", "method"),
        ("quantizer.bits", "bits (quantizer)"),
        ("phases.0.optimizer.learning_rate", "learning rate (phase 1)"),
        ("losses.0.temperature.value", "temperature (losses)"),
    ],
)
def test_parameters_have_names_to_read(name: str, label: str) -> None:
    assert parameter_label(name) == label
    assert figures.labels_of(["a.0.x", "a.1.x", "b.y"]) == {
        "a.0.x": "a.0.x",
        "a.1.x": "a.1.x",
        "b.y": "y (b)",
    }


def test_a_table_is_sorted_paged_and_saved() -> None:
    frame = trials(*({"packed_bytes": size} for size in (3, None, 1, 2)), {"packed_bytes": 5, "name": "=1+1"})
    assert arranged(frame, "packed_bytes", False)["packed_bytes"].tolist()[:4] == [1, 2, 3, 5]
    assert arranged(frame, "packed_bytes", True)["packed_bytes"].tolist()[:4] == [5, 3, 2, 1]
    assert arranged(frame, "no column", True) is frame
    rows, page, pages = page_of(pd.concat([frame] * 6), 7)
    assert (len(rows), page, pages) == (5, 1, 2)
    assert page_of(frame.iloc[:0], -1)[1:] == (0, 1)
    saved = to_csv(frame).splitlines()
    assert len(saved) == 6 and ",'=1+1," in saved[5] and "2026-01-02T03:04:00+00:00" in saved[1]
    assert all(column.key in frame for column in columns_of(ACCURACY))


def test_ranges_of_cells_begin_and_end_where_the_values_do() -> None:
    column = pd.Series(np.geomspace(0.0005, 0.01, 40), name="rate")
    names, _, _ = contour_data(column, column, column, up=True)
    ends = [name.split("\N{EN DASH}") for name in names]
    assert float(ends[0][0]) == 0.0005 and float(ends[-1][1]) == 0.01
    assert [end for _, end in ends[:-1]] == [start for start, _ in ends[1:]]
