"""Multiply-adds against what is counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainables.folding import fold_batch_norms
from trainables.interfaces import Classifier, EncoderDecoder
from trainables.metrics.macs import macs
from trainables.models import LSTM, ConvNet, Transformer

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


STEPS = SOURCE = 16


def lstm_macs(model: LSTM, vocabulary: int) -> int:
    """Of one sentence of 16 tokens translated into 16."""
    units, size, directions = model.units, model.embedding, 2 if model.bidirectional else 1
    features = units if model.tied == "nothing" else size
    half = units // directions
    inputs = [size, *[units] * (model.depth - 1)]
    encoder = sum(SOURCE * directions * 4 * half * (given + half) for given in inputs)
    keys = SOURCE * units * units
    below = [size + features, *[units] * (model.depth - 1)]
    cells = sum(4 * units * (given + units) for given in below)
    attention = 2 * SOURCE * units
    step = cells + attention + 2 * units * features + features * vocabulary
    return encoder + keys + STEPS * step


def transformer_macs(model: Transformer, vocabulary: int) -> int:
    units = model.units
    projection, feed_forward = units * units, 2 * model.feed_forward * units * units
    encoder = SOURCE * (4 * projection + feed_forward + 2 * SOURCE * units)
    source = SOURCE * 2 * projection
    own = [4 * projection + 2 * seen * units for seen in range(1, STEPS + 1)]
    decoder = sum(own) + STEPS * (2 * projection + 2 * SOURCE * units + feed_forward)
    return model.depth * (encoder + source + decoder) + STEPS * units * vocabulary


@pytest.mark.parametrize(
    "model",
    [
        LSTM(depth=1, units=12, embedding=10, bidirectional=False),
        LSTM(depth=1, units=12, embedding=10, tied="nothing"),
        LSTM(depth=3, units=20, embedding=7, tied="output"),
    ],
    ids=str,
)
def test_recurrent_translators_by_hand(model: LSTM) -> None:
    assert macs(model.build((50,), 50), EncoderDecoder(50)) == lstm_macs(model, 50)


@pytest.mark.parametrize(
    "model",
    [Transformer(depth=1, units=8, heads=2), Transformer(depth=3, units=24, heads=4, feed_forward=2)],
    ids=str,
)
def test_transformers_by_hand(model: Transformer) -> None:
    assert macs(model.build((50,), 50), EncoderDecoder(50)) == transformer_macs(model, 50)


def test_kernels_are_back_in_force_afterwards() -> None:
    def flags() -> tuple[object, ...]:
        return (
            torch.backends.mkldnn.enabled,
            torch.backends.mha.get_fastpath_enabled(),
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
        )

    before = flags()
    macs(nn.Linear(4, 3), Classifier((4,)))
    with pytest.raises(RuntimeError):
        macs(nn.Linear(4, 3), Classifier((5,)))
    assert flags() == before
