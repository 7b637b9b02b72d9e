"""What the loop promises to teachers that learn, losses that look inside, masks that ask, and peers."""

from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from tests.recipes import STUDENT, TEACHER_ID
from tests.trainables.teachers import local_sources
from trainables.answers import Logits
from trainables.codecs import Smallest
from trainables.compression.compressed_weight import compressed_weights
from trainables.lesson import Lesson
from trainables.losses import SoftTargets
from trainables.losses.base import Loss
from trainables.models import ConvNet
from trainables.optimizers import SGD, AdamW
from trainables.origins import Fresh
from trainables.pruners import Magnitude, NoPruner
from trainables.pruners.base import Mask, Pruner
from trainables.pruners.magnitude import largest
from trainables.quantizers import LearnedPoints, NoQuantizer, Uniform
from trainables.recipe import Phase, Recipe
from trainables.schedules import Constant, Schedule
from trainables.tasks import Digits
from trainables.teachers import Fixed, NoTeacher, Remembered
from trainables.teachers.base import Teacher, TeacherPolicy
from trainables.training.checkpoint import CheckpointError
from trainables.training.learner import moments
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
EPOCHS = 4


@dataclass(frozen=True)
class LiveTeacher(Teacher):
    def view(self, epoch):
        return None

    def temperature(self, task):
        return None


class _Growing(TeacherPolicy):
    def __init__(self, network, task):
        super().__init__(network, {"network": network})
        self.task = task

    def forward(self, step):
        output = self.network(step.batch.inputs)
        answers = Logits(step.batch.rows(output).detach())
        return Lesson(answers, self.task.loss(output, step.batch))


@dataclass(frozen=True)
class Growing(LiveTeacher):
    """Learns from the labels while it is imitated."""

    def build(self, sources, task, student):
        return _Growing(ConvNet(stages=((8,),), hidden=(16,), depth=1).build((1, 8, 8), 10), task)


class _SecondHalf(TeacherPolicy):
    def forward(self, step):
        if step.progress < 0.5:
            return Lesson()
        return Lesson(Logits(step.batch.rows(self.network(step.batch.inputs)).detach()))


@dataclass(frozen=True)
class SecondHalf(LiveTeacher):
    """Says nothing until half of the training is over."""

    def build(self, sources, task, student):
        return _SecondHalf(sources.network(TEACHER_ID).eval())


class _OfPeers(TeacherPolicy):
    def forward(self, step):
        return Lesson(Logits(torch.stack(step.peers).mean(0)))


@dataclass(frozen=True)
class OfPeers(LiveTeacher):
    """The mean of what the other students say."""

    def build(self, sources, task, student):
        return _OfPeers()


class _Hint(nn.Module):
    def __init__(self, probe, ours, theirs):
        super().__init__()
        self.probe, self.ours, self.theirs = probe, ours, theirs
        (width, *_), (wanted, *_) = probe.student.watch(ours), probe.teacher.watch(theirs)
        self.project = nn.Linear(width, wanted)

    def forward(self, step, lesson):
        ours, theirs = self.probe.student[self.ours], self.probe.teacher[self.theirs]
        return F.mse_loss(self.project(ours.flatten(2).mean(2)), theirs.flatten(2).mean(2).detach())


@dataclass(frozen=True)
class Hint(Loss):
    """The student's feature, projected, comes near the teacher's."""

    ours: str = "0.0"
    theirs: str = "0.0"
    weight: Schedule = Constant(1.0)

    def build(self, probe):
        return _Hint(probe, self.ours, self.theirs)

    def check_temperature(self, only):
        pass


class _Saliency(Mask):
    needs_gradient = True

    def __init__(self, weight):
        super().__init__()
        self.register_buffer("score", torch.zeros_like(weight))
        self.register_buffer("keep", torch.ones(weight.shape, dtype=torch.bool))
        self.register_buffer("begun", torch.tensor(False))

    def update(self, weight, gradient, progress):
        assert gradient.shape == weight.shape
        self.score += (weight * gradient).detach().abs()
        if progress > 0.5:
            self.begun.fill_(True)
            self.keep.copy_(largest(self.score, 0.5))

    def current(self):
        return self.keep if bool(self.begun) else None

    def shipped(self, weight):
        return self.keep


@dataclass(frozen=True)
class Saliency(Pruner):
    """Half of each tensor, by gradient times weight."""

    def build(self, weight, name=""):
        return _Saliency(weight)


def recipe_of(teacher=None, losses=(), phase=None, **parts):
    """A recipe of one phase of which ``phase`` says what is not usual."""
    empty = {"pruner": NoPruner(), "quantizer": NoQuantizer(), "codec": Smallest()}
    return Recipe(
        method="double",
        task=Digits(batch_size=256),
        origin=Fresh(STUDENT),
        teacher=teacher or NoTeacher(),
        losses=losses,
        phases=(Phase(EPOCHS, AdamW(1e-2), **(phase or {})),),
        **{**empty, **parts},
    )


def mutual(count=3):
    alone = [
        recipe_of(OfPeers(), (SoftTargets(),), quantizer=Uniform(bits), seed=bits, phase={"quantize": True})
        for bits in range(2, 2 + count)
    ]
    return replace(alone[0], peers=tuple(alone[1:]))


DOUBLES = {
    "a teacher that learns": recipe_of(Growing(), (SoftTargets(),)),
    "a loss with a projection on a feature": recipe_of(Fixed(TEACHER_ID), (Hint(),)),
    "a loss that looks into a teacher that learns": recipe_of(Growing(), (Hint(),)),
    "a mask that asks for gradients": recipe_of(pruner=Saliency(), phase={"prune": True}),
    "a policy that changes at half time": recipe_of(SecondHalf(), (SoftTargets(),)),
    "a loss that looks into a teacher that is remembered": recipe_of(Remembered(TEACHER_ID, 2), (Hint(),)),
    "students that teach one another": mutual(),
    "masked weights that move on": recipe_of(
        pruner=Magnitude(0.5, updates=8), phase={"prune": True, "dense_gradient": True}
    ),
}


@pytest.fixture(scope="module")
def arrays():
    whole = Digits().load(None)
    return {name: values[:512] if name.startswith("train") else values for name, values in whole.items()}


def trainer_of(recipe, arrays):
    torch.set_num_threads(1)
    return Trainer(recipe, recipe.task.open(arrays, CPU, recipe.seed), local_sources(recipe.task), CPU)


@pytest.mark.parametrize("name", DOUBLES)
def test_stopping_and_resuming_changes_no_bit(name, arrays, tmp_path):
    straight = trainer_of(DOUBLES[name], arrays)
    for epoch in range(EPOCHS):
        if epoch == 2:
            straight.save(tmp_path / "half")
        straight.train_epoch()
    straight.save(tmp_path / "straight")
    resumed = trainer_of(DOUBLES[name], arrays)
    resumed.load(tmp_path / "half")
    while not resumed.finished:
        resumed.train_epoch()
    resumed.save(tmp_path / "resumed")
    ours, theirs = (
        safetensors.torch.load_file(tmp_path / each / "state.safetensors") for each in ("straight", "resumed")
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    for one, other in zip(straight.learners, resumed.learners, strict=True):
        assert one.ship(EPOCHS) == other.ship(EPOCHS)


def test_a_teachers_own_network_learns_and_a_given_one_stands_still(arrays):
    growing, fixed = (
        trainer_of(recipe_of(each, (SoftTargets(),)), arrays) for each in (Growing(), Fixed(TEACHER_ID))
    )
    moved = []
    for trainer in (growing, fixed):
        network = trainer.learners[0].policy.network
        before = {name: value.clone() for name, value in network.state_dict().items()}
        trainer.train_epoch()
        moved.append({k for k, v in network.state_dict().items() if not torch.equal(v, before[k])})
    assert moved[0] >= {name for name, _ in growing.learners[0].policy.network.named_parameters()}
    assert moved[1] == set()


def test_only_what_learns_is_in_the_checkpoint(arrays, tmp_path):
    found = {}
    for teacher in (Growing(), Fixed(TEACHER_ID)):
        trainer = trainer_of(recipe_of(teacher, (SoftTargets(),)), arrays)
        trainer.save(tmp_path)
        names = safetensors.torch.load_file(tmp_path / "state.safetensors")
        found[teacher] = [name for name in names if name.startswith("0.teacher.")]
    assert found[Growing()] and not found[Fixed(TEACHER_ID)]


def test_a_projection_is_trained_and_hooks_are_gone_after_the_step(arrays):
    trainer = trainer_of(recipe_of(Fixed(TEACHER_ID), (Hint(),)), arrays)
    (term,) = trainer.learners[0].losses
    before = term.project.weight.detach().clone()
    trainer.train_epoch()
    assert not torch.equal(before, term.project.weight)
    for network in (trainer.student, trainer.learners[0].policy.network):
        hooks = [each for module in network.modules() for each in module._forward_hooks.values()]
        assert hooks == []


def test_features_are_those_of_the_step(arrays):
    trainer = trainer_of(recipe_of(Fixed(TEACHER_ID), (Hint(),)), arrays)
    learner, batch = trainer.learners[0], next(trainer.task.batches("train", 0))
    probe = learner.losses[0].probe
    with ExitStack() as recording:
        for context in learner.recorded():
            recording.enter_context(context)
        learner.answer(batch)
        seen = probe.student["0.0"]
    expected = trainer.student.get_submodule("0.0")(batch.inputs)
    assert torch.equal(seen, expected) and seen.requires_grad


@pytest.mark.parametrize(
    ("teacher", "loss", "text"),
    [
        (Fixed(TEACHER_ID), Hint(ours="nowhere"), "no module 'nowhere'"),
        (OfPeers(), Hint(), "asks none"),
        (Remembered(TEACHER_ID, 2), Hint(theirs="nowhere"), "no module 'nowhere'"),
    ],
)
def test_a_feature_that_is_not_there_is_refused_before_training(teacher, loss, text, arrays):
    with pytest.raises(ValueError, match=text):
        trainer_of(recipe_of(teacher, (loss,)), arrays)


def test_a_mask_that_asks_gets_the_gradient_of_every_step(arrays):
    trainer = trainer_of(DOUBLES["a mask that asks for gradients"], arrays)
    trainer.train_epoch()
    scores = [compressed.mask.score for _, compressed, _ in compressed_weights(trainer.student)]
    assert all(bool((score > 0).any()) for score in scores)
    points = {"prune": True, "quantize": True, "train": "quantizer"}
    frozen = recipe_of(pruner=Saliency(), quantizer=LearnedPoints(), phase=points)
    with pytest.raises(ValueError, match="needs gradients of the weights"):
        trainer_of(frozen, arrays)


@pytest.mark.parametrize("quantize", [False, True])
def test_masked_weights_are_zero_and_move_only_with_a_dense_gradient(quantize, arrays):
    moved = {}
    for dense in (False, True):
        phase = Phase(2, SGD(0.05, momentum=0.0, weight_decay=0.0), prune=True, quantize=quantize)
        recipe = recipe_of(
            pruner=Magnitude(0.5, updates=2), quantizer=Uniform(4) if quantize else NoQuantizer()
        )
        still = replace(phase, epochs=2, prune=False, dense_gradient=dense)
        trainer = trainer_of(replace(recipe, phases=(phase, still)), arrays)
        trainer.train_epoch()
        trainer.train_epoch()
        (_, compressed, original), *_ = compressed_weights(trainer.student)
        masked = ~compressed.mask.current()
        assert bool(masked.any())
        before = original.detach().clone()
        trainer.train_epoch()
        assert not compressed(original)[masked].any()
        moved[dense] = bool((original != before)[masked].any())
    assert moved == {False: False, True: True}


def test_the_gradient_of_one_student_never_reaches_another(arrays):
    """A student whose peers do not imitate it moves as it would alone beside the same peers."""
    trainer = trainer_of(mutual(2), arrays)
    batch = next(trainer.task.batches("train", 0))
    for learner in trainer.learners:
        learner.train()
    steps = moments(trainer.learners, batch, 0.0)
    assert all(not said.requires_grad for step in steps for said in step.peers)
    trainer.learners[0].loss(steps[0]).backward()
    assert any(p.grad is not None for p in trainer.learners[0].network.parameters())
    assert all(p.grad is None for p in trainer.learners[1].network.parameters())


def test_each_peer_hears_the_others_in_their_order(arrays):
    trainer = trainer_of(mutual(3), arrays)
    batch = next(trainer.task.batches("train", 0))
    steps = moments(trainer.learners, batch, 0.0)
    for own, step in enumerate(steps):
        others = [each.logits for number, each in enumerate(steps) if number != own]
        assert all(torch.equal(a, b) for a, b in zip(step.peers, others, strict=True))


def test_peers_have_files_of_their_own(arrays):
    trainer = trainer_of(mutual(3), arrays)
    trainer.train_epoch()
    files = [learner.ship(trainer.epoch) for learner in trainer.learners]
    assert files[0] == trainer.ship() and len(set(files)) == 3


def test_peers_that_cannot_train_together_are_refused(arrays):
    other = replace(recipe_of(), phases=(Phase(1, AdamW()),))
    with pytest.raises(ValueError, match="for as many epochs"):
        recipe_of(peers=(other,))
    with pytest.raises(ValueError, match="without peers of their own"):
        recipe_of(peers=(recipe_of(peers=(recipe_of(seed=1),)),))
    apart = recipe_of(Remembered(TEACHER_ID, 2), (SoftTargets(),), peers=(recipe_of(),))
    with pytest.raises(ValueError, match="see the same inputs"):
        trainer_of(apart, arrays).train_epoch()


def test_a_checkpoint_of_other_learners_is_refused(arrays, tmp_path):
    trainer_of(mutual(2), arrays).save(tmp_path)
    recipe = mutual(2)
    with pytest.raises(CheckpointError, match=recipe.recipe_id):
        trainer_of(replace(recipe, peers=()), arrays).load(tmp_path)
