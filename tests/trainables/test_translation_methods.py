"""Every method on a tiny translation task: resuming, packed files, what is compressed, what is remembered."""

import math
from dataclasses import replace

import pytest
import torch

from tests.recipes import TEACHER_ID
from tests.trainables.resuming import check_resuming
from tests.trainables.steps import NO_FEATURES, STUDENT, step_of
from tests.trainables.teachers import data_of, local_sources, small_teacher
from tests.trainables.translation import STUDENTS, every_translation_method, write_pairs
from trainables import methods
from trainables.compression.compressed_weight import compressed_weights
from trainables.losses import SoftTargets
from trainables.models import LSTM, Transformer
from trainables.origins import Fresh
from trainables.pruners import Magnitude, NoPruner
from trainables.quantizers import Uniform
from trainables.quantizers.base import Codes
from trainables.schedules import Constant, Linear
from trainables.shipping.evaluation import open_student
from trainables.shipping.packed_file import unpack
from trainables.teachers import Fixed, Remembered
from trainables.teachers.remembered import different_views, remember
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training.trainer import Trainer
from trainables.translation.sentences import PAD

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture(scope="module")
def task(folder):
    return write_pairs(folder)


@pytest.fixture(scope="module")
def arrays(task, folder):
    """With the translations of the small teacher, which tasks that do not ask for them ignore."""
    taught = methods.sequence_level_distillation(
        methods.Setting(task, Fresh(STUDENTS[0]), epochs=1, teacher=TEACHER_ID)
    ).task
    return data_of(taught, folder)


def opened(task, arrays, seed=0, **changes):
    return replace(task, **changes).open(arrays, CPU, seed)


def trainer_of(recipe, arrays, sources=None):
    torch.set_num_threads(1)
    loaded = recipe.task.open(arrays, CPU, recipe.seed)
    return Trainer(recipe, loaded, sources or local_sources(recipe.task), CPU)


def test_stopping_and_resuming_in_a_new_process_changes_no_bit(task, arrays, folder, tmp_path):
    plain, pruned = STUDENTS
    recipes = [
        *every_translation_method(task, plain)[::2],
        *every_translation_method(task, pruned, sparsity=0.5)[1::2],
    ]
    live = methods.knowledge_distillation(
        methods.Setting(task, Fresh(plain), epochs=4, teacher=TEACHER_ID, teacher_views=None)
    )
    check_resuming([trainer_of(recipe, arrays) for recipe in (*recipes, live)], tmp_path, folder)


@pytest.mark.parametrize(
    ("model", "sparsity", "first"), [(STUDENTS[0], 0.0, 0), (STUDENTS[1], 0.6, 1)], ids=str
)
def test_the_packed_file_computes_what_the_student_computes(model, sparsity, first, task, arrays):
    for recipe in every_translation_method(task, model, 2, sparsity)[first::2]:
        recipe = replace(recipe, exempt_dtype="float32")
        trainer = trainer_of(recipe, arrays)
        while not trainer.finished:
            trainer.train_epoch()
        _, network = open_student(trainer.ship())
        for _, compressed, original in compressed_weights(trainer.student):
            compressed.start_quantizing(original)  # post-training quantization never does, until it ships
            zeros = float((compressed(original) == 0).float().mean())
            if recipe.pruner == Magnitude(sparsity):
                assert zeros >= sparsity - 1 / original.numel()
        trainer.student.eval()
        with torch.no_grad():
            for batch in trainer.task.in_order("validation"):
                live, shipped = batch.rows(trainer.student(batch.inputs)), batch.rows(network(batch.inputs))
                torch.testing.assert_close(shipped, live, rtol=1e-3, atol=1e-4, msg=recipe.method)


TABLES = {"nothing": {"target", "source", "output"}, "output": {"target", "source"}, "all": {"target"}}


@pytest.mark.parametrize("family", [LSTM, Transformer])
@pytest.mark.parametrize("tied", TABLES)
def test_embeddings_and_output_layer_are_compressed_and_tied_ones_stored_once(family, tied, task, arrays):
    model = family(depth=1, units=8, tied=tied)
    recipe = methods.quantized_distillation(
        methods.Setting(task, Fresh(model), epochs=1, teacher=TEACHER_ID, pruner=Magnitude(0.5)),
        quantizer=Uniform(2, 64),
        imitation=SoftTargets(Constant(1.0)),
    )
    trainer = trainer_of(recipe, arrays)
    trainer.train_epoch()
    tensors = unpack(trainer.ship()).tensors
    tables = {name: tensor for name, tensor in tensors.items() if name.startswith("words.")}
    assert tables.keys() == {f"words.{name}.weight" for name in TABLES[tied]}
    for name, table in tables.items():
        assert isinstance(table, Codes) and table.bits == 2, name
        assert table.shape[0] == task.vocabulary_size
        assert float((table.decode() == 0).float().mean()) >= 0.5 - 1 / math.prod(table.shape)
    # No other tensor has one row per token: nothing repeats a table under another name.
    assert {name for name, t in tensors.items() if t.shape[:1] == (64,) and len(t.shape) == 2} == set(tables)
    dense = {name for name, tensor in tensors.items() if not isinstance(tensor, Codes)}
    assert all(len(tensors[name].shape) == 1 for name in dense)
    spared = replace(recipe, exempt=("words.*",), pruner=NoPruner())
    tensors = unpack(trainer_of(spared, arrays).ship()).tensors
    assert not any(isinstance(tensors[name], Codes) for name in tables)


# What is remembered of a teacher


@pytest.mark.parametrize("seed", [0, 5])
def test_remembered_outputs_are_the_live_teachers(seed, task, arrays):
    """Of the same tokens, in every batch, whichever sentences it holds."""
    sources = local_sources(task)
    loaded = opened(task, arrays, seed, batch_tokens=60 + 8 * seed)
    part = Remembered(TEACHER_ID, 4)
    remembered, live = part.build(sources, loaded, STUDENT), Fixed(TEACHER_ID).build(sources, loaded, STUDENT)
    counts = set()
    for epoch in range(3):
        for batch in loaded.batches("train", epoch, part.view(epoch)):
            step = step_of(torch.zeros(*batch.targets.shape, 64), batch)
            ours, theirs = remembered(step).answers, live(step).answers
            expected = theirs.values.log_softmax(1).gather(1, ours.classes)
            torch.testing.assert_close(ours.log_probabilities[:, :32], expected, rtol=2e-3, atol=2e-3)
            assert int((batch.targets != PAD).sum()) == len(ours.classes) == len(theirs.values)
            counts.add(batch.counted is None)
    assert counts == {True, False}, "batches with and without padding were to be seen"


def test_one_view_is_kept_in_the_smallest_types(task, arrays):
    loaded = opened(task, arrays)
    assert different_views(16, loaded) == different_views(1, loaded) == 1
    kept = remember(small_teacher(task), loaded, 1)
    tokens = int(arrays["train_target_lengths"].sum())
    assert loaded.rows("train") == tokens
    shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in kept.items()}
    assert shapes == {
        "log_probabilities": (torch.float16, (1, tokens, 33)),
        "classes": (torch.uint8, (1, tokens, 32)),
    }


def test_outputs_depend_on_neither_the_runs_seed_nor_its_batches(task, arrays):
    ours, theirs = (
        remember(small_teacher(task), opened(task, arrays, seed, batch_tokens=tokens), 1)
        for seed, tokens in ((0, 400), (3, 77))
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_distilled_trial_asks_no_teacher(task, arrays):
    """Once the outputs are there, the network may be gone."""
    asked = []

    def network(recipe_id):
        asked.append(recipe_id)
        return small_teacher(task)

    sources = LocalSources(network)
    recipe = methods.knowledge_distillation(
        methods.Setting(task, Fresh(STUDENTS[0]), epochs=2, teacher=TEACHER_ID),
        imitation=SoftTargets(Constant(1.0)),
    )
    first = trainer_of(recipe, arrays, sources)
    assert asked == [TEACHER_ID]
    first.train_epoch()
    second = trainer_of(replace(recipe, seed=1), arrays, sources)
    second.train_epoch()
    assert asked == [TEACHER_ID]
    assert not any(
        isinstance(module, type(small_teacher(task))) for module in first.learners[0].policy.modules()
    )


@pytest.mark.parametrize("views", [None, 1])
def test_the_same_sentences_in_other_batches_have_the_same_loss(views, task, arrays):
    """Summed over tokens: padding, of which other batches have more or less, takes no part."""
    teacher = methods.knowledge_distillation(
        methods.Setting(task, Fresh(STUDENTS[0]), epochs=1, teacher=TEACHER_ID, teacher_views=views),
        imitation=SoftTargets(Constant(1.0)),
    ).teacher
    student = STUDENTS[1].build(task.input_shape, task.outputs).eval()
    term = SoftTargets(Constant(1.0)).build(NO_FEATURES)
    sums, tokens = [], []
    for seed, batch_tokens in ((0, 40), (1, 90), (2, 400), (3, 10_000)):
        loaded = opened(task, arrays, seed, batch_tokens=batch_tokens)
        policy = teacher.build(local_sources(task), loaded, STUDENT)
        total = count = 0.0
        with torch.no_grad():
            for batch in loaded.batches("train", 0, teacher.view(0)):
                step = step_of(student(batch.inputs), batch)
                total += float(term(step, policy(step))) * len(step.logits)
                count += len(step.logits)
        sums.append(total)
        tokens.append(count)
    assert len(set(tokens)) == 1
    assert sums == pytest.approx([sums[0]] * 4, rel=1e-5)


def test_padded_positions_have_no_gradient(task, arrays):
    loaded = opened(task, arrays)
    batch = next(batch for batch in loaded.batches("train", 0, 0) if batch.counted is not None)
    policy = Remembered(TEACHER_ID, 1).build(local_sources(task), loaded, STUDENT)
    output = torch.randn(*batch.targets.shape, 64, requires_grad=True)
    term = SoftTargets(Constant(1.0)).build(NO_FEATURES)
    step = step_of(output, batch)
    term(step, policy(step)).backward()
    moved = (output.grad != 0).any(2)
    assert torch.equal(moved, batch.targets != PAD)


def test_softened_targets_need_the_live_teacher(task, arrays):
    given = methods.Setting(task, Fresh(STUDENTS[0]), epochs=1, teacher=TEACHER_ID)
    with pytest.raises(ValueError, match=r"temperature 1\.0 alone, got temperature=Constant\(value=2\.0\)"):
        methods.quantized_distillation(given)
    live = methods.quantized_distillation(replace(given, teacher_views=None))
    trainer_of(live, arrays).train_epoch()
    with pytest.raises(ValueError, match=r"got temperature=Linear"):
        replace(
            live,
            teacher=Remembered(TEACHER_ID, 1),
            losses=(SoftTargets(Linear(1.0, 2.0)),),
        )


def test_without_sources_nobody_is_imitated(task, arrays):
    recipe = methods.knowledge_distillation(
        methods.Setting(task, Fresh(STUDENTS[0]), epochs=1, teacher=TEACHER_ID),
        imitation=SoftTargets(Constant(1.0)),
    )
    with pytest.raises(ValueError, match=TEACHER_ID):
        trainer_of(recipe, arrays, NoSources())
