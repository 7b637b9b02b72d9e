"""Searches of a whole space: what is asked for is trained once, kept, and seen by all alike."""

import json
import shutil
from dataclasses import replace

import numpy as np
import optuna
import pytest

from benchmarks.grid import StudySpace
from benchmarks.grids import EPOCHS, digits
from benchmarks.record_table import Course, Recorder
from benchmarks.recorded_table import Facts, Table, load_table, pack_table
from benchmarks.search_efficiency import SEARCHES, Simulation
from benchmarks.whole_space import SPACES, USUAL, WITHOUT_BOUNDS, WholeSpace, alone
from search.planning.first_trials import first_trials
from trainables.recipe import canonical_json, recipe_from_dict

FACTS = Facts(teacher_bytes=80_000, teacher_quality=0.98, validation_parts=360, test_parts=360)


class Trainings:
    """Imagined: students of more weights learn more and take longer."""

    def __init__(self, name="digits"):
        self.study, self.context = SPACES[name].study_and_context()
        self.trained = []

    def facts(self):
        return FACTS

    def alone(self, point):
        recipe = recipe_from_dict(point)
        self.trained.append(recipe.recipe_id)
        size = 700 + int(recipe.recipe_id[:4], 16)
        best = 360 * size / (size + 500)
        quality = [round(36 + (best - 36) * epoch / recipe.epochs) for epoch in range(recipe.epochs + 1)]
        seconds = [0.1 + size / 1e6] * (recipe.epochs + 1)
        return Course(point, recipe.recipe_id, [size] * (recipe.epochs + 1), quality, seconds, quality[-1])


@pytest.fixture
def space(tmp_path):
    return opened(tmp_path)


def opened(folder):
    trainings = Trainings()
    return WholeSpace(trainings, folder / "recorded.jsonl", trainings.alone)


def asked(space, seed=0):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return canonical_json(space.draw(study.ask()))


def test_what_is_asked_for_twice_is_trained_once(space):
    one, other = asked(space), asked(space, 1)
    assert one != other
    assert [space.row(each) for each in (one, other, one, other)] == [0, 1, 0, 1]
    assert len(space._recorder.trained) == len(space.table.points) == 2
    assert canonical_json(space.recipe(1)) == other
    assert space.recipe(1).epochs == space.table.epochs[1] <= space.longest == EPOCHS


def test_another_process_knows_what_was_trained(space, tmp_path):
    wanted = [asked(space, seed) for seed in range(4)]
    for each in wanted:
        space.row(each)
    with (tmp_path / "recorded.jsonl").open("a") as file:
        file.write('[{"point": {"kind"')  # killed while it wrote
    again = opened(tmp_path)
    assert [again.row(each) for each in wanted] == [0, 1, 2, 3] and again._recorder.trained == []
    for name in ("epochs", "packed_bytes", "validation", "seconds", "test"):
        np.testing.assert_array_equal(getattr(again.table, name), getattr(space.table, name))


@pytest.mark.parametrize("name", ["random", "TPE", "freeze-thaw"])
def test_searches_begin_alike_and_repeat_themselves(space, tmp_path, name):
    assert name in USUAL and set(USUAL) <= set(WITHOUT_BOUNDS)
    runs, trained = [], []
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        recipes = opened(tmp_path / folder)
        simulation = Simulation(recipes.table, recipes, recipes.points, 12, draws=5)
        sampler, judge = SEARCHES[name]
        runs.append(simulation.run(sampler, simulation.judge(judge, 3), 3, shares=judge == "model"))
        trained.append(recipes._recorder.trained)
    assert runs[0] == runs[1] and trained[0] == trained[1]
    assert runs[0].finished > len(recipes.points)
    study, context = recipes._recorder.study, recipes._recorder.context
    first = first_trials(study.space, context, study.space.starting_points(context))
    begun = [study.space(optuna.trial.FixedTrial(point), context).recipe_id for point in first]
    assert trained[0][5 : 5 + len(first)] == begun  # five tell beforehand what a student costs


def test_a_folder_of_another_space_is_refused(space, tmp_path):
    space.row(asked(space))
    trainings = Trainings("phrases")
    with pytest.raises(ValueError, match=r"recorded\.jsonl has students of Digits"):
        WholeSpace(trainings, tmp_path / "recorded.jsonl", trainings.alone)


def test_what_a_process_trains_is_what_the_recorder_trains(tmp_path, monkeypatch):
    """With a teacher of two epochs, and students of one that need it along its training."""
    short = lambda folder: replace(digits(folder), teacher_epochs=2, epochs=2, teacher_views=2)  # noqa: E731
    monkeypatch.setitem(SPACES, "digits", StudySpace(name="digits", study=short))
    recorder = Recorder(SPACES["digits"], tmp_path)
    recipes = WholeSpace(recorder, tmp_path / "recorded.jsonl", recorder.alone)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = (recipes.draw(study.ask()) for _ in range(500))
    recipe = next(recipe for recipe in drawn if recipe.teacher.needs_route)
    one, other = recorder.alone(recipe.to_dict()), alone("digits", tmp_path, recipe.to_dict())
    assert (one.recipe_id, one.bytes, one.quality, one.test) == (
        other.recipe_id,
        other.bytes,
        other.quality,
        other.test,
    )
    assert recipes.table.teacher_bytes == len(recorder.teacher)
    for route in (tmp_path / "teachers").glob("*-route-*"):
        shutil.rmtree(route)
    with pytest.raises(ValueError, match="has no checkpoints along the training of its teacher"):
        recorder.alone(recipe.to_dict())


def courses():
    """Of two epochs, of none and of four."""
    return [
        vars(Course({"n": n}, str(n), [900 + n] * (n + 1), list(range(n + 1)), [0.125] * (n + 1), 90))
        for n in (2, 0, 4)
    ]


def test_adding_courses_gives_the_table_that_packing_them_gives(tmp_path):
    grown = Table.empty(4, FACTS)
    assert [grown.add(course, FACTS) for course in courses()] == [0, 1, 2]
    pack_table(tmp_path / "table.npz", courses(), [course["point"] for course in courses()], FACTS)
    packed = load_table(tmp_path / "table.npz")
    assert grown.points == packed.points and grown.teacher_bytes == packed.teacher_bytes
    for name in ("epochs", "packed_bytes", "validation", "seconds", "test"):
        np.testing.assert_allclose(getattr(grown, name), getattr(packed, name), rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bytes": [1, 2]}, "not whole"),
        ({"test": -1}, "not whole"),
        ({"bytes": [], "quality": [], "seconds": []}, "not whole"),
        ({name: [1] * 6 for name in ("bytes", "quality", "seconds")}, "has 5 epochs, the table 4"),
    ],
)
def test_a_course_that_is_not_whole_or_too_long_is_refused(change, message):
    table = Table.empty(4, FACTS)
    with pytest.raises(ValueError, match=message):
        table.add(courses()[0] | change, FACTS)
    assert table.points == () and len(table.epochs) == 0


def test_a_recipe_is_what_it_was_after_json(space):
    recipe = asked(space, 5)
    assert canonical_json(SPACES["digits"].recipe_of(json.loads(recipe), None, None)) == recipe
