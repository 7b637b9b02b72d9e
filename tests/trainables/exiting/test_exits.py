"""Networks with early exits: who leaves where, at what cost, and what is learned."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.recipes import STUDENT, TEACHER_ID, setting
from tests.trainables.resuming import check_resuming
from trainables import methods
from trainables.activations import MovingRange
from trainables.compression.compressed_weight import compressed_weights
from trainables.exiting.exits import BRANCH, GATE, Exits
from trainables.exiting.network import ExitNetwork
from trainables.exiting.places import places
from trainables.exiting.thresholds import Seen, choose, see
from trainables.exporting.export import to_onnx
from trainables.losses import ExitLoss, GateLoss
from trainables.losses.gates import hinge
from trainables.metrics.macs import counting, macs
from trainables.models import ConvNet, ResNet
from trainables.models.custom import Custom, allow
from trainables.origins import Fresh, WithExits
from trainables.quantizers import NoQuantizer, Symmetric, Uniform
from trainables.recipe import recipe_from_dict
from trainables.runtime import load
from trainables.schedules import Constant
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.tasks import Digits, Multi30k
from trainables.teachers.sources import NoSources
from trainables.trainable import TrialSettings, final_metrics, latencies
from trainables.training.learner import moments
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
TASK = Digits(batch_size=128)
INTERFACE = TASK.interface


class Staged(nn.Module):
    """A network of a user's own, whose layers are called in an order that its structure does not tell."""

    def __init__(self, input_shape=(1, 8, 8), outputs=10, depth=1, width=1.0):
        super().__init__()
        self.fc = nn.Linear(12, outputs)
        self.second = nn.Conv2d(8, 12, 3, padding=1)
        self.first = nn.Conv2d(input_shape[0], 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        x = F.relu(self.second(F.max_pool2d(x, 2)))
        return self.fc(x.flatten(2).mean(2))


@pytest.fixture(scope="module")
def data():
    return TASK.open(TASK.load(None), CPU, 0)


def wrapped(kind=BRANCH, model=STUDENT, exits=None):
    torch.manual_seed(5)
    origin = WithExits(Fresh(model), exits or Exits(kind=kind))
    _, network = origin.build(TASK, TASK.open(TASK.load(None), CPU, 0), NoSources())
    return network.eval()


def at_thresholds(network, *values):
    network.thresholds.copy_(torch.tensor(values))
    return network


@pytest.fixture(scope="module")
def trained(data):
    """A student of each method, its weights of 4 bits, after five epochs."""
    found = {}
    for method in (methods.early_exits, methods.decision_gates):
        recipe = method(setting(TASK, STUDENT, 5), quantizer=Symmetric(4))
        trainer = Trainer(recipe, data, NoSources(), CPU)
        while not trainer.finished:
            trainer.train_epoch()
        found[method.name] = trainer.ship()
    return found


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
        from trainables.metrics.latency import Latency

        value = float(len(keys))
        return {"latency_ms": Latency(value, value, value, 100, "m")}

    monkeypatch.setattr("trainables.trainable.latencies_of", measured)
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
    from trainables.shipping.packed_file import unpack

    _, network = open_student(file)
    batch = next(data.in_order("validation"))
    doubts = [network.doubt(each) for each in network.answers(batch.inputs)[:2]]
    at_thresholds(network, *(network.threshold(float(each.quantile(0.4))) for each in doubts))
    graphs = to_onnx(network, INTERFACE, {}, unpack(file).tensors)
    import onnx

    graph = onnx.load_from_string(graphs["network"]).graph
    inner = [node for node in graph.node if node.op_type == "If"]
    assert len(inner) == 1 and not [node for node in graph.node if node.domain == "rayduce"]
    outside = [node for node in graph.node if "Conv" in node.op_type]
    assert len(outside) == 1  # the second convolution is in the branch that most inputs do not take
    run = load(graphs)["network"]
    expected = network(batch.inputs).numpy()
    one_by_one = [run({"input": batch.inputs[row : row + 1].numpy()})["output"] for row in range(40)]
    together = run({"input": batch.inputs.numpy()})["output"]
    close = 1e-4 if activations is None else 0.5
    agree = np.abs(together - expected).max(1) < close
    assert agree.mean() > (0.999 if activations is None else 0.9)
    assert (np.abs(np.concatenate(one_by_one) - together[:40]).max(1) < close).mean() > 0.9


def learner_of(recipe, data):
    trainer = Trainer(recipe, data, NoSources(), CPU)
    return trainer.learners[0]


def first_loss(learner, data):
    learner.train()
    batch = next(data.batches("train", 0))
    (recording,) = learner.recorded()
    with recording:
        (step,) = moments([learner], batch, 0.0)
        return learner.loss(step), step, batch


def test_without_weight_on_early_exits_the_loss_is_the_backbones(data):
    given = setting(TASK, STUDENT, 2)
    plain = NoQuantizer()
    alone = methods.early_exits(
        given, loss=ExitLoss(Constant(0.0)), last_weight=1.0, quantizer=plain, exits=Exits(count=1)
    )
    learner = learner_of(alone, data)
    loss, step, batch = first_loss(learner, data)
    assert float(loss.detach()) == pytest.approx(float(F.cross_entropy(step.logits, batch.targets).detach()))
    loss.backward()
    assert all(float(p.grad.abs().sum()) == 0.0 for p in learner.network.heads.parameters())
    each = methods.early_exits(given, loss=ExitLoss(weights=(0.0, 0.0)), last_weight=1.0, quantizer=plain)
    other, _, _ = first_loss(learner_of(each, data), data)
    assert float(other.detach()) == pytest.approx(float(loss.detach()))


def test_losses_of_exits_are_summed_by_their_weights(data):
    recipe = methods.early_exits(
        setting(TASK, STUDENT, 2),
        loss=ExitLoss(Constant(0.5), weights=(2.0, 3.0), from_last=0.25),
        quantizer=NoQuantizer(),
    )
    learner = learner_of(recipe, data)
    loss, step, batch = first_loss(learner, data)
    logits = [learner._probe.student[f"heads.{number}"] for number in (0, 1)]
    last = step.logits.detach().softmax(1)
    expected = 0.3 * F.cross_entropy(step.logits, batch.targets)
    for weight, each in zip((2.0, 3.0), logits, strict=True):
        soft = -(last * each.log_softmax(1)).sum(1).mean()
        expected = expected + 0.5 * weight * (0.75 * F.cross_entropy(each, batch.targets) + 0.25 * soft)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_weight_for_each_exit_is_demanded(data):
    recipe = methods.early_exits(setting(TASK, STUDENT, 2), loss=ExitLoss(weights=(1.0,)))
    with pytest.raises(ValueError, match="each of 2 early exits must have a weight"):
        learner_of(recipe, data)


def test_the_hinge_loss_is_zero_without_gradient_where_all_margins_are_kept():
    targets = torch.tensor([2, 0])
    kept = torch.tensor([[-1.0, -1.5, 1.0], [3.0, -1.0, -2.0]], requires_grad=True)
    loss = hinge(kept, targets)
    loss.backward()
    assert float(loss) == 0.0 and float(kept.grad.abs().sum()) == 0.0
    scores = torch.tensor([[0.5, -1.5, 0.2], [3.0, 0.0, -2.0]], requires_grad=True)
    loss = hinge(scores, targets)
    assert float(loss) == pytest.approx(((1 + 0.5) + 0 + (1 - 0.2) + 0 + 1.0 + 0) / 2)
    loss.backward()
    assert torch.equal(scores.grad, torch.tensor([[0.5, 0.0, -0.5], [0.0, 0.5, 0.0]]))
    assert torch.equal(hinge(scores, F.one_hot(targets, 3).float()), loss)


def test_gates_change_nothing_in_the_network_they_are_in(data):
    """The backbone ends as it would without gates, bit for bit, and stands still in their own epochs."""
    recipe = methods.decision_gates(setting(TASK, STUDENT, 4), gate_epochs=2, quantizer=NoQuantizer())
    gated = Trainer(recipe, data, NoSources(), CPU)
    quiet = replace(recipe, losses=(replace(recipe.losses[0], weight=Constant(0.0)),))
    other = Trainer(quiet, data, NoSources(), CPU)
    states = []
    for _ in range(4):
        gated.train_epoch(), other.train_epoch()
        states.append({k: v.clone() for k, v in gated.student.backbone.state_dict().items()})
    theirs = other.student.backbone.state_dict()
    assert all(torch.equal(states[3][key], theirs[key]) for key in theirs)
    assert all(torch.equal(states[1][key], states[3][key]) for key in theirs)  # statistics included
    assert any(not torch.equal(states[0][key], states[1][key]) for key in theirs)
    ours, still = gated.student.heads.state_dict(), other.student.heads.state_dict()
    assert any(not torch.equal(ours[key], still[key]) for key in ours)


def test_a_phase_of_heads_needs_some(data):
    recipe = methods.full_precision(setting(TASK, STUDENT, 2))
    phases = (replace(recipe.phases[0], train="heads"),)
    with pytest.raises(ValueError, match="trains the heads, and Sequential has none"):
        Trainer(replace(recipe, phases=phases), data, NoSources(), CPU)


@pytest.mark.slow
def test_stopping_and_resuming_changes_no_bit(tmp_path, data):
    given = setting(TASK, STUDENT, 4, sparsity=0.5)
    recipes = [
        methods.early_exits(given, loss=ExitLoss(from_last=0.5), quantizer=Symmetric(3)),
        methods.decision_gates(given, gate_epochs=2),
        methods.decision_gates(given, loss=GateLoss(hinge=0), gate_epochs=1, quantizer=NoQuantizer()),
        replace(methods.decision_gates(given), activations=MovingRange()),
    ]
    check_resuming([Trainer(recipe, data, NoSources(), CPU) for recipe in recipes], tmp_path)


def test_quantizers_see_heads_as_layers(data):
    recipe = methods.early_exits(setting(TASK, STUDENT, 1), quantizer=Uniform(2))
    names = {name for name, _, _ in compressed_weights(learner_of(recipe, data).network)}
    assert {"heads.0.1.weight", "heads.1.1.weight"} <= names
    assert recipe_from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("model", "count"), [(ResNet(depth=1), 2), (ResNet(depth=3), 4), (ConvNet(), 2), (STUDENT, 3)]
)
def test_exits_are_spread_over_the_work(model, count):
    torch.manual_seed(0)
    network = model.build((3, 32, 32) if model != STUDENT else (1, 8, 8), 10)
    interface = replace(INTERFACE, shape=(3, 32, 32) if model != STUDENT else (1, 8, 8))
    found = places(network, interface.use, Exits(count=count))
    total = macs(network, interface)
    assert 1 <= len(found) <= count
    work = [place.macs for place in found]
    assert work == sorted({*work}) and work[-1] < total
    if isinstance(model, ResNet):
        wanted = [total * (n + 1) / (count + 1) for n in range(count)]
        assert all(abs(a - b) < total / 5 for a, b in zip(work, wanted, strict=True))
        assert all(place.name.count(".") == 1 for place in found)  # whole blocks


def test_layers_of_ones_own_are_named_in_any_order(data):
    allow(f"{__name__}:Staged")
    model = Custom(f"{__name__}:Staged")
    network = wrapped(model=model, exits=Exits(at=("second", "norm")))
    assert isinstance(network, ExitNetwork) and network.at == ("norm", "second")
    recipe = methods.early_exits(
        methods.Setting(TASK, Fresh(model), 2, teacher=TEACHER_ID), exits=Exits(at=("second", "norm"))
    )
    trainer = Trainer(recipe, data, NoSources(), CPU)
    trainer.train_epoch()
    file = trainer.ship()
    assert open_student(file)[1].at == ("norm", "second")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (("third",), "no layer 'third' to have an exit; it has"),
        (("fc",), "has work before and after it"),
        (("0.0", "0.0"), "after different layers"),
        (("",), "named by words between dots"),
    ],
)
def test_layers_that_cannot_have_an_exit_are_refused(at, text):
    allow(f"{__name__}:Staged")
    with pytest.raises(ValueError, match=text):
        methods.early_exits(methods.Setting(TASK, Fresh(Custom(f"{__name__}:Staged")), 2), exits=Exits(at=at))


def test_a_network_without_layers_between_is_refused():
    one = ConvNet(stages=((4,),), hidden=(), kernel_size=3, depth=1)
    found = methods.early_exits(methods.Setting(TASK, Fresh(one), 2)).origin
    assert isinstance(found, WithExits)  # one convolution before the last layer is enough
    allow(f"{__name__}:Alone")
    with pytest.raises(ValueError, match="early exits need layers that run one after another"):
        methods.early_exits(methods.Setting(TASK, Fresh(Custom(f"{__name__}:Alone")), 2))


class Alone(nn.Module):
    """One layer."""

    def __init__(self, input_shape, outputs, depth, width):
        super().__init__()
        self.fc = nn.Linear(64, outputs)

    def forward(self, x):
        return self.fc(x.flatten(1))


@pytest.mark.parametrize("method", [methods.early_exits, methods.decision_gates], ids=lambda m: m.name)
def test_tasks_without_a_class_for_each_sample_are_refused(method):
    with pytest.raises(ValueError, match="one class for each sample, which is no answer in Multi30k"):
        method(methods.Setting(Multi30k(), Fresh(STUDENT), 4))
