"""A teacher's translations as targets: what they are, what needs them, and what does without."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from tests.recipes import TEACHER_ID
from tests.trainables.teachers import small_teacher
from tests.trainables.translation import STUDENTS, write_pairs
from trainables import methods
from trainables.naming import short_name
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.quantizers import NoQuantizer, Uniform
from trainables.recipe import canonical_json, recipe_from_dict
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.tasks import Digits, TeacherTranslations
from trainables.teachers.sources import NoSources
from trainables.training.trainer import Trainer
from trainables.translation.decoding import beam_search
from trainables.translation.sentences import END, PAD

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The task and its data."""
    folder = tmp_path_factory.mktemp("pairs")
    task = write_pairs(folder)
    return task, task.load(folder)


@pytest.fixture(scope="module")
def made(base):
    task, arrays = base
    return TeacherTranslations(task, TEACHER_ID).taught(small_teacher(task), arrays, CPU)


def sentences(batches):
    """Tokens of the targets by the pair's number."""
    found = {}
    for batch in batches:
        for number, row in zip(batch.index.tolist(), batch.targets.tolist(), strict=True):
            found[number] = [token for token in row if token != PAD]
    return found


@pytest.mark.parametrize("beam", [1, 5])
def test_targets_are_what_a_beam_finds_of_each_source(beam, base):
    task, arrays = base
    taught, teacher = TeacherTranslations(task, TEACHER_ID, beam), small_teacher(task).eval()
    made = taught.taught(teacher, arrays, CPU)
    loaded = taught.open({**arrays, **made}, CPU, 0)
    targets = sentences(loaded.batches("train", 0))
    ends = np.cumsum(arrays["train_source_lengths"])
    assert len(targets) == len(ends)
    for number, source in enumerate(np.split(arrays["train_source"], ends[:-1])):
        limit = torch.tensor([min(task.max_length, 2 * len(source) + 10)])
        row, length = torch.tensor(source[None]).long(), torch.tensor([len(source)])
        (alone,) = beam_search(teacher, row, length, beam=beam, limits=limit)
        assert targets[number] == [*alone.tokens, END]
        assert len(targets[number]) <= task.max_length


def test_all_but_the_training_targets_are_the_other_tasks(base, made):
    task, arrays = base
    ours = TeacherTranslations(task, TEACHER_ID).open({**arrays, **made}, CPU, 0)
    theirs = task.open(arrays, CPU, 0)
    for split in ("validation", "test"):
        assert sentences(ours.in_order(split)) == sentences(theirs.in_order(split))
        assert ours.references(split) == theirs.references(split)
    assert sentences(ours.in_order("train")) != sentences(theirs.in_order("train"))
    for a, b in zip(ours.in_order("train"), theirs.in_order("train"), strict=True):
        assert torch.equal(a.inputs.source, b.inputs.source)
    assert ours.fingerprint() != theirs.fingerprint()
    assert all(torch.equal(asset, theirs.assets()[name]) for name, asset in ours.assets().items())


def test_other_teachers_translations_are_never_taken(base, made):
    task, arrays = base
    for other in (TeacherTranslations(task, "f" * 16), TeacherTranslations(task, TEACHER_ID, beam=3)):
        loaded = other.open({**arrays, **made}, CPU, 0)
        with pytest.raises(ValueError, match=r"no train split here: .* one of validation, test"):
            loaded.steps("train")


def test_the_other_task_does_not_see_them(base, made):
    task, arrays = base
    with_them, without = task.open({**arrays, **made}, CPU, 0), task.open(arrays, CPU, 0)
    assert with_them.fingerprint() == without.fingerprint()


@pytest.mark.parametrize("quantizer", [NoQuantizer(), Uniform(4)])
def test_what_it_trained_is_evaluated_with_the_other_tasks_data_alone(quantizer, base, made, tmp_path):
    task, arrays = base
    recipe = methods.sequence_level_distillation(
        methods.Setting(task, Fresh(STUDENTS[0]), epochs=1, teacher=TEACHER_ID),
        quantizer=quantizer,
        optimizer=AdamW(1e-2),
    )
    trainer = Trainer(recipe, recipe.task.open({**arrays, **made}, CPU, 0), NoSources(), CPU)
    trainer.train_epoch()
    packed = trainer.ship()
    again, network = open_student(packed)
    assert again == recipe and again.task.of == task
    bare = again.task.open(arrays, CPU, 0)
    assert evaluate_file(packed, bare, "test") == evaluate_file(packed, task.open(arrays, CPU, 0), "test")
    translations = bare.translations(network, "test")
    assert len(translations) == bare.samples("test") == 7
    with pytest.raises(ValueError, match="no train split"):
        Trainer(recipe, bare, NoSources(), CPU)


def test_the_method(base):
    task, _ = base
    plain, quantized = (
        methods.sequence_level_distillation(
            methods.Setting(task, Fresh(STUDENTS[1]), epochs=3, teacher=TEACHER_ID), quantizer=quantizer
        )
        for quantizer in (NoQuantizer(), Uniform(2))
    )
    assert (plain.quantizer, plain.exempt_dtype, plain.phases[0].quantize) == (
        NoQuantizer(),
        "float32",
        False,
    )
    assert isinstance(quantized.quantizer, Uniform) and quantized.phases[0].quantize
    assert short_name(plain) == "seqkd-d1-w1" and short_name(quantized) == "seqkd-2bit-b256-d1-w1"
    for recipe in (plain, quantized):
        assert recipe_from_dict(json.loads(canonical_json(recipe))) == recipe
        assert recipe.task.product == "beam5"
        assert (recipe.task.metric, recipe.task.outputs) == (task.metric, task.outputs)
        assert recipe.task.input_shape == task.input_shape


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"teacher_id": "zz"}, "teacher_id='zz'"),
        ({"beam": 0}, "beam=0"),
        ({"of": Digits()}, "of must be TextTask"),
    ],
)
def test_what_does_not_fit_is_refused(change, text, base):
    task, _ = base
    good = TeacherTranslations(task, TEACHER_ID)
    with pytest.raises(ValueError, match=text):
        dataclasses.replace(good, **change)
    with pytest.raises(ValueError, match="of must be TextTask"):
        TeacherTranslations(good, TEACHER_ID)
