"""A Gaussian process over (recipe, epoch): what trials that were seen say of any trial's end."""

from __future__ import annotations

import math
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

KINSHIP = 0.8
"""Of the deviations of a course from its recipe's place, what two trials of one first phase share."""

LUCK = 0.9
"""Of the noise, what two trials share at one moment of a first phase that both have in common: their networks
are the same but for rounding, and so is what a validation split makes of them."""

FLAT = 0.9
"""Moment from which on nothing more is expected of training: its last quarter adds little."""

LARGE, HALVING, MOST = 1.3, 0.1, 0.95
"""Of the way from guessing to the teacher, on the scale of the process: where a line through students
of all sizes has one as large as the teacher, before anything was seen; what each halving of its file takes
from that, and the most that is expected. Lines through four recorded tables begin at 1.1 to 1.6 and fall by
0.04 to 0.12, on average 1.31 and 0.09 (``python -m benchmarks.quality_by_size``)."""

HEIGHTS = 0.15
"""Deviation of the prior of where the line begins, which what was seen moves."""

USUAL = 5.0
"""Halvings of the teacher's file that a student's has, where the teacher's size is not known."""

STEPS = 30
"""Of the search for the parameters, at most."""

JITTER = 1e-6


class NotFitted(Exception):
    """The reports allow no process: their covariance cannot be factored, or a parameter is no number."""


@dataclass(frozen=True)
class Rows:
    """Students at moments of their training, n of them.

    Attributes:
        points: coordinates of their recipes, shape (n, d).
        sizes: log2 of the bytes that their packed files are expected to take, shape (n,).
        moments: how far they are, 0 untrained and 1 at the end, on a logarithmic scale, shape (n,).
        trials: numbers that are equal where two rows are of one trial, int64, shape (n,).
        kin: numbers that are equal where two trials share their first phase, below 0 where they share none.
        late: whether the shared first phase, if there is one before the end, is over, bool, shape (n,).
    """

    points: Array
    sizes: Array
    moments: Array
    trials: NDArray[np.int64]
    kin: NDArray[np.int64]
    late: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.moments)

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Rows:
        """Some of them."""
        return Rows(**{name: each[rows] for name, each in vars(self).items()})


@dataclass(frozen=True)
class Values:
    """What was seen of rows.

    Attributes:
        qualities: on the scale of the process, shape (n,).
        more: variance of each beside the noise of all, shape (n,).
    """

    qualities: Array
    more: Array

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Values:
        """Some of them."""
        return Values(self.qualities[rows], self.more[rows])


@dataclass(frozen=True)
class Line:
    """What is expected of students, before others tell: by the size of the file, straight up to :data:`FLAT`.

    A process with one mean for all moments takes early reports, of which there are most, for what students
    end at: then all that has learnt nothing yet is ended for the first one that has learnt a little. One with
    one mean for all sizes expects as much of each recipe that is like none before, and tries the smallest; so
    would one that ended at guessing, where the teacher is large.

    Attributes:
        start: quality before training, on the scale of the process.
        teacher: quality of the teacher, likewise.
        whole: log2 of the bytes of the teacher's packed file; NaN if it is not known.

    Where it begins is a parameter of the :class:`Kernel`.
    """

    start: float
    teacher: float
    whole: float

    def at(self, rows: Rows, large: float) -> Array:
        """At each of some rows, where it begins at ``large``."""
        return np.asarray(self.start + np.minimum(self._shares(rows, large), MOST) * self._rise(rows))

    def slope(self, rows: Rows, large: float) -> Array:
        """Derivative of :meth:`at` by ``large``."""
        return np.asarray((self._shares(rows, large) < MOST) * self._rise(rows))

    def _shares(self, rows: Rows, large: float) -> Array:
        halvings = self.whole - rows.sizes
        return np.asarray(large - HALVING * np.where(np.isnan(halvings), USUAL, halvings))

    def _rise(self, rows: Rows) -> Array:
        return np.asarray((self.teacher - self.start) * np.minimum(rows.moments / FLAT, 1.0))


@dataclass(frozen=True)
class Kernel:
    """The covariance of qualities, and the parameters of the process.

    ``k = s(u) s(u') ((m(x, x') + l(x, x')) t(u, u') p + f c(u, u') p)``, and noise, which is each row's own
    but for networks that are alike, see :data:`LUCK`; its deviation shrinks as s does. Over recipes m is a
    Matérn 5/2 with a length scale per group of coordinates, l linear; over moments t is Gaussian and c, the
    course of a single trial, Matérn 3/2. f is 1 for the same trial, :data:`KINSHIP` for trials of one first
    phase. p is below 1 between a first phase and what comes after it. s is exp(-r u): students that were far
    apart end near each other, and training is noisier than its end. As in freeze-thaw Bayesian optimization
    (Swersky et al. 2014), where courses are exponential decays instead.

    Attributes:
        groups: for each coordinate the number of its length scale, shape (d,).
        theta: logarithms of the length scales; of the variances of m and l; of the lengths of t and c; of the
            variances of c and of the noise before training; the logit of p; then r itself, and where the
            line of the mean begins. Shape (scales + 9,).
    """

    groups: NDArray[np.int64]
    theta: Array

    @classmethod
    def prior(cls, groups: NDArray[np.int64]) -> Self:
        """The kernel at the modes of the prior, as long as little was seen."""
        scales = int(groups.max()) + 1
        return cls(
            groups,
            np.r_[np.full(scales, math.log(0.8)), np.log([0.1, 0.1, 0.7, 0.7, 0.01, 0.003]), 1.0, 1.0, LARGE],
        )

    @property
    def widths(self) -> Array:
        """Deviations of the prior of each parameter, which is Gaussian."""
        return np.r_[np.full(self.scales, 0.8), 0.8, 1.0, 0.7, 0.7, 0.8, 0.7, 1.0, 0.7, HEIGHTS]

    @property
    def scales(self) -> int:
        """How many length scales there are."""
        return int(self.groups.max()) + 1

    @property
    def noise(self) -> float:
        """Variance of each value beside its own, before training."""
        return math.exp(self.theta[self.scales + 5]) + JITTER

    @property
    def bound(self) -> float:
        """p: between a first phase and what comes after it."""
        return float(1 / (1 + math.exp(-self.theta[self.scales + 6])))

    @property
    def large(self) -> float:
        """Where the :class:`Line` begins, for a student as large as the teacher."""
        return float(self.theta[self.scales + 8])

    def shrunk(self, moments: Array) -> Array:
        """s: what deviations from the line are at some moments, as shares of those before training."""
        return np.asarray(np.exp(-self.theta[self.scales + 7] * moments))

    def between(self, one: Rows, other: Rows) -> Array:
        """The covariance of two sets of rows, without the noise of each alone, shape (n, m)."""
        matern, linear, _, _ = self._recipes(one.points, other.points)
        # Where students are told at their ends, all moments are one: it need not be computed for each.
        same = len(one) > 0 and bool((one.moments == one.moments[0]).all())
        gaussian, _, ratio, slower = self._moments(one.moments[:1] if same else one.moments, other.moments)
        found = matern + linear
        found *= gaussian
        found += related(one, other) * ((1 + ratio) * slower)
        found *= np.where(one.late[:, None] != other.late, self.bound, 1.0)
        found += self.noise * LUCK * alike(one, other)
        return np.asarray(found * self.shrunk(one.moments)[:, None] * self.shrunk(other.moments))

    def covariance(self, rows: Rows, values: Values) -> Array:
        """That of what was measured of some rows, shape (n, n)."""
        own = self.noises(rows) * (1 - LUCK * np.diag(alike(rows, rows))) + values.more
        return self.between(rows, rows) + np.diag(own)

    def noises(self, rows: Rows) -> Array:
        """The variance of the noise of each of some rows, shape (n,)."""
        return self.noise * self.shrunk(rows.moments) ** 2

    def variances(self, rows: Rows) -> Array:
        """The variance of each of some rows, without noise, shape (n,)."""
        theta, n = self.theta, self.scales
        centred = rows.points - CENTRE
        linear = math.exp(theta[n + 1]) * (1 + (centred * centred).sum(1))
        found = math.exp(theta[n]) + linear + math.exp(theta[n + 4])
        return np.asarray(found * self.shrunk(rows.moments) ** 2)

    def _recipes(self, one: Array, other: Array) -> tuple[Array, Array, Array, Array]:
        """m; l; and of m the distances and its decay with them, of which :func:`loss` makes its slope."""
        n, lengths = self.scales, np.exp(self.theta[self.groups])
        a, b = one / lengths, other / lengths
        squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
        distance = np.sqrt(np.maximum(5 * squares, 1e-12))
        decay = np.exp(self.theta[n] - distance)
        matern = (1 + distance + distance * distance / 3) * decay
        linear = math.exp(self.theta[n + 1]) * (1 + (one - CENTRE) @ (other - CENTRE).T)
        return matern, linear, distance, decay

    def _moments(self, one: Array, other: Array) -> tuple[Array, Array, Array, Array]:
        """t; what moments are apart, as squares of the length of t; and the same of c, with its decay by it.

        c and the derivatives by the logarithms of the lengths are made of these.
        """
        n, apart = self.scales, np.abs(one[:, None] - other)
        square = (apart / math.exp(self.theta[n + 2])) ** 2
        ratio = math.sqrt(3) * apart / math.exp(self.theta[n + 3])
        gaussian, decay = np.exp(-0.5 * square), math.exp(self.theta[n + 4]) * np.exp(-ratio)
        return gaussian, square, ratio, decay


CENTRE = 0.4
"""Of a coordinate, from which the linear part counts."""


def related(one: Rows, other: Rows) -> Array:
    """1 for rows of one trial, :data:`KINSHIP` for those of one first phase, 0 for others; shape (n, m)."""
    kin = (one.kin[:, None] == other.kin) & (one.kin >= 0)[:, None]
    return np.maximum(one.trials[:, None] == other.trials, KINSHIP * kin)


def alike(one: Rows, other: Rows) -> NDArray[np.bool_]:
    """Whether rows are of one first phase, within it, at the same moment; shape (n, m)."""
    same = (one.kin[:, None] == other.kin) & (one.kin >= 0)[:, None]
    within = ~one.late[:, None] & ~other.late
    return np.asarray(same & within & (np.abs(one.moments[:, None] - other.moments) < 1e-9))


def loss(kernel: Kernel, rows: Rows, values: Values, line: Line) -> tuple[float, Array]:
    """Minus the logarithm of the posterior of a kernel's parameters, but for a constant, and its gradient.

    Args:
        kernel: whose ``theta`` is judged.
        rows: that were seen.
        values: of them.
        line: the mean of the process.
    """
    theta, n, centred = kernel.theta, kernel.scales, values.qualities - line.at(rows, kernel.large)
    matern, linear, distance, decay = kernel._recipes(rows.points, rows.points)
    # By half the squared distance, with its sign turned.
    recipes, slope = matern + linear, (5 / 3) * (1 + distance) * decay
    gaussian, square, ratio, slower = kernel._moments(rows.moments, rows.moments)
    course, by_gaussian, by_course = (1 + ratio) * slower, gaussian * square, ratio * ratio * slower
    kin, bound = related(rows, rows), kernel.bound
    differ = rows.late[:, None] != rows.late
    mix, over, own = np.where(differ, bound, 1.0), recipes * gaussian, kin * course
    shrunk = np.outer(kernel.shrunk(rows.moments), kernel.shrunk(rows.moments))
    away = (theta - Kernel.prior(kernel.groups).theta) / kernel.widths
    luck = LUCK * alike(rows, rows)
    np.fill_diagonal(luck, 1.0)
    modelled = ((over + own) * mix + kernel.noise * luck) * shrunk
    try:
        factor = cholesky(modelled + np.diag(values.more), lower=True)
    except (LinAlgError, ValueError):  # scipy's for what is no number
        return 1e10, np.zeros(len(theta))
    inverse = cho_solve((factor, True), np.eye(len(rows)))
    weights = inverse @ centred
    by_matrix = 0.5 * (inverse - np.outer(weights, weights))
    by_rate = -2 * (by_matrix * modelled).sum(1) @ rows.moments
    by_matrix *= shrunk
    mixed = by_matrix * mix
    pull = mixed * gaussian * slope
    scaled = rows.points / np.exp(theta[kernel.groups])
    by_length = 2 * ((scaled * scaled * pull.sum(1)[:, None]).sum(0) - (scaled * (pull @ scaled)).sum(0))
    others = [
        (mixed * gaussian * matern).sum(),
        (mixed * gaussian * (recipes - matern)).sum(),
        (mixed * recipes * by_gaussian).sum(),
        (mixed * kin * by_course).sum(),
        (mixed * own).sum(),
        (by_matrix * luck).sum() * (kernel.noise - JITTER),
        (by_matrix * (over + own) * differ).sum() * bound * (1 - bound),
        by_rate,
        -weights @ line.slope(rows, kernel.large),
    ]
    gradient = np.r_[np.bincount(kernel.groups, by_length, minlength=n), others] + away / kernel.widths
    value = 0.5 * centred @ weights + np.log(np.diag(factor)).sum() + 0.5 * away @ away
    return float(value), gradient


def fitted(kernel: Kernel, rows: Rows, values: Values, line: Line) -> Kernel:
    """The kernel that the values make most likely, with its prior: the search begins at ``kernel``.

    Raises:
        NotFitted: there is none.
    """
    found = minimize(
        lambda theta: loss(replace(kernel, theta=theta), rows, values, line),
        kernel.theta,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": STEPS},
    )
    if not np.isfinite(found.x).all() or found.fun >= 1e10:
        raise NotFitted(f"the parameters of {len(rows)} reports' process are {found.x}")
    return replace(kernel, theta=found.x)


def fitted_after(
    before: Future[Kernel] | None, groups: NDArray[np.int64], rows: Rows, values: Values, line: Line
) -> Kernel:
    """See :func:`fitted`; the search begins where that ``before`` ended, or at the prior of ``groups``."""
    return fitted(Kernel.prior(groups) if before is None else before.result(), rows, values, line)


class Posterior:
    """A process that has seen values.

    Args:
        kernel: of the process.
        rows: that were seen, n; there may be none.
        values: of them.
        line: the mean of the process.

    Raises:
        NotFitted: the covariance cannot be factored.
    """

    def __init__(self, kernel: Kernel, rows: Rows, values: Values, line: Line) -> None:
        self._kernel, self._rows, self._line = kernel, rows, line
        try:
            self._factor = cholesky(kernel.covariance(rows, values), lower=True)
        except (LinAlgError, ValueError) as error:  # scipy's for what is no number
            raise NotFitted(f"the covariance of {len(rows)} reports cannot be factored: {error}") from error
        centred = values.qualities - line.at(rows, kernel.large)
        self._weights = cho_solve((self._factor, True), centred)

    def predict(self, rows: Rows) -> tuple[Array, Array]:
        """Mean and deviation of what would be measured of ``rows``, shape (m,) each."""
        variances = self._kernel.variances(rows) + self._kernel.noises(rows)
        expected = self._line.at(rows, self._kernel.large)
        if not len(self._rows):
            return expected, np.sqrt(variances)
        across = self._kernel.between(rows, self._rows)
        solved = solve_triangular(self._factor, across.T, lower=True)
        left = variances - (solved * solved).sum(0)
        return expected + across @ self._weights, np.sqrt(np.maximum(left, 1e-6))
