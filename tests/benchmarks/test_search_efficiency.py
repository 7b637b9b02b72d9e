"""The recorded table, the clock, and that a search replayed is the same search."""

import json
import math

import numpy as np
import optuna
import pytest
from optuna.trial import FixedTrial

from benchmarks.digits_grid import (
    AXES,
    EPOCHS,
    HALF,
    METHODS,
    draw,
    parameters,
    points,
    recipe_of,
    study_and_context,
)
from benchmarks.digits_table import Table, load_table, pack_table
from benchmarks.efficiency_figure import draw_figure
from benchmarks.record_digits import read_lines
from benchmarks.search_efficiency import POINTS, Simulation, reached
from benchmarks.searches import Everything, Grid, Ours, ReplayedSearch, WeightedASHA
from benchmarks.simulated_cluster import START_SECONDS, Asked, simulate
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
    found = points()
    size = 400 + drawn.integers(0, 60_000, len(found))
    best = 1 - 60 / (60 + size**0.7)
    epochs = np.arange(EPOCHS + 1)
    curves = 0.1 + (best[:, None] - 0.1) * (1 - np.exp(-epochs / drawn.uniform(1, 4, (len(found), 1))))
    return Table(
        points=tuple(found),
        packed_bytes=np.repeat(size[:, None], EPOCHS + 1, axis=1),
        validation=np.round(curves * 360) / 360,
        seconds=np.repeat(0.05 + size[:, None] / 1e6, EPOCHS + 1, axis=1),
        test=best,
        teacher_bytes=1_300_000,
    )


def test_the_grid_is_part_of_the_space():
    study, context = study_and_context()
    found = points()
    assert len(found) == len({json.dumps(point, sort_keys=True) for point in found}) >= 1500
    assert all(len(values) >= 2 for values in AXES.values())
    for method in METHODS:
        point = next(point for point in found if point["method"] == method and point["prune"])
        recipe = recipe_of(point, study, context)
        assert recipe.method == method and recipe.epochs == EPOCHS
        assert recipe.pruner.sparsity == point["sparsity"] and recipe.model.width == point["width"]


def test_what_is_drawn_is_a_point_and_its_recipe(table):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    for axes in (AXES, HALF):
        grid, known = Grid(table, axes), parameters(axes)
        for _ in range(30):
            trial = study.ask()
            point = draw(trial, axes)
            assert point in table.points
            assert trial.distributions == {name: known[name] for name in trial.params}
            row = grid.row(canonical_json(grid.draw(FixedTrial(trial.params))))
            assert table.points[row] == point
            assert axes is AXES or point["learning_rate"] == 5e-3


def test_a_packed_table_is_read_back_and_a_short_one_refused(tmp_path):
    wanted = points()[:3]
    courses = [
        {
            "point": point,
            "bytes": [9000 + epoch for epoch in range(EPOCHS + 1)],
            "correct": list(range(EPOCHS + 1)),
            "seconds": [0.1234] * (EPOCHS + 1),
            "test": 300,
        }
        for point in wanted
    ]
    path = tmp_path / "table.npz"
    pack_table(path, courses[::-1], wanted, 7)
    found = load_table(path)
    assert list(found.points) == wanted and found.teacher_bytes == 7
    assert found.packed_bytes[2, 1] == 9001 and found.validation[0, 5] == 5 / 360
    assert found.seconds[0, 0] == 0.123 and found.test[0] == 300 / 360
    with pytest.raises(ValueError, match="nothing of"):
        pack_table(path, courses[:2], wanted, 7)
    courses[1]["bytes"].pop()
    with pytest.raises(ValueError, match="does not hold"):
        pack_table(path, courses, wanted, 7)


def test_a_line_that_a_killed_recorder_left_is_cut_off(tmp_path):
    path = tmp_path / "recorded.jsonl"
    path.write_text('{"a": 1}\n{"b": 2}\n{"c": ')
    assert read_lines(path) == [{"a": 1}, {"b": 2}]
    assert path.read_text() == '{"a": 1}\n{"b": 2}\n'


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


def test_more_workers_do_not_make_time(table):
    for workers in (1, 3, 8):
        ended = simulate(table, InOrder(), Everything(), workers=workers, compute=60.0)
        spent = sum(START_SECONDS + table.seconds[end.row].sum() for end in ended)
        running = workers * float(START_SECONDS + table.seconds.sum(axis=1).max())
        assert 60.0 - running <= spent <= 60.0
        assert [end.compute for end in ended] == sorted(end.compute for end in ended)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_search_replayed_is_the_same_search(table, sampler):
    def run(judge):
        search = ReplayedSearch(table, Grid(table), find_sampler(sampler), judge, 1)
        return simulate(table, search, judge, workers=4, compute=COMPUTE)

    ours = run(Ours(table, Rules()))
    assert ours == run(Ours(table, Rules()))
    assert len({end.row for end in ours}) == sum(end.began == 0 for end in ours)  # nothing is tried twice
    everything = run(Everything())
    assert all(end.finished for end in everything)
    assert len(ours) > len(everything)


def test_who_is_taken_up_again_pays_only_for_what_is_left(table):
    """One worker: the clock is the sum of the epochs that were trained, each once."""
    judge = Ours(table, Rules(reduction=3, grace=1, revive=True))
    search = ReplayedSearch(table, Grid(table), find_sampler("random"), judge, 1)
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
    few = {**AXES, "depth": (1,), "width": (0.1,), "learning_rate": (5e-3,), "sparsity": (0.5,), "bits": (3,)}
    few |= {"log2_bucket_size": (6,), "symmetric_bits": (4,)}  # 7 methods, pruned or not
    judge = Everything()
    search = ReplayedSearch(table, Grid(table, few), find_sampler("tpe"), judge, 1)
    ended = simulate(table, search, judge, workers=4, compute=1e9)
    assert len({end.row for end in ended}) == len(ended) == 14


def test_rays_rule_ends_trials_too(table):
    asha = WeightedASHA(table, 3, 1)
    search = ReplayedSearch(table, Grid(table), find_sampler("random"), asha, 1)
    ended = simulate(table, search, asha, workers=4, compute=60.0)
    assert {end.epoch for end in ended if not end.finished} <= {1, 3, 9}
    assert 0 < sum(end.finished for end in ended) < len(ended)


def test_a_run_counts_and_its_curve_only_rises(table):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    simulation = Simulation(table, 20)
    run = simulation.run("random", simulation.judge("none", 5), 5)
    assert run.trials == run.finished and len(run.curve) == POINTS
    assert list(run.curve) == sorted(run.curve)
    assert reached(np.array(run.curve), run.curve[-1]) <= 1.0
    assert math.isinf(reached(np.array(run.curve), run.curve[-1] + 1))
    assert simulation.hypervolume(range(len(table.points))) >= run.curve[-1]


def test_the_figure_names_what_it_draws():
    drawn = draw_figure({"a < b": np.linspace(0, 1, 32)[None].repeat(3, 0)}, "across", "up")
    assert drawn.startswith("<svg") and "a &lt; b" in drawn and drawn.count("<polyline") == 1
