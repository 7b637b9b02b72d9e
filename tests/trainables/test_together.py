"""Students that teach one another: published formulas, who learns from whom, and what each becomes."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from tests.recipes import STUDENT
from tests.trainables.steps import imitation, step_of
from trainables import methods
from trainables.answers import Logits
from trainables.batch import Batch
from trainables.losses import SoftTargets
from trainables.memory import Outputs, Whole
from trainables.methods.together import CONSISTENCY, MIMICRY, Companions
from trainables.optimizers import AdamW
from trainables.origins import Fresh, Slice, Trained
from trainables.pruners import Magnitude, NoPruner
from trainables.quantizers import NoQuantizer, Uniform
from trainables.recipe import recipe_from_dict
from trainables.schedules import Constant
from trainables.shipping.evaluation import evaluate_file
from trainables.shipping.packed_file import unpack
from trainables.slicing.cut import Cut
from trainables.tasks import Digits
from trainables.teachers import Ensemble, GatedEnsemble, Peers
from trainables.teachers.gated_ensemble import Gate, Raised, combined
from trainables.teachers.peers import All
from trainables.teachers.sources import NoSources
from trainables.training.learner import moments
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
EPOCHS = 4
METHODS = (methods.mutual_learning, methods.online_ensemble, methods.gated_online_ensemble)
TASK = SimpleNamespace(memory=Whole(), loss=lambda output, batch: F.cross_entropy(output, batch.targets))


def given(**parts):
    return replace(methods.Setting(Digits(batch_size=256), Fresh(STUDENT), EPOCHS, seed=3), **parts)


@pytest.fixture(scope="module")
def arrays():
    whole = Digits().load(None)
    return {name: values[:512] if name.startswith("train") else values for name, values in whole.items()}


def trainer_of(recipe, arrays):
    torch.set_num_threads(1)
    return Trainer(recipe, recipe.task.open(arrays, CPU, recipe.shared_seed), NoSources(), CPU)


def said_by(teacher, own, peers, task=TASK):
    return teacher.build(NoSources(), task, nn.Identity())(step_of(own, peers=peers)).answers


@pytest.fixture(scope="module")
def golden(shared_dir):
    folder = shared_dir / "golden"
    if not (folder / "methods.npz").is_file():
        pytest.skip("the reference implementations' vectors are not part of the repository")
    cases = json.loads((folder / "methods.json").read_text())
    arrays = np.load(folder / "methods.npz")

    def named(method):
        for case in cases:
            if case["method"] == method:
                yield case, lambda name, case=case: torch.from_numpy(arrays[f"{case['case']}_{name}"])

    return named


def close(ours, theirs):
    theirs = theirs if isinstance(theirs, torch.Tensor) else torch.tensor(theirs)
    atol = 1e-5 * float(theirs.abs().max())
    assert torch.allclose(ours.detach().float(), theirs.float(), rtol=0, atol=max(atol, 1e-7))


def test_mutual_learning_agrees_with_the_published_code(golden):
    tried = 0
    for case, array in golden("Deep mutual learning"):
        count = case["settings"]["networks"]
        logits = [array(f"logits{k}") for k in range(count)]
        labels = array("labels").long()
        for own in range(count):
            others = [each for k, each in enumerate(logits) if k != own]
            divergences = [imitation(MIMICRY, logits[own], Logits(each)) for each in logits]
            close(torch.stack(divergences), array("kl")[own])
            ours = logits[own].clone().requires_grad_()
            loss = F.cross_entropy(ours, labels) + imitation(MIMICRY, ours, said_by(Peers(), ours, others))
            loss.backward()
            close(loss, value_of(case, array, f"loss{own}"))
            close(ours.grad, array(f"loss_grad{own}"))
            ours = logits[own].clone().requires_grad_()
            total = imitation(MIMICRY, ours, said_by(Peers("authors"), ours, others))
            total.backward()
            close(total, value_of(case, array, f"authors_kl_sum{own}"))
            close(ours.grad, array(f"authors_kl_grad{own}"))
            tried += 1
    assert tried >= 12


def value_of(case, array, name):
    return case["values"][name] if name in case.get("values", {}) else array(name)


def test_the_gated_ensemble_agrees_with_the_published_code(golden):
    tried = 0
    for case, array in golden("Online ensemble (ONE)"):
        settings = case["settings"]
        gate = Gate(settings["gate_dim"], settings["branches"])
        for parameter, name in (
            (gate.linear.weight, "gate_weight"),
            (gate.linear.bias, "gate_bias"),
            (gate.norm.weight, "bn_weight"),
            (gate.norm.bias, "bn_bias"),
        ):
            parameter.data.copy_(array(name))
        branches = [array(f"branch{k}").clone().requires_grad_() for k in (1, 2, 3)]
        labels = array("labels").long()
        weights = gate(array("gate_feature"))
        ensemble = combined(weights, branches)
        close(weights, array("gate"))
        close(ensemble, array("ensemble"))
        imitations = [imitation(CONSISTENCY, each, Raised(ensemble.detach())) for each in branches]
        entropies = [F.cross_entropy(each, labels) for each in (*branches, ensemble)]
        close(torch.stack(imitations), value_of(case, array, "kl"))
        close(torch.stack(entropies), value_of(case, array, "ce"))
        loss = sum(entropies) + settings["consistency_weight"] * sum(imitations)
        loss.backward()
        close(loss, value_of(case, array, "loss"))
        for parameter, name in (
            (gate.linear.weight, "gate_weight"),
            (gate.linear.bias, "gate_bias"),
            (gate.norm.weight, "bn_weight"),
            (gate.norm.bias, "bn_bias"),
            *((branch, f"branch{k}") for k, branch in enumerate(branches, 1)),
        ):
            close(parameter.grad, array(f"grad_{name}"))
        tried += 1
    assert tried >= 6


def test_a_students_gated_lesson_is_its_part_of_the_published_loss():
    """Own logits get the gradient of the ensemble's cross entropy through gate and sum; the others none."""
    torch.manual_seed(0)
    own, *others = (torch.randn(6, 10, requires_grad=True) for _ in range(3))
    batch = Batch(None, torch.randint(10, (6,)), torch.arange(6), None)
    policy = GatedEnsemble(3, 10).build(NoSources(), TASK, nn.Identity())
    nn.init.zeros_(policy.own["gate"].linear.weight)
    lesson = policy(step_of(own, batch, peers=[each.detach() for each in others]))
    (ours,) = torch.autograd.grad(lesson.loss, own)
    mean = torch.stack([own, *others]).mean(0)  # of a gate that prefers nobody
    expected = F.cross_entropy(mean, batch.targets)
    torch.testing.assert_close(lesson.loss, expected)
    torch.testing.assert_close(ours, torch.autograd.grad(expected, own)[0])
    torch.testing.assert_close(lesson.answers.values, mean.detach())
    assert not lesson.answers.values.requires_grad


def test_the_gated_ensemble_learns_from_rows_that_count_and_keeps_what_is_for_training_alone():
    torch.manual_seed(0)
    output, counted = torch.randn(2, 3, 10, requires_grad=True), torch.tensor([0, 1, 3])
    batch = Batch(None, torch.randint(10, (2, 3)), torch.arange(2), None, counted)
    seen = []

    def loss(output, batch):
        answer, extra = output
        seen.append(extra)
        return F.cross_entropy(answer.flatten(0, 1)[counted], batch.targets.flatten()[counted])

    task = SimpleNamespace(memory=Whole(), loss=loss)
    policy = GatedEnsemble(2, 10).build(NoSources(), task, nn.Identity())
    step = step_of(output, batch, peers=[torch.randn(3, 10)])
    lesson = policy(replace(step, output=(output, "extra")))
    (gradient,) = torch.autograd.grad(lesson.loss, output)
    assert seen == ["extra"] and lesson.answers.values.shape == (3, 10)
    assert gradient.flatten(0, 1)[counted].any(1).all() and not gradient[1, 1:].any()


def test_a_lone_row_is_weighted_by_what_earlier_batches_had():
    gate = Gate(4, 2)
    gate(torch.randn(8, 4))
    before = gate.norm.running_mean.clone()
    weights = gate(torch.randn(1, 4))
    assert float(weights.detach().sum()) == pytest.approx(1.0)
    assert torch.equal(before, gate.norm.running_mean)
    gate(torch.randn(8, 4))
    assert not torch.equal(before, gate.norm.running_mean)


@pytest.mark.parametrize("teacher", [Peers(), Ensemble()], ids=str)
def test_students_that_agree_teach_one_another_nothing(teacher):
    own = torch.randn(5, 10, requires_grad=True)
    distance = imitation(MIMICRY, own, said_by(teacher, own, [own.detach()] * 2))
    distance.backward()
    assert float(distance.detach()) == pytest.approx(0, abs=1e-6) and float(own.grad.abs().max()) < 1e-6


def test_the_weights_of_the_others_add_up_to_one():
    own, other, third = (torch.randn(5, 10) for _ in range(3))
    one = imitation(MIMICRY, own, said_by(Peers(), own, [other]))
    for count in (2, 3, 7):
        torch.testing.assert_close(imitation(MIMICRY, own, said_by(Peers(), own, [other] * count)), one)
    both = imitation(MIMICRY, own, said_by(Peers(), own, [other, third]))
    alone = imitation(MIMICRY, own, said_by(Peers(), own, [third]))
    torch.testing.assert_close(both, (one + alone) / 2)


def test_outputs_that_are_no_classes_are_imitated_as_the_task_says():
    task = SimpleNamespace(memory=Outputs(F.mse_loss))
    own, other, third = (torch.randn(5, 3) for _ in range(3))
    for teacher, wanted in (
        (Peers(), (F.mse_loss(own, other) + F.mse_loss(own, third)) / 2),
        (Ensemble(), F.mse_loss(own, (own + other + third) / 3)),
    ):
        found = imitation(MIMICRY, own, said_by(teacher, own, [other, third], task))
        torch.testing.assert_close(found, wanted)
    for teacher in (Peers("authors"), GatedEnsemble(3, 3)):
        with pytest.raises(ValueError, match="needs probabilities of classes"):
            teacher.build(NoSources(), task, nn.Identity())
    with pytest.raises(ValueError, match="formula='paper'"):
        Peers("paper")


def test_a_student_alone_learns_from_labels_alone(arrays):
    """One student of mutual learning becomes, bit for bit, what plain training makes of it."""
    alone = methods.mutual_learning(given(), companions=Companions(1))
    plain = given().recipe(given().phase(AdamW(), quantize=True), quantizer=Uniform())
    assert alone.peers == ()
    tensors = []
    for recipe in (alone, plain):
        trainer = trainer_of(recipe, arrays)
        trainer.train_epoch()
        tensors.append(trainer.student.state_dict())
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[1])
    assert methods.online_ensemble(given(), companions=Companions(1)).peers == ()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_no_gradient_of_one_student_reaches_another(method, arrays):
    trainer = trainer_of(method(given(), companions=Companions(3)), arrays)
    batch = next(trainer.task.batches("train", 0))
    for learner in trainer.learners:
        learner.train()
    steps = moments(trainer.learners, batch, 0.0)
    trainer.learners[1].loss(steps[1]).backward()
    moved = [[p.grad is not None for p in learner.network.parameters()] for learner in trainer.learners]
    assert not any(moved[0]) and any(moved[1]) and not any(moved[2])
    gates = [[p.grad is not None for p in learner.policy.parameters()] for learner in trainer.learners]
    assert not any(gates[0]) and all(gates[1]) and not any(gates[2])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_stopping_and_resuming_changes_no_bit(method, arrays, tmp_path):
    recipe = method(given(pruner=Magnitude(0.5)), companions=Companions(3))
    straight = trainer_of(recipe, arrays)
    for epoch in range(EPOCHS):
        if epoch == 2:
            straight.save(tmp_path / "half")
        straight.train_epoch()
    straight.save(tmp_path / "straight")
    resumed = trainer_of(recipe_from_dict(recipe.to_dict()), arrays)
    resumed.load(tmp_path / "half")
    while not resumed.finished:
        resumed.train_epoch()
    resumed.save(tmp_path / "resumed")
    ours, theirs = (
        safetensors.torch.load_file(tmp_path / each / "state.safetensors") for each in ("straight", "resumed")
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    for one, other in zip(straight.learners, resumed.learners, strict=True):
        file = one.ship(EPOCHS)
        assert file == other.ship(EPOCHS)
        reported = straight.task.evaluate(one.network, "validation")["accuracy"]
        assert evaluate_file(file, straight.task, "validation")["accuracy"] == pytest.approx(
            reported, abs=0.01
        )


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_whichever_is_the_recipes_own_the_students_are_the_same(method, arrays):
    recipe = method(given(), companions=Companions(3))
    assert recipe.results[0] == recipe
    made = {each.recipe_id: set() for each in recipe.results}
    assert len(made) == 3
    for result in recipe.results:
        assert {each.recipe_id for each in result.results} == made.keys()
        trainer = trainer_of(result, arrays)
        trainer.train_epoch()
        assert trainer.ship() == trainer.learners[0].ship(1)
        for learner in trainer.learners:
            file = learner.ship(1)
            made[learner.recipe.recipe_id].add(file)
            assert unpack(file).recipe == learner.recipe
    assert all(len(files) == 1 for files in made.values())


def test_equal_students_of_other_trainings_have_other_ids():
    first, second = (methods.mutual_learning(given(), companions=Companions(count)) for count in (2, 3))
    narrow = [next(each for each in recipe.results if each.origin.width == 0.7) for recipe in (first, second)]
    assert narrow[0].students[0] == narrow[1].students[0]
    assert narrow[0].recipe_id != narrow[1].recipe_id


def test_twins_are_refused():
    recipe = methods.mutual_learning(given())
    with pytest.raises(ValueError, match="must differ, at least in their seeds"):
        replace(recipe, peers=(recipe.students[0],))


def test_a_gate_is_no_part_of_the_student(arrays):
    sizes = []
    for method in (methods.mutual_learning, methods.gated_online_ensemble):
        trainer = trainer_of(method(given(), companions=Companions(2)), arrays)
        names = unpack(trainer.ship()).tensors.keys()
        sizes.append(sum(p.numel() for p in trainer.student.parameters()))
        assert not any("gate" in name for name in names)
    assert sizes[0] == sizes[1]


def test_companions_are_narrower_in_turn_and_have_a_bit_more_or_less():
    recipe = methods.mutual_learning(
        given(), companions=Companions(4, 0.5), quantizer=Uniform(4, 64), teacher=Peers("authors")
    )
    facts = {
        (each.seed, each.origin.width, each.quantizer.bits, each.quantizer.bucket_size, each.method)
        for each in recipe.students
    }
    assert facts == {
        (3, 1.0, 4, 64, "mutual_learning"),
        (4, 0.5, 5, 64, "mutual_learning"),
        (5, 0.25, 3, 64, "mutual_learning"),
        (6, 0.125, 5, 64, "mutual_learning"),
    }
    assert all(each.teacher == Peers("authors") for each in recipe.students)
    for bits, expected in ((1, {1, 2}), (8, {7, 8})):
        found = methods.mutual_learning(given(), companions=Companions(3), quantizer=Uniform(bits))
        assert {each.quantizer.bits for each in found.students} == expected


def test_the_second_of_an_ensemble_is_wider_and_whole():
    recipe = methods.online_ensemble(given(pruner=Magnitude(0.5)), companions=Companions(3, 0.5))
    whole = [each for each in recipe.students if each.quantizer == NoQuantizer()]
    assert [(each.origin.width, each.pruner, each.exempt_dtype) for each in whole] == [
        (2.0, NoPruner(), "float32")
    ]
    assert {each.origin.width for each in recipe.students} == {0.5, 1.0, 2.0}
    assert all(each.task_weight == Constant(0.7) for each in recipe.students)
    assert recipe.losses == (SoftTargets(Constant(2.0), Constant(0.3)),)


@pytest.mark.parametrize(
    ("origin", "widths"),
    [
        (Fresh(replace(STUDENT, width=0.1)), (0.0625, 0.2)),
        (Trained(STUDENT, "0" * 16), (1.0, 1.0)),
        (Slice(Trained(STUDENT, "0" * 16), Cut(width=0.8)), (0.4, 1.0)),
    ],
    ids=["fresh", "trained", "slice"],
)
def test_an_origin_is_scaled_as_far_as_it_can_be(origin, widths):
    assert (origin.scaled(0.5).width, origin.scaled(2.0).width) == widths
    assert type(origin.scaled(0.5)) is type(origin) and origin.scaled(1.0) == origin


def test_nobody_said_is_no_distance():
    assert float(All(()).distance(torch.randn(3, 4), 1.0)) == 0.0
