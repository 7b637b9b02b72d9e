"""The searcher's side of freeze-thaw search: proposals of its policy, and of TPE where it cannot decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.trial import TrialState

from search.sampling.freezing.candidates import Candidates
from search.sampling.freezing.policy import FreezeThaw, Unable
from search.sampling.proposals import RECIPE, Proposal, Proposals
from search.sampling.searcher import EARLIER
from trainables.recipe import Recipe


class Modelled:
    """Proposals of a policy; see :class:`search.sampling.proposals.Proposals`.

    Args:
        policy: that decides.
        otherwise: asks another sampler, where it cannot.
        say: hears why.
    """

    def __init__(self, policy: FreezeThaw, otherwise: Proposals, say: Callable[[str], None]) -> None:
        self._policy, self._otherwise, self._say = policy, otherwise, say

    def propose(self, number: int) -> Proposal | None:
        """See :class:`search.sampling.proposals.Proposals`."""
        try:
            found = self._policy.choose(number).candidate
        except Unable as error:
            self._say(f"TPE draws what comes next: {error}")
            return self._otherwise.propose(number)
        assert found is not None  # what continues a trial was asked for before
        proposal = Proposal(found.recipe, found.params, found.distributions)
        self._otherwise.add(proposal)
        return proposal

    def add(self, proposal: Proposal) -> None:
        """See :class:`search.sampling.proposals.Proposals`."""
        self._otherwise.add(proposal)

    def prepare(self, number: int) -> None:
        """See :class:`search.sampling.proposals.Proposals`."""
        self._policy.prepare(number)

    def ended(
        self, number: int, state: TrialState, values: Sequence[float] | None, constraints: Mapping[str, float]
    ) -> None:
        """See :class:`search.sampling.proposals.Proposals`."""
        self._otherwise.ended(number, state, values, constraints)

    def close(self) -> None:
        """See :class:`search.sampling.proposals.Proposals`."""
        self._otherwise.close()


class Once:
    """Says each sentence once.

    Args:
        say: what hears them.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._said = say, set[str]()

    def __call__(self, text: str) -> None:
        """Say it, unless it was said."""
        if text not in self._said:
            self._said.add(text)
            self._say(text)


class Beginnings:
    """Tells a policy what begins, from the study that has the parameters of all trials.

    Args:
        policy: that hears it.
        candidates: of its space.
        study: of the sweep.
    """

    def __init__(self, policy: FreezeThaw, candidates: Candidates, study: optuna.Study) -> None:
        self._policy, self._candidates, self._study = policy, candidates, study

    def begin(self, name: str, recipe: Recipe) -> None:
        """A trial begins; one of which no parameters are known is nothing to learn from."""
        kept = self._study.get_trials(deepcopy=False)
        if not name.isdecimal() or int(name) >= len(kept):
            return
        trial = kept[int(name)]
        if trial.params:
            self._policy.begin(name, self._candidates.known(recipe, trial.params, trial.distributions))

    def earlier(self) -> None:
        """What earlier sweeps finished, which the study began with; no recipe of the study is new."""
        for trial in self._study.get_trials(deepcopy=False):
            self._policy.know(trial.user_attrs[RECIPE])
            if EARLIER in trial.user_attrs and trial.state == TrialState.COMPLETE:
                self._policy.earlier(self._candidates.of(trial.params), list(trial.values))
