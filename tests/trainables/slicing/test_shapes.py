"""An unsliced network becomes a slice from shapes alone, and foreign shapes do no harm."""

from __future__ import annotations

import copy

import pytest
import torch
import torch_pruning
from torch import nn

from tests.trainables.slicing.networks import (
    SMALL,
    Recurrent,
    Tied,
    batches_of,
    images,
    loss,
    made,
    of_torchvision,
    tokens,
)
from trainables.folding import fold_batch_norms
from trainables.slicing.changes import Changes
from trainables.slicing.choice import least_important, removal_of, scores_of
from trainables.slicing.cut import Cut
from trainables.slicing.graph import families
from trainables.slicing.removal import remove
from trainables.slicing.shapes import reshape
from trainables.slicing.slicing import sliced

RESNET = of_torchvision("resnet18")


def shapes_of(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_torch_pruning_itself_cuts_the_same_weights(name):
    """Another implementation of the removal: Torch-Pruning's own functions, on the same channels."""
    network, x = made(of_torchvision(name)), images(2)
    ours, theirs = copy.deepcopy(network), copy.deepcopy(network)
    scores = scores_of(network, [], loss, "l1")
    graph = torch_pruning.DependencyGraph().build_dependency(theirs, x, verbose=False)
    for family in families(network, x)[0]:
        if family.is_output:
            continue
        gone = least_important(network, family, Cut(), 0.5, scores)
        remove(ours, removal_of(network, family, gone, scores))
        root = theirs.get_submodule(family.root)
        function = graph.get_pruner_of_module(root).prune_out_channels
        graph.get_pruning_group(root, function, gone).prune()
    assert shapes_of(ours) == shapes_of(theirs)
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
    # And their history, applied to a fresh network, gives the shape that is read off the tensors.
    fresh = made(of_torchvision(name), 1)
    again = torch_pruning.DependencyGraph().build_dependency(fresh, x, verbose=False)
    again.load_pruning_history(graph.pruning_history())
    rebuilt = reshape(made(of_torchvision(name), 2), Changes(), shapes_of(theirs))
    assert shapes_of(rebuilt) == shapes_of(fresh)
    for one, other in zip(rebuilt.modules(), fresh.modules(), strict=True):
        for size in ("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features"):
            assert getattr(one, size, None) == getattr(other, size, None), (one, size)


def test_folded_batch_normalisation_is_enough():
    small, changes = sliced(made(RESNET), batches_of(images(2)), loss, Cut(0.5))
    folded = fold_batch_norms(copy.deepcopy(small))
    rebuilt = fold_batch_norms(reshape(made(RESNET, 1), changes, shapes_of(folded)))
    rebuilt.load_state_dict(folded.state_dict())
    with torch.no_grad():
        assert torch.equal(rebuilt(images(2)), folded(images(2)))


def test_one_name_of_a_shared_tensor_is_enough():
    small, changes = sliced(made(Tied), batches_of(tokens()), loss, Cut(0.5))
    shapes = shapes_of(small)
    del shapes["head.weight"], shapes["again.weight"]
    rebuilt = reshape(made(Tied, 1), changes, shapes)
    assert rebuilt.head.weight is rebuilt.embedding.weight and rebuilt.head.weight.shape == (60, 16)
    shapes["head.weight"] = (60, 12)
    with pytest.raises(ValueError, match=r"one tensor.*one shape"):
        reshape(made(Tied), changes, shapes)


def test_the_own_shape_changes_nothing():
    network = made(RESNET)
    before = copy.deepcopy(network.state_dict())
    reshape(network, Changes(), shapes_of(network))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_flags_stay():
    network = made(RESNET)
    network.conv1.weight.requires_grad_(False)
    small, changes = sliced(network, batches_of(images(2)), loss, Cut(0.5))
    fresh = made(RESNET)
    fresh.conv1.weight.requires_grad_(False)
    reshape(fresh, changes, shapes_of(small))
    assert not fresh.conv1.weight.requires_grad and fresh.fc.weight.requires_grad


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("conv1.weight", (128, 3, 7, 7), "conv1.weight"),
        ("conv1.weight", (10**12, 3, 7, 7), "conv1.weight"),
        ("conv1.weight", (64, 3, 7), "conv1.weight"),
        ("conv1.weight", (0, 3, 7, 7), "conv1.weight"),
        ("conv1.weight", (-1, 3, 7, 7), "conv1.weight"),
        ("conv1.weight", (True, 3, 7, 7), "conv1.weight"),
        ("fc.bias", (4,), "fc: bias"),
        ("bn1.running_mean", (32,), "bn1: its tensors"),
        ("nobody.weight", (3,), "nobody.weight"),
        ("fc.weight", None, "fc.weight is missing"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(name, shape, said):
    network = made(RESNET)
    shapes = shapes_of(network) | {name: shape}
    if shape is None:
        del shapes[name]
    with pytest.raises(ValueError, match=said):
        reshape(network, Changes(), shapes)


def test_recurrent_and_attention_shapes_are_checked_within_themselves():
    network = made(Recurrent)
    with pytest.raises(ValueError, match=r"rnn: weight_ih_l0 must have"):
        reshape(network, Changes(), shapes_of(network) | {"rnn.weight_ih_l0": (64, 24)})
    network = made(SMALL["vit"][0])
    name = "encoder.layers.encoder_layer_0.self_attention.in_proj_weight"
    with pytest.raises(ValueError, match="in_proj_weight"):
        reshape(network, Changes(), shapes_of(network) | {name: (96, 64)})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (Changes(dropped=("layer9",)), "layer9"),
        (Changes(sizes=(("layer1.0", "stride", 2),)), "at most 1"),
        (Changes(sizes=(("layer9", "planes", 2),)), "planes"),
        (Changes(sizes=(("bn1", "num_features", 65),)), "at most 64"),
        (Changes(sizes=(("bn1", "forward", 1),)), "forward"),
    ],
)
def test_changes_that_do_not_fit_are_refused(changes, said):
    network = made(RESNET)
    with pytest.raises(ValueError, match=said):
        reshape(network, changes, shapes_of(network))


@pytest.mark.parametrize(
    "fields",
    [
        {"dropped": ("",)},
        {"dropped": ("a..b",)},
        {"left": ("a" * 501,)},
        {"left": ("a",) * 4097},
        {"sizes": (("a", "__class__", 1),)},
        {"sizes": (("a", "b c", 1),)},
        {"sizes": (("a", "b", 0),)},
        {"sizes": (("a", "b", 2**40),)},
        {"sizes": (("a", "b", True),)},
        {"sizes": (("a", "b"),)},
    ],
)
def test_foreign_changes_are_checked(fields):
    with pytest.raises(ValueError, match=r"layer|size|dropped"):
        Changes(**fields)


class Plain(nn.Module):
    """Normalisation without any tensors."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3),
            nn.InstanceNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3),
            nn.GroupNorm(4, 16, affine=False),
            nn.ReLU(),
            nn.Conv2d(16, 8, 3),
            nn.BatchNorm2d(8, affine=False, track_running_stats=False),
        )
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.layers(x).mean((2, 3)))


def test_sizes_without_tensors_are_in_the_changes():
    small, changes = sliced(made(Plain), batches_of(images(4)), loss, Cut(0.5))
    assert changes == Changes(
        sizes=(
            ("layers.1", "num_features", 8),
            ("layers.4", "num_channels", 8),
            ("layers.7", "num_features", 4),
        )
    )
    rebuilt = reshape(made(Plain, 1), changes, shapes_of(small))
    assert rebuilt.layers[4].num_channels == 8 and rebuilt.layers[7].num_features == 4
