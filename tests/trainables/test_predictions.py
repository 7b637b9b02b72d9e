"""The small file of what a network says of each sample, and how it is asked."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from trainables.predictions import predictions_json, read_predictions
from trainables.sealed import sealed
from trainables.shipping.predicting import answers
from trainables.tasks import Digits


@given(arrays(np.int64, st.integers(0, 50), elements=st.integers(0, 2**31 - 1)))
def test_what_is_written_is_read(classes: np.ndarray) -> None:
    found = read_predictions(predictions_json({"validation": classes, "test": classes[:0]}))
    assert found.keys() == {"validation", "test"} and not len(found["test"])
    assert found["validation"].dtype == np.int64 and np.array_equal(found["validation"], classes)


def test_ten_thousand_answers_are_a_few_kilobytes() -> None:
    classes = np.random.default_rng(0).integers(0, 10, 10_000)
    assert len(predictions_json({"validation": classes})) < 7_000


@pytest.mark.parametrize(
    "column",
    [
        {"samples": 5, "kind": "uint8", "classes": ""},
        {"samples": 5, "kind": "float", "classes": "eJwDAAAAAAE="},
        {"samples": -1, "kind": "uint8", "classes": "eJwDAAAAAAE="},
        {"samples": 1, "kind": "uint8", "classes": "eJwDAAAAAAE="},
        {"samples": 1, "kind": "uint8"},
        "text",
    ],
)
def test_what_is_damaged_is_refused(column: object) -> None:
    with pytest.raises(ValueError, match="column"):
        read_predictions(sealed({"columns": {"validation": column}}))


def test_a_flipped_digit_is_damage() -> None:
    content = json.loads(predictions_json({"validation": np.arange(5)}))
    content["columns"]["validation"]["samples"] = 4
    with pytest.raises(ValueError, match="checksum"):
        read_predictions(json.dumps(content).encode())


class Third(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.eye(10)[torch.full((len(images),), 3)]


def test_answers_are_in_the_order_of_the_split_and_agree_with_the_quality() -> None:
    task = Digits()
    loaded = task.open(task.load(None), torch.device("cpu"), 0)
    found, labels = answers(Third(), loaded, "validation"), loaded.labels("validation")
    assert found is not None and labels is not None and len(found.said) == loaded.samples("validation")
    assert set(found.said) == {3} and np.array_equal(found.true, labels.numpy())
    assert found.right == pytest.approx(loaded.evaluate(Third(), "validation")["accuracy"])


class Pairs(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), 10, 2)


def test_a_network_without_one_row_per_sample_has_no_answers() -> None:
    task = Digits()
    assert answers(Pairs(), task.open(task.load(None), torch.device("cpu"), 0), "test") is None
