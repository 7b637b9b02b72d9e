"""The space of translators: students start fresh or from the teacher; soft targets stay at temperature 1."""

import optuna
import pytest

from spaces import Context, translation, word_level_translation
from trainables.models import Transformer
from trainables.tasks import Phrases
from trainables.tasks.teacher_translations import TeacherTranslations

TEACHER = Transformer(depth=3, units=64)
CONTEXT = Context(
    Phrases(), Transformer(units=32), "1" * 16, epochs=4, widths=(0.25, 1.0), teacher_views=1, teacher=TEACHER
)


@pytest.fixture(scope="module")
def drawn():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(300)]
    return [(trial, translation(trial, CONTEXT)) for trial in trials]


def test_every_method_is_reached_fresh_and_from_the_teacher(drawn):
    reached = {(recipe.method, recipe.origin.parent) for _, recipe in drawn}
    assert reached == {(method, start) for method in translation.methods for start in (None, "1" * 16)}


def test_who_starts_from_the_teacher_has_its_architecture(drawn):
    for trial, recipe in drawn:
        started = recipe.origin.parent is not None
        assert (recipe.model == TEACHER) == started
        assert ("depth" in trial.params) == ("width" in trial.params) == (not started)


def test_soft_targets_are_at_temperature_one_and_sentences_the_teachers(drawn):
    for _, recipe in drawn:
        assert all(loss.temperature(0.5) == 1.0 for loss in recipe.losses)
        by_sentence = recipe.method == "sequence_level_distillation"
        assert isinstance(recipe.task, TeacherTranslations) == by_sentence


def test_starting_points_are_complete_and_valid():
    for space in (translation, word_level_translation):
        points = space.starting_points(CONTEXT)
        assert {point["method"] for point in points} == set(space.methods)
        for point in points:
            trial = optuna.trial.FixedTrial(point)
            space(trial, CONTEXT)
            assert trial.params == point


def test_the_smallest_is_fresh():
    recipe = translation.smallest(CONTEXT)
    assert recipe.origin.parent is None and recipe.model.width == 0.25
