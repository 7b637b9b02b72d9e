"""Text in, text out, from nothing but the file; other files are refused."""

from dataclasses import replace

import pytest
import torch

from tests.trainables.translation import write_pairs
from trainables import methods
from trainables.models import LSTM, ConvNet, Transformer
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.quantizers.base import Dense
from trainables.shipping.evaluation import ASSET, assets_of, evaluate_file, open_student, weights_of
from trainables.shipping.packed_file import PackedFileError, pack, unpack
from trainables.shipping.sizes import parameters
from trainables.shipping.translator import NoTranslator, PackedTranslator
from trainables.tasks import Digits
from trainables.teachers.sources import NoSources
from trainables.training.trainer import train

CPU = torch.device("cpu")
MODELS = (LSTM(depth=1, units=16, embedding=16), Transformer(depth=1, units=16, heads=2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture(scope="module")
def pairs(folder):
    return write_pairs(folder)


@pytest.fixture(scope="module")
def task(pairs, folder):
    return pairs.open(pairs.load(folder), CPU, 0)


def german(folder, stem):
    return (folder / f"{stem}.de").read_text().splitlines()


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: type(model).__name__)
def file(request, pairs, task):
    recipe = methods.post_training_quantization(
        methods.Setting(pairs, Fresh(request.param), epochs=1), quantizer=Uniform(4)
    )
    return train(recipe, task, NoSources(), CPU)


def test_it_translates_as_the_student_that_was_evaluated(task, file, folder):
    translator = PackedTranslator(file)
    lines = german(folder, "test")
    assert evaluate_file(file, task, "test").keys() == {"bleu", "chrf", "perplexity"}
    _, network = open_student(file)
    assert translator.translate(lines, beam=5) == task.translations(network, "test")


def test_a_line_does_not_depend_on_the_others_and_blank_ones_stay_blank(file, folder):
    translator = PackedTranslator(file)
    lines = ["", *german(folder, "val")[:5], "   ", "etwas ganz anderes: 7 €"]
    together = translator.translate(lines, beam=3)
    assert together == [translator.translate([line], beam=3)[0] for line in lines]
    assert together[0] == together[6] == ""
    assert translator.translate([]) == []


def test_the_vocabulary_is_in_the_file_and_is_no_weight(task, file):
    tensors = unpack(file).tensors
    stored = assets_of(tensors)["vocabulary"]
    assert torch.equal(stored, task.assets()["vocabulary"]) and stored.dtype == torch.uint8
    assert parameters(weights_of(tensors)) == parameters(tensors) - len(stored)


def test_another_vocabulary_is_not_evaluated_and_a_damaged_one_not_used(task, file):
    recipe, tensors, _ = unpack(file)
    name = f"{ASSET}vocabulary"
    spoilt = tensors[name].decode().clone()
    spoilt[-1] ^= 1
    with pytest.raises(PackedFileError, match="vocabulary"):
        evaluate_file(pack(recipe, tensors | {name: Dense(spoilt)}), task, "validation")
    with pytest.raises(PackedFileError, match="vocabulary"):
        PackedTranslator(pack(recipe, tensors | {name: Dense(spoilt[:20].clone())}))


def test_a_classifier_does_not_translate():
    recipe = methods.full_precision(methods.Setting(Digits(), Fresh(ConvNet(depth=1, width=0.1)), epochs=1))
    task = Digits().open(Digits().load(None), CPU, 0)
    data = train(replace(recipe, phases=(replace(recipe.phases[0], epochs=0),)), task, NoSources(), CPU)
    with pytest.raises(NoTranslator, match="Digits does not translate"):
        PackedTranslator(data)
