"""Bits by depth and importance: HAQ's mapping and wall, sizes before training, rows of zero bits."""

import math
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.recipes import STUDENT, TEACHER_ID, setting
from tests.trainables.teachers import local_sources
from trainables import methods
from trainables.by_name import Where
from trainables.codecs import BitPacked
from trainables.compression.compressed_weight import compress, compressed_weights, stored_tensors
from trainables.folding import fold_batch_norms
from trainables.optimizers import AdamW
from trainables.origins import Fresh, Slice, Trained
from trainables.origins.base import fresh_network
from trainables.pruners import Magnitude
from trainables.quantizers import Graded, QuantizerByName, Symmetric
from trainables.quantizers.base import ROWS, joined
from trainables.quantizers.grades import bits_of, stored_bytes, tensor_bytes, walled
from trainables.shipping.evaluation import evaluate_file
from trainables.shipping.packed_file import unpack
from trainables.shipping.published_sizes import bit_packed_bytes
from trainables.slicing.cut import Cut
from trainables.tasks import Digits
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
SHARES = st.floats(0, 1)
STEEP = Graded(first=0.9, middle=0.5, last=0.2, spread=0.6, removed=0.3)
TENSORS = st.lists(
    st.tuples(st.integers(1, 12), st.integers(1, 9)).map(lambda pair: (pair[0], pair[1], 3)),
    min_size=1,
    max_size=5,
).map(lambda shapes: {f"layer.{number}": shape for number, shape in enumerate(shapes)})
GRADED = st.builds(Graded, SHARES, SHARES, SHARES, SHARES, st.floats(0, 0.95))


@pytest.mark.parametrize("least", range(1, 9))
def test_the_ends_of_an_action_are_the_ends_of_the_bits(least):
    for most in range(least, 9):
        bits = [bits_of(step / 1000, least, most) for step in range(1001)]
        assert bits[0] == least and bits[-1] == most  # unheld, 0 gives round(least - 0.5)
        assert bits == sorted(bits) and set(bits) == set(range(least, most + 1))


def test_an_action_maps_as_published():
    assert [bits_of(action, 2, 8) for action in (0.1, 0.25, 0.5, 0.9)] == [2, 3, 5, 8]


@given(GRADED, TENSORS)
def test_bits_fall_with_importance_and_one_row_at_least_stays(part, shapes):
    for name, grades in part.grades(shapes).items():
        assert len(grades) == shapes[name][0]
        assert list(grades) == sorted(grades, reverse=True)
        assert grades[0] >= 2 and set(grades) <= {0, *range(2, 9)}


@given(GRADED, TENSORS, SHARES)
def test_the_wall_ends_within_the_budget_or_says_that_it_cannot(part, shapes, share):
    wanted = part.grades(shapes)
    lowest = {name: tuple(min(bits, 2) for bits in grades) for name, grades in wanted.items()}
    before, bottom = (stored_bytes(shapes, each) for each in (wanted, lowest))
    budget = share * before
    # Of unlike rows that become alike the group numbers are saved, so less bits may not be the smallest.
    if budget < min(bottom, sum(math.prod(shape) for shape in shapes.values()) // 8):
        with pytest.raises(ValueError, match="more than the budget"):
            walled(shapes, wanted, 2, budget)
    elif budget >= bottom:
        found = walled(shapes, wanted, 2, budget)
        assert stored_bytes(shapes, found) <= budget
        for name, grades in found.items():
            assert all(new in (old, *range(2, old)) for new, old in zip(grades, wanted[name], strict=True))
        assert (found == wanted) == (before <= budget)


def test_the_wall_goes_from_the_last_tensor_to_the_first_over_and_over():
    shapes = {"a": (4, 8), "b": (4, 8), "c": (4, 8)}
    wanted = {"a": (5,) * 4, "b": (3,) * 4, "c": (2,) * 4}

    def bits(budget):
        return [grades[0] for grades in walled(shapes, wanted, 2, budget).values()]

    whole = stored_bytes(shapes, wanted)
    assert whole == 4 * (5 + 3 + 2) + 3 * 8
    assert bits(whole) == [5, 3, 2]
    assert bits(whole - 1) == bits(whole - 4) == [5, 2, 2]
    assert bits(whole - 5) == bits(whole - 8) == [4, 2, 2]
    assert bits(whole - 16) == [2, 2, 2]
    with pytest.raises(ValueError, match="take 48 bytes at 2 bits, more than the budget of 47"):
        bits(whole - 17)


def test_a_removed_row_costs_no_bit():
    assert tensor_bytes((4, 10), (4, 4, 4, 0)) - 4 == tensor_bytes((3, 10), (4, 4, 4))
    assert tensor_bytes((4, 10), (4, 4, 4, 4)) == 20 + 8


def test_rows_that_matter_most_get_the_most_bits_and_removed_ones_are_zero():
    torch.manual_seed(0)
    weight = torch.randn(10, 6, requires_grad=True)
    shapes = {"first": (10, 6), "second": (10, 6)}
    module = STEEP.over(shapes)["first"].build(weight, "first")
    module.initialize(weight.detach())
    order = weight.detach().abs().sum(1).argsort(descending=True)
    made = module(weight)
    gone = order[7:]
    assert not made[gone].any() and made[order[:7]].any(1).all()
    made.sum().backward()
    assert not weight.grad[gone].any() and weight.grad[order[:7]].all()
    stored = module.encode(weight.detach(), (10, 6), None)
    assert torch.equal(stored.decode(), made.detach())
    assert (stored.rows[gone] == 255).all() and sum(group.shape[0] for group in stored.groups) == 7
    bits = [stored.groups[number].bits for number in stored.rows[order[:7]].tolist()]
    assert tuple(bits) == STEEP.grades(shapes)["first"][:7] and bits[0] > bits[-1]


def test_the_last_tensor_and_those_that_are_named_keep_their_rows():
    shapes = {"a.weight": (10, 4), "b.weight": (10, 4), "c.weight": (10, 4)}
    part = replace(STEEP, keep=("b.*",))
    assert [grades.count(0) for grades in part.grades(shapes).values()] == [3, 0, 0]


def test_by_name_each_part_sees_the_tensors_that_are_its_own():
    part = QuantizerByName((Where("b", Symmetric(3)),), STEEP)
    shapes = {"a": (10, 4), "b": (10, 4), "c": (10, 4)}
    found = part.over(shapes)
    assert found.keys() == shapes.keys() and found["b"] == Symmetric(3)
    assert found["a"] == STEEP.over({"a": (10, 4), "c": (10, 4)})["a"]


def test_ends_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="got least=5 and most=4"):
        Graded(least=5, most=4)


@pytest.fixture(scope="module")
def arrays():
    whole = Digits().load(None)
    return {name: values[:512] if name.startswith("train") else values for name, values in whole.items()}


def recipe_of(part, origin=None):
    given = setting(Digits(batch_size=128), STUDENT, 4)
    given = given if origin is None else replace(given, origin=origin)
    return methods.joint_pruning_quantization(given, quantizer=part, optimizer=AdamW(1e-2))


def trainer_of(recipe, arrays):
    torch.set_num_threads(1)
    return Trainer(recipe, recipe.task.open(arrays, CPU, 0), local_sources(recipe.task), CPU)


@pytest.mark.parametrize(
    "part",
    [STEEP, replace(STEEP, budget=0.6), Graded(0, 0.5, 1, 0, 0)],
    ids=str,
)
def test_the_size_is_known_before_training(part, arrays):
    recipe = recipe_of(part)
    student = compress(recipe.build(), recipe)
    shapes = {name: tuple(original.shape) for name, _, original in compressed_weights(student)}
    trainer = trainer_of(recipe, arrays)
    while not trainer.finished:
        trainer.train_epoch()
    tensors = unpack(trainer.ship())[1]
    weights = {name: tensor for name, tensor in tensors.items() if name.partition("[")[0] in shapes}
    assert sum(map(bit_packed_bytes, weights.values())) == part.stored_bytes(shapes)
    for tensor in (tensor for name, tensor in weights.items() if not name.endswith(ROWS)):
        head = len(BitPacked().encode(tensor)) - bit_packed_bytes(tensor)
        assert 0 < head < 16  # shape and grid: nothing of the tensor's size
    if part.budget is not None:
        full = replace(part, first=1, middle=1, last=1, spread=0, removed=0, budget=None)
        assert part.stored_bytes(shapes) <= part.budget * full.stored_bytes(shapes)


TRAINED = Trained(STUDENT, TEACHER_ID)


@pytest.mark.parametrize(
    "origin", [TRAINED, Slice(TRAINED, Cut(0.6, first=2.0, last=0.5, round_to=1))], ids=["trained", "slice"]
)
def test_what_ships_is_what_was_measured_and_trained_networks_are_quantized_from_the_start(origin, arrays):
    recipe = recipe_of(STEEP, origin)
    assert [phase.epochs for phase in recipe.phases] == [4]
    torch.manual_seed(1)
    trained = fold_batch_norms(fresh_network(STUDENT, recipe.task))
    torch.set_num_threads(1)
    sources = LocalSources({TEACHER_ID: trained}.__getitem__)
    trainer = Trainer(recipe, recipe.task.open(arrays, CPU, 0), sources, CPU)
    shapes = {name: tuple(original.shape) for name, _, original in compressed_weights(trainer.student)}
    whole = {name: tuple(weight.shape) for name, weight in STUDENT.build((1, 8, 8), 10).named_parameters()}
    assert (shapes == {name: whole[name] for name in shapes}) == (origin == TRAINED)
    while not trainer.finished:
        trainer.train_epoch()
    data = trainer.ship()
    reported = evaluate_file(data, trainer.task, "validation")
    live = trainer.task.evaluate(trainer.student, "validation")
    assert reported["accuracy"] == pytest.approx(live["accuracy"], abs=0.003)
    tensors = unpack(data)[1]
    stored = [tensor for name, tensor in tensors.items() if name.partition("[")[0] in shapes]
    assert sum(map(bit_packed_bytes, stored)) == STEEP.stored_bytes(shapes)
    decoded = joined(tensors)
    for name, compressed, original in compressed_weights(trainer.student):
        assert torch.equal(decoded[name].decode(), compressed(original).detach())


def test_stopping_and_resuming_changes_no_bit(arrays, tmp_path):
    recipe = recipe_of(replace(STEEP, budget=0.6))
    straight = trainer_of(recipe, arrays)
    for epoch in range(4):
        if epoch == 3:  # in the quantized phase
            straight.save(tmp_path / "half")
        straight.train_epoch()
    resumed = trainer_of(recipe, arrays)
    resumed.load(tmp_path / "half")
    resumed.train_epoch()
    states = []
    for name, trainer in (("straight", straight), ("resumed", resumed)):
        trainer.save(tmp_path / name)
        states.append(safetensors.torch.load_file(tmp_path / name / "state.safetensors"))
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert straight.ship() == resumed.ship()


def test_a_budget_that_cannot_be_met_is_told_when_the_student_is_made():
    recipe = recipe_of(replace(STEEP, removed=0.0, budget=0.1))
    with pytest.raises(ValueError, match="more than the budget"):
        compress(recipe.build(), recipe)
    tensors = stored_tensors(compress(recipe.build(), whole := recipe_of(STEEP)), whole)
    assert any(name.endswith(ROWS) for name in tensors)


def test_it_prunes_by_itself():
    given = setting(Digits(), STUDENT, 4, sparsity=0.5)
    assert given.pruner == Magnitude(0.5) and given.origin == Fresh(STUDENT)
    with pytest.raises(ValueError, match="prunes by NoPruner"):
        methods.joint_pruning_quantization(given)


def test_channels_are_not_taken_out_of_weights_with_bits_of_their_own():
    given = setting(Digits(batch_size=128), STUDENT, 4)
    pruned = methods.fisher_pruning(given)
    for method in (methods.joint_pruning_quantization, methods.pseudo_quantization_noise):
        recipe = method(given)
        phases = tuple(replace(phase, prune=True) for phase in recipe.phases)
        with pytest.raises(ValueError, match="bits of their own"):
            compress(recipe.build(), replace(recipe, pruner=pruned.pruner, phases=phases))
