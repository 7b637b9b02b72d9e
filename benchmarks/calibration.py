"""Whether the model of freeze-thaw search hopes for what comes, on a recorded table.

    python -m benchmarks.calibration --table own-network --seeds 3

Searches that end nothing; after each report of a trial that runs, what the model says of its end and of the
best that could run in its place is compared with what the table knows: deviations in units of the model's
own (0 ± 1 where it is calibrated), and the gain of hypervolume. Last come the reports after which the trial
would have been ended, with what it and its rival would truly have gained per second: ending pays where the
rival's is the larger.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from benchmarks.grids import DIGITS, GRIDS, RECORDED
from benchmarks.recorded_table import Table, load_table
from benchmarks.search_efficiency import Simulation
from benchmarks.searches import Modelled, Recipes
from benchmarks.simulated_cluster import START_SECONDS
from search.sampling.freezing.candidates import Candidate
from search.sampling.freezing.courses import Course
from search.sampling.freezing.gain import Front, expected_gains, scale
from search.sampling.freezing.means import Settings
from search.sampling.freezing.policy import FreezeThaw
from trainables.recipe import canonical_json

SHARES = (0.0, 0.2, 0.4, 0.7, 1.0)
"""Of a training: the rows."""


@dataclass(frozen=True)
class Told:
    """What was told of a student, and what came.

    Attributes:
        away: the true quality less the mean, in deviations.
        gain: expected, of hypervolume by halvings of the points lost.
        came: the gain of what the table knows.
        left: seconds that it is told to cost still.
        took: seconds that it truly does.
    """

    away: float
    gain: float
    came: float
    left: float
    took: float


@dataclass(frozen=True)
class Moment:
    """After a report: how far the trial is, it, and the best that could run in its place."""

    share: float
    own: Told
    rival: Told

    def ends(self, patience: float) -> bool:
        """Whether the policy would end the trial."""
        return patience * self.own.gain / self.own.left < self.rival.gain / self.rival.left


class Watched(FreezeThaw):
    """A policy that ends nothing and notes what it expects."""

    table: Table
    recipes: Recipes
    moments: list[Moment]

    def goes_on(self, name: str) -> str:
        """Always; see :class:`FreezeThaw`."""
        course = self._courses[name]
        finished = sum(each.state == "finished" for each in self._courses.values())
        if course.epoch <= course.begun or finished < self._settings.finished:
            return ""
        view = self._seen()
        front = view.front([each for each in self._running() if each is not course])
        names, candidates = self._rivals(self.next)
        courses = [self._courses.get(each) for each in names]
        best = int(np.argmax(view.index(candidates, courses, front)))
        own = self._told(course.candidate, course, front)
        rival = self._told(candidates[best], courses[best], front)
        self.moments.append(Moment(course.epoch / course.epochs, own, rival))
        return ""

    def _told(self, candidate: Candidate, course: Course | None, front: Front) -> Told:
        view, table = self._seen(), self.table
        row = self.recipes.row(canonical_json(candidate.recipe))
        (gain,), (left,), ((mean, deviation),) = view.expected([candidate], [course], front)
        true = scale(table.validation[[row], -1])
        costs = np.log2(table.packed_bytes[[row], -1].astype(float))[:, None]
        came = expected_gains(front, costs, true, np.array([1e-6]))
        epoch = 0 if course is None else course.epoch
        took = table.seconds[row, epoch + 1 :].sum()
        took += (
            0.0 if course is not None and course.state == "running" else START_SECONDS + table.seconds[row, 0]
        )
        return Told((true[0] - mean) / deviation, gain, float(came[0]), left, float(took))


def watch(simulation: Simulation, seed: int) -> list[Moment]:
    """The moments of one search."""
    judge = Modelled(
        simulation.table,
        simulation.recipes,
        seed,
        len(simulation.points),
        Settings(stops=True),
        policy=Watched,
    )
    watched = judge.policy
    assert isinstance(watched, Watched)
    watched.table, watched.recipes, watched.moments = simulation.table, simulation.recipes, []
    simulation.run("freeze-thaw", judge, seed, shares=True)
    return watched.moments


def line_of(name: str, moments: Sequence[Moment]) -> str:
    """A row of the report."""
    cells = [f"{name:<22}{len(moments):6}"]
    for which in ("own", "rival"):
        told = [getattr(moment, which) for moment in moments]
        means = {
            each.name: np.mean([getattr(one, each.name) for one in told]) if told else np.nan
            for each in fields(Told)
        }
        spread = np.std([one.away for one in told]) if told else np.nan
        cells.append(
            f"{means['away']:+6.2f} ± {spread:4.2f}  {means['gain']:6.3f} {means['came']:6.3f}  "
            f"{means['came'] / means['took']:6.3f}"
        )
    return "   ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", choices=RECORDED, default=DIGITS.name)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=6000, metavar="N")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--until", type=float, default=0.25, help="share of the compute to go to")
    options = parser.parse_args()
    grid = GRIDS[options.table]
    simulation = Simulation.of_grid(load_table(grid.path), grid, 100, None, options.workers, options.until)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    moments = [moment for seed in seeds for moment in watch(simulation, seed)]
    head = "away ± spread    gain   came   per s"
    print(f"{'share of the training':<22}{'n':>6}   {head}   {head}")
    print(f"{'':<28}   {'the trial that runs':<{len(head)}}   the best in its place")
    for low, high in pairwise(SHARES):
        print(line_of(f"{low:.1f} to {high:.1f}", [each for each in moments if low < each.share <= high]))
    patience = Settings().patience
    print(line_of("would be ended", [each for each in moments if each.ends(patience)]))
    print(line_of("would go on", [each for each in moments if not each.ends(patience)]))


if __name__ == "__main__":
    main()
