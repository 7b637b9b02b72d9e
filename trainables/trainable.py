"""The trainer as a Ray Tune trainable: one step is one epoch, one actor serves many trials."""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from torch import Tensor, nn

from trainables.arrays import shared_tensor
from trainables.evaluation import open_student, weights_of
from trainables.export import ExportError, integer_kind, to_onnx
from trainables.metrics.latency import architecture_key, fingerprint, known_latencies, latencies_of
from trainables.metrics.macs import macs
from trainables.metrics.sizes import mean_bits, parameters, sparsity
from trainables.models.custom import allow
from trainables.packed_file import unpack, write_file
from trainables.quantizers.base import Codes, Dense
from trainables.recipe import Recipe, recipe_from_dict
from trainables.tasks.base import Arrays, LoadedTask
from trainables.teachers.sources import TeacherOutputs
from trainables.trainer import Diverged, Trainer

STUDENT_FILE = "student.rdz"


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
    """

    def __init__(self, files: Mapping[str, bytes], outputs: Sequence[TeacherOutputs]) -> None:
        self._files = files
        self._outputs = {(kept.recipe_id, kept.views): kept for kept in outputs}
        self._networks: dict[str, nn.Module] = {}

    def network(self, recipe_id: str) -> nn.Module:
        """See :class:`trainables.teachers.base.Sources`."""
        if recipe_id not in self._networks:
            if recipe_id not in self._files:
                raise ValueError(f"the sweep has no trained network of recipe {recipe_id}")
            _, self._networks[recipe_id] = open_student(self._files[recipe_id])
        return self._networks[recipe_id]

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
        own_models: ``module:Class`` targets that the user allowed to be imported.
        device: where to train, ``cpu`` or ``cuda``.
        threads: of a trial on the CPU.
        latency_first: whether the latency of an architecture that the table does not have is measured before
            the student trains, because what the sweep decides about it then depends on it; else afterwards.
    """

    latency_table: Path | None
    teacher_bytes: int
    own_models: tuple[str, ...] = ()
    device: str = "cpu"
    threads: int = 1
    latency_first: bool = False


class StudentTrial(tune.Trainable):
    """Trains the recipe in ``config["recipe"]`` (canonical JSON) and reports what would be shipped.

    Every result holds ``epoch``, ``loss``, ``validation_<metric>``, ``packed_bytes``, ``seconds`` and
    ``state`` (``running``, ``finished`` or ``failed`` with a ``reason``). The first is of the untrained
    student, so that a trial can be ended before it trains: its ``epoch`` is 0, it has no ``loss``, and it
    holds the latencies that the table has, or all of them where ``settings.latency_first`` is on. The last
    one also holds the metrics of :func:`final_metrics` and :func:`latencies` and the machine that these are
    of, or as its ``reason`` why there are none. A checkpoint of a finished trial is its packed file. A
    student that an earlier sweep made is not trained again: the only result is that sweep's, with
    ``copied_from``.
    """

    def setup(
        self,
        config: dict[str, Any],
        arrays: Arrays | None = None,
        teachers: Mapping[str, bytes] | None = None,
        outputs: Sequence[TeacherOutputs] | None = None,
        settings: TrialSettings | None = None,
        measured: Mapping[str, ray.ObjectRef[Copy]] | None = None,
    ) -> None:
        """Called once per actor; the arguments stay for every trial it serves."""
        assert arrays is not None and teachers is not None and outputs is not None and settings is not None
        torch.set_num_threads(settings.threads)
        for target in settings.own_models:
            allow(target)
        self._arrays, self._settings = arrays, settings
        self._measured = measured or {}
        self._sources = TrialSources(teachers, outputs)
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
        self._trainer: Trainer | None = None
        self._shipped: bytes | None = None
        self._reported = False

    def _begin(self) -> Trainer:
        """The trainer, built at first use: an error while an actor is reset would end the whole sweep."""
        if self._trainer is None:
            self._started = time.perf_counter()
            recipe = recipe_from_dict(json.loads(self._recipe))
            device = torch.device(self._settings.device)
            task = recipe.task.open(self._arrays, device, recipe.seed)
            self._trainer = Trainer(recipe, task, self._sources, device)
        return self._trainer

    def step(self) -> dict[str, Any]:
        """Train one epoch, or none if the untrained student was not reported, and measure the packed file."""
        copied = self._copied()
        if copied is not None:
            return copied
        trainer = self._begin()
        recipe = trainer.recipe
        untrained = trainer.epoch == 0 and not self._reported
        try:
            idle = untrained or trainer.finished
            result: dict[str, Any] = {} if idle else dict(trainer.train_epoch())
            data = trainer.ship()
        except Diverged as error:
            return {"epoch": trainer.epoch, "state": "failed", "reason": str(error), "done": True}
        _, student = open_student(data)
        quality = trainer.task.evaluate(student.to(trainer.device), "validation")
        result |= {f"validation_{name}": value for name, value in quality.items()}
        result |= {"epoch": trainer.epoch, "packed_bytes": len(data), "state": "running", "done": False}
        self._reported = True
        if untrained:
            result |= first_latencies(recipe, data, student.cpu(), self._settings)
        if trainer.finished:
            self._shipped = data
            result |= final_metrics(recipe, data, student.cpu(), self._settings)
            try:
                result |= latencies(recipe, data, student, self._settings)
            except ExportError as error:  # the student is what it is; only a number is missing
                result["reason"] = f"no latency: {error}"
            result |= {"state": "finished", "done": True, "latency_machine": json.dumps(fingerprint())}
        result["seconds"] = time.perf_counter() - self._started
        return result

    def _copied(self) -> dict[str, Any] | None:
        """The result of the trial of an earlier sweep that made this student, if there is one."""
        recipe = recipe_from_dict(json.loads(self._recipe))
        if recipe.recipe_id not in self._measured:
            return None
        copy = ray.get(self._measured[recipe.recipe_id])
        self._shipped = copy.file
        ended = {"epoch": recipe.epochs, "state": "finished", "done": True}
        return {**copy.result, "copied_from": copy.source, **ended}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """A finished trial is its packed file; an unfinished one what it takes to go on."""
        if self._shipped is not None:
            write_file(Path(checkpoint_dir) / STUDENT_FILE, self._shipped)
        else:
            self._begin().save(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]  # Ray: "a dict or a path"
        """Go on from an unfinished trial's checkpoint."""
        packed = Path(checkpoint_dir) / STUDENT_FILE
        if packed.exists():
            self._shipped = packed.read_bytes()
        else:
            self._begin().load(Path(checkpoint_dir))


def final_metrics(
    recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings
) -> dict[str, float]:
    """What is counted once per trial, on the packed file ``data`` and the ``student`` rebuilt from it.

    ``compression_ratio`` (teacher's full-precision file over this file), ``macs`` (of one use, see the task's
    interface), ``parameters``, ``sparsity`` (zeros among compressed weights) and ``mean_bits`` (stored bits
    per compressed weight).
    """
    _, tensors = unpack(data)
    return {
        "compression_ratio": settings.teacher_bytes / len(data),
        "macs": macs(student, recipe.task.interface),
        "parameters": parameters(weights_of(tensors)),
        "sparsity": sparsity(tensors),
        "mean_bits": mean_bits(data),
    }


def latencies(recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings) -> dict[str, float]:
    """``latency_ms`` and what else the task's interface times, in ONNX Runtime, one thread, batch 1, p10.

    They are of what :func:`trainables.export.to_onnx` makes of the file, so in 8-bit integers if the student
    has them. None at all without a table to look them up in.

    Raises:
        ExportError: the student has no ONNX form that does what it does.
    """
    if settings.latency_table is None:
        return {}
    interface = recipe.task.interface
    _, tensors = unpack(data)
    found = latencies_of(
        _latency_key(recipe, tensors, student),
        lambda: to_onnx(student, interface, {}, tensors),
        interface,
        settings.latency_table,
    )
    return {name: latency.p10_ms for name, latency in found.items()}


def first_latencies(
    recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings
) -> dict[str, float]:
    """What :func:`latencies` gives, as far as it is known before the student trains.

    That is what the table has, or all of it where the settings want it first. A student without an ONNX form
    has none; why is said at its end.
    """
    if settings.latency_table is None:
        return {}
    if settings.latency_first:
        try:
            return latencies(recipe, data, student, settings)
        except ExportError:
            return {}
    _, tensors = unpack(data)
    key = _latency_key(recipe, tensors, student)
    known = known_latencies(key, recipe.task.interface, settings.latency_table)
    return {name: latency.p10_ms for name, latency in known.items()}


def _latency_key(recipe: Recipe, tensors: Mapping[str, Codes | Dense], student: nn.Module) -> str:
    """Names what decides the latency of ``student``, rebuilt from ``tensors``, in the table."""
    # The class of an own model can change under the same name, so its layers are part of the key.
    layers = hashlib.sha256(repr(student).encode()).hexdigest()[:8]
    key = f"{architecture_key(recipe.model, recipe.task.interface, recipe.task.outputs)}-{layers}"
    kind = integer_kind(student, tensors)
    return f"{key}-{kind}" if kind else key
