"""Which students count as stored in one way: those that differ in the values of weights alone."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from tests.recipes import STUDENT
from trainables import methods
from trainables.exporting.kind import stored_kind
from trainables.origins import Fresh
from trainables.quantizers import LearnedPoints, LearnedStep, Uniform
from trainables.quantizers.base import Codes, Dense, MixedCodes, Stored
from trainables.shipping.packed_file import unpack
from trainables.tasks import Digits
from trainables.teachers.sources import NoSources
from trainables.training.trainer import Trainer


@pytest.mark.parametrize("quantizer", [Uniform(4, 256), LearnedPoints(3), LearnedStep(4)])
def test_training_changes_no_kind(quantizer: Uniform | LearnedPoints | LearnedStep) -> None:
    given = methods.Setting(Digits(), Fresh(STUDENT), epochs=1)
    recipe = methods.post_training_quantization(given, quantizer=cast(Any, quantizer))
    cpu = torch.device("cpu")
    opened = recipe.task.open(Digits().load(None), cpu, recipe.seed)
    trainer = Trainer(recipe, opened, NoSources(), cpu)
    before = unpack(trainer.ship()).tensors
    trainer.train_epoch()
    after = unpack(trainer.ship()).tensors
    assert stored_kind(before) == stored_kind(after)
    assert any(not torch.equal(before[name].decode(), after[name].decode()) for name in before)


def codes(bits: int = 4, bucket: int | None = 2, half: bool = False, codebook: int | None = None) -> Codes:
    scale = torch.ones(2 if bucket else 1, dtype=torch.float16 if half else torch.float32)
    points = None if codebook is None else torch.arange(float(codebook))
    return Codes(torch.zeros(4, dtype=torch.uint8), (2, 2), bits, bucket, scale, scale, points)


def mixed(first: int) -> MixedCodes:
    bits = torch.tensor([first, 3], dtype=torch.uint8)
    one = torch.ones(1)
    return MixedCodes(torch.zeros(4, dtype=torch.int16), (2, 2), bits, 2, one, one)


def test_types_shapes_and_names_count() -> None:
    stored: list[dict[str, Stored]] = [
        {"a": codes()},
        {"b": codes()},
        {"a": codes(bits=5)},
        {"a": codes(bucket=None)},
        {"a": codes(half=True)},
        {"a": codes(codebook=3)},
        {"a": Dense(torch.zeros(2, 2))},
        {"a": Dense(torch.zeros(2, 3))},
        {"a": Dense(torch.zeros(2, 2, dtype=torch.float16))},
        {"a": mixed(2)},
        {"a": mixed(4)},
        {"a": codes(), "b": codes()},
    ]
    kinds = [stored_kind(each) for each in stored]
    assert len({*kinds}) == len(kinds)
    assert stored_kind({"a": codes(), "b": mixed(2)}) == stored_kind({"b": mixed(2), "a": codes()})


def test_values_and_what_is_pruned_do_not_count() -> None:
    kept = torch.tensor([[True, False], [False, False]])
    pruned = Dense(torch.tensor([[3.0, 0.0], [0.0, 0.0]]), kept)
    assert stored_kind({"a": pruned}) == stored_kind({"a": Dense(torch.zeros(2, 2))})
