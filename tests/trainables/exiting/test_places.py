"""After which layers exits are."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.recipes import STUDENT, TEACHER_ID
from tests.trainables.exiting.networks import CPU, INTERFACE, TASK, wrapped
from trainables import methods
from trainables.exiting.exits import Exits
from trainables.exiting.network import ExitNetwork
from trainables.exiting.places import places
from trainables.metrics.macs import macs
from trainables.models import ConvNet, ResNet
from trainables.models.custom import Custom, allow
from trainables.origins import Fresh, WithExits
from trainables.shipping.evaluation import open_student
from trainables.tasks import Multi30k
from trainables.teachers.sources import NoSources
from trainables.training.trainer import Trainer


class Staged(nn.Module):
    """A network of a user's own, whose layers are called in an order that its structure does not tell."""

    def __init__(self, input_shape=(1, 8, 8), outputs=10, depth=1, width=1.0):
        super().__init__()
        self.fc = nn.Linear(12, outputs)
        self.second = nn.Conv2d(8, 12, 3, padding=1)
        self.first = nn.Conv2d(input_shape[0], 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        x = F.relu(self.second(F.max_pool2d(x, 2)))
        return self.fc(x.flatten(2).mean(2))


class Alone(nn.Module):
    """One layer."""

    def __init__(self, input_shape, outputs, depth, width):
        super().__init__()
        self.fc = nn.Linear(64, outputs)

    def forward(self, x):
        return self.fc(x.flatten(1))


@pytest.mark.parametrize(
    ("model", "count"), [(ResNet(depth=1), 2), (ResNet(depth=3), 4), (ConvNet(), 2), (STUDENT, 3)]
)
def test_exits_are_spread_over_the_work(model, count):
    torch.manual_seed(0)
    network = model.build((3, 32, 32) if model != STUDENT else (1, 8, 8), 10)
    interface = replace(INTERFACE, shape=(3, 32, 32) if model != STUDENT else (1, 8, 8))
    found = places(network, interface.use, Exits(count=count))
    total = macs(network, interface)
    assert 1 <= len(found) <= count
    work = [place.macs for place in found]
    assert work == sorted({*work}) and work[-1] < total
    if isinstance(model, ResNet):
        wanted = [total * (n + 1) / (count + 1) for n in range(count)]
        assert all(abs(a - b) < total / 5 for a, b in zip(work, wanted, strict=True))
        assert all(place.name.count(".") == 1 for place in found)  # whole blocks


def test_layers_of_ones_own_are_named_in_any_order(data):
    allow(f"{__name__}:Staged")
    model = Custom(f"{__name__}:Staged")
    network = wrapped(model=model, exits=Exits(at=("second", "norm")))
    assert isinstance(network, ExitNetwork) and network.at == ("norm", "second")
    recipe = methods.early_exits(
        methods.Setting(TASK, Fresh(model), 2, teacher=TEACHER_ID), exits=Exits(at=("second", "norm"))
    )
    trainer = Trainer(recipe, data, NoSources(), CPU)
    trainer.train_epoch()
    file = trainer.ship()
    assert open_student(file)[1].at == ("norm", "second")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (("third",), "no layer 'third' to have an exit; it has"),
        (("fc",), "has work before and after it"),
        (("0.0", "0.0"), "after different layers"),
        (("",), "named by words between dots"),
    ],
)
def test_layers_that_cannot_have_an_exit_are_refused(at, text):
    allow(f"{__name__}:Staged")
    with pytest.raises(ValueError, match=text):
        methods.early_exits(methods.Setting(TASK, Fresh(Custom(f"{__name__}:Staged")), 2), exits=Exits(at=at))


def test_a_network_without_layers_between_is_refused():
    one = ConvNet(stages=((4,),), hidden=(), kernel_size=3, depth=1)
    found = methods.early_exits(methods.Setting(TASK, Fresh(one), 2)).origin
    assert isinstance(found, WithExits)  # one convolution before the last layer is enough
    allow(f"{__name__}:Alone")
    with pytest.raises(ValueError, match="early exits need layers that run one after another"):
        methods.early_exits(methods.Setting(TASK, Fresh(Custom(f"{__name__}:Alone")), 2))


@pytest.mark.parametrize("method", [methods.early_exits, methods.decision_gates], ids=lambda m: m.name)
def test_tasks_without_a_class_for_each_sample_are_refused(method):
    with pytest.raises(ValueError, match="one class for each sample, which is no answer in Multi30k"):
        method(methods.Setting(Multi30k(), Fresh(STUDENT), 4))
