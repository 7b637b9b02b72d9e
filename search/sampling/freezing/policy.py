"""What to begin, to end and to take up again: one index for all of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.objectives.costs import PACKED, doublings, measured
from search.sampling.freezing.candidates import Candidate, Candidates
from search.sampling.freezing.courses import Course, Measure, Report
from search.sampling.freezing.gain import scale
from search.sampling.freezing.means import Means, Settings
from search.sampling.freezing.process import Kernel, Line, NotFitted, Posterior, Rows, Values, fitted_after
from search.sampling.freezing.view import View, joined, rows_of
from search.sampling.samplers import seed_of
from search.stopping.halving import layers
from search.tracking.trained import Allowance

Array = NDArray[np.float64]


SIBLINGS, NEIGHBOURS = "siblings", "neighbours"

STOPPED = 100
"""Trials that stopped, at most, that are looked at for one decision."""

OVER = 0.5
"""Of the index of what trains beyond the end of the sweep's trainings."""

LITTERS = 24
"""Of siblings and of neighbours, those that are looked at: the latest."""


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
        last: number from which on no trial begins: then none is ended for another; None (default) is no end.
        allowance: what the sweep may train; None (default) is no end.

    Attributes:
        next: number of the trial that comes after all that began.
    """

    def __init__(
        self,
        candidates: Candidates,
        measure: Measure,
        seed: int,
        designed: int = 0,
        settings: Settings = Settings(),
        last: int | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self._means = Means(settings, allowance)
        self._candidates, self._measure, self._seed = candidates, measure, seed
        self._settings, self._designed, self._last = settings, designed, last
        self._courses: dict[str, Course] = {}
        self._known: set[str] = set()
        self._started = 0
        self._heard = 0
        self._untrained: list[float] = []
        self._thread = ThreadPoolExecutor(1, "freeze-thaw")
        self._parents: dict[tuple[int, str], Candidate] = {}
        self._offspring: dict[tuple[int, str], Future[list[Candidate]]] = {}
        self._fits: dict[int, Future[Kernel]] = {}
        self._view: View | None = None
        self._chosen_for: tuple[int, Choice] | None = None
        self.next = 0

    # What happens.

    def earlier(self, candidate: Candidate, values: Sequence[float]) -> None:
        """Another sweep finished that recipe: the model learns from it, and it is not proposed again.

        Its student is none of this sweep's front.

        Args:
            candidate: what it was.
            values: of the objectives: the quality, then the logarithms to base 2 of the costs.
        """
        self.know(candidate.recipe.recipe_id)
        course = Course(-1 - len(self._courses), candidate, "earlier")
        worth = self._measure.worth(values[0])
        missing = (math.nan,) * len(self._measure.limited)
        course.reports.append(Report(course.epochs, worth, tuple(values[1:]), missing, math.nan))
        self._courses[f"earlier {len(self._courses)}"] = course
        self._heard += 1
        self._changed()

    def know(self, recipe_id: str) -> None:
        """That recipe is not proposed."""
        self._known.add(recipe_id)

    def begin(self, name: str, candidate: Candidate) -> None:
        """The trial ``name`` begins; saying so again changes nothing."""
        if name in self._courses:
            return
        self.know(candidate.recipe.recipe_id)
        self._courses[name] = Course(int(name), candidate)
        self._started, self.next = self._started + 1, max(self.next, int(name) + 1)
        self._changed()

    def take_up(self, name: str, as_name: str) -> None:
        """The stopped trial ``name`` goes on as another one; saying so again changes nothing."""
        course = self._courses.get(name)
        if course is None or course.state != "stopped":
            return
        del self._courses[name]
        course.state, course.begun = "running", -1
        self._courses[as_name] = course
        self.next = max(self.next, int(as_name) + 1)
        self._changed()

    def report(self, name: str, result: Mapping[str, Any]) -> None:
        """The trial ``name`` reported; what it had reported before changes nothing."""
        course = self._courses.get(name)
        report = self._measure.report(result)
        if course is None or report is None or not course.hear(report):
            return
        if report.epoch == 0:
            self._untrained.append(report.worth)
        if report.epoch or course.candidate.knows:
            marks = {0, *(max(round(share * course.epochs), 1) for share in self._settings.kept)}
            course.marked += [len(course.reports) - 1] if report.epoch in marks else []
            self._heard += 1
            self._begin_fit()
        if self._settings.siblings and course.candidate.shared and report.epoch >= course.candidate.shared:
            self._parents.setdefault((course.number, SIBLINGS), course.candidate)
        self._changed()

    def end(self, name: str, state: str) -> None:
        """The trial ``name`` ended: ``finished``, ``pruned`` or ``failed``."""
        course = self._courses.get(name)
        if course is None or course.state != "running":
            return
        if state == "finished" and (not course.reports or course.epoch < course.epochs):
            state = "failed"  # it has no quality to learn from
        course.state = {"finished": "finished", "pruned": "stopped"}.get(state, "failed")  # type: ignore[assignment]
        if course.state == "finished":
            self._parents.setdefault((course.number, NEIGHBOURS), course.candidate)
        self._changed()

    def never_again(self, name: str) -> None:
        """The trial ``name``, which was pruned, is over the budget: it is not taken up.

        That says something of its costs, and nothing of what it could have learnt.
        """
        if (course := self._courses.get(name)) is not None:
            course.state = "over"
            self._changed()

    # What is decided.

    def choose(self, number: int) -> Choice:
        """What trial ``number`` is to be; asked again before anything has happened, the same.

        Raises:
            Unable: the model cannot be fitted, or every recipe that it knows of was tried.
        """
        if self._chosen_for is None or self._chosen_for[0] != number:
            self._chosen_for = number, self._choose(number)
        return self._chosen_for[1]

    def _choose(self, number: int) -> Choice:
        if self._started < self._designed or not self._heard:
            found = next((c for c in self._candidates.pool(number) if self._is_new(c)), None)
            if found is None:
                raise Unable("no recipe that was drawn is new")
            return Choice(found)
        view = self._seen()
        names, candidates = self._rivals(number)
        if not candidates:
            raise Unable("no recipe that was drawn is new")
        index = view.index(
            candidates, [self._courses.get(name) for name in names], view.front(self._running())
        )
        # What fits into the rest of the trainings is preferred, but not where it is hardly worth beginning: a
        # sweep does less than a training more in any case.
        fitting = self._fitting(view, names, candidates)
        best = int(np.argmax(index * np.where(fitting, 1.0, OVER)))
        return Choice(None, names[best]) if names[best] else Choice(candidates[best])

    def goes_on(self, name: str) -> str:
        """Why the trial ``name`` should end after what it reported last; empty if it should go on.

        Only what is hopeless ends, and nothing unless the settings say so.

        Args:
            name: of a trial that runs.

        Raises:
            Unable: the model cannot be fitted.
        """
        course = self._courses.get(name)
        if course is None or course.state != "running":
            return ""
        self._check_able()
        if not self._settings.stops or (self._last is not None and self.next >= self._last):
            return ""
        if course.epoch <= course.begun or course.epoch >= course.epochs:
            return ""
        if sum(each.state == "finished" for each in self._courses.values()) < self._settings.finished:
            return ""
        view = self._seen()
        front = view.front([each for each in self._running() if each is not course])
        names, candidates = self._rivals(self.next)
        if not candidates:
            return ""
        own = float(view.index([course.candidate], [course], front)[0])
        rivals = view.index(candidates, [self._courses.get(each) for each in names], front)
        rivals = rivals * self._fitting(view, names, candidates, 1 - course.epoch / course.epochs)
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
        self._litters()

    def _changed(self) -> None:
        self._view = self._chosen_for = None

    def _running(self) -> list[Course]:
        return [course for course in self._courses.values() if course.state == "running"]

    def _is_new(self, candidate: Candidate) -> bool:
        return candidate.recipe.recipe_id not in self._known

    def _rivals(self, number: int) -> tuple[list[str], list[Candidate]]:
        """What could begin as trial ``number``: new recipes, without a name, and stopped trials."""
        found = {c.recipe.recipe_id: c for c in self._candidates.pool(number) if self._is_new(c)}
        for litter in self._litters():
            found |= {c.recipe.recipe_id: c for c in litter.result() if self._is_new(c)}
        stopped = {name: self._courses[name].candidate for name in self._stopped()}
        return [*[""] * len(found), *stopped], [*found.values(), *stopped.values()]

    def _fitting(
        self, view: View, names: Sequence[str], candidates: Sequence[Candidate], more: float = 0.0
    ) -> NDArray[np.bool_]:
        """Which of them can train to their ends with the trainings that are left, and so many more."""
        if not self._means.counted:
            return np.ones(len(candidates), dtype=bool)
        return self._means.fitting(view.shares(candidates, [self._courses.get(name) for name in names]), more)

    def _stopped(self) -> list[str]:
        """Trials that may be taken up: of many those that few others beat in quality and cost."""
        found = {name: course for name, course in self._courses.items() if course.state == "stopped"}
        if len(found) <= STOPPED:
            return list(found)
        stood = [(-course.reports[-1].worth, *course.reports[-1].costs) for course in found.values()]
        rank = layers(np.nan_to_num(np.array(stood), nan=math.inf))
        order = sorted(zip(rank.tolist(), found, strict=True), key=lambda each: (each[0], -int(each[1])))
        return [name for _, name in order[:STOPPED]]

    def _litters(self) -> list[Future[list[Candidate]]]:
        """Siblings and neighbours of the trials that had some last."""
        for key in list(self._parents)[-LITTERS:]:
            if key not in self._offspring:
                number, how = key
                make = self._candidates.siblings if how == SIBLINGS else self._candidates.neighbours
                self._offspring[key] = self._thread.submit(make, self._parents[key], number)
        return [self._offspring[key] for key in list(self._parents)[-LITTERS:]]

    # The model.

    def _begin_fit(self) -> None:
        """Begin to fit the process where enough has been reported since the last time."""
        count = self._heard
        if count < max(self._settings.first, self._settings.growth * max(self._fits, default=0)):
            return
        before = self._fits[max(self._fits)] if self._fits else None
        rows, values = self._table(self._chosen(self._settings.fitted, seed_of(self._seed, count, 10)))
        groups = self._candidates.features.groups
        self._fits[count] = self._thread.submit(fitted_after, before, groups, rows, values, self._line())

    def _kernel(self) -> Kernel:
        """The kernel in force: a function of the number of reports that were heard."""
        count = self._heard
        ready = [at for at in self._fits if count >= at + math.floor(self._settings.lag * at)]
        if not ready:
            return Kernel.prior(self._candidates.features.groups)
        return self._fits[max(ready)].result()

    def _chosen(self, most: int, seed: int | None = None) -> list[tuple[Course, int]]:
        """Of all reports those that say most: the last two of a trial, and a few before.

        Where there are more than ``most``, a random choice of them or, without a seed, those next to the
        last of each trial, of trials that finished and that began late before others.
        """
        courses = [course for course in self._courses.values() if course.reports]
        many = sum(len(course.telling) for course in courses) > most
        if not many or seed is not None:
            courses.sort(key=lambda each: each.number)
            found = [(course, place) for course in courses for place in course.telling]
            if not many:
                return found
            chosen = np.random.default_rng(seed).choice(len(found), most, replace=False)
            return [found[int(k)] for k in sorted(chosen)]
        courses.sort(key=lambda each: (each.state != "finished", -each.number))
        found, back = [], 1
        while len(found) < most:  # there are more, so it ends
            for course in courses:
                place = len(course.reports) - back
                found += [(course, place)] if place in course.telling else []
            back += 1
        return found[:most]

    def _table(self, reports: Sequence[tuple[Course, int]]) -> tuple[Rows, Values]:
        courses = [course for course, _ in reports]
        found = [course.reports[place] for course, place in reports]
        moments = [course.candidate.moment(each.epoch) for course, each in zip(courses, found, strict=True)]
        rows = rows_of(
            courses,
            [course.candidate for course in courses],
            np.array(moments),
            self._candidates.points([c.candidate for c in courses]),
        )
        worths = np.array([each.worth for each in found])
        return rows, Values(scale(worths), np.zeros(len(worths)))

    def _seen(self) -> View:
        """What the model makes of the log as it is now.

        Raises:
            Unable: there is no scale, or no process.
        """
        if self._view is None:
            self._check_able()
            try:
                self._view = self._look()
            except NotFitted as error:
                raise Unable(str(error)) from error
        return self._view

    def _check_able(self) -> None:
        if reason := self._measure.able():
            raise Unable(reason)

    def _look(self) -> View:
        rows, values = self._table(self._chosen(self._settings.conditioned))
        rows, values = self._with_failures(rows, values)
        posterior = Posterior(self._kernel(), rows, values, self._line())
        courses = [course for course in self._courses.values() if course.reports]
        least = self._measure.least(np.array(self._untrained))
        return View(
            self._measure, self._candidates, posterior, courses, self._cached(), least, self._means.price()
        )

    def _line(self) -> Line:
        """What is expected of students before trials tell: from guessing to what their sizes promise."""
        guess = self._measure.guess(np.array(self._untrained))
        start, end = scale(np.array([guess, self._measure.known])).tolist()
        whole = measured(self._measure.yardstick.teacher, PACKED)
        return Line(start, end, math.nan if whole is None else doublings(whole))

    def _with_failures(self, rows: Rows, values: Values) -> tuple[Rows, Values]:
        """With trials that failed as if they had learnt nothing: else what diverges would be tried again."""
        failed = [course for course in self._courses.values() if course.state == "failed"][-40:]
        if not failed:
            return rows, values
        guess = self._measure.guess(np.array(self._untrained))
        ends = rows_of(
            failed,
            [c.candidate for c in failed],
            np.array([c.candidate.end for c in failed]),
            self._candidates.points([c.candidate for c in failed]),
        )
        guessed = np.full(len(failed), float(scale(np.array(guess))))
        return joined(rows, ends), Values(
            np.r_[values.qualities, guessed], np.r_[values.more, np.full(len(failed), self._settings.failed)]
        )

    def _cached(self) -> frozenset[str]:
        """First phases that were trained to their ends, so that others begin behind them."""
        return frozenset(
            course.candidate.prefix
            for course in self._courses.values()
            if course.candidate.prefix
            and course.state != "earlier"
            and course.epoch >= course.candidate.shared
        )
