"""What every teacher promises: detached outputs, and nothing of it moves."""

import pytest
import torch
from torch import nn

from trainables.tasks.base import Batch
from trainables.teachers import TEACHERS, Fixed, NoTeacher

MEMBERS = [NoTeacher(), Fixed("0" * 16)]
BATCH = Batch(torch.randn(5, 3, 4, 4), torch.zeros(5, dtype=torch.long), torch.arange(5), 0)


def network(recipe_id):
    torch.manual_seed(int(recipe_id, 16))
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 7))
    return nn.Sequential(*layers)


def test_every_member_is_tried():
    assert {type(part) for part in MEMBERS} == set(TEACHERS)


@pytest.mark.parametrize("part", MEMBERS, ids=str)
def test_outputs_are_detached_and_the_teacher_stands_still(part):
    policy = part.build(network)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    policy.train()  # as a trainer would do to everything it holds
    first, second = policy(BATCH, 0.0), policy(BATCH, 1.0)
    if isinstance(part, NoTeacher):
        assert first is None
        return
    assert not first.requires_grad and torch.equal(first, second)
    assert torch.equal(first, network("0" * 16).eval()(BATCH.inputs))
    assert all(torch.equal(before[name], value) for name, value in policy.state_dict().items())
    assert not any(parameter.requires_grad for parameter in policy.parameters())


def test_the_network_is_asked_for_by_id():
    asked = []
    Fixed("00000000000000ab").build(lambda recipe_id: asked.append(recipe_id) or network(recipe_id))
    assert asked == ["00000000000000ab"]
