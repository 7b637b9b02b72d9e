import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from search.objectives.front import (
    POINT,
    at_closeness,
    closeness,
    front_so_far,
    hypervolume,
    non_dominated,
    size_loss_hypervolume,
    size_quality_hypervolume,
)
from trainables.metrics import QUALITIES, Quality, own_quality

# A small grid brings ties and duplicates; NaN and infinity stand for what was not measured.
CELLS = st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan, math.inf, -math.inf])


@st.composite
def tables(
    draw: st.DrawFn, cells: st.SearchStrategy[float] = CELLS, most: int = 12
) -> tuple[np.ndarray, tuple[bool, ...]]:
    columns = draw(st.integers(1, 4))
    rows = draw(st.integers(0, most))
    table = draw(arrays(float, (rows, columns), elements=cells))
    return table, tuple(draw(st.lists(st.booleans(), min_size=columns, max_size=columns)))


def dominated_by_definition(table: np.ndarray, maximise: tuple[bool, ...], i: int) -> bool:
    def better_or_equal(a: float, b: float, up: bool) -> bool:
        return a >= b if up else a <= b

    for j in range(len(table)):
        if j == i or not np.isfinite(table[j]).all():
            continue
        if all(map(better_or_equal, table[j], table[i], maximise)) and (
            not np.array_equal(table[j], table[i]) or j < i
        ):
            return True
    return False


@given(tables())
def test_non_dominated_is_the_definition(case: tuple[np.ndarray, tuple[bool, ...]]) -> None:
    table, maximise = case
    expected = [
        bool(np.isfinite(row).all()) and not dominated_by_definition(table, maximise, i)
        for i, row in enumerate(table)
    ]
    assert non_dominated(table, maximise).tolist() == expected


@given(tables(st.sampled_from([0.0, 1.0, 2.0, 3.0]), most=8))
def test_hypervolume_counts_the_unit_cells_it_covers(case: tuple[np.ndarray, tuple[bool, ...]]) -> None:
    table, maximise = case
    reference = [-1.0 if up else 4.0 for up in maximise]
    losses = np.where(maximise, -table, table)
    corner = np.where(maximise, 1.0, 4.0)
    lowest = np.where(maximise, -3, 0)
    cells = itertools.product(*(range(int(a), int(b)) for a, b in zip(lowest, corner, strict=True)))
    covered = sum(any((row <= np.array(cell)).all() for row in losses) for cell in cells)
    assert hypervolume(table, reference, maximise) == pytest.approx(covered)


@given(tables(st.sampled_from([0.0, 1.0, 2.0, 3.0]), most=8))
def test_the_front_has_the_volume_of_all(case: tuple[np.ndarray, tuple[bool, ...]]) -> None:
    table, maximise = case
    reference = [-1.0 if up else 4.0 for up in maximise]
    front = table[non_dominated(table, maximise)]
    assert hypervolume(front, reference, maximise) == pytest.approx(hypervolume(table, reference, maximise))


def test_points_not_better_than_the_reference_and_unmeasured_ones_add_nothing() -> None:
    values = [[1.0, 1.0], [5.0, 0.0], [math.nan, 0.0], [-math.inf, 0.0]]
    assert hypervolume(values, (2.0, 2.0), (False, False)) == pytest.approx(1.0)


RANGED = [quality for quality in QUALITIES if quality.ranged]


@pytest.mark.parametrize("quality", RANGED, ids=lambda quality: quality.name)
def test_halving_the_bytes_at_full_quality_is_one_unit_of_every_quality(quality: Quality) -> None:
    def volume(sizes: list[float], shares: list[float], guessing: float = 0.0) -> float:
        low, high = quality.lowest, quality.highest
        values = [low + share * (high - low) for share in shares]
        reference = low + guessing * (high - low)
        return size_quality_hypervolume(
            sizes, values, quality, reference_bytes=1024, reference_value=reference
        )

    assert volume([512], [1.0]) == pytest.approx(1.0)
    assert volume([256], [1.0]) == pytest.approx(2.0)
    assert volume([256, 512], [0.5, 1.0]) == pytest.approx(1.5)
    assert volume([512], [1.0], guessing=0.1) == pytest.approx(0.9)
    assert volume([0.0, math.nan], [1.0, 1.0]) == 0.0


@pytest.mark.parametrize("goal", ["up", "down"])
def test_halving_the_bytes_at_the_teacher_s_value_is_one_unit_of_a_quality_without_an_end(goal: str) -> None:
    sign = 1.0 if goal == "down" else -1.0

    def volume(sizes: list[float], errors: list[float]) -> float:
        values = [sign * error for error in errors]
        return size_quality_hypervolume(
            sizes, values, own_quality("error", goal), reference_bytes=1024, teacher_value=sign * 0.02
        )

    assert volume([512], [0.02]) == pytest.approx(1.0)
    assert volume([256], [0.02]) == pytest.approx(2.0)
    assert volume([512], [0.04]) == pytest.approx(0.5), "twice the teacher's error"
    assert volume([512], [0.2]) == pytest.approx(0.1), "and however large, it counts something"
    assert volume([512], [0.0]) == pytest.approx(1.5)
    assert volume([256, 512], [0.04, 0.02]) == pytest.approx(1.5)
    assert volume([256, 512], [0.02, math.nan]) == pytest.approx(2.0)


def test_a_quality_without_a_full_range_has_no_volume_without_a_teacher() -> None:
    perplexity = QUALITIES[1].beside[1]
    with pytest.raises(ValueError, match="as perplexity, got teacher_value=nan"):
        size_quality_hypervolume([1.0], [2.0], perplexity, reference_bytes=2)


@pytest.mark.parametrize(
    ("values", "maximise"), [([[1.0, 2.0]], (True,)), ([1.0, 2.0], (True, False)), ([[1.0]], ())]
)
def test_shapes_that_do_not_fit_are_refused(values: list, maximise: tuple[bool, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        non_dominated(values, maximise)


def test_references_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="nan"):
        hypervolume([[1.0, 1.0]], (math.nan, 1.0), (True, True))
    with pytest.raises(ValueError, match="reference_bytes=0"):
        size_quality_hypervolume([1.0], [1.0], QUALITIES[0], reference_bytes=0, reference_value=0.0)


def test_only_finished_trials_are_on_the_front_so_far() -> None:
    trials = pd.DataFrame(
        {
            "state": ["running", "finished", "failed", pd.NA, "finished", "finished"],
            "validation_bleu": [0.9, 0.8, 0.9, 0.9, 0.7, math.nan],
            "packed_bytes": [1, 10, 1, 1, 20, 1],
            "feasible": True,
        },
        index=[5, 4, 3, 2, 1, 0],
    ).astype({"state": "string", "packed_bytes": "Int64"})
    front = front_so_far(trials, QUALITIES[1], ["packed_bytes"])
    assert front.dtype == bool
    assert front.index[front].tolist() == [4]
    trials.loc[4, "feasible"] = False
    front = front_so_far(trials, QUALITIES[1], ["packed_bytes"])
    assert front.index[front].tolist() == [1]


def test_closeness_counts_halvings_of_what_is_lost():
    assert closeness(0.0, 0.97) == 0
    assert closeness([0.97, 1.0], 0.97) == pytest.approx(
        [math.log2(98)] * 2
    )  # better than the best is the best
    lost = np.array([0.4, 0.2, 0.1])
    counts = closeness(
        0.97 - lost - POINT, 0.97
    )  # 40, 20 and 10 points beside the one that is hardly measured
    assert np.diff(closeness(0.97 - (2 * lost - POINT), 0.97)) == pytest.approx([1, 1])
    assert (np.diff(counts) > 0).all()
    worths = np.linspace(0, 0.97, 9)
    assert at_closeness(closeness(worths, 0.97), 0.97) == pytest.approx(worths)


@pytest.mark.parametrize("quality", RANGED, ids=lambda quality: quality.name)
def test_half_the_bytes_at_half_the_loss_is_one_unit_more(quality: Quality) -> None:
    """Against the area of rectangles, with losses beside the one point that is hardly measured."""

    def at(share: float) -> float:
        return quality.lowest + share * (quality.highest - quality.lowest)

    def volume(sizes: list[float], shares: list[float]) -> float:
        values = [at(share) for share in shares]
        return size_loss_hypervolume(
            sizes, values, quality, reference_bytes=1024, teacher_value=at(0.9), reference_value=at(0.1)
        )

    losing = {lost: 0.9 - lost * 0.81 + POINT for lost in (1 / 2, 1 / 4, 1 / 8)}  # of 0.81, that of guessing
    assert volume([512], [losing[1 / 2]]) == pytest.approx(1.0)
    assert volume([256], [losing[1 / 4]]) == pytest.approx(4.0)
    assert volume([256, 512], [losing[1 / 4], losing[1 / 8]]) == pytest.approx(2 * 2 + 1)
    assert volume([512], [0.95]) == volume([512], [0.9]), "better than the teacher counts as the teacher"
    assert volume([512, 1024, 0.0], [0.1, 0.9, 0.9]) == 0.0


def test_losses_are_counted_from_a_teacher_that_was_measured() -> None:
    for quality, teacher in ((QUALITIES[0], 0.0), (own_quality("error", "down"), 0.0)):
        told = {"reference_bytes": 1024, "teacher_value": teacher}
        assert math.isfinite(size_loss_hypervolume([512], [0.5], quality, **told))
    with pytest.raises(
        ValueError, match=r"teacher_value must be finite since losses .* got teacher_value=nan"
    ):
        size_loss_hypervolume([1.0], [1.0], QUALITIES[0], reference_bytes=2, teacher_value=math.nan)
    with pytest.raises(ValueError, match="reference_bytes=0"):
        size_loss_hypervolume([1.0], [1.0], QUALITIES[0], reference_bytes=0, teacher_value=1.0)
