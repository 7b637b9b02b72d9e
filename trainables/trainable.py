"""The trainer as a Ray Tune trainable: one step is one epoch, one actor serves many trials."""

from __future__ import annotations

import gc
import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray import tune
from torch import Tensor, nn

from trainables.arrays import shared_tensor
from trainables.exporting.export import ExportError, integer_kind, to_onnx
from trainables.identity import code_of
from trainables.metrics import quality_of
from trainables.metrics.base import VALIDATION
from trainables.metrics.latency import (
    architecture_key,
    fingerprint,
    known_latencies,
    latencies_of,
    mean_latencies,
)
from trainables.metrics.macs import macs
from trainables.models.allowed import Allowed, allow_all
from trainables.recipe import Recipe, recipe_from_dict
from trainables.routes import routes_of
from trainables.shipping.evaluation import open_student, weights_of
from trainables.shipping.packed_file import Packed, unpack
from trainables.shipping.sizes import mean_bits, parameters, sparsity
from trainables.store_mark import StoreMark
from trainables.tasks.base import Arrays, LoadedTask
from trainables.teachers.sources import TeacherOutputs
from trainables.training.checkpoint import CheckpointError
from trainables.training.out_of_memory import out_of_memory
from trainables.training.trainer import Diverged, Trainer
from trainables.training.trial_folder import StoreTrouble, TrialFolder, TrialInUse, writing_to_the_store


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


class TrialSources:
    """What a sweep gives its trials to imitate.

    Args:
        files: packed files of trained networks by recipe id; each is rebuilt when first asked for.
        outputs: of those networks.
        given: weights of networks that users gave, by their digest.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        outputs: Sequence[TeacherOutputs],
        given: Mapping[str, Mapping[str, np.ndarray]],
    ) -> None:
        self._files = files
        self._given = given
        self._outputs = {(kept.recipe_id, kept.views): kept for kept in outputs}
        self._networks: dict[str, nn.Module] = {}

    def network(self, recipe_id: str) -> nn.Module:
        """See :class:`trainables.teachers.base.Sources`."""
        if recipe_id not in self._networks:
            if recipe_id not in self._files:
                raise ValueError(f"the sweep has no trained network of recipe {recipe_id}")
            _, self._networks[recipe_id] = open_student(self._files[recipe_id])
        return self._networks[recipe_id]

    def given(self, weights: str) -> Mapping[str, Tensor]:
        """See :class:`trainables.teachers.base.Sources`."""
        if weights not in self._given:
            raise ValueError(f"the sweep has no weights {weights} of a user's network")
        return {name: shared_tensor(values) for name, values in self._given[weights].items()}

    def outputs(self, recipe_id: str, views: int, task: LoadedTask) -> Mapping[str, Tensor]:
        """See :class:`trainables.teachers.base.Sources`."""
        kept = self._outputs.get((recipe_id, views))
        if kept is None:
            raise ValueError(f"the sweep has no outputs of recipe {recipe_id} in {views} views")
        if kept.fingerprint != (found := task.fingerprint()):
            raise ValueError(
                f"the outputs of recipe {recipe_id} are of the inputs {kept.fingerprint}, "
                f"but the trial trains on {found}"
            )
        return {name: shared_tensor(values) for name, values in kept.values.items()}


@dataclass(frozen=True)
class TrialSettings:
    """What all trials of a sweep share beside the data.

    Attributes:
        latency_table: folder of measured latencies; None leaves them out.
        teacher_bytes: length of the teacher's full-precision file, the base of ``compression_ratio``.
        own: code of the user's own that may be imported.
        device: where to train, ``cpu`` or ``cuda``.
        threads: of a trial on the CPU.
        latency_first: whether the latency of an architecture that the table does not have is measured before
            the student trains, because what the sweep decides about it then depends on it; else afterwards.
        store_mark: what a node must see of the store before it may work; None on the driver's machine.
        trials: folder in which each trial has one of its own; None keeps nothing of a trial.
    """

    latency_table: Path | None
    teacher_bytes: int
    own: tuple[Allowed, ...] = ()
    device: str = "cpu"
    threads: int = 1
    latency_first: bool = False
    store_mark: StoreMark | None = None
    trials: Path | None = None


class StudentTrial(tune.Trainable):
    """Trains the recipe in ``config["recipe"]`` (canonical JSON) and reports what would be shipped.

    Every result holds ``epoch``, ``loss``, ``validation_<metric>``, ``packed_bytes``, ``seconds`` and
    ``state`` (``running``, ``finished`` or ``failed`` with a ``reason``). The first is of the untrained
    student, so that a trial can be ended before it trains: its ``epoch`` is 0, it has no ``loss``, and it
    holds the latencies that the table has, or all of them where ``settings.latency_first`` is on. The last
    one also holds the metrics of :func:`final_metrics` and :func:`latencies` and the machine that these are
    of, or as its ``reason`` why there are none. A student that an earlier sweep made is not trained again:
    the only result is that sweep's, with ``copied_from``.

    What a trial has done is in its own folder, ``config["trial"]`` below ``settings.trials``, and wherever
    it is started, it goes on from there. With the name of a trial that was ended early as
    ``config["continues"]`` it begins where that one's last checkpoint is. Ray's checkpoints hold nothing.
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
    ) -> None:
        """Called once per actor; the arguments stay for every trial it serves."""
        assert arrays is not None and teachers is not None and outputs is not None and settings is not None
        if settings.store_mark is not None:
            settings.store_mark.check()
        torch.set_num_threads(settings.threads)
        allow_all(settings.own)
        self._arrays, self._settings = arrays, settings
        self._measured = measured or {}
        self._sources = TrialSources(teachers, outputs, given or {})
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
            reason = str(error)
        except Exception as error:
            reason = out_of_memory(error) or f"{type(error).__name__}: {error}"
        epoch = 0 if self._trainer is None else self._trainer.epoch
        self._trainer = None  # of an error for want of memory, this is the cure
        return {"epoch": epoch, "state": "failed", "reason": _one_line(reason), "done": True}

    def _step(self) -> dict[str, Any]:
        recipe = recipe_from_dict(json.loads(self._recipe)) if self._trainer is None else self._trainer.recipe
        if recipe.recipe_id in self._measured:
            return self._copied(recipe, ray.get(self._measured[recipe.recipe_id]))
        shipped = None if self._folder is None else self._folder.student(recipe.recipe_id)
        if shipped is not None:  # it had finished, and nobody heard of it
            started = time.perf_counter()
            return self._result_of(recipe, self._open(recipe), recipe.epochs, shipped, True, started)
        trainer = self._begin(recipe)
        idle = not self._reported or trainer.finished
        result: dict[str, Any] = {} if idle else dict(trainer.train_epoch())
        data = trainer.ship()
        result |= self._result_of(recipe, trainer.task, trainer.epoch, data, trainer.finished, self._started)
        self._reported = True
        if self._folder is not None and not idle and not trainer.finished:
            self._folder.save(trainer, time.perf_counter() - self._started)
        return result

    def _open(self, recipe: Recipe) -> LoadedTask:
        return recipe.task.open(self._arrays, torch.device(self._settings.device), recipe.seed)

    def _begin(self, recipe: Recipe) -> Trainer:
        """The trainer, built at first use: an error while an actor is reset would end the whole sweep."""
        if self._trainer is None:
            started = time.perf_counter()
            trainer = self._fresh(recipe)
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
        return Trainer(recipe, self._open(recipe), self._sources, torch.device(self._settings.device))

    def _result_of(
        self, recipe: Recipe, task: LoadedTask, epoch: int, data: bytes, finished: bool, started: float
    ) -> dict[str, Any]:
        """What is reported of the packed file ``data``; that of a finished trial is kept first.

        Raises:
            Diverged: its quality is not a number.
            StoreTrouble: it cannot be written.
        """
        _, student = open_student(data)
        result = self._tried(recipe, task, epoch, data, student) | {"state": "running", "done": False}
        if epoch == 0:
            with writing_to_the_store(self._settings.latency_table or Path()):
                result |= first_latencies(recipe, data, student.cpu(), self._settings)
        if finished:
            result |= final_metrics(recipe, data, student.cpu(), self._settings)
            try:
                with writing_to_the_store(self._settings.latency_table or Path()):
                    result |= latencies(recipe, data, student, self._settings)
            except ExportError as error:  # the student is what it is; only a number is missing
                result["reason"] = f"no latency: {error}"
            result |= {"state": "finished", "done": True, "latency_machine": json.dumps(fingerprint())}
            if self._folder is not None:
                self._folder.finish(data)
                if told := [*self._folder.told, *filter(None, [result.get("reason")])]:
                    result["reason"] = _one_line("; ".join(told), 600)
        result["seconds"] = time.perf_counter() - started
        return result

    def _copied(self, recipe: Recipe, copy: Copy) -> dict[str, Any]:
        """The result of the trial of an earlier sweep that made this student; its file becomes this trial's.

        Quality and size are measured on the file; of what that sweep measured the rest is taken.

        Raises:
            Diverged: its quality is not a number.
            StoreTrouble: it cannot be written.
        """
        _, student = open_student(copy.file)
        found = self._tried(recipe, self._open(recipe), recipe.epochs, copy.file, student)
        if self._folder is not None:
            self._folder.finish(copy.file)
        found["compression_ratio"] = self._settings.teacher_bytes / len(copy.file)
        return {**copy.result, **found, "copied_from": copy.source, "state": "finished", "done": True}

    def _tried(
        self, recipe: Recipe, task: LoadedTask, epoch: int, data: bytes, student: nn.Module
    ) -> dict[str, Any]:
        """Quality and size of the packed file ``data``, from which ``student`` was rebuilt.

        Raises:
            Diverged: its quality is not a number.
        """
        quality = task.evaluate(student.to(self._settings.device), "validation")
        name = quality_of(recipe.task.metric).name
        if not math.isfinite(quality[name]):
            raise Diverged(f"{name} became {quality[name]} in epoch {epoch}")
        measured: dict[str, Any] = {f"{VALIDATION}{name}": value for name, value in quality.items()}
        return measured | {"epoch": epoch, "packed_bytes": len(data)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a trial's own folder holds it. Ray asks when a trial is paused."""

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]  # Ray: "a dict or a path"
        """Nothing: the next step finds the trial's own folder."""


def _one_line(text: str, length: int = 300) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] if lines else "an error without a word")[:length]


def final_metrics(
    recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings
) -> dict[str, float]:
    """What is counted once per trial, on the packed file ``data`` and the ``student`` rebuilt from it.

    ``compression_ratio`` (teacher's full-precision file over this file), ``macs`` (of one use, see the task's
    interface, on average), ``full_macs`` (of one that takes the longest route), ``early_share`` (of inputs
    that take a shorter one), ``parameters``, ``sparsity`` (zeros among compressed weights) and ``mean_bits``
    (stored bits per compressed weight).
    """
    tensors, interface = unpack(data).tensors, recipe.task.interface
    costs = [(share, macs(route, interface)) for share, route in routes_of(student)]
    return {
        "compression_ratio": settings.teacher_bytes / len(data),
        "macs": round(sum(share * cost for share, cost in costs)),
        "full_macs": costs[-1][1],
        "early_share": sum(share for share, _ in costs[:-1]),
        "parameters": parameters(weights_of(tensors)),
        "sparsity": sparsity(tensors),
        "mean_bits": mean_bits(data),
    }


def latencies(recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings) -> dict[str, float]:
    """``latency_ms`` and what else the task's interface times, in ONNX Runtime, one thread, batch 1, p10.

    Of a student that takes several routes it is the mean over the validation samples of what theirs takes.
    They are of what :func:`trainables.exporting.export.to_onnx` makes of the file, so in 8-bit integers if
    the student has them. None at all without a table to look them up in.

    Raises:
        ExportError: the student has no ONNX form that does what it does.
    """
    if settings.latency_table is None:
        return {}
    interface, packed, found = recipe.task.interface, unpack(data), []
    for share, route in routes_of(student):
        if share:
            key, export = _latency_key(packed, route), partial(to_onnx, route, interface, {}, packed.tensors)
            found.append((share, latencies_of(key, export, interface, settings.latency_table)))
    return mean_latencies(found)


def first_latencies(
    recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings
) -> dict[str, float]:
    """What :func:`latencies` gives, as far as it is known before the student trains.

    That is what the table has, or all of it where the settings want it first. A student without an ONNX form
    has none; why is said at its end. Nor has one that takes several routes: which ones, training decides.
    """
    if settings.latency_table is None or len(routes_of(student)) > 1:
        return {}
    if settings.latency_first:
        try:
            return latencies(recipe, data, student, settings)
        except ExportError:
            return {}
    key = _latency_key(unpack(data), student)
    known = known_latencies(key, recipe.task.interface, settings.latency_table)
    return mean_latencies([(1.0, known)])


def _latency_key(packed: Packed, student: nn.Module) -> str:
    """Names what decides the latency of ``student``, rebuilt from ``packed``, in the table."""
    task = packed.recipe.task
    key = architecture_key(packed.model, task.interface, task.outputs, code_of(student))
    kind = integer_kind(student, packed.tensors)
    return f"{key}-{kind}" if kind else key
