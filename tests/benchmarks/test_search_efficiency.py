"""The recorded table, the clock, and that a search replayed is the same search."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from optuna.trial import FixedTrial

from benchmarks.efficiency_figure import draw_figure
from benchmarks.grids import DIGITS, EPOCHS, GRIDS, OWN_NETWORK, PHRASES, RECORDED, SPOKEN_DIGITS
from benchmarks.record_table import Recorder, read_courses
from benchmarks.recorded_table import Facts, Table, load_table, pack_table
from benchmarks.search_efficiency import POINTS, Simulation, reached
from benchmarks.searches import (
    Everything,
    Modelled,
    Ours,
    Recorded,
    ReplayedSearch,
    SyneTuneASHA,
    WeightedASHA,
)
from benchmarks.simulated_cluster import START_SECONDS, Asked, simulate
from search.sampling.freezing.means import Settings
from search.sampling.samplers import find_sampler
from search.sampling.searcher import Never
from search.stopping.halving import Rules
from trainables.recipe import canonical_json

COMPUTE = 16.0
"""Seconds that simulated searches may spend: some twenty trials."""


@pytest.fixture(scope="module")
def table():
    """The grid's points with made-up courses: small students learn less, slowly, and cost less."""
    drawn = np.random.default_rng(0)
    found = DIGITS.points()
    size = 400 + drawn.integers(0, 60_000, len(found))
    best = 1 - 60 / (60 + size**0.7)
    epochs = np.arange(EPOCHS + 1)
    curves = 0.1 + (best[:, None] - 0.1) * (1 - np.exp(-epochs / drawn.uniform(1, 4, (len(found), 1))))
    return Table(
        points=tuple(found),
        epochs=np.full(len(found), EPOCHS),
        packed_bytes=np.repeat(size[:, None], EPOCHS + 1, axis=1),
        validation=np.round(curves * 360) / 360,
        seconds=np.repeat(0.05 + size[:, None] / 1e6, EPOCHS + 1, axis=1),
        test=best,
        teacher_bytes=1_300_000,
        teacher_quality=0.98,
    )


@pytest.fixture(scope="module")
def recipes(table):
    return Recorded(table, DIGITS)


@pytest.fixture(scope="module", params=RECORDED)
def recorded(request):
    """Each table that there is, with its grid and recipes."""
    grid = GRIDS[request.param]
    table = load_table(grid.path)
    return table, grid, Recorded(table, grid)


def test_each_point_is_another_recipe_of_the_space(recorded):
    table, grid, recipes = recorded
    assert sorted(map(spelled, table.points)) == sorted(map(spelled, grid.points()))
    assert all(len(values) >= 2 for values in grid.axes.values())
    found = [recipes.recipe(row) for row in range(len(table.points))]
    assert len({recipe.recipe_id for recipe in found}) == len(found) >= 150
    for point, recipe in zip(table.points, found, strict=True):
        assert recipe.method == point["method"]
        if "width" in point:
            assert recipe.origin.width == point["width"]
        if "sparsity" in point:
            assert recipe.pruner.sparsity == point["sparsity"]


def test_a_recorded_table_tells_of_all_epochs_of_its_recipes(recorded):
    table, _, recipes = recorded
    assert [recipes.recipe(row).epochs for row in range(len(table.points))] == table.epochs.tolist()
    assert table.epochs.max() == recipes.longest
    assert (table.packed_bytes > 0).all() and (table.seconds[:, 0] > 0).all()
    for share in (table.validation, table.test):
        assert 0 <= share.min() <= 0.2 < 0.85 * table.teacher_quality <= share.max() <= 1
    assert 0.7 < table.teacher_quality <= 1 and table.teacher_bytes > table.packed_bytes[:, -1].mean()


def test_slices_train_the_longer_the_smaller_they_are_and_new_networks_always_as_long():
    table, of = load_table(OWN_NETWORK.path), {}
    for point, epochs in zip(table.points, table.epochs.tolist(), strict=True):
        start = "untrained" if point["method"] == "round_to_nearest" else point.get("start", "slice")
        of.setdefault(start, {}).setdefault(point["width"], set()).add(epochs)
    widths = OWN_NETWORK.axes["width"]
    assert of["fresh"] == {width: {20} for width in widths}
    assert of["untrained"] == {width: {0} for width in widths}
    assert all(len(of["slice"][width]) == 1 for width in widths)
    epochs = [max(of["slice"][width]) for width in widths]
    assert epochs == sorted(epochs, reverse=True) and epochs[0] == 20 and epochs[-1] == 2


def test_spoken_words_are_heard_by_networks_of_the_size_of_the_point():
    study, context = SPOKEN_DIGITS.study_and_context()
    found = SPOKEN_DIGITS.points()
    recipes = [SPOKEN_DIGITS.recipe_of(point, study, context) for point in found]
    assert len({recipe.recipe_id for recipe in recipes}) == len(found) == 312
    for point, recipe in zip(found, recipes, strict=True):
        assert recipe.method == point["method"] and recipe.task.split == "recordings"
        assert recipe.model.width == point["time_cnn.width"] and recipe.model.depth == point["time_cnn.depth"]


def test_phrases_are_translated_by_as_many_students_as_the_grid_has_points():
    study, context = PHRASES.study_and_context()
    found = PHRASES.points()
    recipes = [PHRASES.recipe_of(point, study, context) for point in found]
    assert len({recipe.recipe_id for recipe in recipes}) == len(found) == 208
    for point, recipe in zip(found, recipes, strict=True):
        assert (recipe.model.depth, recipe.model.width) == (point["depth"], point["width"])


def test_a_recorder_tells_bleu_in_ten_thousandths_and_an_accuracy_in_samples():
    recorder = object.__new__(Recorder)
    recorder.opened = SimpleNamespace(samples=lambda split: {"validation": 360, "test": 500}[split])
    recorder.space = DIGITS
    assert recorder.share({"accuracy": 0.25}) == 0.25
    assert (recorder.parts("validation"), recorder.parts("test")) == (360, 500)
    recorder.space = PHRASES
    assert recorder.share({"bleu": 62.5, "chrf": 1.0}) == 0.625
    assert recorder.parts("validation") == recorder.parts("test") == 10_000


def test_volume_counts_from_guessing(table):
    """A student as small as a half of the teacher's file, as good as guessing or a little better."""
    one = replace(table, packed_bytes=np.full_like(table.packed_bytes, table.teacher_bytes / 2))
    for grid, guessing in ((DIGITS, 0.1), (replace(DIGITS, guessing=0.0), 0.0)):
        simulation = Simulation.of_grid(one, grid, trials=5)
        assert simulation.hypervolume([0]) == pytest.approx(max(table.validation[0, -1] - guessing, 0))


def spelled(point):
    return json.dumps(point, sort_keys=True)


def test_what_is_drawn_is_a_point_and_its_recipe(table):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    for axes in (DIGITS.axes, DIGITS.half):
        recipes, known = Recorded(table, DIGITS, axes), DIGITS.parameters(axes)
        for _ in range(30):
            trial = study.ask()
            point = DIGITS.draw(trial, axes)
            assert point in table.points
            assert trial.distributions == {name: known[name] for name in trial.params}
            row = recipes.row(canonical_json(recipes.draw(FixedTrial(trial.params))))
            assert table.points[row] == point
            assert axes is DIGITS.axes or point["learning_rate"] == 5e-3


@pytest.mark.parametrize("grid", GRIDS.values(), ids=list(GRIDS))
def test_searches_begin_with_points_of_the_grid(grid):
    for wanted, params in zip(grid.first, grid.first_points(grid.axes), strict=True):
        assert grid.draw(FixedTrial(params), grid.axes) == wanted in grid.points()


def course(point, epochs):
    return {
        "point": point,
        "bytes": [9000 + epoch for epoch in range(epochs + 1)],
        "quality": list(range(epochs + 1)),
        "seconds": [0.1234] * (epochs + 1),
        "test": 150,
    }


FACTS = Facts(teacher_bytes=7, teacher_quality=0.875, validation_parts=100, test_parts=200)


@pytest.fixture
def packed(tmp_path):
    """Recipes of two epochs, of none and of four, as a table."""
    wanted, path = DIGITS.points()[:3], tmp_path / "table.npz"
    courses = [course(point, epochs) for point, epochs in zip(wanted, (2, 0, 4), strict=True)]
    pack_table(path, courses[::-1], wanted, FACTS)
    return wanted, courses, path


def test_a_packed_table_is_read_back(packed):
    wanted, _, path = packed
    found = load_table(path)
    assert list(found.points) == wanted and found.epochs.tolist() == [2, 0, 4]
    assert found.teacher_bytes == 7 and found.teacher_quality == 0.875
    assert found.packed_bytes.tolist() == [
        [9000, 9001, 9002, 9002, 9002],
        [9000] * 5,
        [9000, 9001, 9002, 9003, 9004],
    ]
    assert found.validation.tolist() == [
        [0, 0.01, 0.02, 0.02, 0.02],
        [0] * 5,
        [0, 0.01, 0.02, 0.03, 0.04],
    ]
    assert found.seconds.tolist() == [[0.123] * 3 + [0] * 2, [0.123] + [0] * 4, [0.123] * 5]
    assert found.test.tolist() == [0.75] * 3


def test_a_recording_that_is_not_whole_is_not_packed(packed):
    wanted, courses, path = packed
    with pytest.raises(ValueError, match="nothing of"):
        pack_table(path, courses[:2], wanted, FACTS)
    courses[1]["test"] = -1
    with pytest.raises(ValueError, match="not whole"):
        pack_table(path, courses, wanted, FACTS)
    courses[1]["test"] = 1
    courses[2]["bytes"].pop()
    with pytest.raises(ValueError, match="not whole"):
        pack_table(path, courses, wanted, FACTS)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("epochs", lambda epochs: epochs[:2], "epochs and test"),
        ("epochs", lambda epochs: epochs - 1, "epochs and test"),
        ("epochs", lambda epochs: epochs[::-1], "goes on"),
        ("epochs", lambda epochs: epochs + 1, "must have shape"),
        ("test", lambda test: test[:, None], "epochs and test"),
        ("bytes", lambda values: values[:, :-1], "bytes .* must have shape"),
        ("quality", lambda values: values + np.arange(5), "quality .* goes on"),
        ("milliseconds", lambda values: values + 1, "milliseconds .* goes on"),
        ("facts", lambda facts: facts_with(facts, teacher_quality=1.5), "teacher_quality"),
        ("facts", lambda facts: facts_with(facts, test_parts=0), "test_parts"),
    ],
)
def test_a_damaged_table_is_refused(packed, name, change, message):
    _, _, path = packed
    with np.load(path) as file:
        content = dict(file)
    np.savez_compressed(path, **content | {name: change(content[name])})
    with pytest.raises(ValueError, match=message):
        load_table(path)


def facts_with(facts, **other):
    text = json.dumps(json.loads(facts.tobytes()) | other)
    return np.frombuffer(text.encode(), np.uint8)


def test_a_line_that_a_killed_recorder_left_is_cut_off(tmp_path):
    path = tmp_path / "recorded.jsonl"
    path.write_text('[{"a": 1}, {"b": 2}]\n[{"c": 3}]\n[{"d": ')
    assert read_courses(path) == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert path.read_text() == '[{"a": 1}, {"b": 2}]\n[{"c": 3}]\n'


class InOrder:
    """Rows 0, 1, 2, ..."""

    def __init__(self):
        self.count, self.told = 0, []

    def ask(self):
        self.count += 1
        return Asked(self.count - 1, self.count - 1)

    def tell(self, asked, epoch, finished):
        self.told.append((asked.row, epoch, finished))


class StopOdd(Never):
    def judge(self, asked, epoch):
        return asked.row % 2 == 0 or epoch < 2

    def finish(self, asked):
        pass


def test_the_clock_adds_up(table):
    """One worker: every trial begins when the one before has ended."""
    search = InOrder()
    ended = simulate(table, search, StopOdd(), workers=1, compute=30.0)
    clock = 0.0
    for row, end in enumerate(ended):
        last = EPOCHS if row % 2 == 0 else 2
        clock += START_SECONDS + table.seconds[row, : last + 1].sum()
        assert (end.row, end.epoch, end.finished) == (row, last, row % 2 == 0)
        assert end.compute == pytest.approx(clock)
    assert search.told == [(end.row, end.epoch, end.finished) for end in ended]
    following = START_SECONDS + table.seconds[len(ended), : (EPOCHS if len(ended) % 2 == 0 else 2) + 1].sum()
    assert clock <= 30.0 < clock + following


@pytest.fixture(scope="module")
def ragged(table):
    """The same recipes with 0 to 4 epochs."""
    epochs = np.random.default_rng(1).integers(0, 5, len(table.points))
    over = np.arange(EPOCHS + 1) > epochs[:, None]
    ends = np.take_along_axis(table.validation, epochs[:, None], 1)
    return replace(
        table,
        epochs=epochs,
        validation=np.where(over, ends, table.validation)[:, :5],
        packed_bytes=table.packed_bytes[:, :5],
        seconds=np.where(over, 0.0, table.seconds)[:, :5],
    )


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_each_recipe_ends_after_its_own_epochs(ragged, workers):
    """Against workers that take what comes next as soon as they are free."""
    search = InOrder()
    ended = simulate(ragged, search, Everything(), workers=workers, compute=30.0)
    free, expected = [0.0] * workers, []
    for row in range(len(ragged.points)):
        worker = free.index(min(free))
        free[worker] += START_SECONDS + sum(ragged.seconds[row, : ragged.epochs[row] + 1])
        if free[worker] * workers <= 30.0:
            expected.append((pytest.approx(free[worker] * workers), row, ragged.epochs[row]))
        elif min(free) * workers > 30.0:
            break
    assert [(end.compute, end.row, end.epoch) for end in sorted(ended, key=lambda end: end.row)] == expected
    assert all(end.finished for end in ended) and {end.epoch for end in ended} == set(range(5))
    assert [each[1:] for each in search.told] == [(end.epoch, True) for end in ended]


@pytest.mark.parametrize("kind", ["ours", "asha", "model"])
def test_every_search_ends_trials_of_different_epochs(ragged, recipes, kind):
    rules = Rules(longest=4)
    judge = {
        "ours": lambda: Ours(ragged, rules),
        "asha": lambda: WeightedASHA(ragged, 3, 1),
        "model": lambda: Modelled(ragged, recipes, 1, 0, Settings()),
    }[kind]()
    sampler = find_sampler("freeze-thaw" if kind == "model" else "random")
    search = ReplayedSearch(ragged, recipes, sampler, judge, 1)
    ended = simulate(ragged, search, judge, workers=2, compute=10.0)
    assert all(end.finished == (end.epoch == ragged.epochs[end.row]) for end in ended)
    assert any(end.finished and end.epoch == 0 for end in ended)
    assert kind == "model" or not all(end.finished for end in ended)


def test_more_workers_do_not_make_time(table):
    for workers in (1, 3, 8):
        ended = simulate(table, InOrder(), Everything(), workers=workers, compute=60.0)
        spent = sum(START_SECONDS + table.seconds[end.row].sum() for end in ended)
        running = workers * float(START_SECONDS + table.seconds.sum(axis=1).max())
        assert 60.0 - running <= spent <= 60.0
        assert [end.compute for end in ended] == sorted(end.compute for end in ended)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_search_replayed_is_the_same_search(table, recipes, sampler):
    def run(judge):
        search = ReplayedSearch(table, recipes, find_sampler(sampler), judge, 1)
        return simulate(table, search, judge, workers=4, compute=COMPUTE)

    ours = run(Ours(table, Rules()))
    assert ours == run(Ours(table, Rules()))
    assert len({end.row for end in ours}) == sum(end.began == 0 for end in ours)  # nothing is tried twice
    everything = run(Everything())
    assert all(end.finished for end in everything)
    assert len(ours) > len(everything)


def test_who_is_taken_up_again_pays_only_for_what_is_left(table, recipes):
    """One worker: the clock is the sum of the epochs that were trained, each once."""
    judge = Ours(table, Rules(reduction=3, grace=1, revive=True))
    search = ReplayedSearch(table, recipes, find_sampler("random"), judge, 1)
    ended = simulate(table, search, judge, workers=1, compute=100.0)
    clock, reached = 0.0, {}
    for end in ended:
        clock += (
            START_SECONDS
            + table.seconds[end.row, 0]
            + table.seconds[end.row, end.began + 1 : end.epoch + 1].sum()
        )
        assert end.compute == pytest.approx(clock)
        assert reached.get(end.row, 0) == end.began
        reached[end.row] = end.epoch
    assert len(reached) < len(ended)


def test_a_search_of_all_recipes_ends(table):
    few = {
        **DIGITS.axes,
        "depth": (1,),
        "width": (0.1,),
        "learning_rate": (5e-3,),
        "sparsity": (0.5,),
        "bits": (3,),
    }
    few |= {"log2_bucket_size": (6,), "symmetric_bits": (4,)}  # 7 methods, pruned or not
    judge = Everything()
    search = ReplayedSearch(table, Recorded(table, DIGITS, few), find_sampler("tpe"), judge, 1)
    ended = simulate(table, search, judge, workers=4, compute=1e9)
    assert len({end.row for end in ended}) == len(ended) == 14


def test_rays_rule_ends_trials_too(table, recipes):
    asha = WeightedASHA(table, 3, 1)
    search = ReplayedSearch(table, recipes, find_sampler("random"), asha, 1)
    ended = simulate(table, search, asha, workers=4, compute=60.0)
    assert {end.epoch for end in ended if not end.finished} <= {1, 3, 9}
    assert 0 < sum(end.finished for end in ended) < len(ended)


def test_syne_tunes_rule_ends_trials_too(table, recipes, ragged):
    pytest.importorskip("syne_tune", reason="Syne Tune is not installed: pip install syne-tune")
    for told, rungs in ((table, {1, 3, 9}), (ragged, {1, 3})):
        rule = SyneTuneASHA(told, 3, 1)
        search = ReplayedSearch(told, recipes, find_sampler("random"), rule, 1)
        ended = simulate(told, search, rule, workers=4, compute=60.0)
        assert {end.epoch for end in ended if not end.finished} <= rungs
        assert 0 < sum(end.finished for end in ended) < len(ended)


def test_a_run_counts_and_its_curve_only_rises(table):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    simulation = Simulation.of_grid(table, DIGITS, 20)
    run = simulation.run("random", simulation.judge("none", 5), 5)
    assert run.trials == run.finished and len(run.curve) == POINTS
    assert list(run.curve) == sorted(run.curve)
    assert reached(np.array(run.curve), run.curve[-1]) <= 1.0
    assert math.isinf(reached(np.array(run.curve), run.curve[-1] + 1))
    assert simulation.hypervolume(range(len(table.points))) >= run.curve[-1]


def test_the_figure_names_what_it_draws():
    drawn = draw_figure({"a < b": np.linspace(0, 1, 32)[None].repeat(3, 0)}, "across", "up")
    assert drawn.startswith("<svg") and "a &lt; b" in drawn and drawn.count("<polyline") == 1
