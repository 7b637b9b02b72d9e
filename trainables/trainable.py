"""The trainer as a Ray Tune trainable: one step is one epoch, one actor serves many trials."""

from __future__ import annotations

import gc
import json
import math
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray import tune
from torch import nn

from trainables.metrics import quality_of
from trainables.metrics.base import VALIDATION
from trainables.metrics.latency import fingerprint
from trainables.models.allowed import allow_all
from trainables.recipe import Recipe, recipe_from_dict
from trainables.shipping.evaluation import open_student
from trainables.tasks.base import Arrays, LoadedTask, TaughtTask
from trainables.teachers.sources import TeacherOutputs
from trainables.tracebacks import TRACEBACK, traceback_text, without_secrets
from trainables.training.checkpoint import CheckpointError
from trainables.training.device_numbers import known_of_device, said_by_device, without_device
from trainables.training.export_costs import counted_export
from trainables.training.out_of_memory import out_of_memory
from trainables.training.prefixes import prefixes
from trainables.training.shared_phases import SharedPhases
from trainables.training.trainer import Diverged, Trainer
from trainables.training.trial_folder import (
    Files,
    StoreTrouble,
    TrialFolder,
    TrialInUse,
    writing_to_the_store,
)
from trainables.training.trial_metrics import TrialSettings, export_metrics, final_metrics, first_metrics
from trainables.training.trial_sources import Making, Products, TrialSources

LAYERS, SAID = "layers", "said"
"""Under which a result holds layers and what is kept of each sample until they are in the trial's folder."""


@dataclass(frozen=True)
class Copy:
    """A student that an earlier sweep made.

    Attributes:
        source: ``<sweep>/<trial>``.
        result: its last result.
        file: its packed file.
    """

    source: str
    result: Mapping[str, Any]
    file: bytes


class StudentTrial(tune.Trainable):
    """Trains the recipe in ``config["recipe"]`` (canonical JSON) and reports what would be shipped.

    Every result holds ``epoch``, ``loss``, ``validation_<metric>``, ``packed_bytes``, ``seconds`` and
    ``state`` (``running``, ``finished`` or ``failed`` with a ``reason`` and its ``traceback``). The first is
    of the untrained student, so that a trial can be ended before it trains: its ``epoch`` is 0, it has no
    ``loss``, and it holds what :func:`first_metrics` knows: the latencies that the table has, and the costs
    of ``settings.first``. The last one also holds the metrics of :func:`final_metrics`,
    :func:`export_metrics` and :func:`said_by_device` and the machine that latencies are of, or as its
    ``reason`` why some are missing. A student that an earlier sweep made is not trained again: the only
    result is that sweep's, with ``copied_from``. The last result holds ``peers``, too: that of each further
    student of ``recipe.results``, in their order, by itself.

    What a trial has done is in its own folder, ``config["trial"]`` below ``settings.trials``, and wherever
    it is started, it goes on from there. With the name of a trial that was ended early as
    ``config["continues"]`` it begins where that one's last checkpoint is. Ray's checkpoints hold nothing.

    Where another trial has trained the same first phases, the first step of training takes them over: its
    result is of their last epoch, and has ``shared_epochs`` and the ``shared_seconds`` that the other one
    spent on them. ``seconds`` are the trial's own.
    """

    def setup(
        self,
        config: dict[str, Any],
        arrays: Arrays | None = None,
        teachers: Mapping[str, bytes] | None = None,
        outputs: Sequence[TeacherOutputs] | None = None,
        settings: TrialSettings | None = None,
        measured: Mapping[str, ray.ObjectRef[Copy]] | None = None,
        given: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        routes: Mapping[str, Mapping[int, np.ndarray]] | None = None,
        products: Products | None = None,
    ) -> None:
        """Called once per actor; the arguments stay for every trial it serves."""
        assert arrays is not None and teachers is not None and outputs is not None and settings is not None
        if settings.store_mark is not None:
            settings.store_mark.check()
        torch.set_num_threads(settings.threads)
        allow_all(settings.own)
        self._arrays, self._settings = arrays, settings
        self._measured, self._has_products = measured or {}, products is not None
        making = None if products is None else Making(products, arrays, settings.device, settings.threads)
        self._sources = TrialSources(teachers, outputs, given or {}, routes, making)
        self._shared = SharedPhases(settings.phases, settings.device, settings.threads, teachers)
        self._forget(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Serve another trial: drop everything of the last one, keep data and teachers."""
        self._forget(new_config)
        gc.collect()
        gc.freeze()  # what is left is modules and data, which stay: the next collection need not walk them
        if self._settings.device == "cuda":
            torch.cuda.empty_cache()
        return True

    def _forget(self, config: dict[str, Any]) -> None:
        self._recipe = config["recipe"]
        folder = self._settings.trials
        self._folder = None if folder is None else TrialFolder(folder / config["trial"])
        continues = config.get("continues")
        self._before = None if folder is None or continues is None else folder / continues
        self._trainer: Trainer | None = None
        self._reported = False
        self._borrowed = 0.0
        self._shared.told.clear()

    def step(self) -> dict[str, Any]:
        """Train one epoch and measure the packed file; one that has just started is measured as it stands.

        That is the untrained student, or the one of the last checkpoint, whose report a driver that was
        killed may not have heard.

        An error that would come again is a result, ``failed`` with its reason: raised, Ray would train four
        times to see it four times.

        Raises:
            StoreTrouble, TrialInUse: not the trial's doing; it can go on later.
        """
        try:
            with nullcontext() if self._folder is None else self._folder.held():
                return self._step()
        except (StoreTrouble, TrialInUse):
            raise
        except Diverged as error:
            reason, whole = str(error), traceback_text(traceback.format_exc())
        except Exception as error:
            reason = out_of_memory(error) or f"{type(error).__name__}: {error}"
            whole = traceback_text(traceback.format_exc())
        epoch = 0 if self._trainer is None else self._trainer.epoch
        self._trainer = None  # of an error for want of memory, this is the cure
        reason = _one_line(without_secrets(reason))
        return {"epoch": epoch, "state": "failed", "reason": reason, TRACEBACK: whole, "done": True}

    def _step(self) -> dict[str, Any]:
        recipe = recipe_from_dict(json.loads(self._recipe)) if self._trainer is None else self._trainer.recipe
        if recipe.recipe_id in self._measured:
            return self._copied(recipe, ray.get(self._measured[recipe.recipe_id]))
        shipped = None if self._folder is None else self._folder.students(recipe)
        if shipped is not None:  # it had finished, and nobody heard of it
            started = time.perf_counter()
            return self._result_of(recipe, self._open(recipe), recipe.epochs, shipped, started)
        trainer = self._begin(recipe)
        idle = not self._reported or trainer.finished
        trainer, result = (trainer, {}) if idle else self._advanced(trainer)
        files = Files(trainer.ship(), trainer.ship_peers() if trainer.finished else None)
        result |= self._result_of(recipe, trainer.task, trainer.epoch, files, self._started)
        self._reported = True
        if self._folder is not None and not idle and not trainer.finished:
            self._folder.save(trainer, time.perf_counter() - self._started)
        return result

    def _advanced(self, trainer: Trainer) -> tuple[Trainer, dict[str, Any]]:
        """The trainer after an epoch, and its report; the first one takes over what another trial trained."""
        found = self._shared.find(trainer.recipe) if trainer.epoch == 0 else None
        if found is not None:
            try:
                trainer.begin_at(found.prefix, found.tensors)
            except CheckpointError as error:
                self._shared.told.append(str(error))
                trainer = self._trainer = self._fresh(trainer.recipe)
            else:
                self._borrowed = found.seconds
                told = {"shared_epochs": found.prefix.epochs, "shared_seconds": found.seconds}
                return trainer, {"loss": found.loss, **told}
        return trainer, dict(trainer.train_epoch())

    def _keep(self, trainer: Trainer, loss: float) -> None:
        """Keep the phases that have just ended, if others may have the same ones."""
        for prefix in prefixes(trainer.recipe):
            if prefix.epochs == trainer.epoch:
                seconds = self._borrowed + time.perf_counter() - self._started
                self._shared.keep(trainer.recipe, prefix, trainer.shared(prefix), loss, seconds)

    def _open(self, recipe: Recipe, *, train: bool = False) -> LoadedTask:
        """Its task; to ``train`` on it, with what the teacher makes of its data."""
        task, arrays = recipe.task, self._arrays
        if train and isinstance(task, TaughtTask) and self._has_products:
            arrays = self._sources.taught(task)
        return task.open(arrays, torch.device(self._settings.device), recipe.shared_seed)

    def _begin(self, recipe: Recipe) -> Trainer:
        """The trainer, built at first use: an error while an actor is reset would end the whole sweep."""
        if self._trainer is None:
            # What the teacher makes for all students is no time of the first one's.
            started = time.perf_counter() - self._sources.seconds
            trainer = self._fresh(recipe)
            started += self._sources.seconds
            before = 0.0
            if self._folder is not None:
                if self._before is not None:
                    self._folder.take_over(self._before)
                try:
                    before = self._folder.load(trainer)
                except CheckpointError:  # the folder tells of it
                    trainer = self._fresh(recipe)
            self._started = started - before
            self._trainer = trainer
        return self._trainer

    def _fresh(self, recipe: Recipe) -> Trainer:
        device = torch.device(self._settings.device)
        return Trainer(recipe, self._open(recipe, train=True), self._sources, device, self._keep)

    def _result_of(
        self, recipe: Recipe, task: LoadedTask, epoch: int, files: Files, started: float
    ) -> dict[str, Any]:
        """What is reported of packed ``files``; those of a finished trial are kept first.

        Raises:
            Diverged: the quality of the recipe's own is not a number.
            StoreTrouble: they cannot be written.
        """
        data = files.own
        _, student = open_student(data)
        last = files.peers is not None
        result = self._tried(recipe, task, epoch, data, student, last=last)
        result |= {"state": "running", "done": False}
        if epoch == 0:
            with writing_to_the_store(self._settings.latency_table or Path()):
                result |= first_metrics(recipe, data, student.cpu(), self._settings)
            result |= known_of_device(recipe, data, student, self._settings)
        if files.peers is not None:
            result |= self._finished(recipe, data, student) | {"done": True}
            others = zip(recipe.results[1:], files.peers, strict=True)
            result["peers"] = [self._peer_result(each, task, epoch, file) for each, file in others]
            layers, said = (_taken_out(key, result, *result["peers"]) for key in (LAYERS, SAID))
            if self._folder is not None:
                self._folder.finish(files, layers, said)
                if told := [*self._folder.told, *self._shared.told, *filter(None, [result.get("reason")])]:
                    result["reason"] = _one_line("; ".join(told), 600)
        result["seconds"] = time.perf_counter() - started
        for each in result.get("peers", ()):
            each["seconds"] = result["seconds"]
        return result

    def _finished(self, recipe: Recipe, data: bytes, student: nn.Module) -> dict[str, Any]:
        """What is measured once of a student that has finished."""
        result: dict[str, Any] = final_metrics(recipe, data, student.cpu(), self._settings)
        with writing_to_the_store(self._settings.latency_table or Path()):
            measured = export_metrics(recipe, data, student, self._settings)
        result |= {**measured.numbers, LAYERS: measured.layers, "reason": measured.missing}
        result = _with_reason(result, *said_by_device(recipe, data, student, self._settings))
        return result | {"state": "finished", "latency_machine": json.dumps(fingerprint())}

    def _peer_result(self, recipe: Recipe, task: LoadedTask, epoch: int, file: bytes | str) -> dict[str, Any]:
        """The last result of a student that was trained together with the recipe's own.

        Args:
            recipe: that student's.
            task: with its data.
            epoch: the last.
            file: packed, or why there is none.
        """
        try:
            if isinstance(file, str):
                raise Diverged(file)
            _, student = open_student(file)
            found = self._tried(recipe, task, epoch, file, student, last=True)
        except Diverged as error:
            return {"epoch": epoch, "state": "failed", "reason": _one_line(str(error))}
        return found | self._finished(recipe, file, student)

    def _copied(self, recipe: Recipe, copy: Copy) -> dict[str, Any]:
        """The result of an earlier sweep's trial that made these students; its files become this trial's.

        Quality, sizes and memory are measured on the files, and what a device says is of this sweep's device;
        of what that sweep measured the rest is taken.

        Raises:
            Diverged: the quality of the recipe's own is not a number.
            StoreTrouble: they cannot be written.
        """
        task = self._open(recipe)
        result, peers = self._copy_of(recipe, task, copy) | {"done": True}, []
        copies = [self._measured.get(each.recipe_id) for each in recipe.results[1:]]
        others = [None if each is None else ray.get(each) for each in copies]
        for each, other in zip(recipe.results[1:], others, strict=True):
            if other is None:
                told = f"the student that {copy.source} trained with its own is not there any more"
                peers.append({"epoch": recipe.epochs, "state": "failed", "reason": told})
            else:
                peers.append(self._copy_of(each, task, other))
        layers, said = (_taken_out(key, result, *peers) for key in (LAYERS, SAID))
        if self._folder is not None:
            files = Files(copy.file, ["lost" if each is None else each.file for each in others])
            self._folder.finish(files, layers, said)
        return result | {"peers": peers}

    def _copy_of(self, recipe: Recipe, task: LoadedTask, copy: Copy) -> dict[str, Any]:
        _, student = open_student(copy.file)
        found = self._tried(recipe, task, recipe.epochs, copy.file, student, last=True)
        found["compression_ratio"] = self._settings.teacher_bytes / len(copy.file)
        measured = counted_export(recipe, copy.file, student.cpu())
        found |= {**measured.numbers, LAYERS: measured.layers}
        known = _with_reason(
            without_device(copy.result), *said_by_device(recipe, copy.file, student.cpu(), self._settings)
        )
        return {**known, **found, "copied_from": copy.source, "state": "finished"}

    def _tried(
        self,
        recipe: Recipe,
        task: LoadedTask,
        epoch: int,
        data: bytes,
        student: nn.Module,
        *,
        last: bool = False,
    ) -> dict[str, Any]:
        """Quality and size of the packed file ``data``, from which ``student`` was rebuilt.

        Of the ``last`` one of a trial it also holds under :data:`SAID` what is kept of each sample.

        Raises:
            Diverged: its quality is not a number.
        """
        student = student.to(self._settings.device)
        found = task.measure(student, "validation") if last else None
        quality = task.evaluate(student, "validation") if found is None else found.qualities
        name = quality_of(recipe.task.metric).name
        if not math.isfinite(quality[name]):
            raise Diverged(f"{name} became {quality[name]} in epoch {epoch}")
        measured: dict[str, Any] = {f"{VALIDATION}{name}": value for name, value in quality.items()}
        measured |= {} if found is None else {SAID: found.answers}
        return measured | {"epoch": epoch, "packed_bytes": len(data)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a trial's own folder holds it. Ray asks when a trial is paused."""

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]  # Ray: "a dict or a path"
        """Nothing: the next step finds the trial's own folder."""


def _taken_out(key: str, *results: dict[str, Any]) -> list[Any]:
    """What each of the ``results`` has under ``key``, which Ray is not told."""
    return [result.pop(key, None) for result in results]


def _one_line(text: str, length: int = 300) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] if lines else "an error without a word")[:length]


def _with_reason(result: Mapping[str, Any], numbers: Mapping[str, float], missing: str) -> dict[str, Any]:
    """``result`` with further ``numbers``, and why some are ``missing`` among its reasons."""
    reasons = "; ".join(filter(None, [result.get("reason"), missing]))
    known = {name: value for name, value in result.items() if name != "reason"}
    return {**known, **numbers, **({"reason": reasons} if reasons else {})}
