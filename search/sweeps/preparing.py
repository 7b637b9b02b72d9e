"""What the trials of a sweep get from its teacher, once it is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import ray
from torch import Tensor

from search.clusters.machine import Machine, smallest_object_store
from search.log.event_log import Event
from search.objectives.yardstick import Yardstick
from search.planning.limits import cost_before
from search.problem import Problem
from search.reporter import Reporter
from search.sweeps.answering import TeacherAnswers
from search.sweeps.exhibits import Exhibits
from search.sweeps.marking import WAIT_SECONDS, Marking
from search.sweeps.measuring import measure_packed
from search.sweeps.records import sweep_tag
from search.sweeps.request import Request
from search.sweeps.trials import TrialInputs
from search.teaching.along import Route, needs_route
from search.teaching.given import packed_as_given, route_as_given
from search.teaching.kept import (
    alone_with_teacher,
    cached_teacher,
    feature_sizes,
    features_that_fit,
    keep_teacher,
    view_bytes,
    views_that_fit,
)
from search.teaching.made import TeacherJobs
from search.teaching.on_demand import OnDemand
from search.tracking.delivery import SWEEP
from search.tracking.tracker import SweepTracker
from search.units import show_bytes
from spaces import Context
from trainables.metrics.base import VALIDATION
from trainables.models.allowed import Allowed
from trainables.tasks.base import Measured
from trainables.teachers.remembered import different_views
from trainables.training.shared_phases import PhaseFolder
from trainables.training.trial_metrics import TrialSettings


@dataclass(frozen=True)
class Prepared:
    """What trials get from the teacher of their sweep.

    Attributes:
        context: of the sweep, with the views in which the teacher's outputs are remembered.
        teacher_file: the trained teacher, packed.
        inputs: what trials are given: the data, the teacher, and how it makes what the first of them needs.
        yardstick: of the sweep, with the teacher's size and its qualities on the validation split.
        marking: what ONNX Runtime's own quantization makes of the teacher, under way or done.
        why_live: said where the teacher's outputs are too large to be remembered; empty if they are not.
        answers: what the teacher says of each sample.
    """

    context: Context
    teacher_file: bytes
    inputs: TrialInputs
    yardstick: Yardstick
    marking: Marking
    why_live: str
    answers: TeacherAnswers

    def evaluate_teacher(self, split: str) -> dict[str, float]:
        """The teacher's qualities on ``split``; its answers are kept."""
        task, inputs = self.context.task, self.inputs
        found: Measured = ray.get(
            measure_packed.remote(self.teacher_file, inputs.arrays, task, split, inputs.settings)
        )
        return found.qualities | self.answers.add(split, found.answers, found.qualities)


def prepare(
    request: Request, before: Sequence[Event], machine: Machine, tracker: SweepTracker, reporter: Reporter
) -> Prepared:
    """Train the teacher, or find in the store what an earlier sweep had of it.

    What it makes for students, such as its answers to all samples, the first trial that needs it makes.

    Args:
        request: what the sweep was asked for.
        before: the sweep's log, if it goes on.
        machine: what there is to compute on.
        tracker: of the sweep; told of the teacher.
        reporter: hears of the progress.

    Raises:
        Problem: the sweep began with another teacher, or another process trains it.
        StoreError: the store cannot be written.
    """
    options, study, recipe = request.options, request.study, request.teacher_recipe
    views, why_live = _views(request)
    places, live = _places(request, views)
    context = replace(request.context, teacher_views=views, live_features=live)
    fingerprint = request.opened.fingerprint()
    jobs = TeacherJobs(
        recipe,
        fingerprint,
        ray.put(request.arrays),
        options.store,
        machine,
        reporter,
        threads=study.teacher_threads,
        route=needs_route(study.space, context) and recipe.epochs > 0,
    )
    routes: dict[str, Route] = {}
    with alone_with_teacher(
        options.store, recipe, lambda: reporter.say("waiting for another sweep's teacher")
    ):
        kept = cached_teacher(options.store, recipe)
        if kept is not None:
            reporter.say("using the teacher of an earlier sweep")
        file = kept or (jobs.train() if recipe.epochs else _as_given(request))
        facts = {
            "teacher_sha256": hashlib.sha256(file).hexdigest(),
            "teacher_views": "none" if views is None else str(views),
        }
        if places or live:
            facts["teacher_features"] = ", ".join(places) or "none"
        _check_facts(before, facts)
        settings = _trial_settings(request, machine, file)
        marking = Marking(jobs, request.yardstick.quality, tracker, reporter, before)
        marking.begin(file, request.task, settings)
        if jobs.route:
            routes = {recipe.recipe_id: jobs.along(file)}
        elif needs_route(study.space, context):
            routes = {recipe.recipe_id: route_as_given(recipe, request.opened, study.route, file)}
    given = ray.put({name: _arrays(state) for name, state in study.given.items()})
    products = OnDemand(recipe, file, fingerprint, options.store.absolute())
    teachers = {recipe.recipe_id: file}
    inputs = TrialInputs(
        jobs.data, settings, teachers, given=given, routes=ray.put(routes), products=products
    )
    exhibits = Exhibits(request.folder.samples, request.task, request.arrays)
    answers = TeacherAnswers(request.folder.predictions, request.yardstick.quality, exhibits)
    prepared = Prepared(context, file, inputs, request.yardstick, marking, why_live, answers)
    teacher = _measured(prepared, request, facts, tracker, reporter)
    marking.look(WAIT_SECONDS)
    return replace(prepared, yardstick=replace(request.yardstick, teacher=teacher))


def _measured(
    prepared: Prepared, request: Request, facts: Mapping[str, str], tracker: SweepTracker, reporter: Reporter
) -> dict[str, float]:
    """What the teacher is on the validation split; ``tracker``, with ``facts``, and ``reporter`` are told."""
    file, quality, size = prepared.teacher_file, prepared.yardstick.quality, prepared.yardstick.size
    validation = prepared.evaluate_teacher("validation")
    reporter.remark(
        f"{'the teacher' if request.teacher_recipe.epochs else 'your network'}: {quality.label} "
        f"{quality.text(validation[quality.name])} on validation, {show_bytes(len(file))}"
    )
    own = {each.name for each in quality.reported}
    teacher = {VALIDATION + name if name in own else name: value for name, value in validation.items()}
    teacher["packed_bytes"] = float(len(file))
    if size not in teacher:  # by which students are compared with it
        cost = cost_before(file, size)
        teacher |= {} if cost is None else {size: cost}
    teacher |= request.answers
    # A page that is open while the sweep runs shows the teacher from the start.
    told = {f"teacher_{name}": value for name, value in teacher.items()}
    tracker.annotate(SWEEP, told, facts, prepared.answers.files)
    return teacher


def _as_given(request: Request) -> bytes:
    """The packed file of the user's network, which is kept as any other teacher."""
    file = packed_as_given(request.teacher_recipe, request.opened, request.study.given)
    keep_teacher(request.options.store, request.teacher_recipe, file)
    return file


def _arrays(state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in state.items()}


def _views(request: Request) -> tuple[int | None, str]:
    """In how many views the teacher's outputs are remembered, and why in none, where they are too large."""
    study = request.study
    if study.views is None or not study.space.imitates(request.context):
        return None, ""
    wanted = different_views(study.views, request.opened)
    size = view_bytes(request.opened, request.task.outputs)
    views = views_that_fit(wanted, size, smallest_object_store())
    if views is not None:
        return views, ""
    text = show_bytes(wanted * size)
    return None, f" with the teacher asked at every step, as remembering its outputs would take {text}"


def _places(request: Request, views: int | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Where in the teacher's network features are remembered, and where they are too large for it."""
    places = request.study.space.looks_at(request.context)
    if not places:
        return (), ()
    sizes = feature_sizes(request.teacher_recipe, request.opened, places)
    size = view_bytes(request.opened, request.task.outputs)
    kept = features_that_fit(sizes, views, request.opened.samples("train"), size, smallest_object_store())
    return kept, tuple(place for place in places if place not in kept)


def _trial_settings(request: Request, machine: Machine, teacher_file: bytes) -> TrialSettings:
    options = request.options
    return TrialSettings(
        latency_table=options.store / "latency",
        teacher_bytes=len(teacher_file),
        own=_own(request),
        device=machine.device,
        first=_needed_first(request),
        store_mark=machine.store_mark,
        trials=request.folder.trials.absolute(),
        measured_on=request.device,
        phases=PhaseFolder(options.store.absolute() / "phases", options.phase_bytes, request.basis),
    )


def _needed_first(request: Request) -> frozenset[str]:
    """The costs on which it depends whether a student trains at all, so that they are measured before."""
    yardstick = request.yardstick
    unused = request.options.scheduler == "none" and not request.sampler.models
    compared = () if unused else yardstick.costs
    return frozenset((*yardstick.budget.limits, *compared))


def _own(request: Request) -> tuple[Allowed, ...]:
    """The code of the user's own that the students need."""
    if request.study.code is not None:
        return (request.study.code,)
    return () if request.options.own_model is None else (request.options.own_model,)


def _check_facts(before: Sequence[Event], facts: Mapping[str, str]) -> None:
    """Refuse to go on with another teacher, or asked in another way, than the sweep began with."""
    for name, now in facts.items():
        was = sweep_tag(before, name)
        if was not in ("", now):
            raise Problem(
                f"The sweep was started with {name} {was[:16]}, and now that is {now[:16]}: put back the "
                "teacher's file and run it where there is as much memory, or start a new sweep."
            )
