"""Who ends early: ranks against brute force, what never may happen, equal decisions on equal reports."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.stopping.halving import ParetoHalving, Rules, layers, places, spread

coordinate = st.integers(0, 6).map(float)
tables = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.tuples(*[coordinate] * width), min_size=1, max_size=24)
)


def dominates(one, other):
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def peeled(rows):
    """Fronts by the definition: take away what nothing dominates, again and again."""
    left, found, number = set(range(len(rows))), {}, 0
    while left:
        front = {i for i in left if not any(dominates(rows[j], rows[i]) for j in left)}
        found |= dict.fromkeys(front, number)
        left -= front
        number += 1
    return [found[i] for i in range(len(rows))]


@given(tables)
def test_fronts_are_those_of_the_definition(rows):
    assert layers(rows).tolist() == peeled(rows)


@given(tables)
def test_places_are_a_permutation_front_by_front(rows):
    found = places(rows)
    assert sorted(found) == list(range(len(rows)))
    fronts = peeled(rows)
    order = np.argsort(found).tolist()
    assert [fronts[row] for row in order] == sorted(fronts)
    for front in set(fronts):  # on its own, each is spread
        own = [row for row in range(len(rows)) if fronts[row] == front]
        assert [row for row in order if fronts[row] == front] == [
            own[k] for k in spread([rows[k] for k in own])
        ]


@given(tables)
def test_a_spread_takes_the_farthest_row_each_time(rows):
    table = np.array(rows)
    span = np.where(np.ptp(table, axis=0) > 0, np.ptp(table, axis=0), 1.0)
    order = spread(rows)
    assert sorted(order) == list(range(len(rows)))
    assert table[order[0], 0] == table[:, 0].min()
    for step in range(1, len(order)):

        def gap(row, before=tuple(order[:step])):
            return min(np.linalg.norm((table[row] - table[other]) / span) for other in before)

        assert gap(order[step]) == pytest.approx(max(gap(row) for row in order[step:]))


def test_a_spread_begins_with_the_best_and_then_the_far_end():
    assert spread([(0.0, 10.0), (0.1, 9.0), (5.0, 4.0), (9.0, 0.0)]) == [0, 3, 2, 1]


def test_rungs():
    assert Rules(reduction=3, grace=1).rungs(35) == (1, 3, 9, 27)
    assert Rules(reduction=3, grace=4).rungs(12) == (4,)
    assert Rules(reduction=1.5, grace=1).rungs(5) == (1, 2, 3, 4)
    assert Rules(reduction=2, grace=2).rungs(2) == ()


@pytest.mark.parametrize("wrong", [{"reduction": 1.0}, {"grace": 0}, {"chance": 1.0}, {"chance": -0.1}])
def test_rules_out_of_range_are_refused_with_their_value(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        Rules(**wrong)


losses = st.tuples(st.integers(0, 10).map(float), st.integers(0, 10).map(float))


@given(st.lists(losses, min_size=1, max_size=30), st.sampled_from([1.5, 2.0, 3.0, 10.0]))
def test_at_a_rung_whoever_nobody_dominates_goes_on(reports, reduction):
    halving = ParetoHalving(Rules(reduction=reduction, grace=1, chance=0.0))
    for number, shown in enumerate(reports):
        reason = halving.report(str(number), 1, shown, epochs=4)
        if not any(dominates(other, shown) for other in reports[: number + 1]):
            assert reason == ""


@given(st.lists(losses, min_size=1, max_size=30), st.integers(0, 3), st.integers(0, 3))
def test_who_is_nowhere_worse_is_on_no_worse_a_front(reports, gain, saving):
    *others, own = reports
    better = (own[0] - gain, own[1] - saving)
    assert layers([*others, better])[-1] <= layers([*others, own])[-1]


@given(st.lists(losses, min_size=1, max_size=12), st.sampled_from([0.0, 0.2, 0.6]), st.integers(1, 4))
def test_equal_reports_give_equal_decisions(reports, chance, grace):
    def decide():
        halving = ParetoHalving(Rules(reduction=2, grace=grace, chance=chance))
        return [
            halving.report(str(number), epoch, shown, epochs=4)
            for epoch in range(5)
            for number, shown in enumerate(reports)
        ]

    assert decide() == decide()


def test_one_in_so_many_goes_on():
    """A line of students each of which dominates the next: rank is all there is."""
    halving = ParetoHalving(Rules(reduction=3, grace=1, chance=0.0))
    for number in range(30):
        halving.report(str(number), 1, (float(number), float(number)), epochs=9)
    for place in (0.5, 8.5, 10.5, 20.5):
        reason = halving.report("new", 1, (place, place), epochs=9)
        assert (reason == "") == (math.ceil(place) < 31 / 3)
        if reason:
            assert reason.startswith(f"after epoch 1, it is number {math.ceil(place) + 1} of 31 students")


def test_between_rungs_rank_ends_nobody():
    halving = ParetoHalving(Rules(reduction=2, grace=2, chance=0.0))
    for epoch, ends in ((0, False), (1, False), (2, True), (3, False), (4, True), (5, False)):
        halving.report("good", epoch, (0.1, 5.0), epochs=6)
        assert bool(halving.report("bad", epoch, (0.2, 6.0), epochs=6)) == ends


def finished(halving, number, size, *errors):
    for epoch, error in enumerate(errors):
        halving.report(f"f{number}", epoch, (error, size), epochs=len(errors) - 1)


def test_a_size_at_which_nobody_was_better_ends_a_trial_before_it_trains():
    halving = ParetoHalving(Rules(chance=0.1))
    finished(halving, 0, 10.0, 0.9, 0.01)
    for number in range(1, 9):
        finished(halving, number, 12.0, 0.9, 0.02)
    assert halving.report("early", 0, (0.9, 11.0), epochs=9) == ""  # 8 larger: a chance of 1 in 10
    finished(halving, 9, 13.0, 0.9, 0.01)  # as good is not better
    reason = halving.report("late", 0, (0.9, 11.0), epochs=9)
    assert "9 %" in reason and "none of 9 students" in reason
    assert halving.report("small", 0, (0.9, 9.0), epochs=9) == ""  # nobody as small has finished
    finished(halving, 10, 14.0, 0.9, 0.005)  # somebody was lucky: 2 in 12
    assert halving.report("again", 0, (0.9, 11.0), epochs=9) == ""


def test_who_would_have_to_improve_as_nobody_did_ends():
    halving = ParetoHalving(Rules(grace=9, chance=0.2))
    for number in range(5):
        finished(halving, number, 10.0, 0.9, 0.04, 0.02)  # halves its error after epoch 1
    for error, goes_on in ((0.03, True), (0.039, True), (0.04, False), (0.3, False)):
        reason = halving.report("own", 1, (error, 10.0), epochs=2)
        assert (reason == "") == goes_on, (error, reason)
        if not goes_on:
            assert "after epoch 1" in reason and "none of 5 finished" in reason and "14 %" in reason
    assert halving.report("small", 1, (0.3, 9.9), epochs=2) == ""  # on the front already


def test_perfection_is_neither_divided_by_nor_beaten():
    halving = ParetoHalving(Rules(grace=9, chance=0.4))
    for number in range(3):
        finished(halving, number, 10.0, 0.9, 0.0, 0.0)
    assert halving.report("own", 1, (0.0, 10.0), epochs=2) != ""  # as good is not better
    fresh = ParetoHalving(Rules(grace=9, chance=0.4))
    for number in range(3):
        finished(fresh, number, 10.0, 0.9, 0.0, 0.1)  # lost what it had
    assert fresh.report("own", 1, (0.05, 10.0), epochs=2) != ""
    assert fresh.report("perfect", 1, (0.0, 10.0), epochs=2) == ""


@given(st.lists(st.tuples(losses, losses), max_size=30), losses)
def test_a_student_smaller_than_all_is_always_trained(pairs, own):
    halving = ParetoHalving(Rules(chance=0.5))
    for number, (first, last) in enumerate(pairs):
        halving.report(str(number), 0, first, epochs=1)
        halving.report(str(number), 1, last, epochs=1)
    least = min((last[1] for _, last in pairs), default=0.0)
    assert halving.report("own", 0, (own[0], least - 0.5), epochs=9) == ""


def test_coding_may_gain_what_it_gained_before():
    halving = ParetoHalving(Rules(chance=0.3))
    for number in range(9):
        halving.report(str(number), 0, (0.9, 12.0), epochs=1)
        halving.report(str(number), 1, (0.1, 11.0), epochs=1)
    # It may shrink below all that finished, where nobody has been.
    assert halving.report("near", 0, (0.9, 11.9), epochs=9) == ""
    assert halving.report("far", 0, (0.9, 12.0), epochs=9) != ""


@pytest.mark.parametrize("wrong", [(math.nan, 1.0), (0.5, math.inf), (-0.1, 1.0)])
def test_what_is_no_loss_is_refused(wrong):
    with pytest.raises(ValueError, match="losses must be finite and the first at least 0"):
        ParetoHalving(Rules()).report("a", 1, wrong, epochs=3)


def a_line(halving, names, epoch=1):
    """Students each of which dominates those with a larger number; those that are ended are let go."""
    for name in names:
        if halving.report(name, epoch, (float(name), float(name)), epochs=4):
            halving.stop(name)


def test_who_was_ended_too_early_is_taken_up_once_others_fall_behind():
    halving = ParetoHalving(Rules(reduction=2, grace=1, chance=0.0, revive=True))
    a_line(halving, ["1", "3", "2"])
    assert halving.promising() is None  # 3 was number 2 of 2 and is number 3 of 3
    a_line(halving, ["8"])
    assert halving.promising() is None
    a_line(halving, ["9"])
    assert halving.promising() == "3"
    halving.take_up("3", "new")
    halving.take_up("3", "new")
    assert halving.promising() is None  # 8 is number 4 of 5, and not of 6
    a_line(halving, ["10", "11"])
    assert halving.promising() == "8"
    assert halving.report("new", 1, (3.0, 3.0), epochs=4) == ""  # where it stands: that has been judged
    for name, loss in (("1", 1.0), ("new", 3.0)):
        reason = halving.report(name, 2, (loss, loss), epochs=4)
    assert reason.startswith("after epoch 2, it is number 2 of 2")
    halving.stop("new")
    assert halving.promising() == "8"  # what came farthest is asked about first, but is still dominated


def test_without_the_rule_nobody_is_taken_up():
    halving = ParetoHalving(Rules(reduction=2, grace=1, chance=0.0))
    a_line(halving, ["1", "3", "2", "8", "9", "10", "11"])
    assert halving.promising() is None


def test_who_is_unknown_or_goes_on_is_not_taken_up():
    halving = ParetoHalving(Rules(revive=True))
    halving.stop("over budget")  # it never reported here
    halving.report("a", 0, (0.5, 5.0), epochs=4)
    assert halving.promising() is None
    halving.take_up("a", "b")
    assert halving.report("a", 1, (0.5, 5.0), epochs=4) == ""


@given(st.lists(losses, min_size=2, max_size=24), st.sampled_from([0.0, 0.3]), st.sampled_from([1.5, 3.0]))
def test_who_is_taken_up_would_not_be_ended_now_and_counts_once(reports, chance, reduction):
    """Against the rules themselves: the same reports, with that one's as the last."""

    def told(order):
        halving = ParetoHalving(Rules(reduction=reduction, grace=1, chance=chance, revive=True))
        for number in order:
            for epoch in (0, 1):
                if reason := halving.report(str(number), epoch, reports[number], epochs=3):
                    halving.stop(str(number))
                    break
            if not reason and number % 2:
                halving.report(str(number), 3, reports[number], epochs=3)
        return halving

    halving = told(range(len(reports)))
    found = halving.promising()
    if found is None:
        return
    halving.take_up(found, "new")
    (by_epoch,) = halving._shown.values()
    epoch = max(e for e, shown in by_epoch.items() if "new" in shown)
    assert all(found not in shown for shown in by_epoch.values())
    del halving._allowed["new"]  # judged again, as if it had not been
    assert halving.report("new", epoch, reports[int(found)], epochs=3) == ""


def test_rungs_of_fewer_epochs_are_after_the_same_shares():
    rules = Rules(reduction=2, grace=2, longest=20)
    assert rules.rungs(20) == (2, 4, 8, 16) == Rules(reduction=2, grace=2).rungs(20)
    assert rules.rungs(10) == (1, 2, 4, 8)
    assert rules.rungs(5) == (1, 2, 4)
    assert rules.rungs(1) == rules.rungs(0) == ()


def course(halving, name, epochs, start, end, size, upto=None):
    """A trial whose loss falls in a line over its training; the last reason."""
    reason = ""
    for epoch in range((epochs if upto is None else upto) + 1):
        loss = start + (end - start) * epoch / epochs
        reason = halving.report(name, epoch, (loss, size), epochs=epochs)
    return reason


@pytest.mark.parametrize("own", [3, 4, 6, 12, 24])
def test_trainings_of_different_lengths_are_compared_after_the_same_share(own):
    """Students of the same course over their trainings are told the same, however many epochs they have."""
    halving, told = ParetoHalving(Rules(grace=6, longest=24)), []
    others = [(24, 0.1), (12, 0.15), (8, 0.2), (24, 0.25), (5, 0.3), (6, 0.35)]
    for number, (epochs, end) in enumerate(others):
        course(halving, f"f{number}", epochs, 0.9, end, 10.0 + number)
    for name, end in (("good", 0.05), ("bad", 0.7)):
        told.append(course(halving, name, own, 0.9, end, 12.0, upto=math.ceil(own / 4)))
    assert told[0] == "" and told[1]
    if own > 3:  # a quarter of three epochs is none
        assert "about 12 %: none of 6 finished students" in told[1] or "number 7 of 8" in told[1]
    shown = halving._shown_by(math.ceil(own / 4), own)
    share = math.ceil(own / 4) / own
    for number, (_, end) in enumerate(others):
        assert shown[f"f{number}"] == pytest.approx((0.9 + (end - 0.9) * share, 10.0 + number))


def test_who_has_not_come_so_far_is_not_compared():
    halving = ParetoHalving(Rules(grace=1, longest=8))
    course(halving, "half", 4, 0.9, 0.1, 10.0, upto=2)
    halving.report("own", 5, (0.4, 10.0), epochs=8)
    assert set(halving._shown_by(5, 8)) == {"own"}  # half has not reported behind 5/8
    halving.report("half", 3, (0.3, 10.0), epochs=4)
    assert set(halving._shown_by(5, 8)) == {"own", "half"}


@given(st.lists(losses, min_size=1, max_size=12), st.sampled_from([0.0, 0.2, 0.6]), st.integers(1, 4))
def test_where_all_have_the_longest_training_nothing_is_decided_otherwise(reports, chance, grace):
    def decide(longest):
        halving = ParetoHalving(Rules(reduction=1.5, grace=grace, chance=chance, longest=longest))
        return [
            halving.report(str(number), epoch, shown, epochs=6)
            for epoch in range(7)
            for number, shown in enumerate(reports)
        ]

    assert decide(None) == decide(6)
