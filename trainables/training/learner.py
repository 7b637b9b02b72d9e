"""One student in training: its network, its compressed weights, its teacher, its losses, its optimizer."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from trainables.admission import still_modules, train
from trainables.batch import Batch
from trainables.calling import Inputs, call, main_output
from trainables.compression.compressed_weight import NotFinite, compress, compressed_weights
from trainables.compression.quantized_inputs import calibrate, input_quantizers
from trainables.labels import partly_labelled
from trainables.lesson import Step
from trainables.models.base import Model
from trainables.models.custom import CodeChanged
from trainables.models.sliced import Sliced
from trainables.optimizers import RELATIVE_RATE
from trainables.probe import Features, Probe
from trainables.recipe import Phase, Recipe
from trainables.routes import heads_of, still_beside
from trainables.shipping.evaluation import ship
from trainables.slicing.changes import Changes
from trainables.slicing.unread import Unread
from trainables.tasks.base import LoadedTask
from trainables.teachers.base import Sources
from trainables.training.first_report import calibrated_as_shipped
from trainables.training.levels import share_out
from trainables.training.masks import Masks


class Diverged(Exception):
    """Training left the finite numbers; the message says where."""


class Learner:
    """One student being trained. It is given batches and never asks for an epoch by itself.

    Args:
        recipe: what to train.
        task: its data, on ``device``.
        sources: where the teacher finds trained networks and their outputs.
        device: where to train.

    Attributes:
        recipe: what is trained; its peers are the other students of the training.
        model: the student's architecture, as its origin built it.
        network: the student, its weights compressed while in use.
        policy: who teaches it.
        losses: the modules of ``recipe.losses``.

    Raises:
        ValueError: the parts do not fit each other.
    """

    def __init__(self, recipe: Recipe, task: LoadedTask, sources: Sources, device: torch.device) -> None:
        self.recipe = recipe
        self._task = task = partly_labelled(task, recipe.labelled)
        self._steps = task.steps("train")
        self._phase = -1
        self._optimizer: torch.optim.Optimizer | None = None
        with torch.random.fork_rng(devices=cuda_devices(device)):
            torch.manual_seed(recipe.seed)
            self.model, network = _built(recipe, task, sources)
            self._frozen = {id(each) for each in network.parameters() if not each.requires_grad}
            self._still = still_modules(network)
            train(network, self._still)
            unread = Unread(network, next(self.inputs())) if recipe.pruner.cuts else None
            self.network = compress(network, recipe)
            self._compressed = list(compressed_weights(self.network))
            self._masks = Masks(network, self._compressed, recipe.pruner, unread)
            self._input_quantizers = [quantizer for _, quantizer in input_quantizers(self.network)]
            self.policy = recipe.teacher.build(sources, task, self.network).to(device)
            self._frozen |= {id(each) for each in self.policy.own.parameters() if not each.requires_grad}
            self._probe = self._probed()
            self.losses = nn.ModuleList([loss.build(self._probe) for loss in recipe.losses]).to(device)
        self._enter(0, 0)

    def answer(self, batch: Batch) -> Any:
        """All that the student says to ``batch``, rows of padding included, with its gradient."""
        return call(self.network, batch.inputs)

    def recorded(self) -> list[AbstractContextManager[None]]:
        """Contexts in which is recorded what losses and masks look at; none if they look at nothing."""
        masks = self._masks.recorded() if self.recipe.phases[self._phase].prune else []
        return [*self._probe.recorded(), *masks]

    def loss(self, step: Step) -> Tensor:
        """All that the student, its quantizers and its teacher minimise at this step, a scalar."""
        lesson = self.policy(step)
        loss = self.recipe.task_weight(step.progress) * self._task.loss(step.output, step.batch)
        for part, term in zip(self.recipe.losses, self.losses, strict=True):
            loss = loss + part.weight(step.progress) * term(step, lesson)
        if lesson.loss is not None:
            loss = loss + lesson.loss
        for _, compressed, _ in self._compressed:
            loss = loss + compressed.active.penalty()
        for quantizer in self._input_quantizers:
            if quantizer.quantizing:
                loss = loss + quantizer.penalty()
        return loss

    def step(self, loss: Tensor, epoch: int, number: int) -> None:
        """One update.

        Args:
            loss: of :meth:`loss`.
            epoch: epochs finished before.
            number: of the step within the epoch, from 0.
        """
        assert self._optimizer is not None  # a phase with epochs has parameters to train
        phase = self.recipe.phases[self._phase]
        done = epoch - self._phase_start()
        progress = (done + number / self._steps) / phase.epochs
        for group in self._optimizer.param_groups:
            rate = phase.optimizer.learning_rate * phase.optimizer.decay(progress)
            group["lr"] = rate * group.get(RELATIVE_RATE, 1.0)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        for _, compressed, _ in self._compressed:
            if compressed.quantizing:
                compressed.active.constrain(self._optimizer)
        if phase.prune:
            self._prune(done + (number + 1) / self._steps)

    def train(self) -> None:
        """Put into train mode what learns, but for what the network itself holds in eval mode."""
        train(self.network, [*self._still, *self._resting()])
        self.losses.train()
        self.policy.own.train()

    def enter_due_phases(self, epoch: int) -> None:
        """Enter, one after the other, every phase that starts at or before ``epoch``."""
        self._enter(self._phase + 1, epoch)

    def inputs(self) -> Iterator[Inputs]:
        """What ranges of inputs are taken from: those of the first epoch."""
        return (batch.inputs for batch in self._task.batches("train", 0))

    def ship(self, epoch: int) -> bytes:
        """The packed file of the student as it would be shipped after ``epoch`` epochs.

        Before the first, batch normalisation of a slice of a trained network is measured for it.

        Raises:
            Diverged: a weight is not finite.
        """
        left = self._masks.left()
        model = Sliced(self.model, Changes()) if left and not self.recipe.origin.cuts else self.model
        batches = lambda: self._task.batches("train", 0)  # noqa: E731
        origin = self.recipe.origin
        unlike = epoch == 0 < self.recipe.epochs and origin.cuts and origin.parent is not None
        try:
            with calibrated_as_shipped(self.network, self._compressed, batches) if unlike else nullcontext():
                return ship(
                    self.recipe,
                    self.network,
                    self.inputs,
                    self._task.assets(),
                    model,
                    left,
                    lambda: self._task.in_order("validation"),
                )
        except NotFinite as error:
            raise Diverged(f"after epoch {epoch}, {error}") from error

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and facts by which :meth:`load_state` goes on bit for bit."""
        scalars: dict[str, dict[str, Any]] = {}
        tensors = {
            f"{kind}.{name}": value
            for kind, module in self.kept().items()
            for name, value in module.state_dict().items()
        }
        if self._optimizer is not None:
            for number, state in self._optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    if isinstance(value, Tensor):
                        tensors[f"optimizer.{number}.{key}"] = value
                    else:
                        scalars.setdefault(str(number), {})[key] = value
        return tensors, {"optimizer": scalars, "relative_rates": self._relative_rates()}

    def load_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Inverse of :meth:`state`, in the phase in which it was taken.

        Raises:
            RuntimeError, KeyError, ValueError, TypeError, AttributeError: it is of another student.
        """
        for kind, module in self.kept().items():
            module.load_state_dict(under(f"{kind}.", tensors))
        if self._optimizer is None:
            return
        for group, rate in zip(self._optimizer.param_groups, facts["relative_rates"], strict=True):
            group[RELATIVE_RATE] = float(rate)
        state: dict[int, dict[str, Any]] = {
            int(number): dict(values) for number, values in facts["optimizer"].items()
        }
        for name, tensor in under("optimizer.", tensors).items():
            number, key = name.split(".", 1)
            state.setdefault(int(number), {})[key] = tensor
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})

    def kept(self) -> dict[str, nn.Module]:
        """What changes in training, by the name under which checkpoints have it."""
        return {"student": self.network, "losses": self.losses, "teacher": self.policy.own}

    def _probed(self) -> Probe:
        """The features of both networks; shapes are found out on the first batch, when a loss asks."""

        def example() -> Any:
            return next(self.inputs())

        asked = self.policy.network
        imitated = self.policy.inside if asked is None else Features(asked, example)
        return Probe(Features(self.network, example), imitated, self._task)

    def _heads(self) -> nn.Module:
        """What a phase trains that trains the heads.

        Raises:
            ValueError: the student has none.
        """
        heads = heads_of(self.network)
        if heads is None:
            raise ValueError(
                f"phase {self._phase + 1} trains the heads, and {type(self.network).__name__} has none: "
                "give an origin that adds some, such as WithExits"
            )
        return heads

    def _resting(self) -> Iterable[nn.Module]:
        """Modules that stand still in this phase as a whole, their statistics and dropout included."""
        if self.recipe.phases[self._phase].train != "heads":
            return ()
        return still_beside(self.network, self._heads())

    def _relative_rates(self) -> list[float]:
        """Of each group, as they were at the start of the phase."""
        if self._optimizer is None:
            return []
        return [group.get(RELATIVE_RATE, 1.0) for group in self._optimizer.param_groups]

    def _enter(self, first: int, epoch: int) -> None:
        start = sum(phase.epochs for phase in self.recipe.phases[:first])
        for number, phase in itertools.islice(enumerate(self.recipe.phases), first, None):
            if start > epoch:
                break
            self._begin(number, phase, epoch)
            start += phase.epochs

    def _begin(self, number: int, phase: Phase, epoch: int) -> None:
        self._phase = number
        shapes = {name: tuple(original.shape) for name, _, original in self._compressed}
        own = {} if phase.quantizer is None else phase.quantizer.over(shapes)
        for name, compressed, original in self._compressed:
            compressed.end_phase_quantizer(original, keep=id(original) in self._frozen)
            compressed.dense_gradient = phase.dense_gradient
            if name in own:
                compressed.quantizing = False
                compressed.phase_quantizer = own[name].build(original, name)
        self._look(number, epoch)
        if phase.quantize:
            try:
                batches = self._task.batches("train", epoch)
                share_out(self._compressed, self.network, batches, self._plain_loss)
            except NotFinite as error:
                raise Diverged(f"after epoch {epoch}, {error}") from error
        for _, compressed, original in self._compressed:
            if phase.quantize:
                compressed.start_quantizing(original)
            else:
                compressed.quantizing = False
        if phase.quantize and not all(quantizer.quantizing for quantizer in self._input_quantizers):
            calibrate(self.network, self.inputs)
        for quantizer in self._input_quantizers:
            quantizer.quantizing = phase.quantize
        self._optimizer = self._trained_by(phase)
        self.policy.begin(number)

    def _trained_by(self, phase: Phase) -> torch.optim.Optimizer | None:
        """A fresh optimizer of what ``phase`` trains; nothing else gets gradients.

        What the network itself has frozen (``requires_grad_(False)``) is never trained; what quantizers learn
        about it is.
        """
        learned = {id(p): p for _, compressed, _ in self._compressed for p in compressed.active.parameters()}
        idle = {
            id(p) for _, compressed, _ in self._compressed for p in compressed.quantizer.parameters()
        } - set(learned)
        ends = [p for quantizer in self._input_quantizers for p in quantizer.parameters()]
        learned_elsewhere = set(learned) | idle | {id(p) for p in ends}
        every = [p for p in self.network.parameters() if id(p) not in learned_elsewhere]
        if phase.train == "heads":
            heads = {id(p) for p in self._heads().parameters()}
            every = [p for p in every if id(p) in heads]
        own = [p for p in every if id(p) not in self._frozen] if phase.train != "quantizer" else []
        beside = [*self.losses.parameters(), *self.policy.own.parameters()]
        beside = [p for p in beside if id(p) not in self._frozen]
        chosen = own + beside if phase.train != "quantizer" else []
        undecayed = list(learned.values()) if phase.train in ("quantizer", "all") else []
        # An input's range moves with whatever moves: both decide what is clipped.
        if phase.quantize and phase.train != "heads":
            undecayed += ends
        if phase.epochs and not own + undecayed and phase.train != "quantizer":
            raise ValueError(
                f"phase {self._phase + 1} has nothing to train: the network has frozen all of its parameters "
                "(requires_grad_(False)); leave some trainable, or choose a method that does not train"
            )
        if phase.epochs and not chosen + undecayed:
            raise ValueError(
                f"phase {self._phase + 1} trains the {phase.train}, "
                f"but {phase.quantizer or self.recipe.quantizer} has nothing to learn"
            )
        asking = [
            name
            for name, compressed, original in self._compressed
            if compressed.mask.needs_gradient and (id(original) in self._frozen or not chosen)
        ]
        if phase.prune and asking:
            why = "the network has frozen it" if chosen else f"the phase trains the {phase.train} alone"
            raise ValueError(
                f"{self.recipe.pruner} needs gradients of the weights, and {asking[0]} gets none in phase "
                f"{self._phase + 1}: {why}"
            )
        for kept in self.kept().values():
            kept.requires_grad_(False)
        for parameter in chosen + undecayed:
            parameter.requires_grad_(True)
        rates = {p: r for _, compressed, _ in self._compressed for p, r in compressed.active.rates().items()}
        return phase.optimizer.build(chosen, undecayed, rates) if chosen + undecayed else None

    def _prune(self, done: float) -> None:
        """Renew the masks after ``done`` epochs of this phase; progress is that of all pruning phases."""
        spans = [(p.epochs if p.prune else 0) for p in self.recipe.phases]
        progress = (sum(spans[: self._phase]) + done) / sum(spans)
        self._masks.update(progress)

    def _look(self, number: int, epoch: int) -> None:
        """Show masks that ask for it some batches of ``epoch`` before the first pruning phase."""
        pruned = [phase.prune for phase in self.recipe.phases]
        if self._masks.batches and pruned[number] and not any(pruned[:number]):
            batches = itertools.islice(self._task.batches("train", epoch), self._masks.batches)
            with torch.random.fork_rng(devices=cuda_devices(self._task.device)):
                torch.manual_seed(self.recipe.seed * 1_000_003 + epoch + 1)
                train(self.network, self._still)
                self._masks.look(batches, self._plain_loss)

    def _plain_loss(self, batch: Batch) -> Tensor:
        return self._task.loss(call(self.network, batch.inputs), batch)

    def _phase_start(self) -> int:
        return sum(phase.epochs for phase in self.recipe.phases[: self._phase])


def cuda_devices(device: torch.device) -> list[int]:
    """The devices whose random state training moves beside the CPU's."""
    return [device.index or 0] if device.type == "cuda" else []


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _built(recipe: Recipe, task: LoadedTask, sources: Sources) -> tuple[Model, nn.Module]:
    """The student and its architecture; never of a class that was edited since its recipe was made."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", CodeChanged)
        try:
            return recipe.origin.build(recipe.task, task, sources)
        except CodeChanged as error:
            raise ValueError(f"{error}: undo the edit, or start a new sweep") from error


def moments(learners: Iterable[Learner], batch: Batch, progress: float) -> list[Step]:
    """One step of each learner on the same batch; each knows what the others said, in their order."""
    outputs = [learner.answer(batch) for learner in learners]
    logits = [batch.rows(main_output(output)) for output in outputs]
    said = [each.detach() for each in logits]
    return [
        Step(batch, output, rows, (*said[:own], *said[own + 1 :]), progress)
        for own, (output, rows) in enumerate(zip(outputs, logits, strict=True))
    ]
