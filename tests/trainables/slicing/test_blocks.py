from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.trainables.slicing.networks import batches_of
from trainables.slicing.blocks import block_importance


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(layers(), layers())

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.branch(inputs)


def test_what_lies_within_a_droppable_block_is_none() -> None:
    network = nn.Sequential(Residual(), Residual(), layers(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(48, 2))
    found = block_importance(network.eval(), batches_of(torch.randn(4, 3, 8, 8))())
    assert list(found) == ["0", "1"]
