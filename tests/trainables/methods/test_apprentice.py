"""Apprentice: what each scheme trains, what it leaves alone, and what comes to nothing at weight 0."""

from dataclasses import replace

import pytest
import torch

from tests.recipes import STUDENT, TEACHER_ID
from tests.trainables.teachers import local_sources
from tests.trainables.translation import STUDENTS, write_pairs
from trainables import methods
from trainables.losses import SoftTargets
from trainables.models import LSTM, ConvNet
from trainables.models.custom import Custom, allow
from trainables.optimizers import AdamW
from trainables.origins import Fresh, Slice, Trained
from trainables.pruners import Magnitude, NoPruner
from trainables.quantizers import Symmetric
from trainables.schedules import Constant
from trainables.slicing.cut import Cut
from trainables.tasks import Digits
from trainables.teachers import Joint, NoTeacher
from trainables.training.learner import moments
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
TASK = Digits(batch_size=128)
GIVEN = methods.Setting(TASK, Fresh(STUDENT), 4, teacher=TEACHER_ID)
SCHEMES = (methods.apprentice_joint, methods.apprentice_fixed, methods.apprentice_refined)
MUTE = SoftTargets(Constant(1.0), Constant(0.0))


@pytest.fixture(scope="module")
def arrays():
    whole = Digits().load(None)
    return {name: values[:512] if name.startswith("train") else values for name, values in whole.items()}


def trainer_of(recipe, arrays):
    torch.set_num_threads(1)
    return Trainer(recipe, recipe.task.open(arrays, CPU, recipe.seed), local_sources(recipe.task), CPU)


def test_the_loss_is_the_papers_at_its_weights(arrays):
    recipe = methods.apprentice_joint(GIVEN)
    (imitation,) = recipe.losses
    weights = (recipe.teacher.weight, recipe.task_weight, imitation.weight)  # alpha, beta, gamma
    assert [each(0.3) for each in weights] == [1.0, 0.5, 0.5] and imitation.temperature(0.3) == 1.0
    trainer = trainer_of(recipe, arrays)
    (learner,) = trainer.learners
    batch = next(trainer.task.batches("train", 0))
    (step,) = moments(trainer.learners, batch, 0.0)
    torch.manual_seed(0)
    total = learner.loss(step).detach()
    teacher = learner.policy.network(batch.inputs)
    said = teacher.detach().softmax(1)
    divergence = (said * (said.log() - step.logits.log_softmax(1))).sum(1).mean()
    labels = [torch.nn.functional.cross_entropy(each, batch.targets) for each in (teacher, step.logits)]
    torch.testing.assert_close(total, (labels[0] + 0.5 * labels[1] + 0.5 * divergence).detach())


def test_without_alpha_and_gamma_it_is_plain_training_at_few_bits(arrays):
    recipe = methods.apprentice_joint(GIVEN, imitation=MUTE, teacher_weight=Constant(0.0))
    plain = replace(recipe, teacher=NoTeacher(), losses=(), task_weight=Constant(1.0))
    ours, theirs = (trainer_of(each, arrays) for each in (recipe, plain))
    while not ours.finished:
        ours.train_epoch()
        theirs.train_epoch()
    wanted = theirs.student.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in ours.student.state_dict().items())


@pytest.mark.parametrize("method", SCHEMES, ids=lambda each: each.name)
def test_a_moves_teacher_and_student_and_the_others_the_student_alone(method, arrays):
    given = GIVEN if method is methods.apprentice_joint else replace(GIVEN, teacher_views=None)
    trainer = trainer_of(method(given), arrays)
    network = trainer.learners[0].policy.network
    before, student = (
        {name: value.clone() for name, value in each.state_dict().items()}
        for each in (network, trainer.student)
    )
    while not trainer.finished:
        trainer.train_epoch()
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    parameters = {name for name, _ in network.named_parameters()}
    assert moved >= parameters if method is methods.apprentice_joint else moved == set()
    for name, _ in trainer.student.named_parameters():
        assert not torch.equal(trainer.student.state_dict()[name], student[name])


def test_no_gradient_crosses(arrays):
    trainer = trainer_of(methods.apprentice_joint(GIVEN), arrays)
    (learner,) = trainer.learners
    batch = next(trainer.task.batches("train", 0))
    (step,) = moments(trainer.learners, batch, 0.0)
    lesson = learner.policy(step)
    students = [p for p in learner.network.parameters() if p.requires_grad]
    teachers = list(learner.policy.network.parameters())
    imitated = learner.losses[0](step, lesson) + trainer.task.loss(step.output, batch)
    for loss, own, other in ((imitated, students, teachers), (lesson.loss, teachers, students)):
        assert all(bool(each.any()) for each in torch.autograd.grad(loss, own, retain_graph=True))
        crossed = torch.autograd.grad(loss, other, retain_graph=True, allow_unused=True)
        assert crossed == (None,) * len(other)


def test_c_is_in_full_precision_first_and_then_slower():
    first, last = methods.apprentice_refined(GIVEN, optimizer=AdamW(1e-2)).phases
    assert (first.quantize, last.quantize, first.epochs, last.epochs) == (False, True, 2, 2)
    assert last.optimizer.learning_rate == pytest.approx(1e-3)
    pruned = methods.apprentice_refined(replace(GIVEN, pruner=Magnitude()))
    assert [phase.prune for phase in pruned.phases] == [True, False]


def test_c_of_a_trained_network_is_quantized_at_once():
    whole = Trained(STUDENT, TEACHER_ID)
    (phase,) = methods.apprentice_refined(replace(GIVEN, origin=whole, pruner=Magnitude())).phases
    assert phase.quantize and phase.prune and phase.epochs == 4
    assert len(methods.apprentice_refined(replace(GIVEN, origin=whole), quantized_epochs=1).phases) == 2
    cut = replace(GIVEN, origin=Slice(whole, Cut(width=0.5)))
    assert [phase.quantize for phase in methods.apprentice_refined(cut).phases] == [False, True]


def test_the_joint_teacher_is_wider_where_its_architecture_can_be():
    def origin(of, width=2.0):
        return methods.apprentice_joint(replace(GIVEN, origin=of), teacher_width=width).teacher.origin

    assert origin(Fresh(STUDENT)) == Fresh(replace(STUDENT, width=2.0))
    assert origin(Fresh(replace(STUDENT, width=0.35)), 1.0) == Fresh(replace(STUDENT, width=0.35))
    assert origin(Fresh(LSTM(width=12.0))) == Fresh(LSTM(width=16.0))
    whole = Trained(STUDENT, TEACHER_ID)
    assert origin(whole) == whole
    assert origin(Slice(whole, Cut(width=0.3))) == Slice(whole, Cut(width=0.6))
    assert origin(Slice(whole, Cut(width=0.8))) == Slice(whole, Cut(width=1.0))


@pytest.mark.parametrize("name", ["StillNorm", "Frozen", "Attention"])
def test_a_joint_teacher_keeps_what_its_class_holds_still(name, arrays):
    target = f"tests.trainables.odd_networks:{name}"
    allow(target)
    trainer = trainer_of(
        methods.apprentice_joint(replace(GIVEN, origin=Fresh(Custom(target)), pruner=NoPruner())), arrays
    )
    network = trainer.learners[0].policy.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trainer.train_epoch()
    frozen = {k for k, _ in network.named_parameters() if torch.equal(network.state_dict()[k], before[k])}
    fresh = Custom(target).build((1, 8, 8), 10)
    assert frozen == {k for k, p in fresh.named_parameters() if not p.requires_grad}
    still = {k for k, module in fresh.named_modules() if not module.training}
    assert {k for k, module in network.named_modules() if not module.training} == still
    assert trainer.ship()


def test_stopping_and_resuming_changes_no_bit(arrays, tmp_path):
    dropout = ConvNet(stages=((6,), (8,)), hidden=(16,), kernel_size=3, depth=1, dropout=(0.3, 0.3, 0.3))
    other = replace(GIVEN, origin=Fresh(dropout))
    recipes = [
        methods.apprentice_joint(other, teacher_width=1.5, quantizer=Symmetric(2)),
        methods.apprentice_fixed(GIVEN),
        methods.apprentice_refined(GIVEN),
    ]
    for number, recipe in enumerate(recipes):
        straight, resumed = trainer_of(recipe, arrays), trainer_of(recipe, arrays)
        for epoch in range(4):
            if epoch == 3:
                straight.save(tmp_path / str(number))
            straight.train_epoch()
        resumed.load(tmp_path / str(number))
        while not resumed.finished:
            resumed.train_epoch()
        ours, theirs = (each.learners[0].state()[0] for each in (straight, resumed))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
        assert straight.ship() == resumed.ship()


def test_sentences_too(tmp_path):
    task = write_pairs(tmp_path)
    for model in STUDENTS:
        recipe = methods.apprentice_joint(replace(GIVEN, task=task, origin=Fresh(model), epochs=1))
        assert isinstance(recipe.teacher, Joint)
        trainer = trainer_of(recipe, task.load(tmp_path))
        assert trainer.train_epoch()["loss"] > 0 and trainer.ship()
