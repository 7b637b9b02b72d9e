"""One sweep from start to end."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import optuna
import ray
import torch
from ray import tune
from ray.tune.error import TuneError
from ray.tune.search import Searcher

from search.budget import NO_LIMITS, Budget
from search.callback import Record, TrialEvents, Watcher
from search.cluster import check_reachable, share_store, workers_environment
from search.conclusion import asked, finish_sweep, tell_front, tell_settings
from search.delivery import SWEEP
from search.event_log import Event, cut_partial_line
from search.halt import Halt, Signals
from search.halving import Rules
from search.limits import check_students
from search.mlflow_client import METRIC_TAG, NOTE_TAG, StoreError, shown
from search.notes import unfinished_note
from search.problem import Problem
from search.publish import publish
from search.recorded_searcher import RecordedSearcher
from search.records import records_of, sweep_tag, tell_again
from search.samplers import TPE, Sampler, find_sampler
from search.scheduler import ParetoScheduler
from search.searcher import OptunaSearcher, open_study
from search.settings import check_same, code_version, to_json
from search.store import Sweep, open_store, own_database
from search.studies import Study
from search.sweep_folder import SweepFolder
from search.teacher import (
    alone_with_teacher,
    ask_teacher,
    be_taught,
    cached_product,
    cached_teacher,
    checksum_of,
    keep_product,
    keep_teacher,
    outputs_name,
    product_path,
    train_teacher,
    view_bytes,
    views_that_fit,
)
from search.tracking import SweepExists, SweepTracker, signature_tags
from search.units import count, show_bytes
from search.warm_start import Known, Reading, find_earlier, look_back
from search.yardstick import Yardstick
from spaces import Context
from trainables.checkpoint import CHECKPOINT_FILE
from trainables.evaluation import evaluate_file, rebuild
from trainables.export import ExportError, to_onnx
from trainables.interfaces.base import Interface
from trainables.metrics import Quality, quality_of
from trainables.metrics.base import VALIDATION
from trainables.metrics.latency import alone, fingerprint, measure_latencies
from trainables.models.custom import allow
from trainables.packed_file import unpack
from trainables.recipe import Recipe
from trainables.store_mark import StoreMark
from trainables.tasks.base import Arrays, Task, TaughtTask
from trainables.teachers.remembered import different_views
from trainables.teachers.sources import TeacherOutputs
from trainables.trainable import StudentTrial, TrialSettings

MAX_FAILURES = 3
"""Of a trial's process, before the trial has failed. What would fail again is no such failure."""
LAST_WORDS_SECONDS = 10.0
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.EACCES}


@dataclass(frozen=True)
class Options:
    """What the command line says about a sweep.

    Attributes:
        name: of the sweep, unique in the store.
        trials: how many to start, at least 1.
        seed: of the search and of every trial.
        store: folder of the sweep's files.
        tracking_uri: MLflow's store.
        data: directory of the data set, or None.
        about_data: further options about the data that were given, such as ``image_size``.
        download: whether a published data set may be fetched.
        budget: what students may take and lose.
        sampler: name of how parameters are drawn.
        earlier: names of sweeps of the store that this one learns from.
        minimize_latency: whether latency is an objective too.
        concurrency: trials at a time, or None for one per processor (or two per GPU).
        address: of a running Ray cluster, or None for this machine.
        own_model: ``module:Class`` of the user's student, or None.
        scheduler: ``pareto``, which ends trials without a prospect of the front early; ``revive``, which also
            takes them up again once they have one; or ``none``.
    """

    name: str
    trials: int
    seed: int
    store: Path
    tracking_uri: str
    data: Path | None = None
    about_data: Mapping[str, Any] = field(default_factory=dict)
    download: bool = False
    budget: Budget = NO_LIMITS
    sampler: str = TPE.name
    earlier: tuple[str, ...] = ()
    minimize_latency: bool = False
    concurrency: int | None = None
    address: str | None = None
    own_model: str | None = None
    scheduler: Literal["pareto", "revive", "none"] = "pareto"


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended.

    Attributes:
        records: every trial, by its id.
        front: trial ids on the front, smallest first.
        quality: what selected the students.
        teacher: the teacher's qualities on both splits, by the names they are logged under, and
            ``packed_bytes``.
        undelivered: what MLflow lacks and how to deliver it; empty if it has everything.
        short: why there were fewer trials than asked for; empty if there were not.
    """

    records: Mapping[str, Record]
    front: tuple[str, ...]
    quality: Quality
    teacher: Mapping[str, float]
    undelivered: str
    short: str


class Reporter(Watcher, Protocol):
    """A watcher that also hears of what comes before and after the trials."""

    def say(self, text: str) -> None:
        """What is happening now, in a few words."""
        ...


def run_sweep(
    study: Study,
    options: Options,
    reporter: Reporter,
    report: Callable[[str], str],
    *,
    resume: bool = False,
) -> Outcome:
    """Search ``study`` and leave trials, front and report in the store.

    Whatever ends it, it can go on: trials that had not ended are started again from their own folders, what
    comes before them is repeated from what it left in the store.

    Args:
        study: what to search.
        options: how.
        reporter: hears of the progress.
        report: renders the page of a finished sweep, given its name.
        resume: go on with the sweep of this name, of which the store has a log.

    Raises:
        Problem: something the user can put right; nothing is written, except where a cluster refuses.
        DataError: the data is not usable.
        StoreError, SweepExists: the store cannot be written, or has a sweep of that name.
        KeyboardInterrupt: the user stopped it.
    """
    sampler = find_sampler(options.sampler)
    folder = SweepFolder(options.store, options.name)
    reporter.say("reading the data")
    if options.address is not None:
        check_reachable(options.address)
    task = study.make_task(options.data, options.about_data)
    arrays = task.load(options.data, download=options.download)
    teacher_recipe = study.teacher_recipe(task)
    context = study.context(task, teacher_recipe.recipe_id, options.seed)
    opened = task.open(arrays, torch.device("cpu"), 0)
    check_students(study.space, context, opened, options.budget)
    params = _settings(study, teacher_recipe, opened.fingerprint(), options)
    earlier: tuple[Sweep, ...] = ()
    if options.earlier:
        kind = {**params, "study": study.name, "metric": task.metric}
        earlier = find_earlier(open_store(options.store, options.tracking_uri), options.earlier, kind)
    if not resume and (folder.log.exists() or folder.journal.exists() or folder.trials.exists()):
        raise SweepExists(
            f"The store has a sweep named {options.name} already; go on with it by `rayduce resume "
            f"{options.name}`, or choose another with --name."
        )
    cached_teacher(options.store, teacher_recipe)  # a damaged one is told before anything is started
    settings = {
        "options": _kept(options),
        "study": {"name": study.name, "epochs": study.epochs},
        "data": checksum_of({name: np.ascontiguousarray(array) for name, array in arrays.items()}).hex(),
        "teacher": teacher_recipe.recipe_id,
        "code": code_version(),
    }
    halt = Halt()
    again = f"rayduce resume {options.name} --store {options.store}"
    signals = Signals(halt, f"Left at once. Go on with: {again}")
    with folder.claimed(), signals.handled():
        events = folder.events()
        for text in check_same(options.name, events[0]["settings"], settings) if resume else ():
            reporter.say(text)
        reporter.say("opening the store")
        tracker = SweepTracker(options.tracking_uri, options.store, study.name, options.name)
        yardstick = Yardstick(quality_of(task.metric), {}, options.budget, options.minimize_latency)
        about = asked(study, params, teacher_recipe, yardstick)
        tags = {METRIC_TAG: task.metric, NOTE_TAG: about, **signature_tags(task.signatures())}
        tracker.open(params=params, tags=tags, settings=settings, resume=resume)
        try:
            if resume:
                tracker.go_on(about)
            tell_settings(tracker, study, context, params, teacher_recipe)
            reporter.say("starting Ray")
            machine = _start_ray(options)
            signals.install()  # Ray's own handler prints a crash report and aborts
            outcome = _search(
                study,
                context,
                options,
                arrays,
                teacher_recipe,
                events,
                machine,
                tracker,
                reporter,
                sampler,
                earlier,
                signals,
                halt,
            )
            yardstick = replace(yardstick, teacher=outcome.teacher)
            finish_sweep(tracker, outcome.records, outcome.front, yardstick, about, outcome.short)
            reporter.say("delivering to MLflow")
            return replace(outcome, undelivered=publish(tracker, options.name, report))
        except BaseException as error:
            if ray.is_initialized():
                ray.shutdown()  # before anything is waited for: nobody hears what trials do now
            _end_early(tracker, error, about)
            if not isinstance(error, StoreError) and (text := _store_trouble(error)):
                error = StoreError(text)
            if isinstance(error, StoreError):
                raise StoreError(
                    f"{str(error).rstrip('.')}. The sweep stopped; make room, or let the store be written, "
                    f"and go on with: {again}"
                ) from error
            raise
        finally:
            tracker.abandon()
            if ray.is_initialized():
                ray.shutdown()


def _kept(options: Options) -> dict[str, Any]:
    """``options`` as the sweep's log has them: without passwords, and in a store that may be moved."""
    uri = options.tracking_uri
    found: dict[str, Any] = to_json(options)
    del found["store"]
    return {**found, "tracking_uri": None if uri == own_database(options.store) else shown(uri)}


def _end_early(tracker: SweepTracker, error: BaseException, about: str) -> None:
    """Say in the store that the sweep stopped or failed, as far as the store lets us."""
    stopped = isinstance(error, (KeyboardInterrupt, StoreError)) or _store_trouble(error)
    state = "stopped" if stopped else "failed"
    reason = "" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"[:300]
    tags = {NOTE_TAG: unfinished_note(about, state, reason, tracker.folder.name)}
    if reason:
        tags["reason"] = reason
    with suppress(OSError, StoreError):
        tracker.stop_trials()
        tracker.finish_sweep(state, {}, tags, {})
        tracker.flush(LAST_WORDS_SECONDS)


def _store_trouble(error: BaseException) -> str:
    """What of the store's disk an error says, in one line; empty if nothing."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return f"{error.strerror}: {error.filename or 'the store'}"
    return ""


def _search(
    study: Study,
    context: Context,
    options: Options,
    arrays: Arrays,
    teacher_recipe: Recipe,
    before: Sequence[Event],
    machine: Machine,
    tracker: SweepTracker,
    reporter: Reporter,
    sampler: Sampler,
    earlier: Sequence[Sweep],
    signals: Signals,
    halt: Halt,
) -> Outcome:
    task = context.task
    folder = tracker.folder
    data: Any = ray.put(dict(arrays))
    quality = quality_of(task.metric)
    opened = task.open(arrays, torch.device("cpu"), 0)
    wanted = None if study.teacher_views is None else different_views(study.teacher_views, opened)
    size = view_bytes(opened, task.outputs)
    views = views_that_fit(wanted, size, _smallest_object_store())
    context = replace(context, teacher_views=views)
    made: dict[str, np.ndarray] = {}
    outputs: tuple[TeacherOutputs, ...] = ()
    with alone_with_teacher(
        options.store, teacher_recipe, lambda: reporter.say("waiting for another sweep's teacher")
    ):
        kept = cached_teacher(options.store, teacher_recipe)
        if kept is not None:
            reporter.say("using the teacher of an earlier sweep")
        teacher_file = kept or _teacher(study, teacher_recipe, options.store, data, machine, reporter)
        settings = TrialSettings(
            latency_table=options.store / "latency",
            teacher_bytes=len(teacher_file),
            own_models=() if options.own_model is None else (options.own_model,),
            device=machine.device,
            latency_first=options.budget.max_latency_ms is not None
            or (options.scheduler != "none" and options.minimize_latency),
            store_mark=machine.store_mark,
            trials=folder.trials.absolute(),
        )
        facts = {
            "teacher_sha256": hashlib.sha256(teacher_file).hexdigest(),
            "teacher_views": "none" if views is None else str(views),
        }
        _check_facts(before, facts)
        trained = Trained(teacher_recipe, teacher_file, opened.fingerprint())
        if views is not None:
            outputs = (_outputs(trained, views, data, options.store, settings, machine, study, reporter),)
        for make in study.taught:
            taught = make(task, teacher_recipe.recipe_id)
            made |= _product(trained, taught, data, options.store, settings, machine, study, reporter)
    validation = ray.get(_evaluate.remote(teacher_file, data, task, "validation", settings))
    teacher = {VALIDATION + name: value for name, value in validation.items()}
    teacher["packed_bytes"] = float(len(teacher_file))
    remembered = ray.put(outputs)
    del outputs  # or the copy that the teacher's task left would stay beside it
    if made:
        data = ray.put({**arrays, **made})
    # A page that is open while the sweep runs shows the teacher from the start.
    tracker.annotate(SWEEP, {f"teacher_{name}": value for name, value in teacher.items()}, facts)

    def objectives(result: Mapping[str, Any]) -> list[float]:
        values = [result[quality.validation], math.log2(result["packed_bytes"])]
        return [*values, result.get("latency_ms", math.nan)] if options.minimize_latency else values

    def constraints(result: Mapping[str, Any]) -> dict[str, float]:
        return options.budget.constraints(result, quality, teacher[quality.validation])

    directions: list[Literal["maximize", "minimize"]] = ["maximize", "minimize"]
    if options.minimize_latency:
        directions.append("minimize")
    begun = mend_journal(folder.journal)
    optuna_study = open_study(folder.journal, options.name, directions, resume=begun)
    parameters = study.space.parameters(context)

    def draw(trial: optuna.trial.BaseTrial) -> Recipe:
        return study.space(trial, context)

    known = Known()
    if earlier:
        matters = options.minimize_latency or options.budget.max_latency_ms is not None
        reading = Reading(draw, parameters, sampler, objectives, constraints, matters)
        store = open_store(options.store, options.tracking_uri)
        known = look_back(store, earlier, folder.journal.parent, reading)
        reporter.say(known.text)
        if not begun:  # the journal keeps them
            optuna_study.add_trials(known.trials)
    scheduler = make_scheduler(quality, options)
    tell_again(before, scheduler)
    searcher = OptunaSearcher(
        optuna_study,
        draw,
        objectives,
        trials=options.trials,
        parameters=parameters,
        seed=options.seed,
        sampler=sampler,
        starting_points=study.space.starting_points(context),
        constraints=constraints,
        revisits=scheduler,
    )
    records = records_of(before, options.store, task.metric)
    yardstick = Yardstick(quality, dict(teacher), options.budget, options.minimize_latency)
    events = TrialEvents(tracker, reporter, yardstick, records=records, halt=halt)
    reporter.say("training students" + _why_live(wanted, views, size))
    teachers = {teacher_recipe.recipe_id: teacher_file}
    measured = {recipe_id: ray.put(copy) for recipe_id, copy in known.copies.items()}
    with signals.deferred():
        run_trials(
            searcher, scheduler, events, data, teachers, remembered, settings, options, machine, measured
        )
    short = ""
    if searcher.exhausted:
        short = _why_short(len(events.records), options.trials)
        reporter.say(short)
    for path in folder.trials.glob(f"*/{CHECKPOINT_FILE}"):  # of trials that will not go on any more
        path.unlink()

    reporter.say("measuring the front on the test split")
    front = choose_front(events.records, yardstick)
    _measure_front(front, events.records, data, task, settings)
    tested: dict[str, float] = ray.get(_evaluate.remote(teacher_file, data, task, "test", settings))
    teacher |= tested
    tell_front(tracker, events.records, front, replace(yardstick, teacher=teacher))
    return Outcome(events.records, tuple(front), quality, teacher, undelivered="", short=short)


def _check_facts(before: Sequence[Event], facts: Mapping[str, str]) -> None:
    """Refuse to go on with another teacher, or asked in another way, than the sweep began with."""
    for name, now in facts.items():
        was = sweep_tag(before, name)
        if was not in ("", now):
            raise Problem(
                f"The sweep was started with {name} {was[:16]}, and now that is {now[:16]}: put back the "
                "teacher's file and run it where there is as much memory, or start a new sweep."
            )


def mend_journal(journal: Path) -> bool:
    """Make Optuna's journal readable after its driver was killed; False if there is none yet.

    A line that was half written is cut off: Optuna would refuse all that follows. So is the lock of a writer
    that is no more: Optuna would wait for it for half a minute. The caller holds the lock of the sweep.
    """
    for lock in journal.parent.glob(f"{journal.name}.lock*"):
        lock.unlink(missing_ok=True)
    if not journal.exists():
        return False
    cut_partial_line(journal)
    return journal.stat().st_size > 0


@dataclass(frozen=True)
class Trained:
    """The teacher, and the data it makes things of.

    Attributes:
        recipe: how it was trained.
        file: its packed file.
        fingerprint: of its task's data.
    """

    recipe: Recipe
    file: bytes
    fingerprint: str


@dataclass(frozen=True)
class Machine:
    """What the cluster offers to trials.

    Attributes:
        device: that they train on, ``cpu`` or ``cuda``.
        concurrency: how many at a time.
        cpus_per_trial: as Ray counts them.
        gpus_per_trial: likewise.
        store_mark: by which nodes know the store; None on this machine alone.
    """

    device: str
    concurrency: int
    cpus_per_trial: float
    gpus_per_trial: float
    store_mark: StoreMark | None = None


def _start_ray(options: Options) -> Machine:
    processors = os.cpu_count() or 1
    connect = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    if options.address is None:
        wanted = options.concurrency or processors
        # Ray counts the GPUs it sees, torch the ones it can use.
        gpus_here = torch.cuda.device_count() if torch.cuda.is_available() else 0
        try:
            connect("local", num_cpus=max(processors, wanted), num_gpus=gpus_here, include_dashboard=False)
        except Exception as error:  # it has no class of its own for processes that do not come up
            text = str(error).strip().splitlines()[0]
            raise Problem(
                f"Ray did not start on this machine ({text}). If the machine is only busy, try again later."
            ) from error
    else:
        with workers_environment(options.own_model) as runtime_env:
            try:
                connect(check_reachable(options.address), runtime_env=runtime_env)
            except ConnectionError as error:
                raise Problem(f"The cluster at {options.address} cannot be joined: {error}.") from error
    resources = ray.cluster_resources()
    gpus, cpus = resources.get("GPU", 0.0), resources.get("CPU", 0.0)
    if cpus < 1:
        raise Problem(
            f"The cluster at {options.address} has no processor to train on yet: let it keep a worker "
            "(min_workers in its file), since trials are sized by what is there at the start."
        )
    concurrency = options.concurrency or int(2 * gpus if gpus else cpus)
    mark = None if options.address is None else share_store(options.store, options.name)
    return Machine(
        device="cuda" if gpus else "cpu",
        concurrency=concurrency,
        cpus_per_trial=1.0,
        gpus_per_trial=1.0 / math.ceil(concurrency / gpus) if gpus else 0.0,
        store_mark=mark,
    )


@ray.remote
def _train_teacher(recipe: Recipe, arrays: Arrays, device: str, threads: int) -> bytes:
    return train_teacher(recipe, arrays, device, threads, lambda epoch, metrics: None)


@ray.remote
def _ask_teacher(
    file: bytes, arrays: Arrays, task: Task, views: int, settings: TrialSettings, threads: int
) -> TeacherOutputs:
    for target in settings.own_models:
        allow(target)
    return ask_teacher(file, arrays, task, views, settings.device, threads)


@ray.remote
def _be_taught(
    file: bytes, arrays: Arrays, task: TaughtTask, settings: TrialSettings, threads: int
) -> Arrays:
    for target in settings.own_models:
        allow(target)
    return be_taught(file, arrays, task, settings.device, threads)


@ray.remote
def _evaluate(
    file: bytes, arrays: Arrays, task: Task, split: str, settings: TrialSettings
) -> dict[str, float]:
    """Quality of a packed file on ``split``, as ``rayduce evaluate`` has it: CPU, float32, one thread."""
    torch.set_num_threads(1)
    for target in settings.own_models:
        allow(target)
    return evaluate_file(file, task.open(arrays, torch.device("cpu"), 0), split)


@ray.remote
def _latencies(files: list[bytes], settings: TrialSettings) -> tuple[list[dict[str, float]], str]:
    """Latencies of each student in milliseconds, by metric, and the machine's fingerprint as JSON.

    Three rounds over all of them, so that a disturbance hits none alone; the best 10th percentile counts. A
    student without an ONNX form has none.
    """
    for target in settings.own_models:
        allow(target)
    exported: list[tuple[dict[str, bytes], Interface]] = []
    for file in files:
        recipe, tensors = unpack(file)
        interface = recipe.task.interface
        try:
            exported.append((to_onnx(rebuild(recipe, tensors), interface, {}, tensors), interface))
        except ExportError:
            exported.append(({}, interface))
    with alone():
        rounds = [
            [measure_latencies(graphs, interface) if graphs else {} for graphs, interface in exported]
            for _ in range(3)
        ]
    best = [
        {name: min(latencies[name].p10_ms for latencies in column) for name in column[0]}
        for column in zip(*rounds, strict=True)
    ]
    return best, json.dumps(fingerprint())


def _teacher(
    study: Study, recipe: Recipe, store: Path, data: Any, machine: Machine, reporter: Reporter
) -> bytes:
    reporter.say(f"training the teacher, {count(recipe.epochs, 'epoch')}")
    threads, gpus = _of_the_teacher(study, machine)
    task = _train_teacher.options(num_cpus=threads, num_gpus=gpus)
    file: bytes = ray.get(task.remote(recipe, data, machine.device, threads))
    keep_teacher(store, recipe, file)
    return file


def _outputs(
    trained: Trained,
    views: int,
    data: Any,
    store: Path,
    settings: TrialSettings,
    machine: Machine,
    study: Study,
    reporter: Reporter,
) -> TeacherOutputs:
    """The teacher's outputs, of an earlier sweep or computed now."""
    recipe, file = trained.recipe, trained.file
    path = product_path(store, recipe, file, trained.fingerprint, outputs_name(views, recipe.task))
    kept = cached_product(path)
    if kept is not None:
        return TeacherOutputs(recipe.recipe_id, trained.fingerprint, views, kept)
    reporter.say(f"asking the teacher about every sample{f', in {views} views' if views > 1 else ''}")
    threads, gpus = _of_the_teacher(study, machine)
    task = _ask_teacher.options(num_cpus=threads, num_gpus=gpus)
    found: TeacherOutputs = ray.get(task.remote(file, data, recipe.task, views, settings, threads))
    keep_product(path, found.values)
    return found


def _product(
    trained: Trained,
    taught: TaughtTask,
    data: Any,
    store: Path,
    settings: TrialSettings,
    machine: Machine,
    study: Study,
    reporter: Reporter,
) -> Arrays:
    """The arrays that the task ``taught`` takes from the teacher, of an earlier sweep or made now."""
    path = product_path(store, trained.recipe, trained.file, trained.fingerprint, taught.product)
    kept = cached_product(path)
    if kept is not None:
        return kept
    reporter.say(f"letting the teacher make training data: {taught.product}")
    threads, gpus = _of_the_teacher(study, machine)
    task = _be_taught.options(num_cpus=threads, num_gpus=gpus)
    found: Arrays = ray.get(task.remote(trained.file, data, taught, settings, threads))
    keep_product(path, found)
    return found


def _of_the_teacher(study: Study, machine: Machine) -> tuple[int, int]:
    """Processors and GPUs that train and ask the teacher."""
    if machine.gpus_per_trial > 0:
        return 1, 1
    # No more than one node has, or the task would wait for ever.
    largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    return max(1, min(study.teacher_threads or largest, largest)), 0


def _smallest_object_store() -> float:
    """Bytes; trials run on every node, and each keeps a copy of what they share."""
    return min(node["Resources"].get("object_store_memory", 0.0) for node in ray.nodes() if node["Alive"])


def _why_short(trials: int, wanted: int) -> str:
    """Said of a sweep that ran out of recipes."""
    return (
        f"ended after {trials} of {count(wanted, 'trial')}: none of the space's recipes is left, or hardly "
        "any, and one that was tried already would become the same student again"
    )


def _why_live(wanted: int | None, views: int | None, size: int) -> str:
    """Said where outputs of ``size`` bytes per view are too large in the ``wanted`` views."""
    if wanted is None or views is not None:
        return ""
    text = show_bytes(wanted * size)
    return f" with the teacher asked at every step, as remembering its outputs would take {text}"


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


def choose_front(records: Mapping[str, Record], yardstick: Yardstick) -> list[str]:
    """Trial ids of the finished students on the front, smallest file first."""
    finished = {key: record.metrics for key, record in records.items() if record.state == "finished"}
    return yardstick.front(finished)


def _measure_front(
    front: list[str],
    records: Mapping[str, Record],
    data: Any,
    task: Task,
    settings: TrialSettings,
) -> None:
    """The one use of the test split, and latency again now that the machine is quiet."""
    paths = [path for trial_id in front if (path := records[trial_id].packed_file) is not None]
    files = [path.read_bytes() for path in paths]
    measured = ray.get([_evaluate.remote(file, data, task, "test", settings) for file in files])
    latencies, machine = ray.get(_latencies.remote(files, settings))
    for trial_id, quality, latency in zip(front, measured, latencies, strict=True):
        records[trial_id].metrics |= {**quality, **latency}
        records[trial_id].machine = machine


def _settings(study: Study, teacher: Recipe, data: str, options: Options) -> dict[str, Any]:
    """The params of the parent run, beside the study and the metric, which are tags; no paths of this
    machine."""
    return {
        "teacher": teacher.recipe_id,
        "data": data,
        "trials": options.trials,
        "seed": options.seed,
        "epochs": study.epochs,
        **options.budget.params(),
        "sampler": options.sampler,
        "earlier": options.earlier,
        "minimize_latency": options.minimize_latency,
        "own_model": options.own_model,
        "scheduler": options.scheduler,
    }
