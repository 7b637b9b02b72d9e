"""Distillation of inner features: which layers are found, what is contrasted, and that it resumes."""

import copy
from contextlib import ExitStack
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from torch import nn

from tests.recipes import STUDENT, TEACHER_ID
from tests.trainables.teachers import local_sources
from trainables import methods
from trainables.layers import LAST_STAGE, MIDDLE, PENULTIMATE, STAGES
from trainables.lesson import Lesson, Step
from trainables.losses import AttentionMaps, Hints, Similarity, SoftTargets
from trainables.losses.contrast import Contrast
from trainables.losses.negatives import Contrasted, Negatives
from trainables.models import LSTM, ConvNet, ResNet
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.probe import Features
from trainables.schedules import Constant
from trainables.shipping.evaluation import evaluate_file
from trainables.tasks import Digits, Phrases
from trainables.teachers import Fixed, Remembered
from trainables.teachers.inside import feature_bytes
from trainables.training.learner import moments
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
EPOCHS = 4
METHODS = {
    "crd": methods.contrastive_distillation,
    "hint": methods.hint_distillation,
    "at": methods.attention_transfer,
    "sp": methods.similarity_distillation,
}


def given(views=None, model=STUDENT, epochs=EPOCHS):
    return methods.Setting(
        Digits(batch_size=128), Fresh(model), epochs, teacher=TEACHER_ID, teacher_views=views
    )


@pytest.fixture(scope="module")
def arrays():
    return Digits().load(None)


def trainer_of(recipe, arrays):
    torch.set_num_threads(1)
    task = recipe.task.open(arrays, CPU, recipe.seed)
    return Trainer(recipe, task, local_sources(recipe.task), CPU)


def features_of(network, shape):
    return Features(network, lambda: torch.randn(4, *shape))


@pytest.mark.parametrize("views", [None, 3], ids=["live", "remembered"])
@pytest.mark.parametrize("name", METHODS)
def test_stopping_and_resuming_changes_no_bit(name, views, arrays, tmp_path):
    recipe = METHODS[name](given(views), optimizer=AdamW(5e-3))
    assert isinstance(recipe.teacher, Fixed if views is None else Remembered)
    straight = trainer_of(recipe, arrays)
    for epoch in range(EPOCHS):
        if epoch == 2:
            straight.save(tmp_path / "half")
        straight.train_epoch()
    straight.save(tmp_path / "straight")
    resumed = trainer_of(recipe, arrays)
    resumed.load(tmp_path / "half")
    while not resumed.finished:
        resumed.train_epoch()
    resumed.save(tmp_path / "resumed")
    ours, theirs = (
        safetensors.torch.load_file(tmp_path / each / "state.safetensors") for each in ("straight", "resumed")
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    file = straight.ship()
    assert file == resumed.ship()
    measured = straight.task.evaluate(straight.student, "validation")["accuracy"]
    assert evaluate_file(file, straight.task, "validation")["accuracy"] == measured > 0.3


@pytest.mark.parametrize("place", [PENULTIMATE, STAGES, MIDDLE, LAST_STAGE, "0.2"])
def test_remembered_features_are_the_teachers_own(place, arrays):
    task = Digits(batch_size=128).open(arrays, CPU, 0)
    sources = local_sources(Digits())
    policy = Remembered(TEACHER_ID, 3).build(sources, task, nn.Identity())
    network = sources.network(TEACHER_ID).eval()
    names = policy.inside.find(place)
    *_, batch = task.batches("train", 5, view=2)
    live = Features(network, lambda: batch.inputs)
    shapes = [live.watch(name) for name in live.find(place)]
    assert [policy.inside.watch(name) for name in names] == shapes
    with torch.no_grad(), live.recorded():
        logits = network(batch.inputs)
        expected = [live[name] for name in live.find(place)]
    policy(Step(batch, logits, logits, (), 0.0))
    for name, wanted in zip(names, expected, strict=True):
        torch.testing.assert_close(policy.inside[name], wanted, rtol=1e-3, atol=1e-6)
    bytes_kept = sum(kept[0].nbytes for kept in sources.features(TEACHER_ID, 3, task, place))
    assert feature_bytes(network, task, place) == bytes_kept


def test_features_that_are_too_large_are_asked_for_live():
    large = replace(given(3), live_features=(STAGES,))
    assert methods.attention_transfer(large).teacher == Fixed(TEACHER_ID)
    assert methods.contrastive_distillation(large).teacher == Remembered(TEACHER_ID, 3)
    assert methods.knowledge_distillation(large).teacher == Remembered(TEACHER_ID, 3)


def test_a_method_whose_features_the_teacher_lacks_is_refused():
    lacking = replace(given(3), lacking_features=(STAGES,))
    with pytest.raises(
        ValueError, match="looks at ends of stages of both networks, and one of them has none"
    ):
        methods.attention_transfer(lacking)
    assert methods.similarity_distillation(lacking).losses


@pytest.mark.parametrize("views", [None, 1])
def test_hidden_states_of_translations_are_compared_token_by_token(views):
    task = Phrases()
    loaded = task.open(task.load(None), CPU, 0)
    student = LSTM(depth=1, units=12, embedding=8)
    recipe = methods.hint_distillation(
        methods.Setting(task, Fresh(student), 1, teacher=TEACHER_ID, teacher_views=views),
        imitation=SoftTargets(Constant(1.0)),
    )
    trainer = Trainer(recipe, loaded, local_sources(task), CPU)
    (learner,), batch = trainer.learners, next(loaded.batches("train", 0, recipe.teacher.view(0)))
    with ExitStack() as recording:
        for context in learner.recorded():
            recording.enter_context(context)
        (step,) = moments([learner], batch, 0.0)
        learner.policy(step)
        term = learner.losses[1]
        rows = batch.features(term.probe.teacher[term.theirs])
        assert rows.shape[0] == len(step.logits) and rows.dim() == 2
        assert term.ours == "decoder" and (term.theirs == "decoder") == (views is None)
        assert term(step, Lesson()).item() > 0


def test_layers_of_a_residual_network_are_found_at_the_ends_of_its_stages():
    network = ResNet(depth=2).build((3, 32, 32), 10)
    features = features_of(network, (3, 32, 32))
    assert features.find(STAGES) == ("0.4", "0.6", "0")
    assert [features.watch(name) for name in features.find(STAGES)] == [
        (16, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
    ]
    assert features.find(MIDDLE) == ("0.6",) and features.find(LAST_STAGE) == ("0",)
    assert features.find(PENULTIMATE) == ("input of 3",) and features.watch("input of 3") == (64,)


def test_layers_of_a_plain_network_are_those_before_its_pools():
    network = ConvNet(stages=((8, 8), (12,)), hidden=(24,), kernel_size=3, depth=2).build((1, 16, 16), 10)
    features = features_of(network, (1, 16, 16))
    assert [features.watch(name) for name in features.find(STAGES)] == [(8, 16, 16), (12, 8, 8), (12, 4, 4)]
    assert features.watch(*features.find(PENULTIMATE)) == (24,)


class Bottleneck(nn.Module):
    """Runs at the old resolution before it reduces it, and has one activation for all."""

    def __init__(self, stride):
        super().__init__()
        self.first, self.second = nn.Conv2d(6, 4, 1), nn.Conv2d(4, 6, 3, stride, 1)
        self.act = nn.ReLU()
        self.shortcut = nn.Conv2d(6, 6, 1, stride)

    def forward(self, x):
        return self.act(self.second(self.act(self.first(x))) + self.shortcut(x))


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.pixels, self.stem = nn.Identity(), nn.Conv2d(3, 6, 3, 2, 1)
        self.one = nn.Sequential(Bottleneck(1), Bottleneck(1))
        self.two = nn.Sequential(Bottleneck(2), Bottleneck(1))

    def forward(self, x):
        return self.two(self.one(self.stem(self.pixels(x)))).mean((2, 3))


def test_a_block_that_reduces_its_maps_is_not_the_end_of_the_stage_before():
    network = nn.Sequential()
    network.add_module("body", Wrapped())
    network.add_module("head", nn.Linear(6, 5))
    features = features_of(network, (3, 16, 16))
    assert features.find(STAGES) == ("body.one", "body.two")
    assert features.find(PENULTIMATE) == ("input of head",)


class Last(nn.Module):
    """Normalises its channels last, as ConvNeXt does."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.LayerNorm(8)

    def forward(self, x):
        return x + self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def test_maps_with_their_channels_last_are_no_ends_of_stages():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 2, 2), Last(), nn.Conv2d(8, 6, 2, 2), nn.Flatten(), nn.Linear(96, 4)
    )
    assert features_of(network, (3, 16, 16)).find(STAGES) == ("1", "2")


def test_a_network_without_maps_has_a_middle_and_no_stages():
    network = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))
    features = features_of(network, (5,))
    assert features.find(MIDDLE) == ("1",) and features.find(LAST_STAGE) == ("input of 4",)
    with pytest.raises(ValueError, match="no ends of stages"):
        features.find(STAGES)
    with pytest.raises(ValueError, match="no penultimate features"):
        features_of(nn.Sequential(nn.Linear(5, 3)), (5,)).find(PENULTIMATE)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("model", [ResNet(depth=1, width=0.25), ConvNet(stages=((4,),), hidden=(), depth=1)])
def test_a_student_of_another_kind_finds_its_layers(name, model, arrays):
    trainer = trainer_of(METHODS[name](given(model=model, epochs=1)), arrays)
    assert trainer.train_epoch()["loss"] > 0


def test_layers_can_be_named_and_what_does_not_fit_is_refused(arrays):
    layers = {"student_layer": "0.3", "teacher_layer": "0.0"}
    trainer = trainer_of(methods.hint_distillation(given(), hint=Hints(**layers)), arrays)
    assert (trainer.learners[0].losses[1].ours, trainer.learners[0].losses[1].theirs) == ("0.3", "0.0")
    pairs = AttentionMaps(("0.2",), ("0.2",))
    term = trainer_of(methods.attention_transfer(given(), attention=pairs), arrays).learners[0].losses[1]
    assert term.pairs == [("0.2", "0.2")]
    flat = Hints(student_layer="2.0", teacher_layer="0.0")
    with pytest.raises(ValueError, match="cannot be compared"):
        trainer_of(methods.hint_distillation(given(), hint=flat), arrays)
    with pytest.raises(ValueError, match="attention is of maps"):
        trainer_of(methods.attention_transfer(given(), attention=AttentionMaps(("2.0",), ("0.0",))), arrays)
    with pytest.raises(ValueError, match="as many layers"):
        AttentionMaps(("0.2",))
    with pytest.raises(ValueError, match="no module 'nowhere'"):
        trainer_of(
            methods.similarity_distillation(given(), similarity=Similarity(student_layer="nowhere")), arrays
        )


def test_methods_that_compare_samples_refuse_text():
    text = methods.Setting(Phrases(), Fresh(STUDENT), 2, teacher=TEACHER_ID, teacher_views=None)
    for name in ("crd", "at", "sp"):
        with pytest.raises(ValueError, match=r"token by token|maps of images"):
            METHODS[name](text)


@pytest.mark.parametrize("sort", ["other classes", "other samples"])
def test_negatives_are_others_each_once_and_the_sample_stands_first(sort):
    labels = torch.arange(60) % 7
    draws = Negatives(40, 60, labels if sort == "other classes" else None)
    numbers = torch.tensor([3, 59, 10, 4])
    seen, everything = torch.zeros(60), torch.arange(60)
    torch.manual_seed(0)
    for _ in range(500):
        rows, places = draws.draw(numbers)
        drawn = rows[places]
        assert torch.equal(drawn[:, 0], numbers)
        for number, row in zip(numbers, drawn[:, 1:], strict=True):
            assert len(set(row.tolist())) == 40 and int(number) not in row
            if sort == "other classes":
                assert not (labels[row] == labels[number]).any()
            seen[row] += 1
    of_any = (
        ~torch.isin(labels, labels[numbers]) if sort == "other classes" else ~torch.isin(everything, numbers)
    )
    allowed = seen[of_any]
    assert float(allowed.min()) > 0.85 * float(allowed.mean())  # none is favoured


def test_negatives_are_as_many_as_the_data_have():
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    assert Negatives(16_384, 6, labels).count == 3 and Negatives(16_384, 6, None).count == 5
    rows, places = Negatives(16_384, 6, None).draw(torch.tensor([0, 5]))
    assert [sorted(row) for row in rows[places].tolist()] == [list(range(6))] * 2
    with pytest.raises(ValueError, match="4 of 4 are alike"):
        Negatives(5, 4, torch.zeros(4))


def test_the_memories_hold_unit_rows_of_the_samples_seen_and_nothing_ships(arrays):
    trainer = trainer_of(methods.contrastive_distillation(given(epochs=1)), arrays)
    contrast = trainer.learners[0].losses[1].contrast
    before = contrast.memories.clone()
    trainer.train_epoch()
    norms = contrast.memories.norm(dim=2)
    assert torch.allclose(norms, torch.ones_like(norms)) and (contrast.memories != before).any(2).all()
    assert (contrast.scales > 0).all() and not contrast.memories.requires_grad
    plain = replace(trainer.recipe, losses=trainer.recipe.losses[:1])
    assert abs(len(trainer.ship()) - len(trainer_of(plain, arrays).ship())) < 200


def test_the_loss_falls_as_features_move_toward_what_the_teacher_said_of_their_sample():
    torch.manual_seed(0)
    contrast = Contrast((8, 8), 20, 8, 0.07, 0.5)
    places = torch.tensor([[0, 5, 6, 7], [1, 8, 9, 2]])
    said, numbers = contrast.memories[1][:2].clone(), torch.tensor([0, 1])
    features, taught = torch.randn(2, 8, requires_grad=True), torch.randn(2, 8)

    def loss_of(features):
        return copy.deepcopy(contrast)(features, taught, numbers, Contrasted(torch.arange(20), places))

    def likeness(features):
        return float((nn.functional.normalize(contrast.projections[0](features)) * said).sum().detach())

    loss = loss_of(features)
    (gradient,) = torch.autograd.grad(loss, features)
    moved = features - 0.05 * gradient
    assert loss_of(moved).item() < loss.item() and likeness(moved) > likeness(features)
