"""Several tasks of one student, each with a teacher of its own; labels and answers mixed as BAM has it."""

from dataclasses import dataclass, replace

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from spaces import Context, Space
from spaces.architectures import fresh
from tests.recipes import STUDENT
from tests.trainables.steps import step_of
from trainables import methods
from trainables.answers import Logits, Mixed, Values
from trainables.interfaces.tensors import Tensors
from trainables.losses import SoftTargets
from trainables.memory import Outputs
from trainables.metrics import own_quality, quality_of, spelled
from trainables.models import ConvNet
from trainables.modes import evaluating
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.schedules import Constant, Linear
from trainables.shipping.evaluation import evaluate_file
from trainables.signature import Signature
from trainables.tasks import Digits, Grouped, MultiTask, Phrases
from trainables.tasks.base import Task
from trainables.tasks.images import LoadedImages
from trainables.tasks.loaded_tasks import shared_out
from trainables.teachers import Fixed, Remembered, Several
from trainables.teachers.sources import LocalSources
from trainables.training.learner import moments
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
DIGIT, ODD = Digits(batch_size=64), Grouped(Digits(batch_size=64), (0, 1) * 5)
TASK = MultiTask((DIGIT, ODD))
IDS = ("0" * 15 + "1", "0" * 15 + "2")
BOTH = "0" * 15 + "3"
OUTPUTS = {IDS[0]: 10, IDS[1]: 2, BOTH: 12}
EPOCHS = 3
OPTIMIZER = AdamW(5e-3)
GIVEN = methods.Setting(TASK, Fresh(STUDENT), EPOCHS, teacher=BOTH, teacher_views=None)


def network(recipe_id):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(recipe_id, 16))
        return ConvNet(stages=((8,),), hidden=(16,), depth=1).build((1, 8, 8), OUTPUTS[recipe_id]).eval()


@pytest.fixture(scope="module")
def arrays():
    """Of one task 200 training images, of the other 60."""
    counts = {"0:train": 200, "1:train": 60}
    return {
        name: values[: counts.get(name.partition("_")[0], 50)] for name, values in TASK.load(None).items()
    }


@pytest.fixture(scope="module")
def opened(arrays):
    return TASK.open(arrays, CPU, 0)


def trainer_of(recipe, arrays):
    torch.set_num_threads(1)
    task = recipe.task.open(arrays, CPU, recipe.seed)
    return Trainer(recipe, task, LocalSources(network), CPU)


def trained(recipe, arrays):
    trainer = trainer_of(recipe, arrays)
    while not trainer.finished:
        trainer.train_epoch()
    return trainer


def same_weights(one, other):
    ours, theirs = one.student.state_dict(), other.student.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


# The data


def test_the_splits_are_those_of_the_tasks_one_after_the_other(opened):
    assert (opened.samples("train"), opened.samples("test"), opened.steps("train")) == (260, 100, 5)
    batches = list(opened.in_order("train"))
    assert torch.equal(torch.cat([batch.index for batch in batches]), torch.arange(260))
    assert [batch.task for batch in batches] == [0, 1]
    rows = torch.cat([opened.row_numbers(batch) for batch in batches])
    assert torch.equal(rows, torch.arange(opened.rows("train")))
    assert batches[1].targets.tolist() == (DIGIT.load(None)["train_labels"][:60] % 2).tolist()


def test_a_task_has_steps_by_its_samples_to_the_power_of_three_quarters():
    assert shared_out([16, 81, 256], 99) == (1 + 8, 1 + 26, 1 + 62)  # 8 : 27 : 64 of 96
    assert shared_out([10, 10], 7) == (4, 3)
    for samples, steps in (([1, 10**6], 50), ([5, 5, 5], 3), ([3, 400], 7)):
        found = shared_out(samples, steps)
        assert sum(found) == steps and min(found) >= 1


@given(st.integers(0, 5), st.integers(0, 20))
def test_batches_are_a_function_of_seed_and_epoch(seed, epoch):
    arrays = {name: values[:40] for name, values in TASK.load(None).items()}
    one, other = (MultiTask((Digits(batch_size=8), ODD)).open(arrays, CPU, seed) for _ in range(2))
    ours, theirs = list(one.batches("train", epoch)), list(other.batches("train", epoch))
    assert len(ours) == len(theirs) == one.steps("train")
    for a, b in zip(ours, theirs, strict=True):
        assert (a.task, a.index.tolist()) == (b.task, b.index.tolist())
        assert torch.equal(a.inputs, b.inputs)


def test_no_sample_is_left_out_and_a_small_task_comes_more_often(opened):
    counts = torch.zeros(260)
    for epoch in range(12):
        for batch in opened.batches("train", epoch):
            counts[batch.index] += 1
            assert bool(((batch.index < 200) == (batch.task == 0)).all())
    # Of 60 steps 36 are of the first task, whose passes have 4 (200 samples), and 24 of the other one (60).
    assert set(counts[:200].tolist()) == {9.0} and set(counts[200:].tolist()) == {24.0}


def test_quality_is_the_mean_over_the_tasks(opened):
    student = network(BOTH)
    accuracies = []
    for number, columns in enumerate((slice(0, 10), slice(10, 12))):
        task = opened.tasks[number]
        right = [
            (student(batch.inputs)[:, columns].argmax(1) == batch.targets).float()
            for batch in task.in_order("test")
        ]
        accuracies.append(float(torch.cat(right).mean()))
    assert opened.qualities(student, "test") == pytest.approx(accuracies)
    quality = quality_of(TASK.metric)
    assert opened.evaluate(student, "test") == {quality.name: pytest.approx(sum(accuracies) / 2)}
    assert quality.text(0.5) == "50.00 %" and quality.label == "mean accuracy"


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ((DIGIT,), "at least 2"),
        ((DIGIT, replace(ODD, of=DIGIT), Phrases()), "inputs of one shape"),
    ],
)
def test_tasks_that_do_not_go_together_are_refused(tasks, message):
    with pytest.raises(ValueError, match=message):
        MultiTask(tasks)


@pytest.mark.parametrize("groups", [(0, 1), (0, 2) * 5, (0,) * 10, (1, 2) * 5])
def test_groups_that_are_none_are_refused(groups):
    with pytest.raises(ValueError, match="groups must give each of 10 classes"):
        Grouped(DIGIT, groups)


# What is imitated


def test_labels_alone_and_the_teacher_alone(arrays):
    """At a share of 1 it is training from labels, bit for bit; at 0 it is distillation from the teachers."""
    labels = methods.multi_task_annealing(GIVEN, teachers=IDS, labels=Constant(1.0), optimizer=OPTIMIZER)
    assert same_weights(
        trained(labels, arrays), trained(methods.full_precision(GIVEN, optimizer=OPTIMIZER), arrays)
    )
    teacher = methods.multi_task_annealing(GIVEN, teachers=IDS, labels=Constant(0.0), optimizer=OPTIMIZER)
    flipped = replace(ODD, groups=(1, 0) * 5)
    other = replace(teacher, task=MultiTask((DIGIT, flipped)))
    assert same_weights(trained(teacher, arrays), trained(other, arrays))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_gradient_is_that_of_the_published_targets(share):
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(9, 5, generator=generator, dtype=torch.float64).requires_grad_()
    teacher = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    classes = torch.randint(0, 5, (9,), generator=generator)
    targets = share * F.one_hot(classes, 5) + (1 - share) * teacher.softmax(1)
    assert torch.allclose(targets.sum(1), torch.ones(9, dtype=torch.float64))
    published = -(targets * student.log_softmax(1)).sum(1).mean()
    ours = Mixed(share, F.cross_entropy(student, classes), Logits(teacher)).distance(student, 1.0)
    [wanted], [found] = torch.autograd.grad(published, student), torch.autograd.grad(ours, student)
    assert torch.allclose(found, wanted, atol=1e-12)
    entropy = -(teacher.softmax(1) * teacher.log_softmax(1)).sum(1).mean()
    assert float((published - ours).detach()) == pytest.approx(float((1 - share) * entropy))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_of_numbers_that_are_no_classes_the_values_are_mixed(share):
    student, teacher, labels = (torch.arange(6.0).reshape(6, 1) * each for each in (1, 2, -3))
    student.requires_grad_()
    published = F.mse_loss(student, share * labels + (1 - share) * teacher)
    ours = Mixed(share, F.mse_loss(student, labels), Values(teacher, F.mse_loss)).distance(student, 1.0)
    [wanted], [found] = torch.autograd.grad(published, student), torch.autograd.grad(ours, student)
    assert torch.allclose(found, wanted)


@given(st.integers(1, 20), st.sampled_from([1, 8, 33]))
def test_the_labels_share_goes_from_0_at_the_first_step_to_1_at_the_last(epochs, batch_size):
    arrays = {name: values[:33] for name, values in TASK.load(None).items()}
    task = MultiTask((Digits(batch_size=max(2, batch_size)), ODD)).open(arrays, CPU, 0)
    policy = Several(IDS, epochs).build(LocalSources(network), task, nn.Identity())
    steps = task.steps("train")
    shares = [
        policy.share((epoch + number / steps) / epochs) for epoch in range(epochs) for number in range(steps)
    ]
    assert shares[0] == 0.0 and shares[-1] == 1.0
    assert shares == sorted(shares)


def test_each_batch_is_taught_by_the_teacher_of_its_task(arrays):
    recipe = methods.multi_task_annealing(GIVEN, teachers=(IDS[0], ""), labels=Constant(0.25))
    trainer = trainer_of(recipe, arrays)
    learner, seen = trainer.learners[0], set()
    for batch in trainer.task.batches("train", 0):
        [step] = moments(trainer.learners, batch, 0.0)
        columns = slice(0, 10) if batch.task == 0 else slice(10, 12)
        labels = F.cross_entropy(step.logits[:, columns], batch.targets)
        wanted = labels
        if batch.task == 0:
            answers = Logits(network(IDS[0])(batch.inputs).detach())
            wanted = 0.25 * labels + 0.75 * answers.distance(step.logits[:, columns], 1.0)
        assert float(learner.loss(step)) == pytest.approx(float(wanted), rel=1e-6)
        seen.add(batch.task)
    assert seen == {0, 1}


def test_a_teacher_of_all_tasks_teaches_each(arrays):
    recipe = methods.multi_task_annealing(GIVEN, labels=Constant(0.0))
    assert recipe.teacher.teachers == (BOTH, BOTH)
    trainer = trainer_of(recipe, arrays)
    for batch in trainer.task.batches("train", 0):
        [step] = moments(trainer.learners, batch, 0.0)
        columns = slice(0, 10) if batch.task == 0 else slice(10, 12)
        answers = Logits(network(BOTH)(batch.inputs).detach()[:, columns])
        wanted = float(answers.distance(step.logits[:, columns], 1.0))
        assert float(trainer.learners[0].loss(step)) == pytest.approx(wanted, rel=1e-5)


def test_remembered_answers_of_all_tasks_are_the_live_ones_but_for_rounding(opened):
    sources = LocalSources(network)
    part = Remembered(BOTH, 2)
    remembered, live = (each.build(sources, opened, nn.Identity()) for each in (part, Fixed(BOTH)))
    for epoch in range(2):
        for batch in opened.batches("train", epoch, part.view(epoch)):
            student = torch.zeros(len(batch.index), 12)
            step = step_of(student, batch)
            one, other = (policy(step).answers.distance(student, 2.0) for policy in (remembered, live))
            assert float(one) == pytest.approx(float(other), rel=1e-2)


RECIPES = {
    "single to multi": methods.multi_task_annealing(GIVEN, teachers=IDS, optimizer=OPTIMIZER),
    "one without a teacher": methods.multi_task_annealing(GIVEN, teachers=("", IDS[1]), optimizer=OPTIMIZER),
    "quantized, multi to multi": methods.multi_task_annealing(
        GIVEN, optimizer=OPTIMIZER, quantizer=Uniform(4)
    ),
    "from labels": methods.full_precision(GIVEN, optimizer=OPTIMIZER),
    "distillation": methods.knowledge_distillation(GIVEN, optimizer=OPTIMIZER),
}


@pytest.mark.parametrize("stop", [1, 2])
@pytest.mark.parametrize("name", RECIPES)
def test_stopping_and_resuming_changes_no_bit(name, stop, arrays, tmp_path):
    straight = trainer_of(RECIPES[name], arrays)
    while not straight.finished:
        if straight.epoch == stop:
            straight.save(tmp_path / "half")
        straight.train_epoch()
    straight.save(tmp_path / "straight")
    resumed = trainer_of(RECIPES[name], arrays)
    resumed.load(tmp_path / "half")
    while not resumed.finished:
        resumed.train_epoch()
    resumed.save(tmp_path / "resumed")
    ours, theirs = (
        safetensors.torch.load_file(tmp_path / each / "state.safetensors") for each in ("straight", "resumed")
    )
    assert ours.keys() == theirs.keys() and not any("teacher" in key for key in ours)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    file = straight.ship()
    assert file == resumed.ship()
    assert evaluate_file(file, straight.task, "test") == straight.task.evaluate(straight.student, "test")


# A task without classes


class LoadedInk(LoadedImages):
    """How much of an image is ink, as one number."""

    memory = Outputs(F.mse_loss)

    def batches(self, split, epoch, view=None):
        for batch in super().batches(split, epoch, view):
            yield batch._replace(targets=batch.inputs.mean((1, 2, 3), keepdim=True)[..., 0, 0], classes=False)

    def in_order(self, split, view=None):
        for batch in super().in_order(split, view):
            yield batch._replace(targets=batch.inputs.mean((1, 2, 3), keepdim=True)[..., 0, 0], classes=False)

    def loss(self, output, batch):
        return F.mse_loss(output, batch.targets)

    def evaluate(self, model, split):
        with evaluating(model), torch.inference_mode():
            errors = [self.loss(model(batch.inputs), batch) for batch in self.in_order(split)]
        return {"error": float(torch.stack(errors).mean())}


@dataclass(frozen=True)
class Ink(Task):
    metric = spelled(own_quality("error", "down", lowest=0.0))
    input_shape = (1, 8, 8)
    outputs = 1
    memory = LoadedInk.memory
    interface = Tensors((Signature("", (1, 8, 8)),), (1,), False)

    def companions(self, assets):
        return {}

    def signatures(self):
        return {"error": "own"}

    def load(self, directory, *, download=False):
        return Digits().load(directory)

    def open(self, arrays, device, seed):
        return LoadedInk(arrays, device, seed, batch_size=64, padding=0, flip=False)


def test_a_task_without_classes_is_learnt_from_labels_alone_beside_one_with():
    task = MultiTask((Ink(), DIGIT))
    assert task.signatures() == {"mean_quality": "own"}
    arrays = {
        name: values[:128] if "train" in name else values[:50] for name, values in task.load(None).items()
    }
    recipe = methods.multi_task_annealing(
        replace(GIVEN, task=task, epochs=6), teachers=("", IDS[0]), optimizer=OPTIMIZER
    )
    trainer = trainer_of(recipe, arrays)
    before = trainer.task.qualities(trainer.student, "validation")
    for batch in trainer.task.batches("train", 0):
        [step] = moments(trainer.learners, batch, 0.5)
        loss = float(trainer.learners[0].loss(step))
        if batch.task == 0:
            assert loss == pytest.approx(float(F.mse_loss(step.logits[:, :1], batch.targets)), rel=1e-6)
    while not trainer.finished:
        trainer.train_epoch()
    after = trainer.task.qualities(trainer.student, "validation")
    assert after[0] < before[0] and after[1] > before[1]
    mean = (after[1] - after[0]) / 2
    assert trainer.task.evaluate(trainer.student, "validation") == {"mean_quality": pytest.approx(mean)}


# Where it is refused


def test_one_task_and_a_wrong_number_of_teachers_are_refused():
    alone = replace(GIVEN, task=DIGIT)
    with pytest.raises(ValueError, match="this method is for several tasks, got one: Digits"):
        methods.multi_task_annealing(alone, teachers=IDS)
    with pytest.raises(ValueError, match="a teacher for each of 2 tasks"):
        methods.multi_task_annealing(GIVEN, teachers=IDS[:1])
    context = Context(DIGIT, fresh(STUDENT), BOTH, 4)
    assert "for several tasks" in Space().left_out(context)["multi_task_annealing"]
    several = Context(TASK, fresh(STUDENT), BOTH, 4)
    assert "multi_task_annealing" not in Space().left_out(several)
    part = Several((*IDS, BOTH), 1)
    with pytest.raises(ValueError, match="each of 2 tasks"):
        part.build(LocalSources(network), TASK.open(TASK.load(None), CPU, 0), nn.Identity())
    with pytest.raises(ValueError, match="each of 1 tasks"):
        part.build(LocalSources(network), DIGIT.open(DIGIT.load(None), CPU, 0), nn.Identity())
    with pytest.raises(ValueError, match="16 hex digits"):
        Several(("x",), 1)


def test_its_loss_is_that_of_the_policy_alone():
    recipe = methods.multi_task_annealing(GIVEN, teachers=IDS)
    assert recipe.task_weight == Constant(0.0)
    assert recipe.losses == (SoftTargets(Constant(1.0), Constant(1.0)),)
    assert recipe.teacher == Several(IDS, EPOCHS, Linear(0.0, 1.0))
