"""How much computing a search needs for a front: samplers and early ends on a recorded table.

Every recipe of a grid (``benchmarks/grids.py``) was trained beforehand (``benchmarks/record_table.py``), so
that a search can be replayed on a simulated cluster: four workers, a clock, the recorded processor time of
every epoch, and 0.05 s for each trial's start. The project's real searcher suggests
(``search/sampling/searcher.py``, which draws no recipe twice), its real rules
(``search/stopping/halving.py``) or Ray's real ASHA rule on a weighted sum end trials. A search ends when the
workers have been given what random search spends on ``--trials`` trials; the hypervolume is that of the
finished students, in log2 of the bytes and the quality on the validation split as a share of its range,
against the teacher's size and guessing. ``--by closeness`` counts halvings of the points lost to the teacher
in place of the quality itself.

    python -m benchmarks.search_efficiency --tune            # rules, on half of the grid, seeds from 1,000 on
    python -m benchmarks.search_efficiency --runs runs/      # 20 seeds, the table and the figure
    python -m benchmarks.search_efficiency --table own-network --runs own-runs/

A finished run is kept in ``--runs``, a folder for each table; the same command goes on where it was stopped.
The test split is not read. Rules that end trials were chosen on digits-grid, what freeze-thaw
search does on all tables.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import optuna

from benchmarks.efficiency_figure import draw_figure
from benchmarks.grid import Axes, Grid
from benchmarks.grids import DIGITS, GRIDS, RECORDED
from benchmarks.intervals import difference, reach, reached
from benchmarks.recorded_table import Table, load_table
from benchmarks.searches import (
    Everything,
    Modelled,
    Ours,
    Recipes,
    Recorded,
    ReplayedSearch,
    SyneTuneASHA,
    WeightedASHA,
    prefix_of,
)
from benchmarks.simulated_cluster import START_SECONDS, Ended, Judge, simulate
from search.objectives.front import size_loss_hypervolume, size_quality_hypervolume
from search.sampling.freezing.means import Settings
from search.sampling.samplers import find_sampler
from search.stopping.halving import Rules
from trainables.files import write_file
from trainables.metrics import quality_of
from trainables.metrics.latency import fingerprint
from trainables.recipe import canonical_json

WORKERS = 4
POINTS = 256
"""Moments, equally far apart, at which the hypervolume is noted."""
TUNING = 1000
"""Seeds from here on chose the rules; the others report."""

SEARCHES: Mapping[str, tuple[str, str]] = {
    "random": ("random", "none"),
    "random + ours": ("random", "ours"),
    "random + ours, revived": ("random", "revive"),
    "random + ASHA": ("random", "asha"),
    "random + MO-ASHA of Syne Tune": ("random", "moasha"),
    "TPE": ("tpe", "none"),
    "TPE + ours": ("tpe", "ours"),
    "TPE + ours, revived": ("tpe", "revive"),
    "NSGA-II": ("nsga2", "none"),
    "GP": ("gp", "none"),
    "reinforce": ("reinforce", "none"),
    "reinforce + ours": ("reinforce", "ours"),
    "freeze-thaw": ("freeze-thaw", "model"),
    "freeze-thaw, no cache": ("freeze-thaw", "alone"),
    "freeze-thaw, ends": ("freeze-thaw", "ends"),
}
"""Name -> sampler and what ends trials early: our rules, the same with trials taken up again, Ray's, Syne
Tune's, or the model of freeze-thaw search; that without first phases shared, or ending what is hopeless."""


MODELS = ("model", "alone", "ends")
"""What is meant by it: freeze-thaw search, one without a part of it, and one with more."""


@dataclass(frozen=True)
class Run:
    """One search with one seed.

    Attributes:
        curve: hypervolume of the finished students at :data:`POINTS` moments.
        close: the same by :func:`search.objectives.front.closeness` to the teacher.
        trials: that ended.
        finished: of these, to the end.
        untrained: ended before they trained.
    """

    curve: tuple[float, ...]
    close: tuple[float, ...]
    trials: int
    finished: int
    untrained: int


class Simulation:
    """The table with all that a run needs of it.

    Args:
        table: what recipes do.
        recipes: what may be suggested.
        points: parameters of the first trials.
        trials: of random search; what these cost on average is what every search may spend.
        guessing: quality of who knows nothing, as a share of its range.
        workers: how many trials run at a time.
        until: share of the compute after which a search is left; its curve stays where it is.
        draws: how many recipes at random tell what one costs.
    """

    def __init__(
        self,
        table: Table,
        recipes: Recipes,
        points: Sequence[Mapping[str, Any]],
        trials: int,
        *,
        guessing: float = 0.1,
        workers: int = WORKERS,
        until: float = 1.0,
        draws: int = 2000,
    ) -> None:
        self.table, self.workers, self.until, self.guessing = table, workers, until, guessing
        self.points, self.recipes = points, recipes
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        drawn = [self.recipes.row(canonical_json(self.recipes.draw(study.ask()))) for _ in range(draws)]
        spent = [table.seconds[row].sum() + START_SECONDS for row in drawn]
        self.compute = float(np.mean(spent)) * trials

    @classmethod
    def of_grid(
        cls,
        table: Table,
        grid: Grid,
        trials: int,
        axes: Axes | None = None,
        workers: int = WORKERS,
        until: float = 1.0,
    ) -> Self:
        """Of a recorded table of ``grid``; of all its ``axes`` by default."""
        recipes, points = Recorded(table, grid, axes), grid.first_points(axes or grid.axes)
        return cls(table, recipes, points, trials, guessing=grid.guessing, workers=workers, until=until)

    def run(self, sampler: str, judge: Judge, seed: int, shares: bool = False) -> Run:
        """One search; ``shares`` says whether trials begin behind first phases that others trained."""
        search = ReplayedSearch(self.table, self.recipes, find_sampler(sampler), judge, seed, self.points)
        ended = simulate(
            self.table,
            search,
            judge,
            workers=self.workers,
            compute=self.until * self.compute,
            prefix_of=prefix_of(self.recipes) if shares else None,
        )
        return Run(
            curve=tuple(self.hypervolumes(ended, self.hypervolume)),
            close=tuple(self.hypervolumes(ended, self.closeness)),
            trials=len(ended),
            finished=sum(end.finished for end in ended),
            untrained=sum(end.epoch == 0 and not end.finished for end in ended),
        )

    def ours(self, rules: Rules) -> Judge:
        """The project's rules."""
        return Ours(self.table, replace(rules, longest=self.recipes.longest))

    def judge(self, name: str, seed: int) -> Judge:
        """What ends trials early, by name, in a search of ``seed``."""
        if name in MODELS:
            settings = Settings(stops=name == "ends")
            shares = name != "alone"
            return Modelled(self.table, self.recipes, seed, len(self.points), settings, shares)
        if name == "ours":
            return self.ours(Rules())
        if name == "revive":
            return self.ours(Rules(revive=True))
        if name == "moasha":
            return SyneTuneASHA(self.table, 3, 1)
        if name == "asha":
            return WeightedASHA(self.table, 3, 1)
        return Everything()

    def hypervolume(self, rows: Sequence[int]) -> float:
        """Of the students of ``rows`` at their ends."""
        chosen = list(rows)
        return size_quality_hypervolume(
            self.table.packed_bytes[chosen, -1],
            self.table.validation[chosen, -1],
            quality_of("accuracy"),
            reference_bytes=self.table.teacher_bytes,
            reference_value=self.guessing,
        )

    def closeness(self, rows: Sequence[int]) -> float:
        """The same, of halvings of the points lost to the teacher."""
        chosen = list(rows)
        return size_loss_hypervolume(
            self.table.packed_bytes[chosen, -1],
            self.table.validation[chosen, -1],
            quality_of("accuracy"),
            reference_bytes=self.table.teacher_bytes,
            teacher_value=self.table.teacher_quality,
            reference_value=self.guessing,
        )

    def hypervolumes(self, ended: Sequence[Ended], of: Callable[[Sequence[int]], float]) -> list[float]:
        """At each of :data:`POINTS` moments up to the last."""
        moments = self.compute * np.arange(1, POINTS + 1) / POINTS
        values = np.zeros(POINTS)
        rows: list[int] = []
        for end in ended:
            if not end.finished:
                continue
            rows.append(end.row)
            values[moments >= end.compute] = of(rows)
        found: list[float] = values.tolist()
        return found


def tune(simulation: Simulation, seeds: Sequence[int]) -> None:
    """Print how far each choice of rules gets, on seeds and recipes that report nothing."""
    choices = [
        Rules(reduction, grace, chance, revive)
        for chance in (0.0, 0.1, 0.25, 0.4)
        for reduction, grace in ((1.5, 2), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3), (4, 2), (2, 99))
        for revive in (False, True)
    ]
    for sampler in ("random", "tpe"):
        plain = np.array([simulation.run(sampler, Everything(), seed).curve for seed in seeds])
        target = plain[:, -1].mean()
        print(f"{sampler}: {target:.4f} at the end", flush=True)
        for rules in choices:
            runs = [simulation.run(sampler, simulation.ours(rules), seed) for seed in seeds]
            mean = np.array([run.curve for run in runs]).mean(axis=0)
            trials, finished = np.mean([(run.trials, run.finished) for run in runs], axis=0)
            print(
                f"  {rules}: {mean[-1]:.4f} at the end, {mean[POINTS // 4 - 1]:.4f} at a quarter, "
                f"there after {reached(mean, target):.3f}; {trials:.0f} trials, {finished:.0f} finished",
                flush=True,
            )


def collect(
    simulation: Simulation, folder: Path, seeds: Mapping[str, int], first: int = 0
) -> dict[str, list[Run]]:
    """The runs of so many ``seeds`` of each search, those that are missing in ``folder`` made now.

    The ``first`` seed is 0 by default.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Run]] = {}
    for name, number in seeds.items():
        sampler, judge = SEARCHES[name]
        found[name] = []
        for seed in range(first, first + number):
            path = folder / f"{name.replace(' ', '')}-{seed}.json"
            if not path.exists():
                shares = judge in MODELS and judge != "alone"
                run = simulation.run(sampler, simulation.judge(judge, seed), seed, shares)
                write_file(path, json.dumps(asdict(run)).encode())
            content = json.loads(path.read_text())
            curves = {each: tuple(content[each]) for each in ("curve", "close")}
            found[name].append(Run(**content | curves))
        print(f"{name}: {np.mean([run.curve[-1] for run in found[name]]):.4f}", flush=True)
    return found


def report(simulation: Simulation, runs: Mapping[str, Sequence[Run]], trials: int, by: str) -> str:
    """The results as Markdown, but for what they mean."""
    curves = {name: np.array([getattr(run, by) for run in each]) for name, each in runs.items()}
    volume = simulation.hypervolume if by == "curve" else simulation.closeness
    best = volume(range(len(simulation.table.points)))
    lines = [
        "search                  seeds  hypervolume at 1/8, 1/4, 1/2 and all of the compute "
        "(standard deviation)     trials  finished  untrained",
    ]
    for name, curve in curves.items():
        cells = "  ".join(
            f"{curve[:, place - 1].mean():.3f} ({curve[:, place - 1].std():.3f})"
            for place in (POINTS // 8, POINTS // 4, POINTS // 2, POINTS)
        )
        ended = np.mean([(run.trials, run.finished, run.untrained) for run in runs[name]], axis=0)
        counts = f"{ended[0]:6.0f}  {ended[1]:8.0f}  {ended[2]:9.0f}"
        lines.append(f"{name:<24}{len(curve):5}  {cells}    {counts}")
    lines += ["", "share of the compute after which the mean is where another ends (95 % interval)", ""]
    targets = ("random", "TPE")
    lines.append(f"{'search':<24}" + "".join(f"{target + ' ends':>26}" for target in targets))
    for name in curves:
        ends = []
        for target in targets:
            share, low, high = reach(curves[name], curves[target])
            ends.append(f"{_share(share)} ({_share(low)} to {_share(high)})")
        lines.append(f"{name:<24}" + "".join(f"{end:>26}" for end in ends))
    lines += ["", "hypervolume above TPE's, seed by seed (95 % interval), at 1/8 and 1/4 of the compute", ""]
    for name, curve in curves.items():
        above = [difference(curve, curves["TPE"], POINTS // part - 1) for part in (8, 4)]
        told = "".join(f"{mean:>+12.3f} ({low:+.3f} to {high:+.3f})" for mean, low, high in above)
        lines.append(f"{name:<24}{told}")
    machine = fingerprint()
    versions = ", ".join(f"{name} {version(name)}" for name in ("optuna", "ray", "moocore", "numpy"))
    return "\n".join(
        [
            f"Table: {len(simulation.table.points)} recipes; all of them together cover {best:.3f}. Compute: "
            f"{simulation.compute:.0f} s of {simulation.workers} workers together, what {trials} random "
            f"trials take. Rules: {Rules()}.",
            f"Python {platform.python_version()}, {versions}; {machine}.",
            "",
            "```",
            *lines,
            "```",
        ]
    )


def available() -> list[str]:
    """The searches that can be run: Syne Tune's where it is installed."""
    return [name for name, (_, judge) in SEARCHES.items() if judge != "moasha" or find_spec("syne_tune")]


def _share(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "never"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", choices=RECORDED, default=DIGITS.name)
    parser.add_argument("--runs", type=Path, metavar="DIR", help="folder of finished runs")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0, metavar="N")
    parser.add_argument("--gp-seeds", type=int, default=3, help="a suggestion of GP takes seconds")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--until", type=float, default=1.0, help="share of the compute to go to")
    parser.add_argument("--trials", type=int, default=100, help="of random search: what all may spend")
    parser.add_argument(
        "--only",
        action="append",
        choices=tuple(SEARCHES),
        help="run this; a report needs random and TPE, a figure all",
    )
    parser.add_argument("--by", choices=("shares", "closeness"), default="shares", help="what quality counts")
    parser.add_argument("--tune", action="store_true")
    arguments = parser.parse_args()
    grid = GRIDS[arguments.table]
    if arguments.tune and grid.half is None:
        parser.error(f"nothing is chosen on {grid.name}, which shows what was chosen elsewhere")
    simulation = Simulation.of_grid(
        load_table(grid.path),
        grid,
        arguments.trials,
        grid.half if arguments.tune else None,
        arguments.workers,
        arguments.until,
    )
    if arguments.tune:
        tune(simulation, range(TUNING, TUNING + arguments.seeds))
        return
    if arguments.runs is None:
        parser.error("--runs DIR is needed, or --tune")
    seeds: dict[str, Any] = {
        name: arguments.gp_seeds if name == "GP" else arguments.seeds
        for name in arguments.only or available()
    }
    runs = collect(simulation, arguments.runs, seeds, arguments.first_seed)
    if {"random", "TPE"} <= runs.keys():  # whose ends the others are compared with
        by = "curve" if arguments.by == "shares" else "close"
        print(report(simulation, runs, arguments.trials, by))
    if arguments.only:
        return
    figure = draw_figure(
        {name: np.array([run.curve for run in each]) for name, each in runs.items()},
        "share of the compute of random search",
        "hypervolume",
    )
    write_file(arguments.runs / "figure.svg", figure.encode())


if __name__ == "__main__":
    main()
