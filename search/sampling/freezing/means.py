"""How a freeze-thaw search decides, and what it takes trials to cost while so much is left to train."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.tracking.trained import LEAST, Allowance


@dataclass(frozen=True)
class Settings:
    """How the policy decides.

    Attributes:
        patience: a trial that runs is ended where another promises more than so many times as much.
        finished: trials that finish before any is ended.
        stops: whether trials are ended early. What ends early says little of ends, of which the model knows
            least: so nothing is by default.
        price: what a trial costs beside its seconds, as a share of a whole training of its student: above 0,
            or trials would all be spent on what is nearly free. That is where trainings are counted.
        dearest: the same where trials are counted, of which there are so many; and where trainings are, it
            goes up to that as trials become the scarcer of the two.
        siblings: whether recipes are proposed for what they share with those that have begun.
        fitted: reports, at most, by which the process is fitted.
        conditioned: reports, at most, that a decision looks at.
        first: reports before the first fit.
        growth: of the reports from one fit to the next.
        lag: share of the reports more, after which a fit is in force: it is computed meanwhile.
        kept: epochs, as shares of a training, whose reports count beside a trial's last two.
        failed: variance of what is taken for the end of a trial that failed.
    """

    patience: float = 30.0
    finished: int = 4
    stops: bool = False
    price: float = 0.25
    dearest: float = 0.5
    siblings: bool = True
    fitted: int = 180
    conditioned: int = 350
    first: int = 16
    growth: float = 1.4
    lag: float = 0.1
    kept: tuple[float, ...] = (1 / 12, 2 / 12, 4 / 12, 7 / 12, 10 / 12)
    failed: float = 0.02


@dataclass(frozen=True)
class Means:
    """What is left of a sweep's budget, as far as it decides what is worth training.

    Attributes:
        settings: of the search.
        allowance: what the sweep may train; None is no end.
    """

    settings: Settings
    allowance: Allowance | None = None

    @property
    def counted(self) -> bool:
        """Whether trainings are."""
        return self.allowance is not None and self.allowance.trainings is not None

    def fitting(self, shares: NDArray[np.float64], more: float = 0.0) -> NDArray[np.bool_]:
        """Which students can train to their ends with what is left of the sweep's trainings.

        Args:
            shares: of a training that each has still to do, shape (n,).
            more: trainings that there will be beside; default 0.
        """
        left = math.inf if self.allowance is None else self.allowance.left() + more
        return np.asarray(shares <= left + LEAST)

    def price(self) -> float:
        """What a trial costs now beside its seconds, as a share of a training; see :class:`Settings`."""
        settings, allowance = self.settings, self.allowance
        if allowance is None:
            return settings.price
        if allowance.trainings is None:
            return settings.dearest
        rate = max(allowance.left(), 0.0) / max(allowance.trials_left(), 1)
        return min(max(rate, settings.price), settings.dearest)
