"""The space of image classifiers: conditional, within its ranges, reaching every method."""

from dataclasses import replace

import optuna
import pytest

from spaces import Context, images
from spaces.space import DISTILLED, QUANTIZED, SYMMETRIC
from trainables.models import ConvNet
from trainables.recipe import summary
from trainables.tasks import Digits
from trainables.teachers import Fixed, NoTeacher, Remembered

CONTEXT = Context(Digits(), ConvNet(), "0" * 16, epochs=4, depths=(1, 3), widths=(0.1, 0.5), seed=5)


@pytest.fixture(scope="module")
def drawn():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(300)]
    return [(trial, images(trial, CONTEXT)) for trial in trials]


def test_every_method_is_reached_and_stays_in_range(drawn):
    assert {recipe.method for _, recipe in drawn} == set(images.methods)
    for _, recipe in drawn:
        facts = summary(recipe)
        assert 1 <= facts["depth"] <= 3 and 0.1 <= facts["width"] <= 0.5
        assert facts["sparsity"] == 0 or 0.1 <= facts["sparsity"] <= 0.95
        assert recipe.epochs == 4 and recipe.seed == 5
        if recipe.method in QUANTIZED:
            assert 1 <= facts["bits"] <= 8 and facts["bucket_size"] in (32, 64, 128, 256, 512, 1024)
    assert {summary(r)["bits"] for _, r in drawn if r.method in QUANTIZED} == set(range(1, 9))
    assert {summary(r)["bits"] for _, r in drawn if r.method in SYMMETRIC} == set(range(2, 9))


def test_parameters_exist_only_where_they_act(drawn):
    for trial, recipe in drawn:
        names = trial.params.keys()
        assert ("bits" in names) == ("log2_bucket_size" in names) == (recipe.method in QUANTIZED)
        assert ("symmetric_bits" in names) == (recipe.method in SYMMETRIC)
        assert ("temperature" in names) == ("distillation_weight" in names) == (recipe.method in DISTILLED)
        assert ("points_learning_rate" in names) == (recipe.method == "differentiable_quantization")
        assert ("sparsity" in names) == trial.params["prune"]
        assert recipe.teacher == (Remembered("0" * 16, 16) if recipe.method in DISTILLED else NoTeacher())
        live = images(optuna.trial.FixedTrial(trial.params), replace(CONTEXT, teacher_views=None))
        assert live.teacher == (Fixed("0" * 16) if recipe.method in DISTILLED else NoTeacher())


def test_starting_points_are_complete_and_valid():
    points = images.starting_points(CONTEXT)
    assert {point["method"] for point in points} == set(images.methods)
    for point in points:
        trial = optuna.trial.FixedTrial(point)
        images(trial, CONTEXT)
        assert trial.params == point


def test_the_smallest_recipe_is_at_the_edge():
    facts = summary(images.smallest(CONTEXT))
    assert (facts["bits"], facts["depth"], facts["width"], facts["sparsity"]) == (1, 1, 0.1, 0.95)


def test_a_context_checks_its_ranges():
    for change, text in (
        ({"epochs": 1}, "epochs=1"),
        ({"depths": (3, 1)}, r"depths=\(3, 1\)"),
        ({"widths": (0.0, 1.0)}, "widths"),
    ):
        with pytest.raises(ValueError, match=text):
            Context(Digits(), ConvNet(), "0" * 16, **{"epochs": 4, **change})
