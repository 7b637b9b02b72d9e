"""The one training loop; its order is fixed and visible, and an empty slot is a null object."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainables.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from trainables.compressed_weight import NotFinite, compress, compressed_weights
from trainables.evaluation import ship
from trainables.modes import evaluating
from trainables.optimizers import RELATIVE_RATE
from trainables.quantized_inputs import calibrate, input_quantizers
from trainables.quantizers.sharing import share_levels
from trainables.recipe import Phase, Recipe
from trainables.tasks.base import LoadedTask
from trainables.teachers.base import Sources

CHECKPOINT_VERSION = 2
GRADIENT_BATCHES = 5  # that the published code shares out its points by


class Diverged(Exception):
    """Training left the finite numbers; the message says where."""


class Trainer:
    """One student being trained.

    Stopping after any epoch and resuming changes no bit on the CPU (a GPU adds in any order): the
    randomness of an epoch is a function of (seed, epoch), entering a phase is a function of the
    student's state, and resuming replays phase entries before it loads state.

    Attributes:
        recipe: what is trained.
        model: the student's architecture as its origin built it.
        student: the network, its weights compressed while in use.
        epoch: epochs finished.
    """

    def __init__(
        self,
        recipe: Recipe,
        task: LoadedTask,
        sources: Sources,
        device: torch.device,
    ) -> None:
        """Build the student and what imitates it.

        Args:
            recipe: what to train.
            task: its data, on ``device``.
            sources: where the teacher finds trained networks and their outputs.
            device: where to train.

        Raises:
            ValueError: the parts do not fit each other.
        """
        self.recipe = recipe
        self.task = task
        self.device = device
        self.epoch = 0
        with torch.random.fork_rng(devices=_cuda(device)):
            torch.manual_seed(recipe.seed)
            self.model, student = recipe.origin.build(recipe.task, task, sources)
            self.losses = nn.ModuleList([loss.build() for loss in recipe.losses]).to(device)
        self.student = compress(student, recipe)
        self.teacher = recipe.teacher.build(sources, task).to(device)
        self._joints = list(compressed_weights(self.student))
        self._input_quantizers = [quantizer for _, quantizer in input_quantizers(self.student)]
        self._steps = task.steps("train")
        self._phase = -1
        self._optimizer: torch.optim.Optimizer | None = None
        self._enter_due_phases()

    @property
    def finished(self) -> bool:
        """Whether all epochs of all phases are done."""
        return self.epoch >= self.recipe.epochs

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch; returns its mean ``loss``.

        Raises:
            Diverged: the loss, or a weight, is not finite.
        """
        recipe, phase = self.recipe, self.recipe.phases[self._phase]
        total = torch.zeros((), device=self.device)
        with torch.random.fork_rng(devices=_cuda(self.device)):
            torch.manual_seed(recipe.seed * 1_000_003 + self.epoch + 1)
            self.student.train()
            view = recipe.teacher.view(self.epoch)
            for number, batch in enumerate(self.task.batches("train", self.epoch, view)):
                self._set_learning_rate(phase, number)
                progress = (self.epoch + number / self._steps) / recipe.epochs
                with parametrize.cached(), _precision(self.device):
                    output = self.student(batch.inputs)
                    answers = self.teacher(batch, progress)
                    loss = recipe.task_weight(progress) * self.task.loss(output, batch)
                    for part, term in zip(recipe.losses, self.losses, strict=True):
                        imitation = term(batch.rows(output), answers, batch, progress)
                        loss = loss + part.weight(progress) * imitation
                    for _, joint, _ in self._joints:
                        loss = loss + joint.active.penalty()
                    for quantizer in self._input_quantizers:
                        if quantizer.quantizing:
                            loss = loss + quantizer.penalty()
                self._step(loss)
                if phase.prune:
                    self._prune(number)
                total += loss.detach()
        self.epoch += 1
        mean = float(total) / self._steps
        if not torch.isfinite(torch.tensor(mean)):
            raise Diverged(f"the loss became {mean} in epoch {self.epoch}")
        self._enter_due_phases()
        return {"loss": mean}

    def ship(self) -> bytes:
        """The packed file of the student as it would be shipped now.

        Raises:
            Diverged: a weight is not finite.
        """
        try:
            return ship(self.recipe, self.student, self._inputs, self.task.assets())
        except NotFinite as error:
            raise Diverged(f"after epoch {self.epoch}, {error}") from error

    def save(self, directory: Path, seconds: float = 0.0) -> None:
        """Replace the checkpoint in ``directory``, which is made if missing.

        Args:
            directory: a folder of its own.
            seconds: that training took so far, given back by :meth:`load`.

        Raises:
            OSError: it cannot be written; the checkpoint that was there is still there.
        """
        optimizer: dict[str, dict[str, Any]] = {}
        tensors = {f"student.{k}": v for k, v in self.student.state_dict().items()}
        tensors |= {f"losses.{k}": v for k, v in self.losses.state_dict().items()}
        if self._optimizer is not None:
            for number, state in self._optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    if isinstance(value, Tensor):
                        tensors[f"optimizer.{number}.{key}"] = value
                    else:
                        optimizer.setdefault(str(number), {})[key] = value
        facts = {
            "version": CHECKPOINT_VERSION,
            "recipe_id": self.recipe.recipe_id,
            "epoch": self.epoch,
            "seconds": seconds,
            "optimizer": optimizer,
            "relative_rates": self._relative_rates(),
        }
        write_checkpoint(directory, tensors, facts)

    def load(self, directory: Path) -> float:
        """Continue from a checkpoint that :meth:`save` wrote, on this or another device.

        Returns:
            The seconds that training had taken.

        Raises:
            CheckpointError: unreadable, of another version, or of another recipe.
        """
        tensors, facts = read_checkpoint(directory)
        try:
            version, recipe_id, epoch = facts["version"], facts["recipe_id"], facts["epoch"]
            seconds = float(facts["seconds"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint in {directory} lacks {error}") from error
        if version != CHECKPOINT_VERSION:
            raise CheckpointError(
                f"the checkpoint in {directory} has version {version}, not {CHECKPOINT_VERSION}"
            )
        if recipe_id != self.recipe.recipe_id:
            raise CheckpointError(
                f"the checkpoint in {directory} is of recipe {recipe_id}, not {self.recipe.recipe_id}"
            )
        self.epoch = epoch
        self._enter_due_phases()
        try:
            self.student.load_state_dict(_under("student.", tensors))
            self.losses.load_state_dict(_under("losses.", tensors))
            self._load_optimizer(_under("optimizer.", tensors), facts["optimizer"], facts["relative_rates"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"the checkpoint in {directory} does not fit its recipe: {error}"
            ) from error
        return seconds

    def _relative_rates(self) -> list[float]:
        """Of each group, as they were at the start of the phase."""
        if self._optimizer is None:
            return []
        return [group.get(RELATIVE_RATE, 1.0) for group in self._optimizer.param_groups]

    def _load_optimizer(
        self, tensors: dict[str, Tensor], scalars: dict[str, dict[str, Any]], relative_rates: list[float]
    ) -> None:
        if self._optimizer is None:
            return
        for group, rate in zip(self._optimizer.param_groups, relative_rates, strict=True):
            group[RELATIVE_RATE] = float(rate)
        state: dict[int, dict[str, Any]] = {int(number): dict(values) for number, values in scalars.items()}
        for name, tensor in tensors.items():
            number, key = name.split(".", 1)
            state.setdefault(int(number), {})[key] = tensor
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})

    def _enter_due_phases(self) -> None:
        """Enter, one after the other, every phase that starts at or before the current epoch."""
        start = 0
        for number, phase in enumerate(self.recipe.phases):
            if number > self._phase and start <= self.epoch:
                self._enter(number, phase)
            start += phase.epochs

    def _enter(self, number: int, phase: Phase) -> None:
        self._phase = number
        for name, joint, original in self._joints:
            joint.end_visit(original)
            if phase.quantizer is not None:
                joint.quantizing = False
                joint.guest = phase.quantizer.build(original, name)
        if phase.quantize:
            self._share_levels()
        for _, joint, original in self._joints:
            if phase.quantize:
                joint.start_quantizing(original)
            else:
                joint.quantizing = False
        if phase.quantize and not all(quantizer.quantizing for quantizer in self._input_quantizers):
            calibrate(self.student, self._inputs)
        for quantizer in self._input_quantizers:
            quantizer.quantizing = phase.quantize
        self._optimizer = self._trained_by(phase)

    def _inputs(self) -> Iterator[Tensor]:
        """What ranges of inputs are taken from: those of the first epoch."""
        return (batch.inputs for batch in self.task.batches("train", 0))

    def _trained_by(self, phase: Phase) -> torch.optim.Optimizer | None:
        """A fresh optimizer of what ``phase`` trains; nothing else gets gradients."""
        learned = {id(p): p for _, joint, _ in self._joints for p in joint.active.parameters()}
        idle = {id(p) for _, joint, _ in self._joints for p in joint.quantizer.parameters()} - set(learned)
        ends = [p for quantizer in self._input_quantizers for p in quantizer.parameters()]
        learned_elsewhere = set(learned) | idle | {id(p) for p in ends}
        weights = [p for p in self.student.parameters() if id(p) not in learned_elsewhere]
        weights += self.losses.parameters()
        chosen = weights if phase.train in ("weights", "all") else []
        undecayed = list(learned.values()) if phase.train in ("quantizer", "all") else []
        if phase.quantize:  # an input's range moves with whatever moves: both decide what is clipped
            undecayed += ends
        if phase.epochs and not chosen + undecayed:
            raise ValueError(
                f"phase {self._phase + 1} trains the {phase.train}, "
                f"but {phase.quantizer or self.recipe.quantizer} has nothing to learn"
            )
        for parameter in (*self.student.parameters(), *self.losses.parameters()):
            parameter.requires_grad_(False)
        for parameter in chosen + undecayed:
            parameter.requires_grad_(True)
        return phase.optimizer.build(chosen, undecayed) if chosen + undecayed else None

    def _share_levels(self) -> None:
        """Share the learned levels out among tensors by their gradients, where a quantizer asks for it."""
        sharing = [
            (name, joint, original)
            for name, joint, original in self._joints
            if not joint.quantizing and joint.active.shared_levels() is not None
        ]
        if not sharing:
            return
        norms = self._gradient_norms([original for _, _, original in sharing])
        if not all(map(math.isfinite, norms)):
            raise Diverged(f"a gradient is not finite after epoch {self.epoch}")
        sizes = [original.numel() for _, _, original in sharing]
        levels = [joint.active.shared_levels() or 0 for _, joint, _ in sharing]
        for (_, joint, _), count in zip(sharing, share_levels(sizes, norms, levels), strict=True):
            joint.active.take_levels(count)

    def _gradient_norms(self, parameters: list[nn.Parameter]) -> list[float]:
        """Norms of the mean gradients of the task's own loss over the first few batches of an epoch.

        In eval mode, so that asking moves nothing.
        """
        wanted = [parameter.requires_grad for parameter in parameters]
        for parameter in parameters:
            parameter.requires_grad_(True)
        total = [torch.zeros_like(parameter) for parameter in parameters]
        batches = itertools.islice(self.task.batches("train", self.epoch), GRADIENT_BATCHES)
        with evaluating(self.student):
            for batch in batches:
                with parametrize.cached():
                    loss = self.task.loss(self.student(batch.inputs), batch)
                for sum_, gradient in zip(total, torch.autograd.grad(loss, parameters), strict=True):
                    sum_ += gradient
        for parameter, flag in zip(parameters, wanted, strict=True):
            parameter.requires_grad_(flag)
        return [float(gradient.norm()) / min(GRADIENT_BATCHES, self._steps) for gradient in total]

    def _phase_start(self) -> int:
        return sum(phase.epochs for phase in self.recipe.phases[: self._phase])

    def _set_learning_rate(self, phase: Phase, number: int) -> None:
        assert self._optimizer is not None  # a phase with epochs has parameters to train
        progress = (self.epoch - self._phase_start() + number / self._steps) / phase.epochs
        for group in self._optimizer.param_groups:
            rate = phase.optimizer.learning_rate * phase.optimizer.decay(progress)
            group["lr"] = rate * group.get(RELATIVE_RATE, 1.0)

    def _step(self, loss: Tensor) -> None:
        assert self._optimizer is not None
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        for _, joint, _ in self._joints:
            if joint.quantizing:
                joint.active.constrain(self._optimizer)

    def _prune(self, number: int) -> None:
        """Renew the masks; progress runs from 0 to 1 over all pruning phases together."""
        spans = [(p.epochs if p.prune else 0) for p in self.recipe.phases]
        done = sum(spans[: self._phase]) + self.epoch - self._phase_start() + (number + 1) / self._steps
        for _, joint, original in self._joints:
            joint.mask.update(original, done / sum(spans))


def train(
    recipe: Recipe,
    task: LoadedTask,
    sources: Sources,
    device: torch.device,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None,
) -> bytes:
    """Train ``recipe`` from start to end and return the packed file; ``on_epoch(epoch, {"loss": ...})``.

    Raises:
        Diverged: the loss, or a weight, is not finite.
    """
    trainer = Trainer(recipe, task, sources, device)
    while not trainer.finished:
        metrics = trainer.train_epoch()
        on_epoch(trainer.epoch, metrics)
    return trainer.ship()


def _cuda(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []


def _precision(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 on GPUs that have it in hardware; float32 elsewhere (emulated, it is slower)."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
