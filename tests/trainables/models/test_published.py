"""Architectures of torchvision and timm by their names."""

import importlib.util
import json
import sys
from dataclasses import replace

import pytest
import torch

from trainables import methods
from trainables.models import Published
from trainables.models.published import _library, published
from trainables.origins import Fresh
from trainables.recipe import canonical_json
from trainables.shipping.evaluation import open_student, rebuild, ship
from trainables.shipping.packed_file import PackedFileError, unpack
from trainables.tasks import ImageFolder

DIGEST = "0" * 16


def folder_of(classes=2, size=32):
    names = tuple(f"c{number:05}" for number in range(classes))
    return ImageFolder(names, 3, (size, size), DIGEST)


def recipe_of(name, library="torchvision", classes=2):
    origin = Fresh(Published(library, name, DIGEST))
    return methods.full_precision(methods.Setting(folder_of(classes), origin, epochs=1))


@pytest.mark.parametrize("name", ["regnet_y_400mf", "shufflenet_v2_x0_5", "swin_t", "googlenet"])
def test_an_outline_has_the_shapes_of_the_network_and_no_memory(name):
    whole = published("torchvision", name, 3, 7).state_dict()
    with torch.device("meta"):
        outline = published("torchvision", name, 3, 7)
    assert {key: value.shape for key, value in outline.state_dict().items()} == {
        key: value.shape for key, value in whole.items()
    }
    assert all(parameter.device.type == "meta" for parameter in outline.parameters())


def test_a_packed_file_is_opened_without_anything_but_the_library():
    torch.manual_seed(0)
    network = published("torchvision", "regnet_y_400mf", 3, 2)
    data = ship(recipe_of("regnet_y_400mf"), network)
    inputs = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = network.eval()(inputs)
        assert torch.allclose(open_student(data)[1](inputs), expected, atol=1e-3, rtol=1e-3)


def test_a_file_that_claims_a_large_network_is_refused_before_it_is_built(monkeypatch):
    data = ship(recipe_of("squeezenet1_1"), published("torchvision", "squeezenet1_1", 3, 2))
    recipe, tensors, _ = unpack(data)
    allocated = []
    allocate = torch.empty

    def seen(*args, **kwargs):
        made = allocate(*args, **kwargs)
        if made.device.type != "meta":
            allocated.append(made.numel())
        return made

    monkeypatch.setattr(torch, "empty", seen)
    with pytest.raises(PackedFileError, match="tensors do not fit the recipe's network"):
        rebuild(replace(recipe, origin=Fresh(Published("torchvision", "regnet_y_128gf", DIGEST))), tensors)
    assert sum(allocated) < 1000


@pytest.mark.parametrize(
    "name", ["os", "list_models", "hf-hub:someone/network", "../vgg11", "fasterrcnn_resnet50_fpn", "VGG11"]
)
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_only_names_that_the_library_lists_are_built(library, name):
    if library == "timm":
        pytest.importorskip("timm")
    with pytest.raises(ValueError, match=f"{library} has no network for images called"):
        published(library, name, 3, 2)


def test_other_libraries_and_names_that_cannot_be_shown_are_no_part():
    with pytest.raises(ValueError, match="library must be one of"):
        Published("os", "system", DIGEST)
    with pytest.raises(ValueError, match="name must be"):
        Published("timm", "a\nb", DIGEST)
    with pytest.raises(ValueError, match="16 hex digits"):
        Published("timm", "resnet18", "x")


def test_a_network_of_timm():
    pytest.importorskip("timm")
    network = published("timm", "test_resnet", 1, 3)
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 3)
    with torch.device("meta"):
        assert next(published("timm", "test_vit", 3, 3).parameters()).device.type == "meta"
    recipe = recipe_of("test_resnet", "timm", 3)
    student = open_student(ship(recipe, published("timm", "test_resnet", 3, 3)))[1]
    assert student(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert json.loads(canonical_json(recipe))["origin"]["model"]["library"] == "timm"


def test_without_timm_a_sentence_says_what_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "timm" else found(name))
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    _library.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"timm is not installed; run pip install 'rayduce\[timm\]'"):
            published("timm", "resnet18", 3, 2)
    finally:
        _library.cache_clear()
