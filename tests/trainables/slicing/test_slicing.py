"""Networks of all kinds, cut: what stays computes the same, costs less, and is rebuilt bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.trainables.slicing.networks import (
    SMALL,
    TORCHVISION,
    Tied,
    Waves,
    batches_of,
    images,
    loss,
    made,
    of_torchvision,
    tokens,
    waves,
)
from trainables.calling import call
from trainables.part import part_from_dict
from trainables.slicing.changes import Changes, NotSliceable
from trainables.slicing.cut import Cut
from trainables.slicing.shapes import reshape
from trainables.slicing.slicing import calibrate, sliced
from trainables.slicing.trial import tensors_in

WIDTHS = (0.25, 0.5, 0.75)
QUICK = ("resnet18", "mobilenet_v3_small", "squeezenet1_1")
SHUFFLED = "shufflenet_v2_x0_5"


def macs(network, inputs):
    # Recurrent kernels are counted by their weights: the counter does not know them.
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call(network, inputs)
    recurrent = sum(p.numel() for m in network.modules() if isinstance(m, nn.RNNBase) for p in m.parameters())
    return counter.get_total_flops() // 2 + 100 * recurrent


def shapes_of(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def assert_equal_outputs(one, other, inputs):
    with torch.no_grad():
        outputs = (tensors_in(call(network.eval(), inputs)) for network in (one, other))
        for a, b in zip(*outputs, strict=True):
            assert torch.equal(a, b)


def check(make, inputs, bound):
    """Three widths: each smaller than the next, within ``bound`` of width squared, and rebuilt."""
    network = made(make)
    before = copy.deepcopy(network.state_dict())
    costs = []
    for width in WIDTHS:
        small, changes = sliced(network, batches_of(inputs), loss, Cut(width=width))
        costs.append(macs(small, inputs) / macs(network, inputs))
        assert width**2 * 0.6 < costs[-1] < bound(width), (width, costs, changes)
        data = changes.to_dict()
        assert part_from_dict(data, {"Changes": Changes}) == changes
        rebuilt = reshape(made(make, seed=1), changes, shapes_of(small))
        rebuilt.load_state_dict(small.state_dict())
        assert_equal_outputs(small, rebuilt, inputs)
        assert [name for name, _ in rebuilt.named_parameters()] == [n for n, _ in small.named_parameters()]
        hollow = made(make).to("meta")
        reshape(hollow, changes, shapes_of(small))
        assert shapes_of(hollow) == shapes_of(small)
    assert costs == sorted(costs)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_cost_about_the_square_of_the_width(name):
    make, inputs = SMALL[name]
    check(make, inputs(), lambda width: width**1.3)


@pytest.mark.parametrize("name", QUICK)
def test_networks_of_torchvision_cost_about_the_square_of_the_width(name):
    check(of_torchvision(name), images(2), lambda width: width**2 * 1.1 + 0.06)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*TORCHVISION} - {*QUICK, SHUFFLED}))
def test_more_networks_of_torchvision_cost_about_the_square_of_the_width(name):
    # RegNet has 13 groups of 8 channels in places: 6 of 8 are no multiple of 4, and round up.
    slack = 0.08 if name == "regnet_y_400mf" else 0.06
    check(of_torchvision(name), images(2), lambda width: width**2 * 1.1 + slack)


@pytest.mark.slow
def test_what_is_shuffled_stays_and_is_named():
    check(of_torchvision(SHUFFLED), images(2), lambda width: width**0.8)
    network = made(of_torchvision(SHUFFLED))
    _, changes = sliced(network, batches_of(images(2)), loss, Cut(width=0.5))
    assert "stage2.0.branch2.5" in changes.left and "stage2.0.branch2.0" not in changes.left


@pytest.mark.parametrize("name", [name for name in SMALL if name not in ("vit", "unet")])
def test_nothing_is_left_alone(name):
    make, inputs = SMALL[name]
    _, changes = sliced(made(make), batches_of(inputs()), loss, Cut(width=0.5))
    assert changes.left == ()


def test_the_whole_width_is_the_network_itself():
    network = made(of_torchvision("resnet18"))
    network.conv1.weight.requires_grad_(False)
    small, changes = sliced(network, batches_of(images(2)), loss, Cut(width=1.0))
    assert changes == Changes()
    assert small.state_dict().keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(value, small.state_dict()[name]), name
    assert not small.conv1.weight.requires_grad and small.fc.weight.requires_grad


@pytest.mark.parametrize("importance", ["l1", "taylor", "fisher"])
def test_the_same_cut_gives_the_same_bits(importance):
    network = made(Waves)
    cut = Cut(width=0.5, importance=importance)
    one, other = (sliced(network, batches_of(waves()), loss, cut)[0].state_dict() for _ in range(2))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_flags_modes_and_gradients_are_as_before():
    network = made(Waves)
    network.requires_grad_(False)
    network.head.requires_grad_(True)
    network.train()
    network.norm1.eval()
    for importance in ("l1", "taylor"):
        small, _ = sliced(network, batches_of(waves()), loss, Cut(width=0.5, importance=importance))
        flags = {name: parameter.requires_grad for name, parameter in small.named_parameters()}
        assert {name for name, flag in flags.items() if flag} == {"head.weight", "head.bias"}
        assert small.training and not small.norm1.training
        assert small.first.out_channels == 16
        assert all(parameter.grad is None for parameter in small.parameters())


def test_kept_layers_keep_their_weights():
    network = made(of_torchvision("resnet18"))
    small, _ = sliced(network, batches_of(images(2)), loss, Cut(width=0.5, keep=("conv1", "layer1")))
    for name, value in network.state_dict().items():
        if name.startswith(("conv1", "bn1", "layer1")) and "running" not in name and "tracked" not in name:
            assert torch.equal(value, small.state_dict()[name]), name
    assert small.layer2[0].conv1.out_channels == 64


def test_tied_weights_stay_tied():
    small, _ = sliced(made(Tied), batches_of(tokens()), loss, Cut(width=0.5))
    assert small.head.weight is small.embedding.weight
    assert small.again is small.hidden
    assert small.head.weight.shape == (60, 16)


def test_the_profile_is_steeper_where_it_is_asked_to_be():
    network = made(of_torchvision("resnet18"))
    flat, first, last = (
        sliced(network, batches_of(images(2)), loss, cut)[0]
        for cut in (Cut(0.5), Cut(0.5, first=0.5), Cut(0.5, last=0.5))
    )
    assert first.conv1.out_channels < flat.conv1.out_channels == last.conv1.out_channels + 0
    assert last.layer4[1].conv1.out_channels < flat.layer4[1].conv1.out_channels
    assert first.layer4[1].conv1.out_channels == flat.layer4[1].conv1.out_channels


def test_thin_layers_are_cut_to_the_nearest_multiple():
    cut = Cut(width=0.5, round_to=8)
    kept = {channels: cut.kept(channels, 0.5) for channels in (4, 8, 12, 20, 64)}
    assert kept == {4: 4, 8: 8, 12: 8, 20: 8, 64: 32}
    assert [Cut(round_to=4).kept(channels, 0.3) for channels in (2, 6, 16, 40)] == [2, 4, 4, 12]


def test_blocks_that_change_least_are_dropped():
    network = made(of_torchvision("resnet18"))
    for name in ("layer1.1", "layer3.1"):
        block = network.get_submodule(name)
        nn.init.zeros_(block.bn2.weight)
    small, changes = sliced(network, batches_of(images(2)), loss, Cut(width=0.5, depth=0.6))
    assert changes.dropped == ("layer1.1", "layer3.1")
    rebuilt = reshape(made(of_torchvision("resnet18"), 1), changes, shapes_of(small))
    rebuilt.load_state_dict(small.state_dict())
    assert_equal_outputs(small, rebuilt, images(2))


def test_batch_normalisation_is_measured_anew():
    network = made(Waves)
    small, _ = sliced(network, batches_of(waves()), loss, Cut(width=0.5))
    with torch.no_grad():
        seen = small.first(waves())
    assert torch.allclose(small.norm1.running_mean, seen.mean((0, 2)), atol=1e-6)
    assert torch.allclose(small.norm1.running_var, seen.var((0, 2)), rtol=1e-4)
    assert small.norm1.momentum == 0.1 and int(small.norm1.num_batches_tracked) == 0


def test_calibration_leaves_networks_without_batch_normalisation():
    network = made(Tied)
    calibrate(network, lambda: pytest.fail("no batch is needed"))


class Mixed(nn.Module):
    """Reads all channels without weights, so that none of them can go."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(torch.softmax(self.first(x), -1))


def test_where_nothing_can_be_cut_the_layer_is_named():
    x = torch.randn(8, 8)
    with pytest.raises(NotSliceable, match=r"no layer can be cut.*first"):
        sliced(made(Mixed), batches_of(x), loss, Cut(width=0.5))


def test_a_network_without_layers_is_refused():
    with pytest.raises(NotSliceable, match="no layer"):
        sliced(nn.Flatten(), batches_of(torch.randn(4, 4, requires_grad=True)), loss, Cut(width=0.5))


@pytest.mark.parametrize(
    "bad", [{"width": 0.0}, {"depth": 1.5}, {"first": 5.0}, {"importance": "l3"}, {"keep": ("",)}]
)
def test_a_cut_is_checked(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Cut(**bad)
