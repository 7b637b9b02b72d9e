"""Recipes that may come next: drawn at random, beside good ones, and siblings of what has begun."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FixedTrial

from search.sampling.freezing.features import Features
from search.sampling.freezing.outline import Outline, outline_of
from search.sampling.freezing.regression import inputs_of
from search.sampling.places import at, place_of
from search.sampling.proposals import Draw
from search.sampling.samplers import seed_of
from trainables.recipe import Recipe

Prefix = Callable[[Recipe], tuple[str, int] | None]
"""A hash of all that the first phases of a recipe depend on, and how many epochs they last."""

POOL = 300
"""Recipes drawn at random that are looked at for one trial."""

FRESH = 12
"""Of them those that are looked at for the first time."""

SIBLINGS, NEIGHBOURS = 12, 12
"""Of one recipe, at most."""

SHAKEN = 0.15
"""Deviation of a neighbour's place in a number's range."""

TURNED = 0.1
"""Share of a neighbour's choices that are made anew."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A recipe with all that is known of it before it begins.

    Attributes:
        recipe: what it is.
        params: that the space asked for.
        distributions: that these were drawn from.
        outline: its size, by a rule of thumb.
        prefix: names the first phases that it may share with others; empty if it shares none.
        shared: how many epochs they last.
        longest: the most epochs that a recipe of its space has; 0 (default) if all have the same number.
    """

    recipe: Recipe
    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    outline: Outline
    prefix: str = ""
    shared: int = 0
    longest: int = 0

    @cached_property
    def epochs(self) -> int:
        """Of its training."""
        return self.recipe.epochs

    @cached_property
    def knows(self) -> bool:
        """Whether its student knows something before it trains, as one that begins with trained weights."""
        return not self.epochs or self.recipe.origin.parent is not None

    @cached_property
    def kin(self) -> int:
        """A number that recipes of the same first phases have in common; below 0 if it shares none."""
        return int(self.prefix[:12], 16) if self.prefix else -1

    @cached_property
    def turn(self) -> float:
        """The moment at which the shared first phases are over; infinite where nothing comes after them."""
        return self.moment(self.shared) if 0 < self.shared < self.epochs else math.inf

    def moment(self, epoch: int) -> float:
        """How far its training is, in [0, 1]: on a scale on which its first epochs are longer than its last.

        After the same shares of their trainings recipes are equally far, however many epochs they have.
        """
        if not self.epochs:
            return 1.0
        longest = self.longest or self.epochs
        return math.log1p(epoch * longest / self.epochs) / math.log1p(longest)


class Place(NamedTuple):
    """Where a recipe lies: for the process, and for what costs are told by."""

    point: NDArray[np.float64]
    inputs: NDArray[np.float64]


class Candidates:
    """Draws recipes of a space; what it draws is a function of its arguments and of those of the call.

    Args:
        space: draws a recipe.
        parameters: all that ``space`` may ask for.
        seed: of the sweep.
        prefix: tells what recipes share.
        longest: the most epochs that a recipe has; None (default) if all have the same number.
    """

    def __init__(
        self,
        space: Draw,
        parameters: Mapping[str, BaseDistribution],
        seed: int,
        prefix: Prefix,
        longest: int | None = None,
    ) -> None:
        self._longest = longest or 0
        self._space, self._parameters, self._seed, self._prefix = space, dict(parameters), seed, prefix
        self._drawn: dict[int, Candidate] = {}
        self._drawing = Lock()
        self._places: WeakKeyDictionary[Candidate, Place] = WeakKeyDictionary()
        self._free: dict[tuple[tuple[str, Any], ...], frozenset[str]] = {}

    @cached_property
    def features(self) -> Features:
        """Of the space."""
        first = self.pool(0)
        return Features.of(self._parameters, [c.params for c in first], [c.outline for c in first])

    def of(self, params: Mapping[str, Any]) -> Candidate:
        """The candidate that parameters stand for; there may be more of them than it has."""
        trial = FixedTrial(dict(params))
        return self.known(self._space(trial), trial.params, trial.distributions)

    def known(
        self, recipe: Recipe, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
    ) -> Candidate:
        """The candidate of a recipe."""
        prefix, shared = self._prefix(recipe) or ("", 0)
        return Candidate(
            recipe, dict(params), dict(distributions), outline_of(recipe), prefix, shared, self._longest
        )

    def place(self, candidate: Candidate) -> Place:
        """Where it lies."""
        found = self._places.get(candidate)
        if found is None:
            point = self.features.point(candidate.params, candidate.outline)
            found = self._places[candidate] = Place(point, inputs_of(point, candidate.outline))
        return found

    def points(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """Where they lie, shape (n, d)."""
        found = [self.place(candidate).point for candidate in candidates]
        return np.array(found).reshape(len(candidates), len(self.features.groups))

    def pool(self, number: int) -> list[Candidate]:
        """Recipes drawn at random that may become trial ``number``; most may become the next, too."""
        places = range(number * FRESH, number * FRESH + POOL)
        with self._drawing:  # ahead on a thread, and wherever they are needed
            for place in [place for place in self._drawn if place < places[0]]:
                del self._drawn[place]
            for place in places:
                if place not in self._drawn:
                    random = np.random.default_rng(seed_of(self._seed, place, 7))
                    self._drawn[place] = self.of(self._values(random))
            return [self._drawn[place] for place in places]

    def neighbours(self, candidate: Candidate, number: int) -> list[Candidate]:
        """Recipes a little beside one, whose trial has the ``number``."""
        random = np.random.default_rng(seed_of(self._seed, number, 8))
        found = [self.of(self._shaken(candidate.params, random)) for _ in range(NEIGHBOURS)]
        return _different(found, candidate)

    def siblings(self, candidate: Candidate, number: int) -> list[Candidate]:
        """Recipes that share the first phases of one, whose trial has the ``number``."""
        if not candidate.prefix:
            return []
        random = np.random.default_rng(seed_of(self._seed, number, 9))
        free = self._free_of(candidate)
        found = []
        for _ in range(SIBLINGS):
            kept = {name: value for name, value in candidate.params.items() if name not in free}
            choices = self._choices(candidate, free, random)
            made = self.of(self._values(random) | kept | choices)
            found += [made] if made.prefix == candidate.prefix else []
        return _different(found, candidate)

    def _values(self, random: np.random.Generator) -> dict[str, Any]:
        """A value of every parameter of the space."""
        shares = random.random(len(self._parameters)).tolist()
        return {
            name: at(each, share)
            for (name, each), share in zip(self._parameters.items(), shares, strict=True)
        }

    def _shaken(self, params: Mapping[str, Any], random: np.random.Generator) -> dict[str, Any]:
        found = self._values(random)
        for name, value in params.items():
            distribution = self._parameters[name]
            if isinstance(distribution, CategoricalDistribution):
                if random.random() >= TURNED:
                    found[name] = value
            elif random.random() < 0.5:
                found[name] = value
            else:
                place = place_of(distribution, value) + SHAKEN * random.standard_normal()
                found[name] = at(distribution, min(max(place, 0.0), 1 - 1e-9))
        return found

    def _choices(
        self, candidate: Candidate, free: frozenset[str], random: np.random.Generator
    ) -> dict[str, Any]:
        """Values of the choices that leave the first phases as they are."""
        found = {}
        for name in sorted(free):
            distribution = self._parameters[name]
            if isinstance(distribution, CategoricalDistribution):
                same = self._same_choices(candidate, name, distribution)
                found[name] = same[int(random.integers(len(same)))]
        return found

    def _free_of(self, candidate: Candidate) -> frozenset[str]:
        """The parameters on which the first phases of a recipe do not depend; as of all with its choices."""
        key = self._key(candidate)
        if key not in self._free:
            random = np.random.default_rng(0)
            found = set()
            for name in candidate.params:
                distribution = self._parameters[name]
                if isinstance(distribution, CategoricalDistribution):
                    free = len(self._same_choices(candidate, name, distribution)) > 1
                else:
                    other = self.of(
                        self._values(random)
                        | dict(candidate.params)
                        | {name: _other(distribution, candidate.params[name])}
                    )
                    free = other.prefix == candidate.prefix
                found |= {name} if free else set()
            self._free[key] = frozenset(found)
        return self._free[key]

    def _same_choices(
        self, candidate: Candidate, name: str, distribution: CategoricalDistribution
    ) -> list[Any]:
        """The values of a choice with which the first phases stay what they are."""
        key = (*self._key(candidate), ("", name))
        if key not in self._same:
            random = np.random.default_rng(0)
            values = self._values(random) | dict(candidate.params)
            self._same[key] = [
                choice
                for choice in distribution.choices
                if self.of(values | {name: choice}).prefix == candidate.prefix
            ]
        return self._same[key]

    @cached_property
    def _same(self) -> dict[tuple[tuple[str, Any], ...], list[Any]]:
        return {}

    def _key(self, candidate: Candidate) -> tuple[tuple[str, Any], ...]:
        return tuple(
            (name, value)
            for name, value in sorted(candidate.params.items())
            if isinstance(self._parameters[name], CategoricalDistribution)
        )


def _other(distribution: BaseDistribution, value: Any) -> Any:
    """Another value, far from the one given."""
    return at(distribution, 0.0 if place_of(distribution, value) >= 0.5 else 1 - 1e-9)


def _different(found: Sequence[Candidate], candidate: Candidate) -> list[Candidate]:
    """Each recipe once, without the one that they were made of."""
    by_id = {each.recipe.recipe_id: each for each in found}
    by_id.pop(candidate.recipe.recipe_id, None)
    return list(by_id.values())
