"""Who leaves a network with early exits where, and at what cost."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.trainables.exiting.networks import INTERFACE, at_thresholds, wrapped
from trainables.exiting.exits import BRANCH, GATE
from trainables.metrics.macs import counting, macs


@pytest.mark.parametrize("kind", [BRANCH, GATE])
def test_fresh_exits_are_never_certain(kind):
    network = wrapped(kind)
    inputs = torch.randn(50, 1, 8, 8)
    assert torch.equal(network(inputs), network.backbone(inputs))


def test_at_a_threshold_of_zero_the_last_exit_answers_even_without_any_entropy():
    network = at_thresholds(wrapped(), 0.0, 0.0)
    with torch.no_grad():
        network.heads[0][1].bias.copy_(torch.tensor([1e6] + [0.0] * 9))  # one class has all probability
    inputs = torch.randn(50, 1, 8, 8)
    logits = network.answers(inputs)[0]
    assert float(network.doubt(logits).detach().abs().max()) == 0.0
    assert torch.equal(network(inputs), network.backbone(inputs))


@pytest.mark.parametrize(("kind", "threshold"), [(BRANCH, 1e30), (GATE, -1e30)])
def test_at_an_endless_threshold_the_first_exit_answers(kind, threshold):
    network = at_thresholds(wrapped(kind), threshold, network_never(kind))
    inputs = torch.randn(50, 1, 8, 8)
    assert torch.equal(network(inputs), network.answers(inputs)[0])


def network_never(kind):
    return 0.0 if kind == BRANCH else 1e30


def test_entropy_is_in_nats_and_an_exit_answers_strictly_below_its_threshold():
    network = wrapped()
    logits = torch.randn(20, 10, dtype=torch.float64)
    p = logits.softmax(1)
    assert torch.allclose(network.doubt(logits), -(p * p.log()).sum(1))
    uniform = torch.zeros(1, 10)
    limit = network.doubt(uniform)
    assert float(limit) == pytest.approx(np.log(10))
    assert not bool(at_thresholds(network, float(limit), 0.0).certain(0, uniform))
    assert bool(at_thresholds(network, float(limit) + 1e-5, 0.0).certain(0, uniform))


def test_a_gate_answers_at_a_score_of_its_threshold():
    network = at_thresholds(wrapped(GATE), 0.5, 0.5)
    scores = torch.tensor([[0.5, -3.0], [0.4999, 0.0]])
    assert network.certain(0, scores).tolist() == [True, False]


@pytest.mark.parametrize("kind", [BRANCH, GATE])
def test_a_loop_over_samples_and_a_batch_agree(kind):
    network = wrapped(kind)
    inputs = torch.randn(64, 1, 8, 8)
    early, late, _ = (network.doubt(each) for each in network.answers(inputs))
    cuts = [network.threshold(float(each.median())) for each in (early, late)]
    at_thresholds(network, *cuts)
    answers = network.answers(inputs)
    expected = []
    for row in range(len(inputs)):
        leaves = next((n for n in (0, 1) if bool(network.certain(n, answers[n][row : row + 1]))), 2)
        expected.append(leaves)
    assert {*expected} == {0, 1, 2}
    wanted = torch.stack([answers[n][row] for row, n in enumerate(expected)])
    assert torch.equal(network(inputs), wanted)
    alone = torch.cat([network(inputs[row : row + 1]) for row in range(len(inputs))])
    assert torch.allclose(alone, wanted, atol=1e-5)


def test_a_forward_pass_ends_where_all_samples_have_left():
    network = at_thresholds(wrapped(), 1e30, 0.0)
    reached = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: reached.append(name))
        for name, module in network.backbone.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    network(torch.randn(5, 1, 8, 8))
    assert reached == ["0.0"] and len(hooks) > 2


def test_a_deeper_route_costs_more_and_heads_count():
    network = wrapped()
    costs = [macs(route, INTERFACE) for route in map(network.leaving_at, range(3))]
    head = sum(layer[1].weight.numel() for layer in network.heads)
    assert costs[2] == macs(network.backbone, INTERFACE) + head
    assert costs[0] < costs[1] < costs[2]
    first = network.backbone[0][0]
    assert costs[0] == first.weight.numel() * 64 + network.heads[0][1].weight.numel()


@pytest.mark.parametrize("kind", [BRANCH, GATE])
def test_what_samples_cost_falls_with_the_doubt_that_exits_accept(kind):
    network = wrapped(kind)
    inputs = torch.randn(12, 1, 8, 8)
    doubts = torch.stack([network.doubt(each) for each in network.answers(inputs)[:2]])
    costs = []
    for cut in (-1e30, *doubts.flatten().quantile(torch.linspace(0, 1, 6)).tolist(), 1e30):
        at_thresholds(network, *[network.threshold(cut)] * 2)
        with counting() as counted:
            for row in range(len(inputs)):
                network(inputs[row : row + 1])
            costs.append(counted())
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == 12 * macs(network.leaving_at(2), INTERFACE)
    assert costs[-1] == 12 * macs(network.leaving_at(0), INTERFACE)
    assert len({*costs}) > 3
