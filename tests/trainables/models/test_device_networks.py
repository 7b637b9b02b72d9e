"""Networks made for small devices: published counts, any size of image, and what ships of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spaces.architectures import FAMILIES
from studies.names import IMAGE_ARCHITECTURES, SENTENCE_ARCHITECTURES, SOUND_ARCHITECTURES
from tests.exports import to_onnx
from tests.trainables.test_integer_places import left_in_float, recipe_of, student_of
from trainables import methods
from trainables.models import (
    DenseNet,
    GhostNet,
    MobileNetV1,
    MobileNetV2,
    MobileNetV3,
    ShuffleNetV1,
    ShuffleNetV2,
    SqueezeNet,
    WideResNet,
)
from trainables.models.base import Model
from trainables.models.mobile import rounded, shortened, strides
from trainables.models.mobilenet_v3 import MOBILENET_V3_LARGE
from trainables.origins import Fresh
from trainables.runtime import open_session
from trainables.shipping.evaluation import evaluate_file
from trainables.tasks import Digits
from trainables.teachers.sources import NoSources
from trainables.training.trainer import Trainer

PUBLISHED = [
    (MobileNetV1(), 4_231_976),
    (MobileNetV1(width=0.75), 2_585_560),
    (MobileNetV1(width=0.25), 470_072),
    (MobileNetV2(), 3_504_872),
    (MobileNetV2(width=1.4), 6_108_776),
    (MobileNetV2(width=0.35), 1_677_128),
    (MobileNetV2(width=0.1), 1_367_080),
    (MOBILENET_V3_LARGE, 5_483_032),
    (MobileNetV3(), 2_542_856),
    (MobileNetV3(width=0.75), 2_041_872),
    (MobileNetV3(width=0.5), 1_593_224),
    (ShuffleNetV1(), 1_864_728),
    (ShuffleNetV1(width=0.5), 717_324),
    (ShuffleNetV1(width=1.5), 3_441_168),
    (ShuffleNetV1(width=2), 5_449_776),
    (ShuffleNetV2(), 2_278_604),
    (ShuffleNetV2(width=0.5), 1_366_792),
    (ShuffleNetV2(width=1.5), 3_503_624),
    (ShuffleNetV2(width=2), 7_393_996),
    (GhostNet(), 5_182_508),
    (GhostNet(width=0.5), 2_587_292),
    (GhostNet(width=1.3), 7_358_820),
    (SqueezeNet(), 1_235_496),
]
"""Of 1,000 classes and 224 pixels, as published and as timm and torchvision count them."""
CIFAR = [
    (WideResNet(depth=2, width=1), 175_066),
    (WideResNet(depth=2, width=4), 2_748_890),
    (WideResNet(depth=6, width=2), 2_243_546),
    (WideResNet(depth=4, width=10), 36_479_194),
    (DenseNet(), 769_162),
]
"""Of 10 classes and 32 pixels."""
SMALL: list[Model] = [
    MobileNetV1(depth=1, width=0.1),
    MobileNetV2(depth=1, width=0.1, last=16),
    MobileNetV3(depth=1, width=0.1, last=16),
    MobileNetV3(kind="large", depth=1, width=0.1, last=16),
    ShuffleNetV1(depth=2, width=0.1),
    ShuffleNetV2(depth=2, width=0.1, last=16),
    GhostNet(depth=1, width=0.1, last=16),
    SqueezeNet(depth=2, width=0.1, dropout=0.0),
    WideResNet(depth=1, width=0.25),
    DenseNet(depth=2, width=0.25),
]
each = pytest.mark.parametrize("model", SMALL, ids=lambda model: f"{type(model).__name__}-{model.depth}")


def count(model: Model, shape: tuple[int, ...], classes: int) -> int:
    with torch.device("meta"):
        return sum(each.numel() for each in model.build(shape, classes).parameters())


@pytest.mark.parametrize(("model", "parameters"), PUBLISHED, ids=str)
def test_parameters_are_the_published_ones(model: Model, parameters: int) -> None:
    assert count(model, (3, 224, 224), 1000) == parameters


@pytest.mark.parametrize(("model", "parameters"), CIFAR, ids=str)
def test_parameters_of_small_images_are_the_published_ones(model: Model, parameters: int) -> None:
    assert count(model, (3, 32, 32), 10) == parameters


def test_channels_are_rounded_as_published() -> None:
    assert [rounded(32 * width) for width in (0.1, 0.35, 0.5, 0.75, 1.4)] == [8, 16, 16, 24, 48]
    assert rounded(18) == 24 and rounded(17.7) == 16  # 16 is less than nine tenths of 18


def test_depth_keeps_the_proportions_of_stages() -> None:
    stages = (("a",), ("b", "c"), ("d", "e", "f", "g"))
    assert [len(stage) for stage in shortened(stages, 4)] == [1, 2, 4]
    assert shortened(stages, 2) == [["a"], ["b"], ["d", "e"]]
    assert shortened(stages, 8)[1] == ["b", "c", "c", "c"]


@pytest.mark.parametrize(
    ("side", "last"), [(4, 4), (8, 4), (15, 8), (28, 7), (32, 4), (64, 4), (96, 6), (128, 4), (224, 7)]
)
def test_the_last_maps_keep_four_pixels(side: int, last: int) -> None:
    network: Any = MobileNetV1(depth=1, width=0.1).build((3, side, side), 7)
    assert network[0](torch.zeros(1, 3, side, side)).shape[2:] == (last, last)
    assert strides(2, (3, side, side)) == ([2, 2] if side >= 16 else [1, 2] if side >= 8 else [1, 1])


@each
@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 15, 9), (3, 32, 32), (1, 96, 64)], ids=str)
def test_they_take_images_of_any_size_and_channels(model: Model, shape: tuple[int, ...]) -> None:
    network = model.build(shape, 7).eval()
    output = network(torch.randn(2, *shape))
    assert output.shape == (2, 7) and bool(output.isfinite().all())


@each
def test_depth_and_width_make_them_larger(model: Model) -> None:
    base = count(model, (3, 32, 32), 10)
    assert count(model.scaled(2 * model.depth + 1, model.width), (3, 32, 32), 10) > base
    assert count(model.scaled(model.depth, 16 * model.width), (3, 32, 32), 10) > base


def test_names_of_architectures_are_known_before_torch_is() -> None:
    assert {*FAMILIES} == {*IMAGE_ARCHITECTURES, *SOUND_ARCHITECTURES, *SENTENCE_ARCHITECTURES}


@pytest.mark.parametrize("name", IMAGE_ARCHITECTURES)
def test_architectures_of_images_are_built_by_their_names(name: str) -> None:
    assert isinstance(FAMILIES[name].build((3, 32, 32), 10), nn.Module)


@pytest.fixture(scope="module")
def digits() -> Any:
    task = Digits()
    few = {name: array[:96] for name, array in task.load(None).items()}
    return task.open(few, torch.device("cpu"), 0)


@each
def test_what_ships_answers_as_the_student(model: Model, digits: Any) -> None:
    given = methods.Setting(Digits(), Fresh(model), epochs=1, teacher="0" * 16)
    recipe = methods.full_precision(given)
    trainer = Trainer(recipe, digits, NoSources(), torch.device("cpu"))
    trainer.train_epoch()
    accuracy = digits.evaluate(trainer.student, "validation")
    assert evaluate_file(trainer.ship(), digits, "validation") == accuracy


@pytest.mark.slow  # an export takes seconds
@each
def test_they_leave_in_whole_numbers(model: Model, tmp_path: Path) -> None:
    """Every layer; only a normalisation in front of a layer is arithmetic of its own.

    At random, networks so narrow hardly tell one input from another, so their classes would say nothing.
    """
    inputs = torch.randn(16, 3, 32, 32)
    network, tensors = student_of(lambda: model.build((3, 32, 32), 10), recipe_of(), inputs)
    data = to_onnx(network, (3, 32, 32), {}, tensors, reduced_range=False)
    alone = type(model) in (WideResNet, DenseNet)
    assert left_in_float(data, tmp_path).keys() == ({"Add"} if alone else set())
    session = open_session(data)
    found = torch.from_numpy(session.run(None, {"input": inputs.numpy()})[0])
    with torch.no_grad():
        wanted = network(inputs)
    assert float((found - wanted).norm() / wanted.norm()) < 0.05
