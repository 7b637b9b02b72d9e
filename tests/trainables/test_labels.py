"""Training data of which only some samples have a label."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.recipes import STUDENT, TEACHER_ID
from tests.trainables.odd_networks import Outputs
from tests.trainables.teachers import local_sources
from tests.trainables.translation import STUDENTS, write_pairs
from trainables import methods
from trainables.batch import Batch
from trainables.labels import labelled_samples, partly_labelled
from trainables.losses import SoftTargets
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.recipe import canonical_json, recipe_from_dict
from trainables.schedules import Constant
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.tasks import Digits
from trainables.teachers import NoTeacher
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training.learner import moments
from trainables.training.trainer import Trainer, train
from trainables.translation.sentences import PAD
from trainables.wording import in_words

CPU = torch.device("cpu")
TASK = Digits(batch_size=64)


@pytest.fixture(scope="module")
def arrays():
    return TASK.load(None)


@pytest.mark.parametrize(
    ("share", "samples", "count"), [(0.0, 50, 0), (1e-6, 50, 1), (0.1, 1257, 126), (0.5, 3, 2), (1.0, 50, 50)]
)
def test_a_share_is_of_so_many_samples(share, samples, count):
    assert int(labelled_samples(share, samples).sum()) == count


def test_a_larger_share_has_the_labels_of_a_smaller_one_and_they_lie_anywhere():
    few, many = (labelled_samples(share, 10_000) for share in (0.1, 0.3))
    assert bool(many[few].all())
    blocks = few.view(100, 100).sum(1)
    assert int(blocks.min()) > 0 and int(blocks.max()) < 30  # 10 of 100 each, spread as by chance
    assert torch.equal(few, labelled_samples(0.1, 10_000))


def test_the_scattering_is_splitmix64():
    """The first outputs of the published generator at seed 0."""
    published = (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC)
    order = np.argsort(np.array(published, dtype=np.uint64))
    for count in range(1, 4):
        wanted = torch.zeros(4, dtype=torch.bool)
        wanted[torch.from_numpy(order[:count].copy())] = True
        assert torch.equal(labelled_samples(count / 4, 4), wanted)


def test_the_loss_is_the_mean_over_labelled_samples_and_other_labels_do_not_matter(arrays):
    whole = TASK.open(arrays, CPU, 0)
    task = partly_labelled(whole, 0.2)
    known = labelled_samples(0.2, whole.samples("train"))
    batch = next(task.batches("train", 0))
    chosen = known[batch.index]
    assert 0 < int(chosen.sum()) < len(chosen)
    logits = torch.randn(len(batch.index), 10, requires_grad=True)
    loss = task.loss(logits, batch)
    assert torch.equal(loss, F.cross_entropy(logits[chosen], batch.targets[chosen]))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[~chosen].any() and bool(gradient[chosen].any())
    others = torch.where(chosen, batch.targets, (batch.targets + 1) % 10)
    assert torch.equal(loss, task.loss(logits, batch._replace(targets=others)))
    for several in ((logits, 2 * logits), {"main": logits, "aux": logits}, [logits], Outputs(logits, logits)):
        assert torch.equal(loss, task.loss(several, batch))
    assert task.samples("train") == whole.samples("train") and task.memory == whole.memory
    assert partly_labelled(whole, 1.0) is whole


def test_a_batch_without_labels_has_a_loss_and_a_gradient_of_zero(arrays):
    task = partly_labelled(TASK.open(arrays, CPU, 0), 0.0)
    batch = next(task.batches("train", 0))
    logits = torch.randn(len(batch.index), 10, requires_grad=True)
    loss = task.loss(logits, batch)
    assert float(loss.detach()) == 0.0
    assert torch.equal(*torch.autograd.grad(loss, logits), torch.zeros_like(logits))


def test_padding_of_labelled_sentences_stays_padding(tmp_path):
    task = write_pairs(tmp_path)
    whole = task.open(task.load(tmp_path), CPU, 0)
    seen = []

    class Listening:
        device = CPU

        def samples(self, split):
            return whole.samples(split)

        def loss(self, output, batch):
            seen.append((output, batch))
            return whole.loss(output, batch)

    partly = partly_labelled(Listening(), 0.5)
    known = labelled_samples(0.5, whole.samples("train"))
    padded = 0
    for batch in whole.batches("train", 0):
        chosen = known[batch.index]
        if not 0 < int(chosen.sum()) < len(chosen):
            continue
        logits = torch.randn(*batch.targets.shape, task.outputs)
        loss = partly.loss(logits, batch)
        expected = F.cross_entropy(
            logits[chosen].flatten(0, 1),
            batch.targets[chosen].flatten(),
            ignore_index=PAD,
            label_smoothing=whole._label_smoothing,
        )
        torch.testing.assert_close(loss, expected)
        output, part = seen[-1]
        rows = output.flatten(0, 1) if part.counted is None else part.rows(output)
        assert torch.equal(rows, logits[chosen].flatten(0, 1)[part.targets.flatten() != PAD])
        padded += part.counted is not None
    assert padded > 0


def recipe_of(share, model=STUDENT, epochs=4, task=TASK, **arguments):
    given = methods.Setting(task, Fresh(model), epochs, teacher=TEACHER_ID)
    return methods.few_label_distillation(given, labelled=share, **arguments)


def trainer_of(recipe, arrays):
    torch.set_num_threads(1)
    return Trainer(recipe, recipe.task.open(arrays, CPU, recipe.seed), local_sources(recipe.task), CPU)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_labels_that_are_not_used_change_nothing(share, arrays):
    known = labelled_samples(share, len(arrays["train_labels"])).numpy()
    wrong = np.where(known, arrays["train_labels"], (arrays["train_labels"] + 3) % 10)
    right, misled = (
        trainer_of(recipe_of(share), data) for data in (arrays, {**arrays, "train_labels": wrong})
    )
    right.train_epoch()
    misled.train_epoch()
    assert right.ship() == misled.ship()


def test_stopping_and_resuming_changes_no_bit(arrays, tmp_path):
    straight, resumed = (trainer_of(recipe_of(0.1), arrays) for _ in range(2))
    for epoch in range(4):
        if epoch == 2:
            straight.save(tmp_path)
        straight.train_epoch()
    resumed.load(tmp_path)
    while not resumed.finished:
        resumed.train_epoch()
    assert straight.ship() == resumed.ship()


def test_sentences_are_learned_without_any_label(tmp_path):
    task = write_pairs(tmp_path)
    imitation = SoftTargets(Constant(1.0))
    trainer = trainer_of(recipe_of(0.0, STUDENTS[1], task=task, imitation=imitation), task.load(tmp_path))
    first = trainer.train_epoch()["loss"]
    while not trainer.finished:
        last = trainer.train_epoch()["loss"]
    assert last < first


def test_a_recipe_says_its_share_and_cannot_learn_from_nothing():
    recipe = recipe_of(0.25)
    assert recipe_from_dict(json.loads(canonical_json(recipe))) == recipe
    assert "labels of 25 % of the samples" in in_words(recipe)
    assert "labels of" not in in_words(recipe_of(1.0))
    with pytest.raises(ValueError, match=r"must be a teacher, got labelled=0.0"):
        replace(recipe, labelled=0.0, teacher=NoTeacher(), losses=())
    with pytest.raises(ValueError, match="labelled must be in"):
        recipe_of(1.5)


def test_a_learner_and_its_teacher_see_the_same_labels(arrays):
    """What a teacher that learns is told, is no more than what the student is told."""
    given = methods.Setting(TASK, Fresh(STUDENT), 2)
    recipe = replace(methods.apprentice_joint(given), labelled=0.1)
    trainer = trainer_of(recipe, arrays)
    batch = next(trainer.task.batches("train", 0))
    known = labelled_samples(0.1, len(arrays["train_labels"]))[batch.index]
    hidden = torch.where(known, batch.targets, (batch.targets + 1) % 10)
    losses = []
    for targets in (batch.targets, hidden):
        (step,) = moments(trainer.learners, Batch(*batch)._replace(targets=targets), 0.0)
        losses.append(trainer.learners[0].policy(step).loss.detach())
    assert torch.equal(*losses) and float(losses[0]) > 0


@pytest.mark.slow
def test_a_teachers_answers_are_worth_more_than_few_labels_alone(arrays):
    """On digits with one label in ten; three seeds."""
    torch.set_num_threads(1)
    given = methods.Setting(TASK, Fresh(replace(STUDENT, width=4.0)), 12, teacher=TEACHER_ID)
    optimizer = AdamW(5e-3)

    def accuracy(recipe, sources):
        task = TASK.open(arrays, CPU, recipe.seed)
        return evaluate_file(train(recipe, task, sources, CPU), task, "test")["accuracy"]

    teacher = methods.full_precision(given, optimizer=optimizer)
    file = train(teacher, TASK.open(arrays, CPU, 0), NoSources(), CPU)
    sources = LocalSources(lambda _: open_student(file)[1])
    small = replace(given, origin=Fresh(replace(STUDENT, width=2.0)))
    for seed in range(3):
        own = replace(small, seed=seed)
        taught = methods.few_label_distillation(own, labelled=0.1, optimizer=optimizer)
        alone = replace(methods.full_precision(own, optimizer=optimizer), labelled=0.1)
        assert accuracy(taught, sources) > accuracy(alone, sources) + 0.02
