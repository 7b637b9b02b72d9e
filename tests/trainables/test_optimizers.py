"""What is learned beside weights moves at a rate of its own size."""

import pytest
import torch
from torch import nn

from trainables.optimizers import RELATIVE_RATE, SGD, AdamW


def test_adam_moves_a_learned_value_by_its_own_size_times_the_rate():
    starts = (0.5, 0.005, 6.0, 0.0)
    weight, step, clip, none = (nn.Parameter(torch.tensor([value])) for value in starts)
    optimizer = AdamW(1e-2, weight_decay=0.0).build([weight], [step, clip, none])
    for group in optimizer.param_groups:
        group["lr"] = 1e-2 * group.get(RELATIVE_RATE, 1.0)
    (weight + 1e-4 * step + 100 * clip + none).sum().backward()
    optimizer.step()
    moved = [
        before - float(p.detach()) for before, p in ((0.5, weight), (0.005, step), (6.0, clip), (0.0, none))
    ]
    assert moved == pytest.approx([1e-2, 5e-5, 6e-2, 1e-2], rel=1e-3)


def test_descent_follows_the_gradient():
    weight, step = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(0.005))
    optimizer = SGD(0.1, momentum=0.0, weight_decay=0.0).build([weight], [step])
    assert all(RELATIVE_RATE not in group for group in optimizer.param_groups)
    (2 * weight + 0.01 * step).backward()
    optimizer.step()
    assert float(weight) == pytest.approx(0.3) and float(step) == pytest.approx(0.004)


def test_nothing_learned_is_decayed():
    weight, step = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    for part in (AdamW(weight_decay=0.5), SGD(weight_decay=0.5)):
        decays = {
            id(p): group["weight_decay"]
            for group in part.build([weight], [step]).param_groups
            for p in group["params"]
        }
        assert decays == {id(weight): 0.5, id(step): 0.0}
