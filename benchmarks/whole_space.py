"""Searches of a study's whole space on the simulated cluster: students train when a search asks for them.

A grid holds some values of some parameters, and a search cannot leave it; here every recipe of the space may
be proposed, as in a sweep: all methods, learning rates between any two, and siblings. What is asked for the
first time is trained to its end, once, and kept with the processor time of all its epochs
(``benchmarks/record_table.py``); then the clock of ``benchmarks/search_efficiency.py`` decides what a search
has seen of it, and when. Two searches that ask for the same recipe see the same. All begin with the first
trials of a sweep by freeze-thaw search, and no search sees the test split.

    nice python -m benchmarks.whole_space digits --out whole/ --seeds 4
    python -m benchmarks.whole_space digits --out whole/ --seeds 4 --by closeness

No data are needed. ``OUT/digits`` has what was trained and the finished searches, and the same command goes
on where it was stopped. A student of the digits takes one to ten seconds of one core, so that a search of
what a hundred students at random cost takes five to ten minutes; before the first one, these are trained.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.distributions import BaseDistribution

from benchmarks.grid import Point, StudySpace
from benchmarks.grids import digits, phrases
from benchmarks.record_table import Course, Recorder, append, read_courses
from benchmarks.recorded_table import Table
from benchmarks.search_efficiency import SEARCHES, WORKERS, Simulation, collect, report
from search.planning.first_trials import first_trials
from trainables.metrics import quality_of
from trainables.recipe import Recipe, canonical_json, recipe_from_dict

SPACES: Mapping[str, StudySpace] = {
    space.name: space
    for space in (
        StudySpace(name="digits", study=digits),
        StudySpace(name="phrases", study=phrases, quality=quality_of("bleu"), guessing=0.0),
    )
}

WITHOUT_BOUNDS = tuple(name for name, (_, judge) in SEARCHES.items() if judge not in ("asha", "moasha"))
"""Searches that need not know the smallest student of all beforehand."""

USUAL = ("random", "TPE", "freeze-thaw")
"""Of them those that are compared where nothing else is asked for; a suggestion of GP takes seconds."""

TELL_EVERY = 25
"""Students lie between two lines about what was trained."""

DRAWS = 100
"""Students at random of which it is known what one costs."""


class WholeSpace:
    """All that a study may draw; see :class:`benchmarks.searches.Recipes`.

    Args:
        recorder: of the space.
        path: file of what was trained.
        alone: trains a recipe, as JSON has it.

    Attributes:
        table: what was trained so far.

    Raises:
        ValueError: the file is of another space.
    """

    count = 10**6  # more than any search comes to: the space has no end

    def __init__(self, recorder: Recorder, path: Path, alone: Callable[[Point], Course]) -> None:
        self._recorder, self._path, self._alone = recorder, path, alone
        self._facts = recorder.facts()
        study, context = recorder.study, recorder.context
        self.parameters: Mapping[str, BaseDistribution] = study.space.parameters(context)
        self.longest = context.epochs
        self.points = first_trials(study.space, context, study.space.starting_points(context))
        self.table = Table.empty(self.longest, self._facts)
        self._rows: dict[str, int] = {}
        for course in read_courses(path):
            self._take(course)

    def draw(self, trial: optuna.trial.BaseTrial) -> Recipe:
        """A recipe of the study's space."""
        return self._recorder.study.space(trial, self._recorder.context)

    def recipe(self, row: int) -> Recipe:
        """The recipe of a row of the table."""
        return recipe_from_dict(self.table.points[row])

    def row(self, recipe: str) -> int:
        """Where the table has a recipe, given as canonical JSON; it is trained now unless it was."""
        if recipe not in self._rows:
            course = self._alone(json.loads(recipe))
            with self._path.open("a") as file:
                append([course], file)
            self._take(vars(course))
            if len(self._rows) % TELL_EVERY == 0:
                print(f"{len(self._rows)} students are known", flush=True)
        return self._rows[recipe]

    def _take(self, course: Mapping[str, Any]) -> None:
        """What was recorded of a recipe."""
        recipe = recipe_from_dict(course["point"])
        if recipe.task != self._recorder.context.task:
            raise ValueError(f"{self._path} has students of {recipe.task}: use a new folder")
        self._rows[canonical_json(recipe)] = self.table.add(course, self._facts)


_recorders: dict[tuple[str, Path], Recorder] = {}
"""Those of a process that trains."""


def alone(space: str, folder: Path, point: Point) -> Course:
    """What one recipe of a space does by itself; its teacher is kept in ``folder``."""
    torch.set_num_threads(1)
    if (space, folder) not in _recorders:
        _recorders[space, folder] = Recorder(SPACES[space], folder)
    return _recorders[space, folder].alone(point)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("space", choices=tuple(SPACES))
    parser.add_argument("--out", type=Path, required=True, help="folder of what was trained, and of the runs")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=0, metavar="N")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--until", type=float, default=1.0, help="share of the compute to go to")
    parser.add_argument("--trials", type=int, default=100, help="of random search: what all may spend")
    parser.add_argument(
        "--only", action="append", choices=WITHOUT_BOUNDS, help="run this; a report needs random and TPE"
    )
    parser.add_argument("--by", choices=("shares", "closeness"), default="shares", help="what quality counts")
    options = parser.parse_args()
    folder = options.out / options.space
    folder.mkdir(parents=True, exist_ok=True)
    # As in a sweep, in a process of its own: a model looks for its next proposals on a thread beside.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        run(options, folder, lambda point: pool.submit(alone, options.space, folder, point).result())


def run(options: argparse.Namespace, folder: Path, train: Callable[[Point], Course]) -> None:
    """Run what the command line says; ``folder`` is that of its space."""
    torch.set_num_threads(1)
    space = SPACES[options.space]
    recipes = WholeSpace(Recorder(space, folder), folder / "recorded.jsonl", train)
    simulation = Simulation(
        recipes.table,
        recipes,
        recipes.points,
        options.trials,
        guessing=space.guessing,
        workers=options.workers,
        until=options.until,
        draws=DRAWS,
    )
    seeds = dict.fromkeys(options.only or USUAL, options.seeds)
    runs = collect(simulation, folder / "runs", seeds, options.first_seed)
    if {"random", "TPE"} <= runs.keys():
        print(report(simulation, runs, options.trials, "curve" if options.by == "shares" else "close"))


if __name__ == "__main__":
    main()
