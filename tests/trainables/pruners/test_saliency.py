"""Saliency against losses that can be computed by hand, and against removing channels one by one."""

import copy

import pytest
import torch
from torch import nn

from trainables.compression.compressed_weight import CompressedWeight, compressed_weights
from trainables.pruners import Saliency
from trainables.pruners.base import Gates
from trainables.pruners.together import most_salient
from trainables.quantizers import NoQuantizer
from trainables.training.gates import GateRecorder

FISHER = Saliency("fisher", by="channels", updates=1)


def gated(network, part=FISHER):
    """``network`` with masks on its weights, and what records their gates."""
    weights = {}
    for name, module in list(network.named_modules()):
        if hasattr(module, "weight") and module.weight.dim() > 1:
            compressed = CompressedWeight(part.build(module.weight, name), NoQuantizer().build(module.weight))
            nn.utils.parametrize.register_parametrization(module, "weight", compressed)
            weights[f"{name}.weight"] = compressed
    return weights, GateRecorder(network, weights)


def seen(network, loss, batches):
    """The masks after ``batches``, each a step's."""
    weights, gates = gated(network)
    for x, y in batches:
        with nn.utils.parametrize.cached(), gates.recorded():
            value = loss(network(x), y)
        value.backward()
        for name, compressed in weights.items():
            gates.tell(name, compressed.mask)
    return {name: compressed.mask for name, compressed in weights.items()}


def quadratic(samples=64, seed=0):
    """Samples of which the loss is 1/2 (c - z)^2 in the network's output z, at a network that fits them.

    With z = sum of channels h_k, removing channel k at a minimum (c = z) changes the loss by 1/2 h_k^2; the
    Fisher information needs gradients that are not zero, so targets are z plus noise of unit variance, of
    which the expected gradient's square is the Hessian, 1.
    """
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Linear(5, 4, bias=False), nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        for layer in network:
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
    x = torch.randn(samples, 5, generator=generator)
    with torch.no_grad():
        noise = torch.randint(0, 2, (samples, 1), generator=generator) * 2.0 - 1
        y = network(x) + noise
    return network, x, y


def mean_square(z, y):
    return 0.5 * (z - y).square().mean()


def test_fisher_is_the_true_increase_of_a_quadratic_loss():
    network, x, y = quadratic()
    read = network[0](x)
    terms = (read * network[1].weight).detach()  # what each channel gives to z
    # The loss without channel k is 1/2 (h_k)^2 more, on average over the noise: the cross term vanishes.
    expected = 0.5 * terms.square().mean(0)
    masks = seen(network, mean_square, [(x, y)])
    found = masks["1.weight"].score()
    assert torch.allclose(found, expected, rtol=1e-4)
    # And by removing each channel and measuring, with targets of both signs of the noise.
    noise = y - network(x).detach()
    for channel in range(4):
        without = (terms.sum(1, keepdim=True) - terms[:, [channel]]).detach()
        both = [mean_square(without, terms.sum(1, keepdim=True) + sign * noise) for sign in (1, -1)]
        before = mean_square(terms.sum(1, keepdim=True), y)
        assert float(sum(both) / 2 - before) == pytest.approx(float(found[channel]), rel=1e-4)


@pytest.mark.parametrize("size", [1, 8, 64, 24])
def test_fisher_does_not_depend_on_the_size_of_batches(size):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    with torch.no_grad():
        network[0].weight[2], network[0].bias[2] = 0, -1  # a channel that is dead behind its ReLU
    x, y = torch.randn(64, 2, 8, 8), torch.randint(0, 3, (64,))
    plain = seen(copy.deepcopy(network), nn.functional.cross_entropy, [(x[[n]], y[[n]]) for n in range(64)])
    batches = list(zip(x.split(size), y.split(size), strict=True))
    found = seen(network, nn.functional.cross_entropy, batches)
    for name in ("2.weight", "4.weight"):
        assert torch.allclose(found[name].score(), plain[name].score(), rtol=1e-3, atol=1e-9)
        assert bool((found[name].score() >= 0).all())
    assert found["2.weight"].score()[2] == 0 and int(found["2.weight"].score().count_nonzero()) == 5
    assert int(found["0.weight"].seen) == 0, "the network's own input has no gates"
    assert float(found["2.weight"].macs) == 4 * 9 * 4 * 4 and float(found["4.weight"].macs) == 3


def test_gates_are_the_gradients_of_gates_that_are_there():
    """With several readers of one tensor, and inputs of three dimensions, against autograd."""
    torch.manual_seed(0)

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.one, self.other = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            h = self.first(x).relu()
            return (self.one(h) * self.other(h) + h[..., :2]).sum(1)

    network = Two()
    x, y = torch.randn(6, 5, 3), torch.randn(6, 2)
    masks = seen(copy.deepcopy(network), mean_square, [(x, y)])
    gate = torch.ones(6, 1, 4, requires_grad=True)
    h = network.first(x).relu()
    z = (network.one(h * gate) * network.other(h) + h[..., :2]).sum(1)
    (slopes,) = torch.autograd.grad(mean_square(z, y), gate)
    expected = 0.5 * (6 * slopes[:, 0]).square().mean(0)
    assert torch.allclose(masks["one.weight"].score(), expected, rtol=1e-4)


def test_channels_that_cost_much_go_first():
    part = Saliency("fisher", 0.5, "channels", updates=1, cost=1.0)
    free = Saliency("fisher", 0.5, "channels", updates=1)
    kept = {}
    for pruner in (part, free):
        masks = {name: pruner.build(torch.ones(2, 3)) for name in ("dear", "cheap")}
        for name, macs in (("dear", 5e6), ("cheap", 1e6)):
            masks[name].see(Gates(torch.tensor([[3.0, 2.0, 1.0]]).sqrt() * 2 ** (name == "dear"), macs))
        pruner.decide(masks, 1.0)
        kept[pruner] = {name: mask.current()[0].tolist() for name, mask in masks.items()}
    # By Fisher alone 6, 4, 2 beside 1.5, 1, 0.5; with the cost 1, -1, -3 beside 0.5, 0, -0.5.
    assert kept[free] == {"dear": [True, True, True], "cheap": [True, False, False]}
    assert kept[part] == {"dear": [True, False, False], "cheap": [True, True, False]}


def test_what_went_does_not_come_back_and_each_layer_keeps_one():
    part = Saliency("fisher", 0.75, "channels", updates=4)
    mask, other = part.build(torch.ones(2, 4)), part.build(torch.ones(2, 4))
    for step in range(1, 5):
        mask.see(Gates(torch.tensor([[1.0, 2.0, 3.0, 4.0]]).flip(1 if step % 2 else 0), 1.0))
        other.see(Gates(torch.full((1, 4), 9.0), 1.0))
        before = mask.keep.clone()
        part.decide({"a": mask, "b": other}, step / 4)
        assert not (mask.keep & ~before).any()
    assert int(mask.keep[0].sum()) == 1 and bool(other.keep.all())


def test_equal_scores_stay_together():
    keep = most_salient(
        [torch.tensor([3.0, 1.0, 1.0]), torch.tensor([1.0, 0.5])], 0.4, [torch.ones(3) > 0, torch.ones(2) > 0]
    )
    assert [each.tolist() for each in keep] == [[True, True, True], [True, False]]


def test_what_cannot_be_meant_is_refused():
    for wrong, text in (
        ({"criterion": "size"}, "criterion"),
        ({"by": "rows"}, "by"),
        ({"cost": 1.0}, "cost=1.0"),
    ):
        with pytest.raises(ValueError, match=text):
            Saliency(**wrong)


def test_weights_are_found_by_their_modules():
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    gated(network)
    assert [name for name, _, _ in compressed_weights(network)] == ["0.weight", "1.weight"]
