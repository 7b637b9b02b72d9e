"""What to begin, to end and to take up again: one index for all of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.objectives.costs import PACKED, doublings
from search.sampling.freezing.candidates import Candidate, Candidates
from search.sampling.freezing.courses import Course, Measure
from search.sampling.freezing.gain import Front, expected_gains, scale, unscaled
from search.sampling.freezing.process import Kernel, NotFitted, Posterior, Rows, Values, fitted
from search.sampling.freezing.sizes import Cost, Time, inputs_of
from search.sampling.samplers import name_of, seed_of
from trainables.recipe import Recipe

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """How the policy decides.

    Attributes:
        patience: a trial that runs is worth so many times what could replace it.
        random: trials that are drawn at random after the starting points, before the model decides.
        stops: whether trials are ended early.
        siblings: whether recipes are proposed for what they share with those that have begun.
        fitted: reports, at most, by which the process is fitted.
        conditioned: reports, at most, that a decision looks at.
        first: reports before the first fit.
        growth: of the reports from one fit to the next.
        lag: share of the reports more, after which a fit is in force: it is computed meanwhile.
        kept: epochs, as shares of a training, whose reports count beside a trial's last two.
        guessing: of the way from guessing to the best, below which a report before the end is ...
        blurred: ... so uncertain more: training does not show yet.
    """

    patience: float = 1.5
    random: int = 4
    stops: bool = True
    siblings: bool = True
    fitted: int = 180
    conditioned: int = 350
    first: int = 16
    growth: float = 1.4
    lag: float = 0.1
    kept: tuple[float, ...] = (1 / 12, 2 / 12, 4 / 12, 7 / 12, 10 / 12)
    guessing: float = 0.07
    blurred: float = 0.02


class Unable(Exception):
    """The model cannot decide; the message is a clause that says why."""


@dataclass(frozen=True)
class Choice:
    """What a free place is given: a recipe, or the name of a trial that was stopped."""

    candidate: Candidate | None = None
    continues: str = ""


class FreezeThaw:
    """Decides what to train next, and what to go on with, from what the sweep's log says.

    It hears what happens in the order of the log, and its decisions depend on nothing else: told again, it
    decides again as it did.

    Args:
        candidates: draws recipes.
        measure: makes reports of results.
        seed: of the sweep.
        designed: how many trials begin without its advice: the starting points.
        settings: how it decides.
    """

    def __init__(
        self,
        candidates: Candidates,
        measure: Measure,
        seed: int,
        designed: int = 0,
        settings: Settings = Settings(),
    ) -> None:
        self._candidates, self._measure, self._seed = candidates, measure, seed
        self._settings, self._designed = settings, designed + settings.random
        self._courses: dict[str, Course] = {}
        self._known: set[str] = set()
        self._started = 0
        self._heard: list[tuple[Course, int]] = []
        self._untrained: list[float] = []
        self._thread = ThreadPoolExecutor(1, "freeze-thaw")
        self._offspring: dict[tuple[int, str], Future[list[Candidate]]] = {}
        self._fits: dict[int, Future[Kernel]] = {}
        self._view: _View | None = None

    # What happens.

    def earlier(self, candidate: Candidate, result: Mapping[str, Any], finished: bool) -> None:
        """Another sweep trained that recipe; the model learns from it, and it is not proposed."""
        self._known.add(candidate.recipe.recipe_id)
        course = self._course(-1 - len(self._courses), candidate)
        report = self._measure.report({"epoch": course.epochs, **result} if finished else result)
        if report is None or not finished:
            return
        course.state = "earlier"
        course.reports.append(report)
        self._courses[f"earlier {len(self._courses)}"] = course
        self._heard.append((course, 0))
        self._view = None

    def begin(self, name: str, candidate: Candidate) -> None:
        """The trial ``name`` begins; saying so again changes nothing."""
        if name in self._courses:
            return
        self._known.add(candidate.recipe.recipe_id)
        self._courses[name] = self._course(int(name), candidate)
        self._started += 1
        self._view = None

    def take_up(self, name: str, as_name: str) -> None:
        """The stopped trial ``name`` goes on as another one; saying so again changes nothing."""
        course = self._courses.get(name)
        if course is None or course.state != "stopped":
            return
        del self._courses[name]
        course.state, course.begun = "running", -1
        self._courses[as_name] = course
        self._view = None

    def report(self, name: str, result: Mapping[str, Any]) -> None:
        """The trial ``name`` reported; what it had reported before changes nothing."""
        course = self._courses.get(name)
        report = self._measure.report(result)
        if course is None or report is None or not course.hear(report):
            return
        if report.epoch == 0:
            self._untrained.append(report.worth)
        else:
            self._heard.append((course, len(course.reports) - 1))
            self._begin_fit()
        if self._settings.siblings and course.candidate.shared and report.epoch >= course.candidate.shared:
            self._breed(course, "siblings")
        self._view = None

    def end(self, name: str, state: str) -> None:
        """The trial ``name`` ended: ``finished``, ``pruned`` or ``failed``."""
        course = self._courses.get(name)
        if course is None or course.state != "running":
            return
        if state == "finished" and (not course.reports or course.epoch < course.epochs):
            state = "failed"  # it has no quality to learn from
        course.state = {"finished": "finished", "pruned": "stopped"}.get(state, "failed")  # type: ignore[assignment]
        if course.state == "finished":
            self._breed(course, "neighbours")
        self._view = None

    def never_again(self, name: str) -> None:
        """The trial ``name``, which was pruned, is over the budget: it is not taken up."""
        if (course := self._courses.get(name)) is not None:
            course.state = "failed"
            self._view = None

    # What is decided.

    def choose(self, number: int) -> Choice:
        """What trial ``number`` is to be.

        Raises:
            Unable: the model cannot be fitted, or every recipe that it knows of was tried.
        """
        if self._started < self._designed or not self._heard:
            found = next((c for c in self._candidates.pool(number) if self._is_new(c)), None)
            if found is None:
                raise Unable("no recipe that was drawn is new")
            return Choice(found)
        view = self._seen()
        names, candidates = self._rivals(number)
        if not candidates:
            raise Unable("no recipe that was drawn is new")
        index = view.index(candidates, [self._courses.get(name) for name in names], view.front(self._running()))
        best = int(np.argmax(index))
        return Choice(None, names[best]) if names[best] else Choice(candidates[best])

    def goes_on(self, name: str, number: int) -> str:
        """Why the trial ``name`` should end after what it reported last; empty if it should go on.

        Args:
            name: of a trial that runs.
            number: of the trial that would begin in its place.

        Raises:
            Unable: the model cannot be fitted.
        """
        course = self._courses.get(name)
        if course is None or not self._settings.stops or course.state != "running":
            return ""
        if course.epoch <= course.begun or course.epoch >= course.epochs:
            return ""
        any_finished = any(each.state == "finished" for each in self._courses.values())
        if self._started < self._designed and not any_finished:
            return ""
        view = self._seen()
        front = view.front([each for each in self._running() if each is not course])
        names, candidates = self._rivals(number)
        if not candidates:
            return ""
        own = float(view.index([course.candidate], [course], front)[0])
        rivals = view.index(candidates, [self._courses.get(each) for each in names], front)
        best = int(np.argmax(rivals))
        if self._settings.patience * own >= rivals[best]:
            return ""
        other = f"the trial {names[best]}" if names[best] else "another student"
        ratio = rivals[best] / own if own > 0 else math.inf
        more = f"{ratio:.1f} times" if ratio < 100 else "more than 100 times"
        return f"after epoch {course.epoch}, {other} promises {more} its gain in hypervolume per second"

    def prepare(self, number: int) -> None:
        """Trial ``number`` is the next: draw what it may be while others run."""
        self._thread.submit(self._candidates.pool, number)

    def close(self) -> None:
        """Nothing more will be asked."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _course(self, number: int, candidate: Candidate) -> Course:
        return Course(number, candidate, self._candidates.point(candidate))

    def _running(self) -> list[Course]:
        return [course for course in self._courses.values() if course.state == "running"]

    def _is_new(self, candidate: Candidate) -> bool:
        return candidate.recipe.recipe_id not in self._known

    def _rivals(self, number: int) -> tuple[list[str], list[Candidate]]:
        """What could begin as trial ``number``: new recipes, without a name, and stopped trials."""
        found = {c.recipe.recipe_id: c for c in self._candidates.pool(number) if self._is_new(c)}
        for key in self._bred():
            found |= {c.recipe.recipe_id: c for c in self._offspring[key].result() if self._is_new(c)}
        stopped = {name: course.candidate for name, course in self._courses.items() if course.state == "stopped"}
        return [*[""] * len(found), *stopped], [*found.values(), *stopped.values()]

    def _bred(self) -> list[tuple[int, str]]:
        """Whose siblings and neighbours are looked at: those of the best that finished, and of all that run."""
        return list(self._offspring)[-64:]

    def _breed(self, course: Course, how: str) -> None:
        key = (course.number, how)
        if key not in self._offspring:
            make = self._candidates.siblings if how == "siblings" else self._candidates.neighbours
            self._offspring[key] = self._thread.submit(make, course.candidate, course.number)

    # The model.

    def _begin_fit(self) -> None:
        """Begin to fit the process where enough has been reported since the last time."""
        count = len(self._heard)
        if count < max(self._settings.first, self._settings.growth * max(self._fits, default=0)):
            return
        if any(heard > 0 for heard in self._fits):
            before = self._fits[max(self._fits)]
        else:
            before = None
        rows, values = self._table(self._chosen(self._settings.fitted, seed_of(self._seed, count, 10)))
        groups = self._candidates.features.groups
        self._fits[count] = self._thread.submit(_fit, before, groups, rows, values)

    def _kernel(self) -> Kernel:
        """The kernel in force: a function of the number of reports that were heard."""
        count = len(self._heard)
        ready = [at for at in self._fits if count >= at + math.floor(self._settings.lag * at)]
        if not ready:
            return Kernel.prior(self._candidates.features.groups)
        return self._fits[max(ready)].result()

    def _chosen(self, most: int, seed: int | None = None) -> list[tuple[Course, int]]:
        """Of all reports those that say most: the last two of a trial, and a few before.

        Where there are more than ``most``, a random choice of them or, without a seed, the latest of the
        trials that began last.
        """
        found = []
        for course, place in self._heard:
            epoch, last = course.reports[place].epoch, course.epochs
            kept = any(epoch == max(round(share * last), 1) for share in self._settings.kept)
            if kept or place >= len(course.reports) - 2:
                found.append((course, place))
        if len(found) <= most:
            return found
        if seed is not None:
            chosen = np.random.default_rng(seed).choice(len(found), most, replace=False)
            return [found[int(k)] for k in sorted(chosen)]
        return sorted(found, key=lambda each: len(each[0].reports) - each[1])[:most]

    def _table(self, reports: Sequence[tuple[Course, int]]) -> tuple[Rows, Values]:
        least = self._measure.least(np.array(self._untrained))
        edge = least + self._settings.guessing * (1 - least)
        courses = [course for course, _ in reports]
        found = [course.reports[place] for course, place in reports]
        moments = [_moment(each.epoch, course.epochs) for course, each in zip(courses, found, strict=True)]
        rows = _rows(courses, [course.candidate for course in courses], np.array(moments), self._points(courses))
        worths = np.array([each.worth for each in found])
        early = np.array([each.epoch < course.epochs for course, each in zip(courses, found, strict=True)])
        more = np.where((worths < edge) & early, self._settings.blurred, 0.0)
        return rows, Values(scale(worths), more)

    def _points(self, courses: Sequence[Course]) -> Array:
        width = len(self._candidates.features.groups)
        return np.array([course.point for course in courses]).reshape(-1, width)

    def _seen(self) -> _View:
        """What the model makes of the log as it is now.

        Raises:
            Unable: nothing.
        """
        if self._view is None:
            if reason := self._measure.able():
                raise Unable(reason)
            try:
                self._view = self._look()
            except NotFitted as error:
                raise Unable(str(error)) from error
        return self._view

    def _look(self) -> _View:
        rows, values = self._table(self._chosen(self._settings.conditioned))
        rows, values = self._with_failures(rows, values)
        least = self._measure.least(np.array(self._untrained))
        middle = float(scale(np.array(least + 0.6 * (1 - least))))
        posterior = Posterior(self._kernel(), rows, values, middle)
        courses = [course for course in self._courses.values() if course.reports]
        return _View(self._measure, self._candidates, posterior, courses, self._cached(), least)

    def _with_failures(self, rows: Rows, values: Values) -> tuple[Rows, Values]:
        """With trials that failed as if they had learnt nothing: else what diverges would be tried again."""
        failed = [course for course in self._courses.values() if course.state == "failed"][-40:]
        if not failed:
            return rows, values
        least = self._measure.least(np.array(self._untrained))
        ends = _rows(failed, [c.candidate for c in failed], np.ones(len(failed)), self._points(failed))
        guessed = np.full(len(failed), float(scale(np.array(least))))
        return _joined(rows, ends), Values(
            np.r_[values.qualities, guessed], np.r_[values.more, np.full(len(failed), self._settings.blurred)]
        )

    def _cached(self) -> dict[str, int]:
        """First phases that were trained, and how far."""
        found: dict[str, int] = {}
        for course in self._courses.values():
            if course.candidate.prefix and course.state != "earlier":
                done = min(course.epoch, course.candidate.shared)
                found[course.candidate.prefix] = max(found.get(course.candidate.prefix, 0), done)
        return found


class _View:
    """The model at one moment of the log."""

    def __init__(
        self,
        measure: Measure,
        candidates: Candidates,
        posterior: Posterior,
        courses: Sequence[Course],
        cached: Mapping[str, int],
        least: float,
    ) -> None:
        yardstick = measure.yardstick
        self._measure, self._candidates, self._posterior = measure, candidates, posterior
        self._cached, self._points = cached, dict[int, Array]()
        self._costs = [Cost(k, name == PACKED) for k, name in enumerate(yardstick.costs)]
        self._limits = [
            (Cost(k, name == PACKED, limited=True), doublings(yardstick.budget.limits[name]))
            for k, name in enumerate(measure.limited)
        ]
        self._time = Time()
        inputs = inputs_of(self._of([c.candidate for c in courses]), [c.candidate.outline for c in courses])
        own = [(course, k) for k, course in enumerate(courses) if course.state != "earlier"]
        self._time.learn([course for course, _ in own], inputs[[k for _, k in own]])
        for cost in (*self._costs, *(cost for cost, _ in self._limits)):
            cost.learn(courses, inputs)
        done = [course for course in courses if course.state == "finished" and _is_whole(course)]
        done = [course for course in done if self._is_within(course)]
        costs = np.array([course.reports[-1].costs for course in done]).reshape(-1, len(self._costs))
        seen = np.array([r.costs for c in courses for r in (c.reports[0], c.reports[-1])]).reshape(-1, len(self._costs))
        reference = measure.reference(seen)
        self._front = Front(np.array([c.reports[-1].worth for c in done]), costs, reference, least)

    def front(self, running: Sequence[Course]) -> Front:
        """The front with trials that run where they are expected to end."""
        if not running:
            return self._front
        candidates = [course.candidate for course in running]
        means, _ = self._predicted(candidates, running)
        costs, _ = self._told(candidates, running)
        return self._front.with_students(unscaled(means), costs)

    def index(
        self, candidates: Sequence[Candidate], courses: Sequence[Course | None], front: Front
    ) -> Array:
        """Expected gain of hypervolume of each student's end, per second that it still costs."""
        means, deviations = self._predicted(candidates, courses)
        costs, likely = self._told(candidates, courses)
        gains = expected_gains(front, costs, means, deviations) * likely
        return gains / self._left(candidates, courses)

    def _left(self, candidates: Sequence[Candidate], courses: Sequence[Course | None]) -> Array:
        inputs = inputs_of(self._of(candidates), [each.outline for each in candidates])
        found = np.empty(len(candidates))
        for row, (candidate, course) in enumerate(zip(candidates, courses, strict=True)):
            cached = min(self._cached.get(candidate.prefix, 0), candidate.shared)
            found[row] = candidate.recipe.epochs - max(cached, 0 if course is None else course.epoch)
        begins = np.array([course is None or course.state != "running" for course in courses])
        return np.maximum(found * self._time.of_epochs(inputs) + begins * self._time.start, 1e-3)

    def _predicted(
        self, candidates: Sequence[Candidate], courses: Sequence[Course | None]
    ) -> tuple[Array, Array]:
        rows = _rows(courses, candidates, np.ones(len(candidates)), self._of(candidates))
        return self._posterior.predict(rows)

    def _told(
        self, candidates: Sequence[Candidate], courses: Sequence[Course | None]
    ) -> tuple[Array, Array]:
        """Costs at the end, and how likely those that are limited only keep their limits."""
        outlines = [each.outline for each in candidates]
        inputs = inputs_of(self._of(candidates), outlines)
        told = [cost.told(inputs, outlines, courses).values for cost in self._costs]
        likely = np.ones(len(candidates))
        for cost, limit in self._limits:
            values, deviation = cost.told(inputs, outlines, courses)
            if cost.known:
                likely *= _ndtr((limit - values) / deviation)
        return np.column_stack(told), likely

    def _of(self, candidates: Sequence[Candidate]) -> Array:
        """Coordinates, each computed once."""
        for each in candidates:
            if id(each) not in self._points:
                self._points[id(each)] = self._candidates.point(each)
        width = len(self._candidates.features.groups)
        return np.array([self._points[id(each)] for each in candidates]).reshape(-1, width)

    def _is_within(self, course: Course) -> bool:
        """Whether a finished student keeps the limits of costs that are no objective."""
        limited = course.reports[-1].limited
        return all(not value > limit for value, (_, limit) in zip(limited, self._limits, strict=True))


def _is_whole(course: Course) -> bool:
    return bool(np.isfinite(course.reports[-1].costs).all())


def _moment(epoch: int, epochs: int) -> float:
    """How far a training is, on a scale on which its first epochs are as long as its last ones."""
    return math.log1p(epoch) / math.log1p(epochs) if epochs else 1.0


def _rows(
    courses: Sequence[Course | None], candidates: Sequence[Candidate], moments: Array, points: Array
) -> Rows:
    """Rows of students at ``moments``; where there is no course, it is a student of its own."""
    trials = [-(10**9) - k if course is None else course.number for k, course in enumerate(courses)]
    kin = [int(each.prefix[:12], 16) if each.prefix else -1 for each in candidates]
    late = [
        0 < each.shared < each.recipe.epochs and moment > _moment(each.shared, each.recipe.epochs) + 1e-9
        for each, moment in zip(candidates, moments, strict=True)
    ]
    return Rows(points, moments, np.array(trials, dtype=np.int64), np.array(kin, dtype=np.int64), np.array(late, dtype=bool))


def _joined(one: Rows, other: Rows) -> Rows:
    return Rows(
        np.vstack([one.points, other.points]),
        np.r_[one.moments, other.moments],
        np.r_[one.trials, other.trials],
        np.r_[one.kin, other.kin],
        np.r_[one.late, other.late],
    )


def _fit(before: Future[Kernel] | None, groups: NDArray[np.int64], rows: Rows, values: Values) -> Kernel:
    start = Kernel.prior(groups) if before is None else before.result()
    return fitted(start, rows, values)


from scipy.special import ndtr as _ndtr  # noqa: E402
