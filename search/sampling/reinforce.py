"""A policy that is rewarded for its students: REINFORCE over any space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.objectives.front import non_dominated
from search.sampling.places import at, bins_of, place_of

ENDS = (TrialState.COMPLETE, TrialState.PRUNED)
"""What a policy learns from. Failed trials tell nothing: what was drawn in vain is among them."""


@dataclass(frozen=True)
class Settings:
    """How a policy learns.

    Attributes:
        rate: by which a trial's advantage moves logits.
        memory: share that the moving baseline keeps of itself at each trial.
        floor: share of draws that are uniform, whatever was learned: a policy does not collapse.
        bins: that the range of a number is cut into, if it has more values.
        reach: by how many bins around a number's own its reward is felt, in standard deviations.
    """

    rate: float = 2.0
    memory: float = 0.8
    floor: float = 0.15
    bins: int = 8
    reach: float = 0.7


class Policy:
    """For each parameter the logits of its values or bins, learned from trials in their order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._logits: dict[tuple[str, int], NDArray[np.float64]] = {}
        self._baseline: float | None = None

    def probabilities(self, name: str, distribution: BaseDistribution) -> NDArray[np.float64]:
        """Of the values or bins of a parameter, adding up to 1; none is below its share of the floor."""
        logits = self._of(name, distribution)
        powers = np.exp(logits - logits.max())
        floor = self._settings.floor
        probabilities: NDArray[np.float64] = (1 - floor) * powers / powers.sum() + floor / len(logits)
        return probabilities

    def learn(self, trial: FrozenTrial, reward: float) -> None:
        """One step along the gradient of the expected reward, after the baseline is taken off."""
        if self._baseline is None:
            self._baseline = reward
        advantage = reward - self._baseline
        memory = self._settings.memory
        self._baseline = memory * self._baseline + (1 - memory) * reward
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            logits = self._of(name, distribution)
            powers = np.exp(logits - logits.max())
            drawn = self._felt(distribution, value, len(logits))
            logits += self._settings.rate * advantage * (drawn - powers / powers.sum())

    def _of(self, name: str, distribution: BaseDistribution) -> NDArray[np.float64]:
        count = bins_of(distribution, self._settings.bins)
        return self._logits.setdefault((name, count), np.zeros(count))

    def _felt(self, distribution: BaseDistribution, value: Any, count: int) -> NDArray[np.float64]:
        """What of a reward each bin feels: of a number, its neighbours too."""
        own = min(int(place_of(distribution, value) * count), count - 1)
        if isinstance(distribution, CategoricalDistribution):
            return np.eye(count)[own]
        felt = np.exp(-0.5 * ((np.arange(count) - own) / self._settings.reach) ** 2)
        shares: NDArray[np.float64] = felt / felt.sum()
        return shares


def rewards(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[float]:
    """What each of ``trials`` was worth beside all others, in [0, 1].

    A trial's reward is the share of the trials that it is better than, half of those as good: by layers of
    dominance, the front first. Trials that break a limit are behind those that keep all, by how much they
    break it; pruned ones are last.
    """
    layer = np.full(len(trials), np.inf)
    broken = np.array([sum(max(value, 0.0) for value in trial.constraints.values()) for trial in trials])
    told = np.array([trial.state == TrialState.COMPLETE for trial in trials], dtype=bool)
    maximise = tuple(direction == StudyDirection.MAXIMIZE for direction in directions)
    left = np.flatnonzero(told & (broken == 0))
    number = 0
    while len(left):
        front = non_dominated([trials[int(place)].values for place in left], maximise)
        # Equal students are as good as one another, though a front has only the first of them.
        best = {tuple(trials[int(place)].values) for place in left[front]}
        chosen = np.array([tuple(trials[int(place)].values) in best for place in left])
        layer[left[chosen]] = number
        left, number = left[~chosen], number + 1
    late = np.flatnonzero(told & (broken > 0))
    layer[late] = number + np.unique(broken[late], return_inverse=True)[1]
    better = (layer[:, None] < layer[None, :]).sum(1) + 0.5 * ((layer[:, None] == layer[None, :]).sum(1) - 1)
    return [float(each) for each in better / max(len(trials) - 1, 1)]


class ReinforceSampler(BaseSampler):
    """Draws from a policy that REINFORCE (Williams 1992) trains with a moving baseline.

    The policy is learned anew from the finished trials each time, so it is a function of them. Parameters are
    independent of one another; one that only some recipes have learns from the trials that have it. Numbers
    are drawn from bins of equal parts of their range, evenly inside of a bin. The reward is
    :func:`rewards`. Controllers of that kind found AJPQ's bits (Tang et al. 2020); theirs are recurrent
    networks, of which too little is published.

    Args:
        seed: of this draw alone.
        settings: how the policy learns.
    """

    def __init__(self, seed: int, settings: Settings = Settings()) -> None:
        self._random = np.random.default_rng(seed)
        self._settings = settings
        self._policy: Policy | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing is known of the space before its parameters are asked for."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing: see :meth:`sample_independent`."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A value of ``param_name`` as the policy has it."""
        if self._policy is None:
            self._policy = policy_of(study, self._settings)
        probabilities = self._policy.probabilities(param_name, param_distribution)
        drawn = int(self._random.choice(len(probabilities), p=probabilities))
        return at(param_distribution, (drawn + self._random.random()) / len(probabilities))


def policy_of(study: optuna.Study, settings: Settings) -> Policy:
    """What the finished trials of ``study`` teach, in their order."""
    trials = [trial for trial in study.get_trials(deepcopy=False, states=ENDS) if trial.params]
    policy = Policy(settings)
    for trial, reward in zip(trials, rewards(trials, study.directions), strict=True):
        policy.learn(trial, reward)
    return policy
