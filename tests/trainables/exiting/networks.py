"""Networks with exits that tests share."""

import torch

from tests.recipes import STUDENT
from trainables.exiting.exits import BRANCH, Exits
from trainables.origins import Fresh, WithExits
from trainables.tasks import Digits
from trainables.teachers.sources import NoSources

CPU = torch.device("cpu")
TASK = Digits(batch_size=128)
INTERFACE = TASK.interface


def wrapped(kind=BRANCH, model=STUDENT, exits=None):
    torch.manual_seed(5)
    origin = WithExits(Fresh(model), exits or Exits(kind=kind))
    _, network = origin.build(TASK, TASK.open(TASK.load(None), CPU, 0), NoSources())
    return network.eval()


def at_thresholds(network, *values):
    network.thresholds.copy_(torch.tensor(values))
    return network
