"""Searches of the digits grid for the simulated cluster: Optuna's samplers, and who ends trials early."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import cast

import optuna
from optuna.trial import TrialState
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket

from benchmarks.digits_grid import EPOCHS, Point, draw, numbered
from benchmarks.digits_table import Table
from benchmarks.simulated_cluster import Asked
from search.halving import ParetoHalving, Rules

SAMPLERS: Mapping[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
}


class Rows:
    """Finds a point's row in a table."""

    def __init__(self, table: Table) -> None:
        self._rows = {_key(point): row for row, point in enumerate(table.points)}

    def __getitem__(self, point: Point) -> int:
        return self._rows[_key(point)]


def _key(point: Point) -> str:
    return json.dumps(point, sort_keys=True)


REPEATS = 5
"""After how many suggestions in a row that are known already a new point is drawn at random."""


class OptunaSearch:
    """Asks an Optuna sampler for points of the grid, and tells it quality and log2 of the bytes.

    A recipe that was tried is not tried again, since it would do the same: the sampler is told what is known
    and asked for another. On a grid it may then insist; a point drawn at random helps it on.
    """

    def __init__(self, table: Table, rows: Rows, sampler: optuna.samplers.BaseSampler, seed: int) -> None:
        self._table = table
        self._rows = rows
        self._study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        self._open: dict[int, optuna.Trial] = {}
        self._known: dict[int, tuple[int, bool] | None] = {}
        self._random = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))

    def ask(self) -> Asked:
        """The sampler's next point that was not tried."""
        repeats = 0
        while True:
            if repeats == REPEATS:
                self._study.enqueue_trial(numbered(self._new()))
            trial = self._study.ask()
            row = self._rows[draw(trial)]
            if row not in self._known:
                self._known[row] = None
                self._open[trial.number] = trial
                return Asked(trial.number, row)
            repeats += 1
            end = self._known[row]
            if end is None:  # it is being trained
                self._study.tell(trial, state=TrialState.FAIL)
            else:
                self._tell(trial, row, *end)

    def tell(self, asked: Asked, epoch: int, finished: bool) -> None:
        """Finished trials have values; the others are pruned, without any."""
        self._known[asked.row] = epoch, finished
        self._tell(self._open.pop(asked.number), asked.row, epoch, finished)

    def _tell(self, trial: optuna.Trial, row: int, epoch: int, finished: bool) -> None:
        if not finished:
            self._study.tell(trial, state=TrialState.PRUNED)
            return
        error, size = losses_of(self._table, row, epoch)
        self._study.tell(trial, [1.0 - error, size])

    def _new(self) -> Point:
        while True:
            point = draw(self._random.ask())
            if self._rows[point] not in self._known:
                return point


class Everything:
    """Lets every trial train to its end."""

    def judge(self, asked: Asked, epoch: int) -> bool:
        """Go on."""
        return True

    def finish(self, asked: Asked) -> None:
        """Nothing is learnt."""


class Ours:
    """The project's own rules, driven by the table."""

    def __init__(self, table: Table, rules: Rules) -> None:
        self._table = table
        self._halving = ParetoHalving(rules)

    def judge(self, asked: Asked, epoch: int) -> bool:
        """See :meth:`search.halving.ParetoHalving.report`."""
        losses = losses_of(self._table, asked.row, epoch)
        return not self._halving.report(str(asked.number), epoch, losses, epochs=EPOCHS)

    def finish(self, asked: Asked) -> None:
        """The last report ends nothing, but is learnt from."""
        self.judge(asked, EPOCHS)


def losses_of(table: Table, row: int, epoch: int) -> tuple[float, float]:
    """What the rules minimise."""
    return 1.0 - float(table.validation[row, epoch]), math.log2(table.packed_bytes[row, epoch])


class WeightedASHA:
    """Ray's own asynchronous successive halving on a weighted sum of both objectives.

    Half of the sum is the accuracy, half how many halvings the file is below the teacher's, as a share of the
    14 that the smallest student of the grid is. Ray's rule decides; only its trials are not Ray's.
    """

    def __init__(self, table: Table, reduction: float, grace: int) -> None:
        self._table = table
        self._bracket = _Bracket(grace, EPOCHS, reduction, 0)
        self._most = math.log2(table.teacher_bytes / table.packed_bytes.min())

    def judge(self, asked: Asked, epoch: int) -> bool:
        """Whether Ray would go on."""
        if epoch == 0:
            return True
        error, size = losses_of(self._table, asked.row, epoch)
        halvings = (math.log2(self._table.teacher_bytes) - size) / self._most
        trial = cast(Trial, SimpleNamespace(trial_id=str(asked.number)))
        action: str = self._bracket.on_result(trial, epoch, 0.5 * (1.0 - error) + 0.5 * halvings)
        return action != TrialScheduler.STOP

    def finish(self, asked: Asked) -> None:
        """Ray tells its rule of the last result as well."""
        self.judge(asked, EPOCHS)
