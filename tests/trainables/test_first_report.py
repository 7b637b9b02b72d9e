"""Untrained slices are reported with statistics of what would ship, and training knows nothing of it."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from tests.recipes import TEACHER_ID
from trainables import methods
from trainables.models import ConvNet
from trainables.optimizers import AdamW
from trainables.origins import Fresh, Slice, Trained
from trainables.pruners import Magnitude
from trainables.quantizers import Symmetric, Uniform
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.slicing.cut import Cut
from trainables.tasks import Digits
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training import learner
from trainables.training.trainer import Trainer, train

CPU = torch.device("cpu")
TASK = Digits(batch_size=128)
NETWORK = ConvNet(stages=((12, 12), (16, 16)), hidden=(32,), kernel_size=3, depth=2)
GIVEN = methods.Setting(TASK, Slice(Trained(NETWORK, TEACHER_ID), Cut(0.7, round_to=1)), 1)
PRUNED = replace(GIVEN, pruner=Magnitude(0.7))
RECIPES = {
    "few bits at the end": methods.post_training_quantization(GIVEN, quantizer=Uniform(2, 32)),
    "few bits from the start": methods.parameterized_clipping(GIVEN),
    "folded": methods.quantization_aware_training(replace(GIVEN, epochs=2), quantizer=Symmetric(3)),
    "sparse": methods.full_precision(PRUNED),
}


@pytest.fixture(scope="module")
def task():
    torch.set_num_threads(1)
    return TASK.open(TASK.load(None), CPU, 0)


@pytest.fixture(scope="module")
def sources(task):
    recipe = methods.full_precision(methods.Setting(TASK, Fresh(NETWORK), 4), optimizer=AdamW(5e-3))
    file = train(recipe, task, NoSources(), CPU)
    return LocalSources(lambda recipe_id: open_student(file)[1])


@pytest.mark.parametrize("name", RECIPES)
def test_a_slice_of_few_bits_is_told_from_a_guess(name, task, sources, monkeypatch):
    trainer = Trainer(RECIPES[name], task, sources, CPU)
    measured = evaluate_file(trainer.ship(), task, "validation")["accuracy"]
    with monkeypatch.context() as without:
        without.setattr(learner, "calibrated_as_shipped", lambda *given: nullcontext())
        plain = evaluate_file(trainer.ship(), task, "validation")["accuracy"]
    assert measured > max(plain, 0.2), (measured, plain)


@pytest.mark.parametrize("name", RECIPES)
def test_reporting_it_moves_no_bit_of_the_training(name, task, sources):
    recipe = RECIPES[name]
    told, untold = (Trainer(recipe, task, sources, CPU) for _ in range(2))
    before = {name: tensor.clone() for name, tensor in told.student.state_dict().items()}
    told.ship()
    assert all(torch.equal(tensor, before[name]) for name, tensor in told.student.state_dict().items())
    for trainer in (told, untold):
        while not trainer.finished:
            trainer.train_epoch()
    assert told.ship() == untold.ship()


def test_a_student_that_never_trains_ships_as_it_is(task, sources, monkeypatch):
    def refuse(*given):
        raise AssertionError("it is what it ships as")

    monkeypatch.setattr(learner, "calibrated_as_shipped", refuse)
    rounded = Trainer(methods.round_to_nearest(GIVEN), task, sources, CPU)
    assert rounded.finished
    assert evaluate_file(rounded.ship(), task, "validation")["accuracy"] > 0.3
