"""Data and students that tests of exits share."""

import pytest

from tests.recipes import STUDENT, setting
from tests.trainables.exiting.networks import CPU, TASK
from trainables import methods
from trainables.quantizers import Symmetric
from trainables.teachers.sources import NoSources
from trainables.training.trainer import Trainer


@pytest.fixture(scope="session")
def data():
    return TASK.open(TASK.load(None), CPU, 0)


@pytest.fixture(scope="session")
def trained(data):
    """A student of each method, its weights of 4 bits, after five epochs."""
    found = {}
    for method in (methods.early_exits, methods.decision_gates):
        recipe = method(setting(TASK, STUDENT, 5), quantizer=Symmetric(4))
        trainer = Trainer(recipe, data, NoSources(), CPU)
        while not trainer.finished:
            trainer.train_epoch()
        found[method.name] = trainer.ship()
    return found
