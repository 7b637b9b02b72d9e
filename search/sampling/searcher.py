"""Optuna behind Ray Tune, by ask and tell, with true trial states."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, FrozenTrial, TrialState
from ray.tune.search import Searcher

from search.sampling.proposals import Ahead, AtOnce, Draw, NothingNew, Proposal, Proposals
from search.sampling.samplers import CONTINUES, SEEN_VALUES, TPE, Sampler, middle, name_of
from trainables.recipe import Recipe, canonical_json

Objectives = Callable[[Mapping[str, Any]], list[float]]
"""A trial's last result -> objective values, in the order of the study's directions."""

EARLIER = "copied_from"
"""User attribute of a trial that an earlier sweep ran, ``<sweep>/<trial>``: this one learns from it."""

SEEN = "seen"
"""User attribute of a pruned trial: the numbers it reported last."""

STATES = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
"""How a trial ended, of those ends that tell something of its recipe."""


class Revisits(Protocol):
    """Knows which trials were ended too early."""

    def promising(self) -> str | None:
        """The name of a pruned trial that should go on, before another is drawn; None if there is none."""
        ...

    def begin(self, name: str, recipe: Recipe) -> None:
        """The trial ``name`` begins. It may be told so more than once."""
        ...

    def take_up(self, name: str, as_name: str) -> None:
        """The pruned trial ``name`` goes on as another one. It may be told so more than once."""
        ...


class Never:
    """What was ended stays so."""

    def promising(self) -> str | None:
        """See :class:`Revisits`."""
        return None

    def begin(self, name: str, recipe: Recipe) -> None:
        """See :class:`Revisits`."""

    def take_up(self, name: str, as_name: str) -> None:
        """See :class:`Revisits`."""


NEVER = Never()


@dataclass(frozen=True)
class Ending:
    """How a trial ended, in Optuna's words.

    Attributes:
        state: COMPLETE with finite values; PRUNED; else FAIL.
        values: of the objectives; not all finite unless it is COMPLETE.
        constraints: by name, at most 0 where they hold.
        attributes: user attributes: of a pruned trial, what was seen last.
    """

    state: TrialState
    values: list[float]
    constraints: dict[str, float]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Judge:
    """What Optuna is told of a trial's last result.

    Attributes:
        objectives: values of the result; NaN where it has none.
        constraints: of the result, by name; at most 0 where they hold.
    """

    objectives: Objectives
    constraints: Callable[[Mapping[str, Any]], Mapping[str, float]] = lambda result: {}

    def ending(self, last: Mapping[str, Any], error: bool = False) -> Ending:
        """The end of a trial, by the ``state`` of its ``last`` result; ``error``: its process died."""
        state = TrialState.FAIL if error else STATES.get(last.get("state", ""), TrialState.FAIL)
        values = self.objectives(last) if state != TrialState.FAIL else []
        measured = bool(values) and all(map(math.isfinite, values))
        if state == TrialState.COMPLETE and not measured:
            state = TrialState.FAIL
        constraints = {} if state == TrialState.FAIL else dict(self.constraints(last))
        attributes: dict[str, Any] = {}
        if state == TrialState.PRUNED:
            attributes[SEEN] = {key: value for key, value in last.items() if _is_number(value)}
            if measured:
                attributes[SEEN_VALUES] = values
        return Ending(state, values, constraints, attributes)


class OptunaSearcher(Searcher):
    """Suggests recipes from a define-by-run space and tells Optuna how they ended.

    Ray's own ``OptunaSearch`` is not used; docs/decisions/0001 says why. Optuna's journal is the only
    memory: a trial gets into it whole, by one line, before it is handed out. Over a study that has trials
    already, those that are open are handed out again first, under their names; then new ones, as if nothing
    had happened in between, since what is drawn for a trial is a function of the seed, its number and the
    trials that the journal has (docs/decisions/0011). No recipe is drawn twice.

    Attributes:
        exhausted: whether the space had no recipe left before all trials were handed out.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Draw,
        judge: Judge,
        *,
        trials: int,
        parameters: Mapping[str, BaseDistribution],
        seed: int = 0,
        sampler: Sampler = TPE,
        starting_points: Sequence[Mapping[str, Any]] = (),
        revisits: Revisits = NEVER,
        used_up: Callable[[], bool] = lambda: False,
        recipes: Mapping[str, Recipe] | None = None,
        model: Callable[[Proposals], Proposals] | None = None,
    ) -> None:
        """Search ``space``.

        Args:
            study: where trials are written down.
            space: draws a recipe.
            judge: what Optuna is told of a trial's last result.
            trials: how many this sweep runs, those that the study has of it already included.
            parameters: all that ``space`` may ask for.
            seed: of the sampler.
            sampler: how to draw.
            starting_points: parameters of the first trials.
            revisits: which pruned trials to take up again, after the starting points. Each is a trial of its
                own, of the same recipe, and counts as one.
            used_up: whether no trial may begin as long as none that runs ends early; default never.
            recipes: of trials that were started before, by name, as the sweep's log has them.
            model: what proposes in the sampler's place, given the sampler's proposals for where it cannot.
        """
        super().__init__()
        study.sampler = optuna.samplers.RandomSampler()  # it draws nothing: trials come with all parameters
        if any(trial.state == TrialState.WAITING for trial in study.get_trials(deepcopy=False)):
            study.ask()  # written down and not yet open, when the driver died
        kept = study.get_trials(deepcopy=False)
        self._study = study
        self._space = space
        self._judge = judge
        self._recipes = dict(recipes or {})
        self._revisits = revisits
        self._used_up = used_up
        self._parameters = dict(parameters)
        self._sampler = sampler
        self._starting_points = [dict(point) for point in starting_points]
        self._earlier = sum(EARLIER in trial.user_attrs for trial in kept)
        self._number = len(kept)
        self._end = self._earlier + trials
        self._again = deque(trial for trial in kept if trial.state == TrialState.RUNNING)
        self._open: dict[str, int] = {}
        self.exhausted = False
        ask = Ahead if sampler.ahead else AtOnce
        self._proposals: Proposals = ask(study, sampler, seed, parameters, space)
        if model is not None:
            self._proposals = model(self._proposals)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is text
        """A config: ``recipe``, canonical JSON, and ``trial``, which names the trial in store and records.

        One that takes a pruned trial up again has that one's name under ``continues``.

        None while the sampler is at work, or while those that run may leave something for another trial.
        ``Searcher.FINISHED`` after the last trial, and as soon as there is no recipe left that the study does
        not have.
        """
        if self._again:
            kept = self._again.popleft()
            number, recipe = kept.number, self._recipe(kept)
            continues = kept.user_attrs.get(CONTINUES, "")
        else:
            used_up = self._used_up()
            if used_up and self._open:
                return None
            if used_up or self._number >= self._end or self.exhausted:
                self._proposals.close()
                return str(Searcher.FINISHED)
            try:
                proposal = self._proposal()
            except NothingNew:
                self.exhausted = True
                self._proposals.close()
                return str(Searcher.FINISHED)
            if proposal is None:
                return None
            self._study.add_trial(proposal.trial(TrialState.WAITING))
            self._study.ask()  # takes the one that waits
            number, recipe, continues = self._number, proposal.recipe, proposal.continues
            self._number += 1
        if not self._again and self._starting_point() is None and self._number < self._end:
            self._proposals.prepare(self._number)
        self._open[trial_id] = number
        config = {"recipe": canonical_json(recipe), "trial": name_of(number)}
        if not continues:
            self._revisits.begin(config["trial"], recipe)
            return config
        self._revisits.take_up(continues, config["trial"])
        return {**config, CONTINUES: continues}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Values of several objectives have no intermediate form in Optuna."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna the end by the result's ``state``. Telling twice changes nothing.

        COMPLETE if it is ``finished`` with finite values; PRUNED if it is ``pruned``, with what was seen last
        as user attributes (``seen``, and ``seen_values`` where each objective was); else FAIL. One that is
        ``running`` was ended from outside: it stays open, to be handed out again.
        """
        last = result or {}
        if (last.get("state") == "running" and not error) or trial_id not in self._open:
            return
        number = self._open.pop(trial_id)
        ending = self._judge.ending(last, error)
        kept = self._study.get_trials(deepcopy=False)[number]
        lost = not kept.params and bool(self._parameters)  # there is nothing to learn from it
        state = TrialState.FAIL if lost else ending.state
        trial = optuna.trial.Trial(self._study, kept._trial_id)
        for name, value in ending.constraints.items():
            if name not in kept.constraints:  # there already, if the driver died in the middle of this
                trial.set_constraint(name, value)
        for name, value in ending.attributes.items():
            trial.set_user_attr(name, value)
        told = ending.values if state == TrialState.COMPLETE else None
        self._study.tell(trial, told, state)
        self._proposals.ended(number, state, told, ending.constraints)

    def save(self, checkpoint_path: str) -> None:
        """Optuna's journal holds the state; write down which study it is."""
        Path(checkpoint_path).write_text(json.dumps({"study": self._study.study_name}))

    def _proposal(self) -> Proposal | None:
        point = self._starting_point()
        if point is None:
            name = self._revisits.promising()
            return self._proposals.propose(self._number) if name is None else self._continued(name)
        trial = FixedTrial(dict(point))
        recipe = self._space(trial)
        proposal = Proposal(recipe, trial.params, trial.distributions)
        if self._sampler.whole and not self._sampler.ahead:
            params = middle(self._parameters) | trial.params
            proposal = Proposal(recipe, params, self._parameters, self._sampler.given)
        self._proposals.add(proposal)
        return proposal

    def _continued(self, name: str) -> Proposal:
        kept = self._study.get_trials(deepcopy=False)[int(name)]
        recipe = self._recipe(kept)
        proposal = Proposal(recipe, kept.params, kept.distributions, continues=name)
        self._proposals.add(proposal)
        return proposal

    def _recipe(self, kept: FrozenTrial) -> Recipe:
        """What a trial trains: as it began, else what its parameters mean."""
        begun = self._recipes.get(name_of(kept.number))
        return self._space(FixedTrial(kept.params)) if begun is None else begun

    def _starting_point(self) -> Mapping[str, Any] | None:
        """Parameters of the next trial, if they are given."""
        own = self._number - self._earlier
        return self._starting_points[own] if own < len(self._starting_points) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
