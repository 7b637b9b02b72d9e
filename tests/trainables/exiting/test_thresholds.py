"""Which thresholds are chosen, and what students with them cost."""

import itertools
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from tests.recipes import STUDENT, setting
from tests.trainables.exiting.networks import CPU, INTERFACE, TASK, at_thresholds
from trainables import methods
from trainables.activations import MovingRange
from trainables.exiting.exits import BRANCH, GATE
from trainables.exiting.thresholds import Seen, choose, see
from trainables.exporting.export import to_onnx
from trainables.exporting.ram import ram_bytes
from trainables.metrics.latency import Latency
from trainables.metrics.macs import macs
from trainables.runtime import load
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.shipping.packed_file import unpack
from trainables.teachers.sources import NoSources
from trainables.training.trainer import Trainer
from trainables.training.trial_metrics import TrialSettings, final_metrics, latencies


@pytest.mark.parametrize(("drop", "exits"), [(0.0, 1), (1.0, 1), (0.0, 2), (2.0, 2), (100.0, 2), (1.0, 3)])
def test_thresholds_are_the_cheapest_of_all_that_keep_the_accuracy(drop, exits):
    generator = torch.Generator().manual_seed(exits)
    samples = {1: 40, 2: 40, 3: 12}[exits]
    doubts = torch.rand(samples, exits, generator=generator)
    doubts[3] = doubts[7]  # a tie
    right = torch.rand(samples, exits + 1, generator=generator) < torch.linspace(0.6, 0.9, exits + 1)
    costs = torch.tensor([1.0, 2.5, 3.0, 7.0][: exits + 1], dtype=torch.float64)
    found = choose(Seen(doubts, right), costs.tolist(), drop)

    def outcome(cuts):
        leaves = torch.full((samples,), exits)
        for number in reversed(range(exits)):
            leaves[doubts[:, number] < cuts[number]] = number
        cost = float(costs[leaves].mean())
        return cost, float(right.gather(1, leaves[:, None]).double().mean())

    least = float(right[:, -1].double().mean()) - drop / 100 - 1e-9
    tried = [[-1.0, *(column.unique() + 1e-4).tolist()] for column in doubts.unbind(1)]
    best = min(cost for cost, accuracy in map(outcome, itertools.product(*tried)) if accuracy >= least)
    assert outcome(found.doubts) == pytest.approx((found.cost, found.accuracy))
    assert found.accuracy >= least and found.cost == pytest.approx(best)
    assert sum(found.shares) == pytest.approx(1.0)


def test_many_samples_are_cut_at_even_shares():
    generator = torch.Generator().manual_seed(0)
    doubts = torch.rand(20_000, 3, generator=generator)
    right = torch.rand(20_000, 4, generator=generator) < 0.9
    found = choose(Seen(doubts, right), (1.0, 2.0, 3.0, 4.0), 100.0)
    assert found.shares == (1.0, 0.0, 0.0, 0.0) and found.cost == 1.0


def test_only_labels_of_validation_choose_thresholds_and_none_decides(trained, data):
    """The same file answers the same whatever the labels are; other held-out labels give other thresholds."""
    _, network = open_student(trained["early_exits"])
    batch = next(data.in_order("validation"))
    seen = see(network, [batch])
    wrong = see(network, [batch._replace(targets=(batch.targets + 1) % 10)])
    assert torch.equal(seen.doubts, wrong.doubts)
    assert choose(seen, (1.0, 2.0, 3.0), 1.0).doubts != choose(wrong, (1.0, 2.0, 3.0), 1.0).doubts


@pytest.mark.parametrize("name", ["early_exits", "decision_gates"])
def test_what_is_reported_is_what_the_file_does(trained, data, name):
    recipe, network = open_student(trained[name])
    validation = data.evaluate(network, "validation")
    assert evaluate_file(trained[name], data, "validation") == validation
    batches = list(data.in_order("validation"))
    answers = [network.answers(batch.inputs) for batch in batches]
    targets = torch.cat([batch.targets for batch in batches])
    last = torch.cat([each[-1] for each in answers]).argmax(1)
    assert validation["accuracy"] >= float((last == targets).float().mean()) - 0.005 - 1e-6
    leaves = torch.full((len(targets),), 2)
    for number in (1, 0):
        logits = torch.cat([each[number] for each in answers])
        leaves[network.certain(number, logits)] = number
    shares = torch.bincount(leaves, minlength=3) / len(leaves)
    assert torch.allclose(network.shares, shares)
    costs = [macs(route, INTERFACE) for _, route in network.routes()]
    metrics = final_metrics(recipe, trained[name], network, TrialSettings(None, 1000))
    assert metrics["macs"] == round(float((shares.double() * torch.tensor(costs)).sum()))
    assert metrics["full_macs"] == costs[2]
    assert metrics["early_share"] == pytest.approx(1 - float(shares[2]), abs=1e-6)


def test_a_latency_is_the_mean_of_what_validation_samples_take(trained, tmp_path, monkeypatch):
    recipe, network = open_student(trained["early_exits"])
    network.shares.copy_(torch.tensor([0.5, 0.0, 0.5]))
    keys = []

    def measured(key, build, interface, table):
        keys.append(key)
        value = float(len(keys))
        return {"latency_ms": Latency(value, value, value, 100, "m")}

    monkeypatch.setattr("trainables.training.trial_metrics.latencies_of", measured)
    found = latencies(recipe, trained["early_exits"], network, TrialSettings(tmp_path, 1))
    assert found == {"latency_ms": 1.5}
    assert len({*keys}) == 2  # the table tells routes apart, and no route that nobody takes is timed


@pytest.mark.parametrize("activations", [None, MovingRange()])
@pytest.mark.parametrize("kind", [BRANCH, GATE])
def test_an_exported_student_skips_what_it_does_not_need(data, kind, activations):
    method = methods.early_exits if kind == BRANCH else methods.decision_gates
    recipe = method(setting(TASK, STUDENT, 4))
    if activations is not None:
        recipe = replace(recipe, activations=activations)
    trainer = Trainer(recipe, data, NoSources(), CPU)
    while not trainer.finished:
        trainer.train_epoch()
    file = trainer.ship()
    _, network = open_student(file)
    batch = next(data.in_order("validation"))
    doubts = [network.doubt(each) for each in network.answers(batch.inputs)[:2]]
    at_thresholds(network, *(network.threshold(float(each.quantile(0.4))) for each in doubts))
    graphs = to_onnx(network, INTERFACE, {}, unpack(file).tensors)
    graph = onnx.load_from_string(graphs["network"]).graph
    inner = [node for node in graph.node if node.op_type == "If"]
    assert len(inner) == 1 and not [node for node in graph.node if node.domain == "rayduce"]
    outside = [node for node in graph.node if "Conv" in node.op_type]
    assert len(outside) == 1  # the second convolution is in the branch that most inputs do not take
    # Whoever leaves late needs what the network without exits needs.
    alone = to_onnx(network.backbone, INTERFACE, {}, unpack(file).tensors)
    assert ram_bytes(graphs, INTERFACE) >= ram_bytes(alone, INTERFACE)
    run = load(graphs)["network"]
    expected = network(batch.inputs).numpy()
    one_by_one = [run({"input": batch.inputs[row : row + 1].numpy()})["output"] for row in range(40)]
    together = run({"input": batch.inputs.numpy()})["output"]
    close = 1e-4 if activations is None else 0.5
    agree = np.abs(together - expected).max(1) < close
    assert agree.mean() > (0.999 if activations is None else 0.9)
    assert (np.abs(np.concatenate(one_by_one) - together[:40]).max(1) < close).mean() > 0.9
