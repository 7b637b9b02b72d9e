"""What is noted of a search's hopes is what the table and brute force say."""

import pytest

from benchmarks.calibration import Moment, Told, line_of, watch
from benchmarks.grids import DIGITS
from benchmarks.recorded_table import load_table
from benchmarks.search_efficiency import Simulation


@pytest.fixture(scope="module")
def moments():
    return watch(Simulation.of_grid(load_table(DIGITS.path), DIGITS, 100, until=0.06), 0)


def test_a_search_is_watched_until_it_is_left(moments):
    assert len(moments) > 15  # else there is little to look at
    table = load_table(DIGITS.path)
    longest = table.seconds.sum(1).max() + 0.05
    for moment in moments:
        assert 0 < moment.share < 1
        for told in (moment.own, moment.rival):
            assert told.gain >= 0 and told.came >= 0 and told.left > 0
            assert 0 < told.took <= longest


def test_a_trial_ends_where_what_could_run_in_its_place_promises_more_per_second():
    told = lambda gain, left: Told(0.0, gain, 0.0, left, 1.0)  # noqa: E731
    assert Moment(0.5, told(1.0, 2.0), told(1.6, 2.0)).ends(1.5)
    assert not Moment(0.5, told(1.0, 2.0), told(1.4, 2.0)).ends(1.5)


def test_a_row_tells_means_and_the_spread():
    own, rival = Told(1.0, 0.5, 0.25, 2.0, 4.0), Told(-1.0, 2.0, 1.0, 8.0, 5.0)
    row = line_of("all", [Moment(0.5, own, rival), Moment(0.5, Told(3.0, 0.5, 0.25, 2.0, 4.0), rival)])
    assert row.split()[:6] == ["all", "2", "+2.00", "±", "1.00", "0.500"]
    assert row.split()[6:] == ["0.250", "0.062", "-1.00", "±", "0.00", "2.000", "1.000", "0.200"]
