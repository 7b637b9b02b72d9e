"""What a sweep was asked for, read and checked before anything is started or written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from search.clusters.cluster import check_reachable
from search.log.folder import SweepFolder
from search.objectives.yardstick import Yardstick
from search.options import Options, go_on_with
from search.planning.compute import with_compute
from search.planning.devices import meet
from search.planning.limits import check_students
from search.problem import Problem
from search.reporter import Reporter
from search.sampling.samplers import Sampler, find_sampler
from search.sampling.warm_start import check_kinds
from search.store.mlflow_client import masked
from search.store.store import open_store, own_database
from search.store.sweep import Sweep
from search.sweeps.conclusion import asked, refusals
from search.sweeps.settings import OWN_CODE, code_version, to_json
from search.teaching.kept import cached_teacher, lacking_features
from search.tracking.tracker import SweepExists
from spaces import Context
from studies.study import Study
from trainables.data.kept import checksum_of
from trainables.foreign import shown
from trainables.metrics import quality_of
from trainables.metrics.device import Device, damaged_answers
from trainables.metrics.latency import damaged_tables
from trainables.models.custom import code_of_target
from trainables.recipe import Recipe
from trainables.tasks.base import Arrays, LoadedTask, Task
from trainables.tasks.notes import DataNotes


@dataclass(frozen=True)
class Request:
    """What a sweep was asked for, and the data that it is about.

    Attributes:
        study: what is searched.
        options: how.
        sampler: that the options name.
        earlier: sweeps that this one learns from.
        task: of the study, on these data.
        notes: what was found about the data.
        arrays: the data.
        opened: the task on the CPU with the seed 0.
        teacher_recipe: how the teacher is trained.
        context: what every trial has in common.
        left_out: methods that the task refuses, by name, and why.
        device: what students are measured on; None (default) if on nothing but this machine.
        answers: what the device says of the teacher, by metric; default nothing.
    """

    study: Study
    options: Options
    sampler: Sampler
    earlier: tuple[Sweep, ...]
    task: Task
    notes: DataNotes
    arrays: Arrays
    opened: LoadedTask
    teacher_recipe: Recipe
    context: Context
    left_out: Mapping[str, str]
    device: Device | None = None
    answers: Mapping[str, float] = field(default_factory=dict)

    @property
    def folder(self) -> SweepFolder:
        """The places of the sweep's files."""
        return SweepFolder(self.options.store, self.options.name)

    @property
    def yardstick(self) -> Yardstick:
        """By what students are judged, as long as nothing is known of the teacher."""
        return self.options.yardstick(quality_of(self.task.metric))

    @cached_property
    def note(self) -> str:
        """What was asked for, as Markdown."""
        return asked(self.study, self.params, self.teacher_recipe, self.yardstick, self.left_out)

    @cached_property
    def params(self) -> dict[str, Any]:
        """Of the parent run, beside the study and the metric, which are tags; no paths of this machine."""
        options, own_code = self.options, self._own_code()
        return {
            "teacher": self.teacher_recipe.recipe_id,
            "data": self.opened.fingerprint(),
            "trials": options.trials,
            "trainings": options.trainings,
            "seed": options.seed,
            "epochs": self.study.epochs,
            "compute": self.context.compute,
            **options.budget.params(),
            "sampler": options.sampler,
            "earlier": options.earlier,
            "size": options.size,
            "minimized": options.minimized,
            "own_model": own_code and f"{self._own_name()} ({own_code})",
            "methods": options.methods,
            "fixed": options.fixed,
            "ranges": options.ranges,
            "scheduler": options.scheduler,
            "device": options.device,
            "device_numbers": options.device_numbers,
        }

    def to_go_on(self) -> dict[str, Any]:
        """What the sweep's log keeps to go on: without passwords, and in a store that may be moved."""
        options, uri = to_json(self.options), self.options.tracking_uri
        own_code = self._own_code()
        del options["store"], options["measure"]  # the command may hold a password, and is the user's to give
        options["tracking_uri"] = None if uri == own_database(self.options.store) else masked(uri)
        return {
            "options": options,
            "study": {"name": self.study.name, "epochs": self.study.epochs},
            "data": checksum_of(self.arrays).hex(),
            "teacher": self.teacher_recipe.recipe_id,
            "code": code_version() | ({OWN_CODE: own_code} if own_code else {}),
        }

    @property
    def basis(self) -> str:
        """What the bits of a training depend on beside its recipe and the machine: the data and the code."""
        known = self.to_go_on()
        return json.dumps([known["data"], known["code"]], sort_keys=True)

    def _own_code(self) -> str | None:
        """Digest of the source of the user's students; None if they are Rayduce's own."""
        if self.study.code is not None:
            return self.study.code.digest
        own = self.options.own_model
        return None if own is None else code_of_target(own)

    def _own_name(self) -> str:
        """What the user's code is called, wherever it lies."""
        return str(self.options.own_model) if self.study.code is None else f"{self.study.code.name}.py"


def read_request(study: Study, options: Options, reporter: Reporter, *, resume: bool) -> Request:
    """Read what a sweep of ``study`` needs, and refuse what could not be searched.

    Nothing is written but decoded data, which any later sweep of them uses.

    Args:
        study: what to search.
        options: how.
        reporter: hears what is worth knowing beforehand.
        resume: whether the sweep of this name may be there already.

    Raises:
        Problem: something the user can put right.
        DataError: the data is not usable.
        StoreError, SweepExists: the store cannot be read, or has a sweep of that name.
    """
    sampler = find_sampler(options.sampler)
    folder = SweepFolder(options.store, options.name)
    if not resume and (folder.log.exists() or folder.journal.exists() or folder.trials.exists()):
        raise SweepExists(
            f"The store has a sweep named {options.name} already; go on with it by "
            f"`{go_on_with(options)}`, or choose another with --name."
        )
    earlier: list[Sweep] = []  # a name that is not there is told before anything is read
    if options.earlier:
        store = open_store(options.store, options.tracking_uri)
        earlier = [store.sweep(name) for name in dict.fromkeys(options.earlier)]
    reporter.say("reading the data")
    if options.address is not None:
        check_reachable(options.address)
    task, notes = study.examine(options.data, options.about_data)
    if options.device is None:  # whose numbers have no names yet
        options.yardstick(quality_of(task.metric))  # what it lacks is told before anything is read
    for sentence in notes.sentences:
        reporter.remark(sentence)
    arrays = study.read(task, options.data, options.store, reporter.say, download=options.download)
    teacher = study.teacher_recipe(task)
    context = study.context(task, teacher.recipe_id, options.seed)
    context = with_compute(context, study, options.compute, reporter.say)
    opened = task.open(arrays, torch.device("cpu"), 0)
    options, device, answers = meet(options, teacher, study.space, context, opened, reporter)
    check_students(study.space, context, opened, options.budget, options.size)
    if lacking := lacking_features(study.space, context, teacher, opened):
        context = replace(context, lacking_features=lacking)
        check_students(study.space, context, opened, options.budget)
    left_out = study.space.left_out(context)
    for text in refusals(left_out):
        reporter.say(text)
    request = Request(
        study,
        options,
        sampler,
        tuple(earlier),
        task,
        notes,
        arrays,
        opened,
        teacher,
        context,
        left_out,
        device,
        answers,
    )
    check_kinds(earlier, {**request.params, "study": study.name, "metric": task.metric})
    cached_teacher(options.store, teacher)  # a damaged one is told before anything is started
    for text in _damaged(options.store):
        reporter.say(text)
    return request


def _damaged(store: Path) -> list[str]:
    """Sentences on files of measurements in ``store`` that will be measured again.

    Raises:
        Problem: one cannot be read.
    """
    try:
        return [*damaged_tables(store / "latency"), *damaged_answers(store / "devices")]
    except OSError as error:
        raise Problem(
            f"The measurements in {shown(str(error.filename))} cannot be read ({error.strerror}): make it "
            "readable, or remove it to measure again."
        ) from error
