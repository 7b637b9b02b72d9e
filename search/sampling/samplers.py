"""How the next trial's parameters are drawn: Optuna's samplers, and a Sobol sequence, by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc

from search.sampling.names import DEFAULT, POPULATION, check_name
from search.sampling.places import at
from search.sampling.reinforce import ReinforceSampler

CHILDREN = 16
"""Of NSGA-II's, that are tried for one trial: parents that are alike have few that are new."""

SEEN_VALUES = "seen_values"
"""User attribute of a pruned trial: its objectives as they were seen last."""

CONTINUES = "continues"
"""User attribute of a trial that takes a pruned one up again: its name."""

DIMENSIONS = 64
"""Of the Sobol sequence: no fewer than a space has parameters. The scrambling depends on their number."""


@dataclass(frozen=True)
class Sampler:
    """A way to draw parameters.

    Attributes:
        name: what the user types; :mod:`search.sampling.names` lists them all.
        make: a fresh sampler of trial ``number`` (0, 1, ...) in a sweep of ``seed``, for one ``attempt`` (0,
            1, ...) at it: what it draws is a function of these three and of the trials it sees, so that a
            resumed sweep draws as one that was never interrupted.
        attempts: how often it is asked for a recipe that the sweep does not have yet, at least 1.
        whole: whether each trial has a value of every parameter of the space, used or not. Samplers that
            draw all parameters at once need that; the others draw those that the recipe asks for.
        ahead: whether it takes seconds, so that the next trial is drawn while others run. It then sees a
            copy of the trials (:func:`as_complete`).
        given: system attributes with which it counts trials that it did not draw: starting points, and
            those of earlier sweeps.
        models: whether a model of all trials' courses decides what is tried
            (:mod:`search.sampling.freezing`), and the sampler stands in where that cannot.
    """

    name: str
    make: Callable[[int, int, int], BaseSampler]
    attempts: int = 4
    whole: bool = False
    ahead: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)
    models: bool = False


RANDOM_ATTEMPTS = 64
"""Draws at random, where all of a sampler's were known: one recipe in twenty is left, and they find it with a
probability of 0.96."""


def name_of(number: int) -> str:
    """The name of trial ``number`` in store, records and logs: five digits."""
    return f"{number:05d}"


def seed_of(seed: int, number: int, attempt: int) -> int:
    """A seed in [0, 2**32) of one attempt at trial ``number`` of a sweep of ``seed``.

    Those of neighbours have nothing in common.
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {number} {attempt}".encode()).digest()[:4], "big")


def attempts(sampler: Sampler, seed: int, number: int) -> Iterator[BaseSampler]:
    """Whom to ask for trial ``number``, one after the other, until one draws a recipe that is new.

    First ``sampler``, which on a space of few recipes may insist on one, then random draws.
    """
    for attempt in range(sampler.attempts):
        yield sampler.make(seed, number, attempt)
    for attempt in range(RANDOM_ATTEMPTS):
        yield RandomSampler(seed=seed_of(seed, number, sampler.attempts + attempt))


class SobolSampler(BaseSampler):
    """Point ``number`` of the scrambled Sobol sequence over the whole space (Sobol 1967, Owen 1998).

    Optuna's ``QMCSampler`` takes the parameters of the first finished trial for the space, which here are
    those of one method, and draws the others at random.
    """

    def __init__(self, seed: int, number: int) -> None:
        self._seed = seed
        self._number = number

    @cached_property
    def _point(self) -> list[float]:
        engine = qmc.Sobol(DIMENSIONS, scramble=True, rng=self._seed)
        if self._number:
            engine.fast_forward(self._number)
        point: list[float] = engine.random(1)[0].tolist()
        return point

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
        """The coordinate of ``param_name``; parameters are numbered as they are first asked for."""
        return at(param_distribution, self._point[len(trial.params)])


class GeneticSampler(NSGAIISampler):
    """NSGA-II (Deb et al. 2002), whose children do not depend on when a process was started.

    Optuna's gives the parents to the first child of a generation by rank, and to the others, for which it
    has kept who they are, by age.
    """

    @classmethod
    def of(cls, seed: int, number: int, attempt: int) -> GeneticSampler:
        """A child that is known mutates the more, the more often it was, at last in every parameter."""
        mutation = attempt / (CHILDREN - 1) if attempt else None  # None: one in the number of parameters
        return cls(seed=seed_of(seed, number, attempt), population_size=POPULATION, mutation_prob=mutation)

    def select_parent(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The parents of ``generation``, by age."""
        return sorted(super().select_parent(study, generation), key=lambda trial: trial.number)


TPE = Sampler(
    DEFAULT,
    lambda seed, number, attempt: TPESampler(seed=seed_of(seed, number, attempt)),
)

SAMPLERS: tuple[Sampler, ...] = (
    TPE,
    Sampler("freeze-thaw", TPE.make, models=True),
    Sampler(
        "gp",
        lambda seed, number, attempt: GPSampler(seed=seed_of(seed, number, attempt)),
        attempts=3,
        whole=True,
        ahead=True,
    ),
    Sampler(
        "nsga2",
        GeneticSampler.of,
        attempts=CHILDREN,
        whole=True,
        given={"GeneticSampler:generation": 0},  # the first generation is whoever is there
    ),
    Sampler(
        "random",
        lambda seed, number, attempt: RandomSampler(seed=seed_of(seed, number, attempt)),
    ),
    Sampler(
        "qmc",
        lambda seed, number, attempt: SobolSampler(seed_of(seed, 0, attempt), number),
        whole=True,
    ),
    Sampler(
        "reinforce",
        lambda seed, number, attempt: ReinforceSampler(seed_of(seed, number, attempt)),
    ),
)


def find_sampler(name: str) -> Sampler:
    """The sampler called ``name``.

    Raises:
        Problem: there is none.
    """
    check_name(name)
    return next(sampler for sampler in SAMPLERS if sampler.name == name)


def middle(parameters: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """The value in the middle of each parameter: what stands where a recipe has no such parameter."""
    return {name: at(distribution, 0.5) for name, distribution in parameters.items()}


def as_complete(
    trials: Sequence[FrozenTrial],
    directions: Sequence[optuna.study.StudyDirection],
    parameters: Mapping[str, BaseDistribution],
) -> list[FrozenTrial]:
    """``trials`` as a Gaussian process can learn from them: all parameters, all values, two states.

    A parameter that a trial does not use stands in the middle, so that equal recipes are equal points (the
    imputation of Levesque et al. 2017, "Bayesian optimization for conditional hyperparameter spaces"). A
    pruned trial counts with what was seen of it: a student of that size and quality was there. A failed one
    counts with the worst that was seen of each objective, or the maximum of what is expected would stay
    where training diverges. Only trials that run stay open. What another trial continues is left out.

    Args:
        trials: of the sweep, in any state. Pruned ones hold what was seen under :data:`SEEN_VALUES`.
        directions: of the objectives.
        parameters: the whole space.
    """
    continued = {trial.user_attrs.get(CONTINUES) for trial in trials}
    trials = [trial for trial in trials if name_of(trial.number) not in continued]
    trials = [trial for trial in trials if trial.params or not parameters]
    seen = {trial.number: _values(trial) for trial in trials}
    known = [values for values in seen.values() if values is not None]
    worst = [
        (min if direction == optuna.study.StudyDirection.MAXIMIZE else max)(column)
        for direction, column in zip(directions, zip(*known, strict=True), strict=bool(known))
    ]
    names = {name for trial in trials for name in trial.constraints}
    violated = {name: max(trial.constraints.get(name, 0.0) for trial in trials) for name in names}
    found = []
    for trial in trials:
        running = trial.state in (TrialState.RUNNING, TrialState.WAITING)
        values = seen[trial.number]
        if not running and values is None and not known:
            continue
        point = {name: trial.params.get(name, value) for name, value in middle(parameters).items()}
        found.append(
            optuna.trial.create_trial(
                state=TrialState.RUNNING if running else TrialState.COMPLETE,
                params=point,
                distributions=dict(parameters),
                values=None if running else values or worst,
                # The constraints of all or of none, as Optuna's sampler has it.
                constraints=None if running else {**violated, **trial.constraints},
            )
        )
    return found


def _values(trial: FrozenTrial) -> list[float] | None:
    if trial.state == TrialState.COMPLETE:
        return list(trial.values)
    return trial.user_attrs.get(SEEN_VALUES) if trial.state == TrialState.PRUNED else None
