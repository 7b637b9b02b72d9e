"""Row groups: the most important rows get the most bits, and files hold plain tensors."""

from dataclasses import replace

import pytest
import torch

from tests.recipes import STUDENT, setting
from trainables import methods
from trainables.by_name import Where
from trainables.compression.compressed_weight import compress, compressed_weights, stored_tensors
from trainables.optimizers import AdamW
from trainables.quantizers import LearnedStep, QuantizerByName, Rows, Symmetric, Uniform, Zero
from trainables.quantizers.base import Dense, Grouped, joined
from trainables.quantizers.rows import RowGroup
from trainables.shipping.evaluation import rebuild
from trainables.shipping.packed_file import Limits, PackedFileError, pack, unpack
from trainables.shipping.sizes import sparsity
from trainables.tasks import Digits
from trainables.teachers.sources import NoSources
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
MIXED = Rows((RowGroup(0.25, Symmetric(8)), RowGroup(0.25, LearnedStep(3)), RowGroup(0.5, Zero())))


def test_rows_are_grouped_by_their_norm_and_keep_their_group():
    weight = torch.ones(8, 3) * torch.tensor([3.0, 8, 1, 7, 2, 6, 4, 5]).reshape(8, 1)
    module = MIXED.build(weight)
    module.initialize(weight)
    assert module.group.tolist() == [2, 0, 2, 0, 2, 1, 2, 1]
    made = module(weight)
    assert torch.equal(made[[0, 2, 4, 6]], torch.zeros(4, 3)) and made[[1, 3, 5, 7]].all()
    module(weight.flip(0))
    assert module.group.tolist() == [2, 0, 2, 0, 2, 1, 2, 1]
    expected = Symmetric(8).build(weight[[1, 3]])(weight[[1, 3]])
    assert torch.equal(made[[1, 3]], expected)


def test_gradients_reach_the_rows_that_are_stored_alone():
    weight = torch.randn(8, 5, requires_grad=True)
    module = MIXED.build(weight)
    module.initialize(weight.detach())
    module(weight).sum().backward()
    assert weight.grad[module.group == 2].abs().sum() == 0
    assert weight.grad[module.group == 0].abs().sum() > 0


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64])
def test_every_row_is_in_a_group(rows):
    counts = MIXED.counts(rows)
    assert sum(counts) == rows and min(counts) >= 0
    weight = torch.randn(rows, 4)
    module = MIXED.build(weight)
    module.initialize(weight)
    assert torch.equal(module.encode(weight, (rows, 4), None).decode(), module(weight))


def trained():
    task = Digits().open(Digits().load(None), CPU, 0)
    given = setting(Digits(), replace(STUDENT, width=2.0), 4)
    recipe = methods.learned_step_quantization(given, optimizer=AdamW(1e-2))
    # Whole classes would be pruned of the last layer.
    recipe = replace(recipe, quantizer=QuantizerByName((Where("2.3.weight", Symmetric(8)),), MIXED))
    trainer = Trainer(recipe, task, NoSources(), CPU)
    while not trainer.finished:
        trainer.train_epoch()
    return task, trainer


def test_a_student_with_row_groups_ships_as_plain_tensors_and_is_rebuilt():
    task, trainer = trained()
    data = trainer.ship()
    recipe, tensors, _ = unpack(data)
    (name, compressed, original), *_ = compressed_weights(trainer.student)
    assert {f"{name}[rows]", f"{name}[0]", f"{name}[1]"} <= tensors.keys()
    assert f"{name}[2]" not in tensors  # of rows of zero bits nothing is stored
    assert torch.equal(joined(tensors)[name].decode(), compressed(original).detach())
    assert 0.4 < sparsity(tensors) < 0.7
    student = rebuild(recipe, tensors)
    assert torch.equal(student.state_dict()[name], compressed(original).detach())
    assert task.evaluate(student, "validation")["accuracy"] > 0.3


def test_damaged_groups_are_refused():
    recipe = replace(methods.post_training_quantization(setting(Digits(), STUDENT, 1)), quantizer=MIXED)
    whole = stored_tensors(compress(recipe.build(), recipe), recipe)
    name = next(name for name in whole if name.endswith("[rows]")).removesuffix("[rows]")
    assert rebuild(*unpack(pack(recipe, whole))) is not None
    rows = whole[f"{name}[rows]"].decode()
    for change, text in (
        ({f"{name}[rows]": Dense(rows.float())}, "must name the group of each row"),
        ({f"{name}[rows]": Dense(rows.sort().values[1:].clone())}, "are not rows of"),
        ({f"{name}[rows]": Dense(torch.full_like(rows, 7))}, "is missing"),
        ({f"{name}[rows]": Dense(torch.zeros_like(rows))}, "are not rows of"),
        ({f"{name}[rows]": Dense(torch.full_like(rows, 255))}, "names no group"),
    ):
        with pytest.raises(PackedFileError, match=text):
            rebuild(recipe, {**whole, **change})


def test_groups_are_checked():
    with pytest.raises(ValueError, match=r"add up to 1, got 1 whose shares add up to 0\.5"):
        Rows((RowGroup(0.5, Zero()),))
    with pytest.raises(ValueError, match="exact zero, got Uniform"):
        Rows((RowGroup(1.0, Uniform()),)).build(torch.ones(2, 2))
    with pytest.raises(ValueError, match="exact zero, got Rows"):
        Rows((RowGroup(1.0, MIXED),)).build(torch.ones(4, 2))
    with pytest.raises(ValueError, match="are not rows of"):
        Grouped(torch.zeros(2, dtype=torch.uint8), (Dense(torch.ones(3, 2)),)).decode()


def test_removed_rows_are_counted_before_they_are_made():
    recipe = methods.post_training_quantization(setting(Digits(), STUDENT, 1))
    rows = torch.full((4096,), 255, dtype=torch.uint8)
    rows[0] = 0
    group = Symmetric(4).build(torch.ones(1, 1)).encode(torch.ones(1, 2**10), (1, 2**10), None)
    data = pack(recipe, {"weight[rows]": Dense(rows), "weight[0]": group})
    assert unpack(data) is not None
    with pytest.raises(PackedFileError, match="removed rows would take 16773120 bytes"):
        unpack(data, Limits(memory_bytes=2**20))
