"""The trials of a sweep, on Ray Tune."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.error import TuneError
from ray.tune.search import Searcher

from search.clusters.machine import Machine
from search.log.folder import SweepFolder
from search.options import Options
from search.stopping.halving import Rules
from search.stopping.scheduler import ParetoScheduler
from search.sweeps.recorded_searcher import RecordedSearcher
from search.sweeps.trial_events import TrialEvents
from trainables.metrics import Quality
from trainables.trainable import StudentTrial, TrialSettings

MAX_FAILURES = 3
"""Of a trial's process, before the trial has failed. What would fail again is no such failure."""


def make_scheduler(quality: Quality, options: Options) -> ParetoScheduler:
    """What ends trials early, as ``options`` have it."""
    costs = ["packed_bytes", *(["latency_ms"] if options.minimize_latency else [])]
    rules = None if options.scheduler == "none" else Rules(revive=options.scheduler == "revive")
    return ParetoScheduler(quality, costs, rules, options.budget.sure_before_training)


def run_trials(
    searcher: Searcher,
    scheduler: ParetoScheduler,
    events: TrialEvents,
    arrays: Any,
    teachers: Mapping[str, bytes],
    outputs: Any,
    settings: TrialSettings,
    options: Options,
    machine: Machine,
    measured: Mapping[str, Any] | None = None,
    trainable: type[tune.Trainable] = StudentTrial,
) -> None:
    """Run the trials that have not ended.

    Args:
        searcher: suggests recipes and is told results.
        scheduler: ends trials early.
        events: hears of results too, and knows the trials that have ended.
        arrays: the task's data, or a reference to it in Ray's object store.
        teachers: packed files by recipe id.
        outputs: of the teachers, as a sequence of :class:`TeacherOutputs` or a reference to one.
        settings: what all trials share beside; ``trials`` is where ``events`` looks for their files.
        options: how to search.
        machine: what there is to run on.
        measured: by recipe id, references to :class:`Copy` in Ray's object store: not run again.
        trainable: what a trial is; it takes the arguments of :meth:`StudentTrial.setup`.

    Raises:
        whatever ``events.halt`` was given as the reason to end.
    """
    folder = SweepFolder(options.store, options.name)
    recorded = RecordedSearcher(searcher, events)
    left = options.trials - sum(record.ended for record in events.records.values())
    if left < 1:
        recorded.suggest("none")  # tells the searcher of ends that it has not heard of
        events.halt.check()
        return
    # What is a reference already is not copied into the store a second time.
    prepared = tune.with_parameters(
        trainable,
        arrays=arrays,
        teachers=dict(teachers),
        outputs=outputs,
        settings=settings,
        measured=dict(measured or {}),
    )
    shutil.rmtree(folder.scratch, ignore_errors=True)
    try:
        # tune.run and not tune.Tuner, which pickles its callbacks and the searcher into the store to begin
        # with.
        tune.run(
            prepared,
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
