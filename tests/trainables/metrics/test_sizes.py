"""Counting on a file of known content."""

from __future__ import annotations

import pytest
import torch

from trainables.codecs.base import Stored
from trainables.methods import Setting, full_precision
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.quantizers.base import Codes, Dense
from trainables.shipping.packed_file import describe, pack
from trainables.shipping.sizes import mean_bits, parameters, sparsity
from trainables.tasks import Digits

RECIPE = full_precision(Setting(Digits(), Fresh(ConvNet()), epochs=1))
KEEP = torch.arange(600).reshape(20, 30) % 3 == 0
TENSORS: dict[str, Stored] = {
    "quantized": Codes(
        torch.zeros(200, dtype=torch.uint8), (20, 30), 4, None, torch.zeros(1), torch.ones(1), None, KEEP
    ),
    "exempt": Dense(torch.ones(10, 20).half()),
    "bias": Dense(torch.zeros(1000)),
}


def test_parameters_and_sparsity() -> None:
    assert parameters(TENSORS) == 600 + 200 + 1000
    assert sparsity(TENSORS) == pytest.approx(400 / 800)  # the bias is no weight, however many zeros it has
    assert sparsity({"bias": TENSORS["bias"]}) == 0.0
    assert parameters({}) == 0


def test_zeros_of_a_centred_grid_are_dropped() -> None:
    index = torch.arange(60, dtype=torch.uint8) % 15
    centred = Codes(index, (6, 10), 4, 16, None, torch.ones(4), zero=7)
    even = Codes(index, (6, 10), 4, 16, torch.zeros(4), torch.ones(4))
    assert int((centred.decode() == 0).sum()) == 4
    assert sparsity({"centred": centred}) == pytest.approx(4 / 60)
    assert sparsity({"centred": centred, "even": even}) == pytest.approx(4 / 120)
    assert describe(pack(RECIPE, {"centred": centred}))[1]["sparsity"] == pytest.approx(4 / 60)


def test_mean_bits_is_what_the_file_spends_on_weights() -> None:
    data = pack(RECIPE, TENSORS)
    spent = {row["name"]: row["bytes"] for row in describe(data)}
    assert mean_bits(data) == 8 * (spent["quantized"] + spent["exempt"]) / 800
    assert 4 < mean_bits(data) < 6  # 16 bits for a quarter, and the mask's entropy for the rest
    assert mean_bits(pack(RECIPE, {"bias": TENSORS["bias"]})) == 0.0


def test_mean_bits_of_full_precision() -> None:
    weight = torch.randn(100, 100, generator=torch.Generator().manual_seed(0))
    assert mean_bits(pack(RECIPE, {"weight": Dense(weight)})) == pytest.approx(32, rel=1e-3)
