"""A student that begins with a trained network's weights computes what that network computes."""

from dataclasses import replace

import pytest
import torch

from tests.recipes import STUDENT
from trainables import methods
from trainables.models import ConvNet, ResNet
from trainables.origins import Fresh
from trainables.origins.trained import Trained, start_from
from trainables.shipping.evaluation import open_student
from trainables.tasks import Digits
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training.trainer import Trainer, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def task():
    return Digits().open(Digits().load(None), CPU, 0)


@pytest.fixture(scope="module")
def trained(task):
    recipe = methods.full_precision(methods.Setting(Digits(), Fresh(ResNet(depth=1, width=0.25)), epochs=2))
    return open_student(train(recipe, task, NoSources(), CPU))[1]


def batches(task):
    return lambda: (batch.inputs for batch in task.batches("train", 0))


def test_it_computes_the_same_and_normalises_as_training_does(task, trained):
    student = ResNet(depth=1, width=0.25).build((1, 8, 8), 10)
    start_from(student, trained, batches(task))
    inputs = torch.cat([batch.inputs for batch in task.in_order("validation")])
    expected = trained(inputs)
    torch.testing.assert_close(student.eval()(inputs), expected, rtol=1e-3, atol=1e-3)
    # With the statistics of a large batch, as in training, it still computes nearly the same.
    seen = torch.cat([inputs for inputs in batches(task)()])
    close = (student.train()(seen).argmax(1) == trained(seen).argmax(1)).float().mean()
    assert close > 0.97


def test_the_first_file_of_a_started_student_is_the_teachers(task, trained):
    recipe = methods.full_precision(methods.Setting(Digits(), Fresh(ResNet(depth=1, width=0.25)), epochs=1))
    started = replace(recipe, origin=Trained(recipe.model, "a" * 16), exempt_dtype="float32")
    trainer = Trainer(started, task, LocalSources(lambda recipe_id: trained), CPU)
    _, student = open_student(trainer.ship())
    inputs = next(iter(task.batches("validation", 0))).inputs
    torch.testing.assert_close(student(inputs), trained(inputs), rtol=1e-3, atol=1e-3)


def test_another_architecture_is_refused_with_the_difference(task, trained):
    with pytest.raises(ValueError, match=r"first difference: .* of shape"):
        start_from(STUDENT.build((1, 8, 8), 10), trained, batches(task))
    with pytest.raises(ValueError, match="architecture"):
        start_from(ConvNet(depth=2, width=0.5).build((1, 8, 8), 10), trained, batches(task))


def test_a_recipe_names_what_it_starts_from_by_its_id():
    recipe = methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=1))
    with pytest.raises(ValueError, match="16 hex digits"):
        replace(recipe, origin=Trained(STUDENT, "teacher"))
    assert replace(recipe, origin=Trained(STUDENT, "b" * 16)).recipe_id != recipe.recipe_id
