"""One sweep from start to end."""

from __future__ import annotations

import errno
import hashlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import ray
import torch

from search.clusters.cluster import check_reachable
from search.clusters.machine import Machine, smallest_object_store, start_ray
from search.clusters.temporary import own_folder
from search.log.event_log import Event
from search.log.folder import SweepFolder
from search.objectives.yardstick import Yardstick
from search.options import Options, command
from search.planning.limits import check_students
from search.problem import Problem
from search.reporter import Reporter
from search.sampling.journal import continue_study
from search.sampling.samplers import Sampler, find_sampler
from search.sampling.searcher import Judge, OptunaSearcher
from search.sampling.warm_start import Known, Reading, check_kinds, look_back
from search.store.mlflow_client import FRONT_TAG, METRIC_TAG, NOTE_TAG, StoreError, masked
from search.store.store import open_store, own_database
from search.store.sweep import Sweep
from search.sweeps.conclusion import asked, finish_sweep, refusals, tell_front, tell_settings
from search.sweeps.halt import Halt, Signals
from search.sweeps.measuring import choose_front, evaluate_packed, measure_front
from search.sweeps.publish import publish
from search.sweeps.ray_watch import RayDied, watched
from search.sweeps.records import lost_trials, records_of, sweep_tag, tell_again
from search.sweeps.settings import check_same, code_version, to_json
from search.sweeps.trial_events import TrialEvents
from search.sweeps.trials import make_scheduler, run_trials
from search.teaching.kept import alone_with_teacher, cached_teacher, checksum_of, view_bytes, views_that_fit
from search.teaching.made import Trained, teacher_outputs, teacher_product, trained_teacher
from search.tracking.delivery import SWEEP
from search.tracking.notes import unfinished_note
from search.tracking.record import Record
from search.tracking.tracker import SweepExists, SweepTracker
from search.tracking.values import signature_tags
from search.units import count, show_bytes
from spaces import Context
from studies.study import Study
from trainables.foreign import shown
from trainables.metrics import Quality, quality_of
from trainables.metrics.base import VALIDATION
from trainables.metrics.latency import damaged_tables
from trainables.recipe import Recipe
from trainables.tasks.base import Arrays
from trainables.teachers.remembered import different_views
from trainables.teachers.sources import TeacherOutputs
from trainables.trainable import TrialSettings
from trainables.training.checkpoint import CHECKPOINT_FILE

LAST_WORDS_SECONDS = 10.0
DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.EACCES, errno.EPERM),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP),  # something else stands in a file's place
}


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
        RayDied: a process of Ray's has ended; the interpreter may not end by itself any more.
        KeyboardInterrupt: the user stopped it.
    """
    sampler = find_sampler(options.sampler)
    folder = SweepFolder(options.store, options.name)
    if not resume and (folder.log.exists() or folder.journal.exists() or folder.trials.exists()):
        raise SweepExists(
            f"The store has a sweep named {options.name} already; go on with it by `rayduce resume "
            f"{options.name}`, or choose another with --name."
        )
    earlier: list[Sweep] = []  # a name that is not there is told before anything is read
    if options.earlier:
        store = open_store(options.store, options.tracking_uri)
        earlier = [store.sweep(name) for name in dict.fromkeys(options.earlier)]
    reporter.say("reading the data")
    if options.address is not None:
        check_reachable(options.address)
    task, notes = study.examine(options.data, options.about_data)
    for sentence in notes.sentences:
        reporter.remark(sentence)
    arrays = task.load(options.data, download=options.download)
    teacher_recipe = study.teacher_recipe(task)
    context = study.context(task, teacher_recipe.recipe_id, options.seed)
    opened = task.open(arrays, torch.device("cpu"), 0)
    check_students(study.space, context, opened, options.budget)
    left_out = study.space.left_out(context)
    for text in refusals(left_out):
        reporter.say(text)
    params = _settings(study, teacher_recipe, opened.fingerprint(), options)
    check_kinds(earlier, {**params, "study": study.name, "metric": task.metric})
    cached_teacher(options.store, teacher_recipe)  # a damaged one is told before anything is started
    for text in _damaged_tables(options.store / "latency"):
        reporter.say(text)
    settings = {
        "options": _kept(options),
        "study": {"name": study.name, "epochs": study.epochs},
        "data": checksum_of({name: np.ascontiguousarray(array) for name, array in arrays.items()}).hex(),
        "teacher": teacher_recipe.recipe_id,
        "code": code_version(),
    }
    halt = Halt()
    again = go_on_with(options)
    signals = Signals(halt, f"Left at once. Go on with: {again}")
    own = nullcontext(None) if options.address is not None else own_folder()
    with folder.claimed(), signals.handled(), own as temporary:
        events = folder.events()
        for text in check_same(options.name, events[0]["settings"], settings) if resume else ():
            reporter.say(text)
        reporter.say("opening the store")
        tracker = SweepTracker(options.tracking_uri, options.store, study.name, options.name)
        yardstick = Yardstick(quality_of(task.metric), {}, options.budget, options.minimize_latency)
        about = asked(study, params, teacher_recipe, yardstick, left_out)
        tags = {METRIC_TAG: task.metric, NOTE_TAG: about, **signature_tags(task.signatures())}
        tracker.open(params=params, tags=tags, settings=settings, resume=resume)
        try:
            if resume:
                tracker.go_on(about)
            tell_settings(tracker, study, context, params, teacher_recipe, notes)
            reporter.say("starting Ray")
            machine = start_ray(options, temporary)
            signals.install()  # Ray's own handler prints a crash report and aborts
            with watched(signals, again, lambda error: _end_early(tracker, error, about)):
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
        except RayDied:  # the store knows
            raise
        except BaseException as error:  # Ctrl-C too; it is raised again once the store knows
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
            if ray.is_initialized() and not isinstance(sys.exception(), RayDied):
                ray.shutdown()


def go_on_with(options: Options) -> str:
    """The command by which a user goes on with a sweep of these ``options``."""
    return command(
        "resume",
        options.name,
        options.store,
        tracking_uri=options.tracking_uri,
        address=options.address,
        own_model=options.own_model,
    )


def _damaged_tables(folder: Path) -> list[str]:
    """Sentences on tables of latencies in ``folder`` that will be measured again.

    Raises:
        Problem: a table cannot be read.
    """
    try:
        return damaged_tables(folder)
    except OSError as error:
        raise Problem(
            f"The table of latencies {shown(str(error.filename))} cannot be read ({error.strerror}): make it "
            "readable, or remove it to measure again."
        ) from error


def _kept(options: Options) -> dict[str, Any]:
    """``options`` as the sweep's log has them: without passwords, and in a store that may be moved."""
    uri = options.tracking_uri
    found: dict[str, Any] = to_json(options)
    del found["store"]
    return {**found, "tracking_uri": None if uri == own_database(options.store) else masked(uri)}


def _end_early(tracker: SweepTracker, error: BaseException, about: str) -> None:
    """Say in the store that the sweep stopped or failed, as far as the store lets us."""
    stopped = isinstance(error, (KeyboardInterrupt, StoreError, RayDied)) or _store_trouble(error)
    state = "stopped" if stopped else "failed"
    reason = "" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"[:300]
    if isinstance(error, RayDied):
        reason = error.what
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
    wanted = None
    if study.teacher_views is not None and study.space.imitates(context):
        wanted = different_views(study.teacher_views, opened)
    size = view_bytes(opened, task.outputs)
    views = views_that_fit(wanted, size, smallest_object_store())
    context = replace(context, teacher_views=views)
    made: dict[str, np.ndarray] = {}
    outputs: tuple[TeacherOutputs, ...] = ()
    with alone_with_teacher(
        options.store, teacher_recipe, lambda: reporter.say("waiting for another sweep's teacher")
    ):
        kept = cached_teacher(options.store, teacher_recipe)
        if kept is not None:
            reporter.say("using the teacher of an earlier sweep")
        teacher_file = kept or trained_teacher(study, teacher_recipe, options.store, data, machine, reporter)
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
            outputs = (
                teacher_outputs(trained, views, data, options.store, settings, machine, study, reporter),
            )
        for taught in study.space.taught(context):
            made |= teacher_product(trained, taught, data, options.store, settings, machine, study, reporter)
    validation = ray.get(evaluate_packed.remote(teacher_file, data, task, "validation", settings))
    teacher = {VALIDATION + name: value for name, value in validation.items()}
    teacher["packed_bytes"] = float(len(teacher_file))
    remembered = ray.put(outputs)
    del outputs  # or the copy that the teacher's task left would stay beside it
    if made:
        data = ray.put({**arrays, **made})
    # A page that is open while the sweep runs shows the teacher from the start.
    tracker.annotate(SWEEP, {f"teacher_{name}": value for name, value in teacher.items()}, facts)

    def objectives(result: Mapping[str, Any]) -> list[float]:
        size = result.get("packed_bytes", math.nan)
        values = [result.get(quality.validation, math.nan), math.log2(size) if size > 0 else math.nan]
        return [*values, result.get("latency_ms", math.nan)] if options.minimize_latency else values

    def constraints(result: Mapping[str, Any]) -> dict[str, float]:
        return options.budget.constraints(result, quality, teacher[quality.validation])

    directions: list[Literal["maximize", "minimize"]] = ["maximize", "minimize"]
    if options.minimize_latency:
        directions.append("minimize")
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
    records = records_of(before, options.store, task.metric)
    judge = Judge(objectives, constraints)
    continued = continue_study(folder.journal, options.name, directions, records, known.trials, judge)
    if continued.text:
        reporter.say(continued.text)
    scheduler = make_scheduler(quality, options)
    tell_again(before, scheduler)
    searcher = OptunaSearcher(
        continued.study,
        draw,
        objectives,
        trials=options.trials + continued.lost,
        parameters=parameters,
        seed=options.seed,
        sampler=sampler,
        starting_points=study.space.starting_points(context),
        constraints=constraints,
        revisits=scheduler,
        recipes={name: record.recipe for name, record in records.items()},
    )
    yardstick = Yardstick(quality, dict(teacher), options.budget, options.minimize_latency)
    events = TrialEvents(tracker, reporter, yardstick, records=records, halt=halt)
    _leave_out(lost_trials(records, continued.study), records, tracker, reporter)
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
    measure_front(front, events.records, data, task, settings)
    tested: dict[str, float] = ray.get(evaluate_packed.remote(teacher_file, data, task, "test", settings))
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


def _leave_out(
    lost: Mapping[str, str], records: Mapping[str, Record], tracker: SweepTracker, reporter: Reporter
) -> None:
    """End trials that are lost as failed, and say so: the rest of the sweep needs none of them."""
    for trial_id, why in lost.items():
        record = records[trial_id]
        record.state, record.reason, record.packed_file, record.front = "failed", why, None, False
        tracker.finish_trial(trial_id, "failed", {}, {"reason": why, FRONT_TAG: "false"}, {})
    if lost:
        named = ", ".join(list(lost)[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        reporter.say(f"leaving out {count(len(lost), 'trial')} whose students are lost: {named}")


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
        "methods": options.methods,
        "fixed": options.fixed,
        "ranges": options.ranges,
        "scheduler": options.scheduler,
    }
