"""Multiply-adds against what is counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainables.folding import fold_batch_norms
from trainables.interfaces import Classifier
from trainables.metrics.macs import macs
from trainables.models import ConvNet

CASES = {
    "convolution": (nn.Conv2d(3, 8, 3, padding=1), (3, 6, 5), 6 * 5 * 8 * 3 * 9),
    "strided, grouped": (nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=4), (4, 8, 8), 4 * 4 * 8 * 9),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU()), (3, 4), 12 * 7),
    "recurrent": (nn.LSTM(8, 16, batch_first=True), (5, 8), 5 * 4 * 16 * (8 + 16)),
    "attention": (
        nn.TransformerEncoderLayer(16, 2, 32, batch_first=True),
        (5, 16),
        5 * 16 * (48 + 16 + 32 + 32) + 2 * 5 * 5 * 16,
    ),
}


@pytest.mark.parametrize(("model", "shape", "expected"), CASES.values(), ids=CASES.keys())
def test_by_hand(model: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert macs(model, Classifier(shape)) == expected


def test_the_model_is_left_as_it_is() -> None:
    model = ConvNet(depth=1, width=0.1).build((1, 8, 8), 10).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count = macs(model, Classifier((1, 8, 8)))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert macs(fold_batch_norms(model.eval()), Classifier((1, 8, 8))) == count


class OwnTensors(nn.Module):
    """A user's module that makes a tensor on the CPU whatever it runs on."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) @ torch.ones(3, 2, device="cpu")


def test_a_model_with_a_device_of_its_own() -> None:
    assert macs(OwnTensors(), Classifier((4,))) == 4 * 3 + 3 * 2


def test_a_shape_that_does_not_fit() -> None:
    with pytest.raises(RuntimeError):
        macs(nn.Linear(4, 3), Classifier((5,)))
