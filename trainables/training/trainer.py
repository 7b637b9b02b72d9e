"""The one training loop; its order is fixed and visible, and an empty slot is a null object."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainables.recipe import Recipe, canonical_json
from trainables.tasks.base import LoadedTask
from trainables.teachers.base import Sources
from trainables.training.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from trainables.training.learner import Diverged, Learner, cuda_devices, moments, under
from trainables.training.prefixes import Prefix
from trainables.training.shared_state import shared_state, take_shared_state

CHECKPOINT_VERSION = 3


class Trainer:
    """A recipe being trained: its student, and those that are trained together with it.

    Stopping after any epoch and resuming changes no bit on the CPU (a GPU adds in any order): the
    randomness of an epoch is a function of (seed, epoch), entering a phase is a function of the
    student's state, and resuming replays phase entries before it loads state. Nor does it matter which of
    several students is the recipe's own: they take their turns in the order of their recipes' JSON.

    Attributes:
        recipe: what is trained.
        learners: the student of ``recipe`` first, then those of ``recipe.peers``.
        epoch: epochs finished.
    """

    def __init__(
        self,
        recipe: Recipe,
        task: LoadedTask,
        sources: Sources,
        device: torch.device,
        after_epoch: Callable[[Trainer, float], None] = lambda trainer, loss: None,
    ) -> None:
        """Build the students and what they imitate.

        Args:
            recipe: what to train.
            task: its data, on ``device``.
            sources: where teachers find trained networks and their outputs.
            device: where to train.
            after_epoch: is told of each epoch that was trained, with its loss, before the phases begin that
                begin then; default nobody.

        Raises:
            ValueError: the parts do not fit each other.
        """
        self.recipe = recipe
        self.task = task
        self.device = device
        self.epoch = 0
        self._after_epoch = after_epoch
        self.learners = [Learner(each, task, sources, device) for each in recipe.results]
        self._in_order = sorted(self.learners, key=lambda each: canonical_json(each.recipe.students[0]))
        self._steps = task.steps("train")

    @property
    def student(self) -> nn.Module:
        """The network of ``recipe``, its weights compressed while in use."""
        return self.learners[0].network

    @property
    def finished(self) -> bool:
        """Whether all epochs of all phases are done."""
        return self.epoch >= self.recipe.epochs

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch; returns the mean ``loss`` of the recipe's own student.

        Raises:
            Diverged: a loss, or a weight, is not finite.
        """
        totals = {id(learner): torch.zeros((), device=self.device) for learner in self.learners}
        with torch.random.fork_rng(devices=cuda_devices(self.device)):
            torch.manual_seed(self.recipe.shared_seed * 1_000_003 + self.epoch + 1)
            for learner in self.learners:
                learner.train()
            for number, batch in enumerate(self.task.batches("train", self.epoch, self._view())):
                progress = (self.epoch + number / self._steps) / self.recipe.epochs
                with parametrize.cached(), _precision(self.device), ExitStack() as recording:
                    for learner in self._in_order:
                        for context in learner.recorded():
                            recording.enter_context(context)
                    steps = moments(self._in_order, batch, progress)
                    losses = [each.loss(step) for each, step in zip(self._in_order, steps, strict=True)]
                for learner, loss in zip(self._in_order, losses, strict=True):
                    learner.step(loss, self.epoch, number)
                    totals[id(learner)] += loss.detach()
        self.epoch += 1
        means = [float(totals[id(learner)]) / self._steps for learner in self.learners]
        for mean in means:
            if not math.isfinite(mean):
                raise Diverged(f"the loss became {mean} in epoch {self.epoch}")
        self._after_epoch(self, means[0])
        for learner in self.learners:
            learner.enter_due_phases(self.epoch)
        return {"loss": means[0]}

    def ship(self) -> bytes:
        """The packed file of the recipe's own student as it would be shipped now.

        Raises:
            Diverged: a weight is not finite.
        """
        return self.learners[0].ship(self.epoch)

    def ship_peers(self) -> list[bytes | str]:
        """The packed files of the other students, in the order of ``recipe.results``; or why one has none."""
        files: list[bytes | str] = []
        for learner in self.learners[1:]:
            try:
                files.append(learner.ship(self.epoch))
            except Diverged as error:
                files.append(str(error))
        return files

    def save(self, directory: Path, seconds: float = 0.0) -> None:
        """Replace the checkpoint in ``directory``, which is made if missing.

        Args:
            directory: a folder of its own.
            seconds: that training took so far, given back by :meth:`load`.

        Raises:
            OSError: it cannot be written; the checkpoint that was there is still there.
        """
        tensors: dict[str, Tensor] = {}
        states: list[dict[str, Any]] = []
        for number, learner in enumerate(self.learners):
            found, facts = learner.state()
            tensors |= {f"{number}.{name}": tensor for name, tensor in found.items()}
            states.append(facts)
        write_checkpoint(
            directory,
            tensors,
            {
                "version": CHECKPOINT_VERSION,
                "recipe_id": self.recipe.recipe_id,
                "epoch": self.epoch,
                "seconds": seconds,
                "learners": states,
            },
        )

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
            seconds, states = float(facts["seconds"]), facts["learners"]
            if not 0 <= seconds < math.inf or type(epoch) is not int or not 0 <= epoch <= self.recipe.epochs:
                raise ValueError(f"right numbers: {epoch=}, {seconds=}")
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
        try:
            for number, (learner, state) in enumerate(zip(self.learners, states, strict=True)):
                learner.enter_due_phases(epoch)
                learner.load_state(under(f"{number}.", tensors), state)
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise CheckpointError(
                f"the checkpoint in {directory} does not fit its recipe: {error}"
            ) from error
        return seconds

    def shared(self, prefix: Prefix) -> dict[str, Tensor]:
        """All that ``prefix``, which has just ended, has come to: equal bits of all recipes that have it."""
        return shared_state(self.learners[0].kept(), masks=prefix.masks)

    def begin_at(self, prefix: Prefix, tensors: dict[str, Tensor]) -> None:
        """Go on where another recipe's training was at the end of ``prefix``; nothing was trained so far.

        Args:
            prefix: one of the recipe's own, see :func:`trainables.training.prefixes.prefixes`.
            tensors: what :meth:`shared` gave then.

        Raises:
            CheckpointError: they do not fit; the trainer is of no use any more.
        """
        (learner,) = self.learners
        try:
            learner.enter_due_phases(prefix.epochs - 1)
            take_shared_state(learner.kept(), tensors, masks=prefix.masks)
            learner.enter_due_phases(prefix.epochs)
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"the shared phases {prefix.key[:16]} do not fit the recipe: {error}"
            ) from error
        self.epoch = prefix.epochs

    def _view(self) -> int | None:
        """The view in which this epoch's batches are seen, by all students.

        Raises:
            ValueError: their teachers know answers to different views.
        """
        first, *others = {learner.recipe.teacher.view(self.epoch) for learner in self.learners}
        if others:
            raise ValueError(
                "students that are trained together see the same inputs, and their teachers ask for the "
                f"views {first} and {others[0]} in epoch {self.epoch + 1}"
            )
        return first


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


def _precision(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 on GPUs that have it in hardware; float32 elsewhere (emulated, it is slower)."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()
