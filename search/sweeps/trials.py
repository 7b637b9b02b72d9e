"""The trials of a sweep, on Ray Tune."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from ray import tune
from ray.tune.error import TuneError
from ray.tune.search import Searcher

from search.clusters.machine import Machine
from search.log.folder import SweepFolder
from search.objectives.yardstick import Yardstick
from search.options import Options
from search.sampling.freezing.candidates import Candidates
from search.sampling.freezing.courses import Measure
from search.sampling.freezing.means import Settings
from search.sampling.freezing.modelled import Beginnings
from search.sampling.freezing.policy import FreezeThaw
from search.sampling.proposals import Draw
from search.stopping.freezing import FreezeThawScheduler
from search.stopping.halving import Rules
from search.stopping.scheduler import ParetoScheduler
from search.sweeps.recorded_searcher import RecordedSearcher
from search.sweeps.trial_events import TrialEvents
from search.tracking.record import drawn
from search.tracking.trained import Allowance, Ledger
from trainables.recipe import Recipe
from trainables.trainable import StudentTrial
from trainables.training.prefixes import shared_prefix
from trainables.training.trial_metrics import TrialSettings, settled
from trainables.training.trial_sources import Products

MAX_FAILURES = 3
"""Of a trial's process, before the trial has failed. What would fail again is no such failure."""


@dataclass(frozen=True)
class Searched:
    """What a model of a sweep's trials is told of it.

    Attributes:
        draw: its space.
        parameters: all that the space may ask for.
        study: has the parameters of all trials.
        designed: how many trials are starting points.
        last: number from which on no trial begins.
        say: hears why the model cannot decide.
    """

    draw: Draw
    parameters: Mapping[str, BaseDistribution]
    study: optuna.Study
    designed: int
    last: int
    say: Callable[[str], None]


def make_scheduler(
    yardstick: Yardstick,
    options: Options,
    searched: Searched | None = None,
    allowance: Allowance | None = None,
    longest: int | None = None,
) -> ParetoScheduler:
    """What ends trials early, as ``options`` have it.

    Args:
        yardstick: of the sweep.
        options: of the sweep.
        searched: what a model is told, where one decides; default None.
        allowance: what the sweep may train, whose ledger is told what trials do; default that of ``options``.
        longest: the most epochs that a trial has; None (default) if all have the same number.
    """
    allowance = allowance or Allowance(Ledger(), options.trainings, options.trials)

    def over_budget(recipe: Recipe, result: Mapping[str, Any]) -> str:
        return yardstick.budget.sure_before_training(settled(recipe, result), yardstick.quality)

    revive = options.scheduler == "revive"
    rules = None if options.scheduler == "none" else Rules(revive=revive, longest=longest)
    if searched is None:
        return ParetoScheduler(yardstick.quality, yardstick.costs, rules, over_budget, allowance.ledger)
    shared = shared_prefix if options.phase_bytes else _nothing_shared
    candidates = Candidates(searched.draw, searched.parameters, options.seed, shared, longest)
    settings = Settings(stops=revive)
    policy = FreezeThaw(
        candidates, Measure(yardstick), options.seed, searched.designed, settings, searched.last, allowance
    )
    told = Beginnings(policy, candidates, searched.study)
    told.earlier()
    return FreezeThawScheduler(yardstick, rules, over_budget, policy, told, searched.say, allowance.ledger)


def _nothing_shared(recipe: Recipe) -> None:
    """Where first phases are not kept."""


@dataclass(frozen=True)
class TrialInputs:
    """What every trial of a sweep is given; references to Ray's object store are not copied once more.

    Attributes:
        arrays: the task's data, or a reference to it.
        settings: what all trials share beside; its ``trials`` is where their files are looked for.
        teachers: packed files by recipe id; default none.
        outputs: of the teachers, a sequence of :class:`TeacherOutputs` or a reference to one; default none.
        measured: by recipe id, references to :class:`Copy`: not run again; default none.
        given: weights of the user's network by their digest, or a reference to them; default none.
        routes: the teachers along their trainings, see :class:`TrialSources`, or a reference to them; default
            none.
        products: what the teacher makes when a trial needs it; default nothing.
    """

    arrays: Any
    settings: TrialSettings
    teachers: Mapping[str, bytes] = field(default_factory=dict)
    outputs: Any = ()
    measured: Mapping[str, Any] = field(default_factory=dict)
    given: Any = field(default_factory=dict)
    routes: Any = field(default_factory=dict)
    products: Products | None = None

    def given_to(self, trainable: type[tune.Trainable]) -> Any:
        """``trainable`` with all of it as arguments of its ``setup``."""
        return tune.with_parameters(
            trainable,
            arrays=self.arrays,
            teachers=dict(self.teachers),
            outputs=self.outputs,
            settings=self.settings,
            measured=dict(self.measured),
            given=self.given,
            routes=self.routes,
            products=self.products,
        )


def run_trials(
    searcher: Searcher,
    scheduler: ParetoScheduler,
    events: TrialEvents,
    inputs: TrialInputs,
    options: Options,
    machine: Machine,
    trainable: type[tune.Trainable] = StudentTrial,
) -> None:
    """Run the trials that have not ended.

    Args:
        searcher: suggests recipes and is told results.
        scheduler: ends trials early.
        events: hears of results too, and knows the trials that have ended.
        inputs: what trials are given.
        options: how to search.
        machine: what there is to run on.
        trainable: what a trial is; it takes the arguments of :meth:`StudentTrial.setup`.

    Raises:
        whatever ``events.halt`` was given as the reason to end.
    """
    folder = SweepFolder(options.store, options.name)
    recorded = RecordedSearcher(searcher, events)
    left = options.trials - sum(record.ended for record in drawn(events.records).values())
    if left < 1:
        recorded.suggest("none")  # tells the searcher of ends that it has not heard of
        events.halt.check()
        return
    shutil.rmtree(folder.scratch, ignore_errors=True)
    try:
        # tune.run and not tune.Tuner, which pickles its callbacks and the searcher into the store to begin
        # with.
        tune.run(
            inputs.given_to(trainable),
            name=options.name,
            resources_per_trial={"cpu": machine.cpus_per_trial, "gpu": machine.gpus_per_trial},
            search_alg=recorded,
            scheduler=scheduler,
            num_samples=left,
            max_concurrent_trials=machine.concurrency,
            max_failures=MAX_FAILURES,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.config["trial"]),
            storage_path=str(folder.scratch.parent.absolute()),
            callbacks=[events],
            raise_on_failed_trial=False,
            verbose=0,
        )
    except TuneError:
        events.halt.check()  # Ray wraps what it does not know
        raise
    finally:
        shutil.rmtree(folder.scratch, ignore_errors=True)
    events.halt.check()
