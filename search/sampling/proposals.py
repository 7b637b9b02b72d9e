"""What the next trial is to be: asked at once in a copy of the study in memory, or ahead on a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from search.sampling.samplers import CONTINUES, Sampler, as_complete, attempts
from trainables.recipe import Recipe

Draw = Callable[[optuna.trial.BaseTrial], Recipe]
"""A space: a recipe from the parameters that it asks a trial for."""

RECIPE = "recipe_id"
"""User attribute of every trial."""


class NothingNew(Exception):
    """Every recipe that was drawn is one that the study has: the space has no other, or hardly one."""


@dataclass(frozen=True)
class Proposal:
    """A trial to be, whole: what the journal holds of it before it runs.

    Attributes:
        recipe: what it trains.
        params: its parameters.
        distributions: what they were drawn from.
        system_attrs: what the sampler wants to be remembered of it, such as its generation.
        continues: name of the pruned trial that it takes up again; empty for a trial from its beginning.
    """

    recipe: Recipe
    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    system_attrs: Mapping[str, Any] = field(default_factory=dict)
    continues: str = ""

    def trial(self, state: TrialState) -> FrozenTrial:
        """As a trial of Optuna's, to be added to a study."""
        return create_trial(
            state=state,
            params=dict(self.params),
            distributions=dict(self.distributions),
            system_attrs=dict(self.system_attrs),
            user_attrs={RECIPE: self.recipe.recipe_id}
            | ({CONTINUES: self.continues} if self.continues else {}),
        )


class Proposals(Protocol):
    """Draws trials of recipes that the study does not have yet, and hears of all others of the study.

    The same recipe would train to the same student again, however it ended: finished, pruned or failed.
    """

    def propose(self, number: int) -> Proposal | None:
        """Trial ``number``, or None if it is not ready yet.

        Raises:
            NothingNew: no recipe is left to propose.
        """
        ...

    def add(self, proposal: Proposal) -> None:
        """The next trial was not drawn here: it is a starting point, or continues a trial."""
        ...

    def prepare(self, number: int) -> None:
        """Trial ``number`` is the next that will be asked for, while those before it run."""
        ...

    def ended(
        self, number: int, state: TrialState, values: Sequence[float] | None, constraints: Mapping[str, float]
    ) -> None:
        """Trial ``number`` was told."""
        ...

    def close(self) -> None:
        """Nothing more will be asked."""
        ...


class AtOnce:
    """Asks the sampler in a copy of the study in memory.

    Optuna's own way, asking in the journal, writes a line for each parameter, each made durable, and reads
    the journal before each: 30 ms of the 60 ms of a TPE suggestion at 100 trials.

    Args:
        study: to be copied; only read, now.
        sampler: how to draw.
        seed: of the sweep.
        parameters: all that ``space`` may ask for.
        space: draws a recipe.
    """

    def __init__(
        self,
        study: optuna.Study,
        sampler: Sampler,
        seed: int,
        parameters: Mapping[str, BaseDistribution],
        space: Draw,
    ) -> None:
        self._sampler, self._seed, self._parameters, self._space = sampler, seed, dict(parameters), space
        self._copy = optuna.create_study(directions=study.directions)
        kept = study.get_trials(deepcopy=False)
        self._copy.add_trials(kept)
        self._known = recipe_ids(kept)
        # What was drawn in vain stays in the copy, failed, which no sampler looks at.
        self._places = list(range(len(kept)))

    def propose(self, number: int) -> Proposal:
        """See :class:`Proposals`."""
        for asked in attempts(self._sampler, self._seed, number):
            self._copy.sampler = asked
            trial = self._copy.ask(self._parameters if self._sampler.whole else None)
            recipe = self._space(trial)
            if recipe.recipe_id not in self._known:
                self._known.add(recipe.recipe_id)
                self._places.append(trial.number)
                kept = self._kept(number)
                return Proposal(recipe, kept.params, kept.distributions, kept.system_attrs)
            self._copy.tell(trial, state=TrialState.FAIL)
        raise NothingNew

    def add(self, proposal: Proposal) -> None:
        """See :class:`Proposals`."""
        self._known.add(proposal.recipe.recipe_id)
        self._places.append(len(self._copy.get_trials(deepcopy=False)))
        self._copy.add_trial(proposal.trial(TrialState.RUNNING))

    def prepare(self, number: int) -> None:
        """See :class:`Proposals`."""

    def ended(
        self, number: int, state: TrialState, values: Sequence[float] | None, constraints: Mapping[str, float]
    ) -> None:
        """See :class:`Proposals`."""
        trial = optuna.trial.Trial(self._copy, self._kept(number)._trial_id)
        for name, value in constraints.items():
            trial.set_constraint(name, value)
        self._copy.tell(trial, values, state)

    def close(self) -> None:
        """See :class:`Proposals`."""

    def _kept(self, number: int) -> FrozenTrial:
        return self._copy.get_trials(deepcopy=False)[self._places[number]]


class Ahead:
    """Asks the sampler on a thread, as soon as the trial before has started, about the trials of then.

    Arguments as for :class:`AtOnce`; the ``study`` is read again for each trial.
    """

    def __init__(
        self,
        study: optuna.Study,
        sampler: Sampler,
        seed: int,
        parameters: Mapping[str, BaseDistribution],
        space: Draw,
    ) -> None:
        self._study, self._space = study, space
        self._sampler, self._seed, self._parameters = sampler, seed, dict(parameters)
        self._thread = ThreadPoolExecutor(1, "sampler")
        self._next: tuple[int, Future[Proposal]] | None = None

    def propose(self, number: int) -> Proposal | None:
        """See :class:`Proposals`. An error on the thread is raised here."""
        if self._next is None or self._next[0] != number:
            self.prepare(number)
        assert self._next is not None
        return self._next[1].result() if self._next[1].done() else None

    def add(self, proposal: Proposal) -> None:
        """See :class:`Proposals`."""

    def prepare(self, number: int) -> None:
        """See :class:`Proposals`."""
        trials = self._study.get_trials(deepcopy=False)
        self._next = (number, self._thread.submit(self._draw, number, trials))

    def ended(
        self, number: int, state: TrialState, values: Sequence[float] | None, constraints: Mapping[str, float]
    ) -> None:
        """See :class:`Proposals`."""

    def close(self) -> None:
        """See :class:`Proposals`. What is being computed is computed in vain; the thread ends with it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _draw(self, number: int, trials: Sequence[FrozenTrial]) -> Proposal:
        copy = optuna.create_study(directions=self._study.directions)
        copy.add_trials(as_complete(trials, copy.directions, self._parameters))
        known = recipe_ids(trials)
        for asked in attempts(self._sampler, self._seed, number):
            copy.sampler = asked
            trial = copy.ask(self._parameters)
            drawn = FixedTrial(trial.params)
            recipe = self._space(drawn)
            if recipe.recipe_id not in known:
                # Of the parameters only those that the recipe has: the others are no fact about it.
                return Proposal(recipe, drawn.params, drawn.distributions)
            copy.tell(trial, state=TrialState.FAIL)
        raise NothingNew


def recipe_ids(trials: Iterable[FrozenTrial]) -> set[str]:
    """The recipes of ``trials``."""
    return {trial.user_attrs[RECIPE] for trial in trials}
