"""Searches of a grid for the simulated cluster: our searcher, and who ends trials early."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, Literal, Protocol, cast

import optuna
from optuna.distributions import BaseDistribution
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket
from ray.tune.search import Searcher

from benchmarks.grid import Axes, Grid
from benchmarks.recorded_table import Table
from benchmarks.simulated_cluster import START_SECONDS, Asked, Judge
from search.objectives.costs import PACKED
from search.objectives.yardstick import Yardstick
from search.sampling.freezing.candidates import Candidates
from search.sampling.freezing.courses import Measure
from search.sampling.freezing.means import Settings
from search.sampling.freezing.modelled import Beginnings
from search.sampling.freezing.policy import FreezeThaw
from search.sampling.samplers import CONTINUES, Sampler, name_of
from search.sampling.searcher import Judge as Told
from search.sampling.searcher import Never, OptunaSearcher
from search.stopping.freezing import FreezeThawScheduler
from search.stopping.halving import ParetoHalving, Rules
from trainables.metrics import quality_of
from trainables.recipe import Recipe, canonical_json
from trainables.training.prefixes import shared_prefix

DIRECTIONS: tuple[Literal["maximize"], Literal["minimize"]] = ("maximize", "minimize")


class Recipes(Protocol):
    """What a searcher may suggest, and where a table has it.

    Attributes:
        parameters: all that may be drawn.
        longest: the most epochs that a recipe of the study has.
        count: how many recipes may be suggested.
    """

    parameters: Mapping[str, BaseDistribution]
    longest: int
    count: int

    def draw(self, trial: optuna.trial.BaseTrial) -> Recipe:
        """A space."""
        ...

    def recipe(self, row: int) -> Recipe:
        """The recipe of a row of the table."""
        ...

    def row(self, recipe: str) -> int:
        """Where the table has a recipe, given as canonical JSON."""
        ...


def prefix_of(recipes: Recipes) -> Callable[[int], tuple[str, int] | None]:
    """Of a row what its recipe's first phases are called, and how long they last; None if it shares none."""
    return cache(lambda row: shared_prefix(recipes.recipe(row)))


class Recorded:
    """The points of a table, which are all that is suggested.

    Args:
        table: what they did.
        grid: that they are of.
        axes: values that may be drawn; None (default) are all of the grid.

    Attributes: see :class:`Recipes`.
    """

    def __init__(self, table: Table, grid: Grid, axes: Axes | None = None) -> None:
        study, context = grid.study_and_context()
        self.count = len(table.points)
        self._grid, self._axes = grid, grid.axes if axes is None else axes
        self.parameters: Mapping[str, BaseDistribution] = grid.parameters(self._axes)
        self.longest = context.epochs
        self._recipes: dict[tuple[tuple[str, Any], ...], Recipe] = {}
        self._rows: dict[str, int] = {}
        self._by_row: list[Recipe] = []
        for row, point in enumerate(table.points):
            recipe = grid.recipe_of(point, study, context)
            self._recipes[_key(point)] = recipe
            self._rows[canonical_json(recipe)] = row
            self._by_row.append(recipe)

    def draw(self, trial: optuna.trial.BaseTrial) -> Recipe:
        """A space of the grid's recipes."""
        return self._recipes[_key(self._grid.draw(trial, self._axes))]

    def recipe(self, row: int) -> Recipe:
        """The recipe of a row of the table."""
        return self._by_row[row]

    def row(self, recipe: str) -> int:
        """Where the table has a recipe, given as canonical JSON."""
        return self._rows[recipe]


def _key(point: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(point.items()))


class ReplayedSearch:
    """The searcher of ``rayduce sweep``, told quality and log2 of the bytes of the recorded table.

    Args:
        table: what recipes do.
        recipes: of the table.
        sampler: how to draw.
        judge: knows which trials are taken up again.
        seed: of the sweep.
        points: parameters of the first trials; default none.
    """

    def __init__(
        self,
        table: Table,
        recipes: Recipes,
        sampler: Sampler,
        judge: Judge,
        seed: int,
        points: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        model = judge if isinstance(judge, Modelled) else None
        study = optuna.create_study(directions=DIRECTIONS) if model is None else model.study
        self._table = table
        self._recipes = recipes
        self._searcher = OptunaSearcher(
            study,
            recipes.draw,
            Told(lambda result: result["values"]),
            trials=recipes.count,
            parameters=recipes.parameters,
            sampler=sampler,
            seed=seed,
            revisits=judge,
            starting_points=points,
            model=None if model is None else model.scheduler.proposals,
        )
        self._reached: dict[str, int] = {}

    def ask(self) -> Asked | None:
        """The next trial; None if there is none left."""
        number = len(self._reached)
        while (config := self._searcher.suggest(str(number))) is None:
            time.sleep(0.001)  # the sampler is at work on its thread
        if not isinstance(config, dict):
            assert config == Searcher.FINISHED
            return None
        epoch = self._reached.get(config.get(CONTINUES, ""), 0)
        self._reached[config["trial"]] = epoch
        return Asked(number, self._recipes.row(config["recipe"]), epoch)

    def tell(self, asked: Asked, epoch: int, finished: bool) -> None:
        """How it ended, and with what."""
        self._reached[name_of(asked.number)] = epoch
        error, size = losses_of(self._table, asked.row, epoch)
        state = "finished" if finished else "pruned"
        self._searcher.on_trial_complete(str(asked.number), {"state": state, "values": [1.0 - error, size]})


class Everything(Never):
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
        """See :meth:`search.stopping.halving.ParetoHalving.report`."""
        losses, name = losses_of(self._table, asked.row, epoch), name_of(asked.number)
        goes_on = not self._halving.report(name, epoch, losses, epochs=int(self._table.epochs[asked.row]))
        if not goes_on:
            self._halving.stop(name)
        return goes_on

    def finish(self, asked: Asked) -> None:
        """The last report ends nothing, but is learnt from."""
        self.judge(asked, int(self._table.epochs[asked.row]))

    def begin(self, name: str, recipe: Recipe) -> None:
        """There is nothing to be learnt from that."""

    def promising(self) -> str | None:
        """See :meth:`search.stopping.halving.ParetoHalving.promising`."""
        return self._halving.promising()

    def take_up(self, name: str, as_name: str) -> None:
        """See :meth:`search.stopping.halving.ParetoHalving.take_up`."""
        self._halving.take_up(name, as_name)


class Modelled:
    """The project's freeze-thaw search, driven by the table.

    Args:
        table: what recipes do.
        recipes: of the table.
        seed: of the sweep.
        designed: how many trials are starting points.
        settings: of the policy.
        shares: whether trials begin behind first phases that others trained, and siblings are proposed.
        policy: what decides.
    """

    def __init__(
        self,
        table: Table,
        recipes: Recipes,
        seed: int,
        designed: int,
        settings: Settings,
        shares: bool = True,
        policy: type[FreezeThaw] = FreezeThaw,
    ) -> None:
        self._table, self._recipes = table, recipes
        self.study = optuna.create_study(directions=DIRECTIONS)
        known = {PACKED: float(table.teacher_bytes), "validation_accuracy": table.teacher_quality}
        yardstick = Yardstick(quality_of("accuracy"), known)
        prefix = shared_prefix if shares else lambda recipe: None
        candidates = Candidates(recipes.draw, recipes.parameters, seed, prefix, recipes.longest)
        self.policy = policy(candidates, Measure(yardstick), seed, designed, settings)
        told = Beginnings(self.policy, candidates, self.study)
        rules = Rules(longest=recipes.longest)
        within = lambda recipe, result: ""  # noqa: E731
        self.scheduler = FreezeThawScheduler(yardstick, rules, within, self.policy, told, _refuse)
        self._began: dict[str, int] = {}

    def judge(self, asked: Asked, epoch: int) -> bool:
        """What the policy decides."""
        name = self._learn(asked, epoch)
        goes_on = not self.scheduler.decide(name)
        if not goes_on:
            self.scheduler.ended(name, "pruned")
        return goes_on

    def finish(self, asked: Asked) -> None:
        """The last report is learnt from."""
        self.scheduler.ended(self._learn(asked, int(self._table.epochs[asked.row])), "finished")

    def begin(self, name: str, recipe: Recipe) -> None:
        """See :class:`search.sampling.searcher.Revisits`."""
        self.scheduler.begin(name, recipe)

    def promising(self) -> str | None:
        """See :class:`search.sampling.searcher.Revisits`."""
        return self.scheduler.promising()

    def take_up(self, name: str, as_name: str) -> None:
        """See :class:`search.sampling.searcher.Revisits`."""
        self.scheduler.take_up(name, as_name)

    def _learn(self, asked: Asked, epoch: int) -> str:
        name, table, row = name_of(asked.number), self._table, asked.row
        began = self._began.setdefault(name, epoch)
        trained = table.seconds[row, began + 1 : epoch + 1].sum()
        result = {
            "epoch": epoch,
            "validation_accuracy": float(table.validation[row, epoch]),
            PACKED: float(table.packed_bytes[row, epoch]),
            "seconds": START_SECONDS + float(table.seconds[row, 0] + trained),
        }
        self.scheduler.learn(name, self._recipes.recipe(row), result)
        return name


def _refuse(text: str) -> None:
    """A benchmark of a model in which something else decides would be another benchmark."""
    raise RuntimeError(text)


def losses_of(table: Table, row: int, epoch: int) -> tuple[float, float]:
    """What the rules minimise."""
    return 1.0 - float(table.validation[row, epoch]), math.log2(table.packed_bytes[row, epoch])


class WeightedASHA(Never):
    """Ray's own asynchronous successive halving on a weighted sum of both objectives.

    Half of the sum is the quality, half how many halvings the file is below the teacher's, as a share of the
    halvings of the smallest student of the table. Ray's rule decides; only its trials are not Ray's.
    """

    def __init__(self, table: Table, reduction: float, grace: int) -> None:
        self._table = table
        self._bracket = _Bracket(grace, int(table.epochs.max()), reduction, 0)
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
        self.judge(asked, int(self._table.epochs[asked.row]))


class SyneTuneASHA(Never):
    """Syne Tune's own multi-objective asynchronous successive halving (Schmucker et al. 2021), as it comes.

    Its rule ranks what reached a rung by non-dominated sort with an epsilon-net. Only the trials are not its
    own. Needs ``pip install syne-tune``.
    """

    def __init__(self, table: Table, reduction: float, grace: int) -> None:
        from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

        self._table = table
        self._rule = MOASHA(
            config_space={},
            metrics=["error", "log2_bytes"],
            time_attr="epoch",
            max_t=int(table.epochs.max()),
            grace_period=grace,
            reduction_factor=reduction,
        )
        self._trials: dict[int, SimpleNamespace] = {}

    def judge(self, asked: Asked, epoch: int) -> bool:
        """Whether Syne Tune would go on."""
        if asked.number not in self._trials:
            self._trials[asked.number] = SimpleNamespace(trial_id=asked.number)
            self._rule.on_trial_add(self._trials[asked.number])
        if epoch == 0:
            return True
        return bool(
            self._rule.on_trial_result(self._trials[asked.number], self._told(asked, epoch)) != "STOP"
        )

    def finish(self, asked: Asked) -> None:
        """It is told of the end."""
        epochs = int(self._table.epochs[asked.row])
        if epochs and asked.number in self._trials:
            self._rule.on_trial_complete(self._trials[asked.number], self._told(asked, epochs))

    def _told(self, asked: Asked, epoch: int) -> dict[str, float]:
        error, size = losses_of(self._table, asked.row, epoch)
        return {"error": error, "log2_bytes": size, "epoch": epoch}
