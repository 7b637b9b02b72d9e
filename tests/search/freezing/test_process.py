"""The process against dense algebra, scikit-learn and finite differences; gains against brute force."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import ndtri
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern

from search.objectives.front import hypervolume
from search.sampling.freezing.gain import Front, exclusive, expected_gains, scale, unscaled
from search.sampling.freezing.process import (
    CENTRE,
    KINSHIP,
    LARGE,
    LUCK,
    MOST,
    Kernel,
    Line,
    NotFitted,
    Posterior,
    Rows,
    Values,
    alike,
    fitted,
    loss,
    related,
)
from search.sampling.freezing.regression import Ridge

GROUPS = np.array([0, 1, 1, 2])
WHOLE = 20.0
LINE = Line(0.3, 0.3 + 0.8 / MOST, WHOLE)
"""On which students as large as the teacher end at 1.1."""


def large(points, moments, trials, kin, late):
    """Rows of students as large as the teacher."""
    return Rows(points, np.full(len(moments), WHOLE), moments, trials, kin, late)


def some_rows(count, seed=0, trials=5):
    random = np.random.default_rng(seed)
    own = random.integers(0, trials, count)
    points = np.random.default_rng(9).random((trials, len(GROUPS)))[own]
    kin = np.array([7, 7, -1, -1, 3])[own % 5]
    moments = random.integers(1, 9, count) / 8  # some are of two trials of one first phase
    sizes = np.random.default_rng(8).uniform(5, 21, trials)[own]
    return Rows(points, sizes, moments, own.astype(np.int64), kin, random.random(count) > 0.5)


def some_values(count, seed=1):
    random = np.random.default_rng(seed)
    return Values(0.9 + 0.2 * random.standard_normal(count), 0.02 * (random.random(count) > 0.7))


def expected(rows):
    """The line as numbers: from 0.3 to what the size allows, where it is from nine tenths on."""
    shares = [min(1.3 - 0.1 * (20 - size), 0.95) / 0.95 for size in rows.sizes]
    return np.array(
        [0.3 + 0.8 * share * min(m / 0.9, 1.0) for share, m in zip(shares, rows.moments, strict=True)]
    )


@pytest.mark.parametrize("line", [LINE, replace(LINE, whole=math.nan)], ids=["sized", "unsized"])
def test_the_gradient_is_that_of_finite_differences(line):
    rows, values = some_rows(14), some_values(14)
    kernel = Kernel.prior(GROUPS)
    random = np.random.default_rng(3)
    for _ in range(3):
        theta = kernel.theta + 0.4 * random.standard_normal(len(kernel.theta))
        at = replace(kernel, theta=theta)
        numeric = approx_fprime(theta, lambda t: loss(replace(kernel, theta=t), rows, values, line)[0], 1e-6)
        assert loss(at, rows, values, line)[1] == pytest.approx(numeric, rel=2e-4, abs=2e-4)


def test_the_posterior_is_that_of_a_dense_solve():
    rows, values, new = some_rows(20), some_values(20), some_rows(6, seed=5)
    kernel = Kernel.prior(GROUPS)
    alone = kernel.noises(rows) * (1 - LUCK * np.diag(alike(rows, rows)))
    covariance = kernel.between(rows, rows) + np.diag(alone + values.more)
    across = kernel.between(new, rows)
    left_over = values.qualities - expected(rows)
    means, deviations = Posterior(kernel, rows, values, LINE).predict(new)
    assert means == pytest.approx(expected(new) + across @ np.linalg.solve(covariance, left_over))
    own = np.diag(kernel.between(new, new)) + kernel.noises(new) * (1 - LUCK * np.diag(alike(new, new)))
    assert own == pytest.approx(kernel.variances(new) + kernel.noises(new))
    left = own - np.einsum("ij,ji->i", across, np.linalg.solve(covariance, across.T))
    assert deviations == pytest.approx(np.sqrt(left))


def test_at_one_moment_it_is_the_process_of_scikit_learn():
    count = 12
    points = np.random.default_rng(0).random((count, 4))
    rows = large(points, np.ones(count), np.arange(count), np.full(count, -1), np.zeros(count, dtype=bool))
    values = Values(some_values(count).qualities, np.zeros(count))
    kernel = Kernel.prior(np.zeros(4, dtype=np.int64))
    kernel = replace(kernel, theta=np.r_[kernel.theta[:-2], 0.0, LARGE])
    theirs = ConstantKernel(0.1) * Matern(0.8, nu=2.5) + ConstantKernel(0.1) * DotProduct(1.0)
    noise = np.full(count, kernel.noise + 0.01)  # the course of each trial is its own
    other = GaussianProcessRegressor(theirs, alpha=noise, optimizer=None)
    other.fit(points - CENTRE, values.qualities - 1.1)
    new = np.random.default_rng(1).random((5, 4))
    asked = large(new, np.ones(5), np.arange(100, 105), np.full(5, -1), np.zeros(5, dtype=bool))
    means, deviations = Posterior(kernel, rows, values, LINE).predict(asked)
    expected, spread = other.predict(new - CENTRE, return_std=True)
    assert means == pytest.approx(1.1 + expected, rel=1e-6)
    assert deviations == pytest.approx(np.sqrt(spread**2 + kernel.noise + 0.01), rel=1e-6)


def test_networks_that_are_the_same_but_for_rounding_share_their_luck():
    """Rows 0 and 1 are siblings at their ends, 2 trains on by itself after the phase, 3 is no kin."""
    points = np.full((4, 4), 0.5)
    kin, late = np.array([7, 7, 7, -1]), np.array([False, False, True, False])
    rows = large(points, np.ones(4), np.arange(4), kin, late)
    assert (alike(rows, rows) == np.pad(np.ones((2, 2), dtype=bool), (0, 2))).all()
    theta = Kernel.prior(GROUPS).theta
    kernel = replace(Kernel.prior(GROUPS), theta=np.r_[theta[:8], theta[8] + 3.0, theta[9], 0.0, LARGE])
    noisy = kernel.covariance(rows, Values(np.zeros(4), np.zeros(4)))
    quiet = replace(kernel, theta=np.r_[theta[:8], -50.0, theta[9], 0.0, LARGE])
    more = noisy - quiet.covariance(rows, Values(np.zeros(4), np.zeros(4)))
    assert more == pytest.approx(
        kernel.noise * np.array([[1, LUCK, 0, 0], [LUCK, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), abs=1e-5
    )
    lucky = Posterior(kernel, rows[np.array([0])], Values(np.array([1.5]), np.zeros(1)), LINE)
    means, deviations = lucky.predict(rows[np.array([1, 3])])
    assert means[0] > means[1], "a sibling of the lucky one is as lucky"
    assert deviations[0] < 0.6 * deviations[1], "and another draw of its bits is not another chance"


def test_what_nothing_is_known_of_is_on_the_line_and_early_reports_are_not_the_end():
    kernel = Kernel.prior(GROUPS)
    nothing = some_rows(0)
    ends = large(np.full((1, 4), 0.5), np.ones(1), np.array([99]), np.array([-1]), np.zeros(1, dtype=bool))
    means, _ = Posterior(kernel, nothing, some_values(0), LINE).predict(ends)
    assert means == pytest.approx([1.1])
    # Forty students that have learnt nothing yet, as is to be expected of them.
    early = large(
        np.random.default_rng(0).random((40, 4)),
        np.full(40, 0.2),
        np.arange(40),
        np.full(40, -1),
        np.zeros(40, dtype=bool),
    )
    means, deviations = Posterior(kernel, early, Values(LINE.at(early, LARGE), np.zeros(40)), LINE).predict(
        ends
    )
    assert means == pytest.approx([1.1])
    assert deviations[0] > 0.1


def test_small_files_are_expected_to_end_further_from_the_teacher():
    """Ends by halvings of the teacher's file: the first three cost nothing, each one after that a tenth."""
    halvings = np.array([-1.0, 0.0, 3.0, 5.0, 8.0, 13.0, 15.0])
    none = np.full(7, -1)
    rows = Rows(np.zeros((7, 4)), WHOLE - halvings, np.ones(7), np.arange(7), none, np.zeros(7, dtype=bool))
    shares = (LINE.at(rows, LARGE) - LINE.start) / (LINE.teacher - LINE.start)
    assert shares == pytest.approx([0.95, 0.95, 0.95, 0.8, 0.5, 0.0, -0.2])
    unsized = replace(LINE, whole=math.nan).at(rows, LARGE)
    assert unsized == pytest.approx(np.full(7, LINE.start + 0.8 * (LINE.teacher - LINE.start)))
    begun = replace(rows, moments=np.zeros(7))
    assert LINE.at(begun, LARGE) == pytest.approx(np.full(7, LINE.start))


@pytest.mark.parametrize("away", [-0.35, 0.0, 0.2])
def test_where_the_line_begins_is_learnt_from_what_was_seen(away):
    """Ends of forty students that are a share above or below the line, whatever their recipes are."""
    random = np.random.default_rng(2)
    sizes, none = random.uniform(WHOLE - 12, WHOLE - 6, 40), np.full(40, -1)
    flat = np.zeros(40, dtype=bool)
    rows = Rows(random.random((40, 4)), sizes, np.ones(40), np.arange(40), none, flat)
    rise = LINE.teacher - LINE.start
    luck = 0.05 * random.standard_normal(40)
    values = Values(LINE.start + rise * (LARGE + away - 0.1 * (WHOLE - sizes) + luck), np.zeros(40))
    found = fitted(Kernel.prior(GROUPS), rows, values, LINE)
    assert found.large - LARGE == pytest.approx(0.72 * away, abs=0.05), "the prior holds it a little"
    smaller = Rows(np.full((1, 4), 0.5), np.array([6.5]), np.ones(1), np.array([99]), none[:1], flat[:1])
    told = Posterior(found, rows, values, LINE).predict(smaller)[0]
    assert told == pytest.approx(LINE.at(smaller, LARGE + away), abs=0.05)
    full = replace(smaller, sizes=np.array([WHOLE]))
    assert LINE.at(full, found.large) == pytest.approx(LINE.start + min(found.large, 0.95) * rise)


def test_students_that_were_far_apart_end_near_each_other():
    """Courses whose distances from the line halve from the first report to the end, and what is told then."""
    random = np.random.default_rng(4)
    trials, moments = np.repeat(np.arange(30), 4), np.tile([0.25, 0.5, 0.75, 1.0], 30)
    rows = large(
        np.repeat(random.random((30, 4)), 4, axis=0),
        moments,
        trials,
        np.full(120, -1),
        np.zeros(120, dtype=bool),
    )
    apart = np.repeat(0.4 * random.standard_normal(30), 4) * 2 ** (-(moments - 0.25) / 0.75)
    values = Values(LINE.at(rows, LARGE) + apart, np.zeros(120))
    found = fitted(Kernel.prior(GROUPS), rows, values, LINE)
    assert found.theta[-2] == pytest.approx(math.log(2) / 0.75, abs=0.3)
    begun, ended = (
        Posterior(found, rows[:0], values[:0], LINE).predict(rows[at : at + 1])[1] for at in (0, 3)
    )
    assert ended[0] == pytest.approx(begun[0] / 2, rel=0.2)


def test_who_is_related_to_whom():
    rows = large(
        np.zeros((4, 4)), np.ones(4), np.array([0, 0, 1, 2]), np.array([5, 5, 5, -1]), np.zeros(4, bool)
    )
    assert related(rows, rows).tolist() == [
        [1, 1, KINSHIP, 0],
        [1, 1, KINSHIP, 0],
        [KINSHIP, KINSHIP, 1, 0],
        [0, 0, 0, 1],
    ]


def test_a_fit_makes_the_values_likelier_and_finds_what_matters():
    random = np.random.default_rng(0)
    points = random.random((60, 4))
    rows = large(points, np.ones(60), np.arange(60), np.full(60, -1), np.zeros(60, dtype=bool))
    values = Values(0.8 + 0.3 * np.sin(5 * points[:, 0]), np.zeros(60))
    prior = Kernel.prior(GROUPS)
    found = fitted(prior, rows, values, LINE)
    assert loss(found, rows, values, LINE)[0] < loss(prior, rows, values, LINE)[0] - 10
    assert found.theta[0] < found.theta[1]  # the first coordinate alone says something
    assert found.theta[0] < found.theta[2]


def test_what_cannot_be_factored_is_not_fitted():
    rows, values = some_rows(8), some_values(8)
    kernel = Kernel.prior(GROUPS)
    with pytest.raises(NotFitted, match="8 reports"):
        Posterior(kernel, rows, Values(values.qualities, np.full(8, -9.0)), LINE)
    with pytest.raises(NotFitted):
        fitted(kernel, rows, Values(values.qualities, np.full(8, -9.0)), LINE)


def test_the_scale_is_undone():
    worths = np.linspace(0, 1, 11)
    assert unscaled(scale(worths)) == pytest.approx(worths)


@pytest.mark.parametrize("costs", [1, 2, 3])
def test_what_a_student_takes_is_a_difference_of_hypervolumes(costs):
    random = np.random.default_rng(costs)
    members, points, reference = random.random((6, costs)), random.random((5, costs)), np.full(costs, 0.9)
    minimise = (False,) * costs
    before = hypervolume(members, reference, minimise)
    found = exclusive(members, points, reference)
    for point, own in zip(points, found, strict=True):
        after = hypervolume(np.vstack([members, point]), reference, minimise)
        assert own == pytest.approx(after - before, abs=1e-12)


@pytest.mark.parametrize("costs", [1, 2])
def test_expected_gains_are_means_over_ends(costs):
    random = np.random.default_rng(0)
    worths, members = 0.3 + 0.6 * random.random(7), 4 * random.random((7, costs))
    front = Front(worths, members, np.full(costs, 5.0), 0.1, 0.95)
    asked, means, deviations = (
        4 * random.random((3, costs)),
        np.array([0.7, 1.1, 1.3]),
        np.array([0.2, 0.1, 0.3]),
    )
    ups = (True, *(False,) * costs)
    near = lambda worths: np.log2(0.96 / (np.maximum(0.95 - worths, 0.0) + 0.01))  # noqa: E731
    reference = np.r_[near(0.1), front.reference]
    table = np.column_stack([near(worths), members])
    before = hypervolume(table, reference, ups)
    found = expected_gains(front, asked, means, deviations)
    for row in range(3):
        shares = (np.arange(2000) + 0.5) / 2000
        draws = unscaled(means[row] + deviations[row] * ndtri(shares))
        gains = [
            hypervolume(np.vstack([table, [draw, *asked[row]]]), reference, ups) - before
            for draw in near(draws)
        ]
        assert found[row] == pytest.approx(np.mean(gains), rel=0.05, abs=0.003)


def test_no_gain_beyond_the_reference_or_below_what_counts():
    front = Front(np.zeros(0), np.zeros((0, 1)), np.array([5.0]), 0.5, 1.0)
    found = expected_gains(
        front, np.array([[6.0], [1.0], [1.0]]), np.array([1.57, 0.1, 1.57]), np.full(3, 1e-3)
    )
    assert found[0] == 0
    assert found[1] < 1e-6
    assert found[2] == pytest.approx(4.0 * math.log2(0.51 / 0.01), rel=0.02)


def test_a_line_is_found_and_one_value_is_the_answer():
    random = np.random.default_rng(0)
    inputs = random.random((200, 3))
    found = Ridge(inputs, 2 + inputs @ np.array([1.0, -2.0, 0.0]), penalty=1e-6)
    assert found.at(np.array([[0.5, 0.5, 0.5]])) == pytest.approx([1.5], abs=1e-3)
    assert Ridge(inputs[:1], np.array([7.0])).at(inputs[:3]) == pytest.approx([7.0] * 3)
    assert Ridge(np.zeros((0, 3)), np.zeros(0), 4.0).at(inputs[:2]).tolist() == [4.0, 4.0]
