"""The space of compressed students: a method, and what its arguments' ranges say can be drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import Any, cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
)

from spaces.architectures import FAMILIES, LACKING, STARTS, TEACHER, Origins, resized, sizes_of
from spaces.arguments import Handle, Search, arguments_of, called_with, handles_in, handles_of, turned
from spaces.compute import epochs_for
from spaces.context import Context
from spaces.parameters import Choose, Parameter, drawn, preferring
from spaces.wishes import fixed_value, known_name, searched_range
from trainables.method_names import method_name
from trainables.methods import METHODS, PRUNING, Method, Setting
from trainables.origins import Slice
from trainables.pruners.base import Pruner
from trainables.recipe import Recipe
from trainables.tasks.base import TaughtTask

METHOD, START, PRUNE, WIDTH = "method", "start", "prune", "width"
PRUNER = "pruner"
"""The argument of a method that decides by itself what is pruned, and is given no pruner beside it."""
CHOICES: dict[str, tuple[Any, ...]] = {START: (*STARTS, *FAMILIES), PRUNE: (False, True)}
"""Parameters that are no numbers, beside the method."""
RATE = "learning_rate"
"""What narrow slices need more of."""


@dataclass(frozen=True)
class Space:
    """What a study searches; called with an Optuna trial and a :class:`Context`, it draws a recipe.

    It draws the ``method``; ``start``, where students may begin with the teacher's weights (Mishra & Marr
    2018, scheme C) or be a slice of it; what can be turned of its size; ``prune`` and, if so, what can be
    turned of the pruner, unless the method brings its own; and what the ranges of the method's arguments say.
    A method that its task refuses is left out, see :meth:`left_out`.

    The ``learning_rate`` of slices is that of the whole network: a slice has it divided by its width. So what
    is right for one width is about right for all (Yang et al. 2021, muP, where Adam's rate goes with one over
    the width), and a search need not find out for each. Narrower ones that train together with a slice have
    its rate.

    Attributes:
        methods: names of the methods to be searched; None (default) are all.
        without: names of methods to be left out.
        ranges: by the name of a handle, what is searched in place of its own range.
        fixed: by the name of a handle, or for ``prune`` and ``start``, a value in place of a search.
        starts: by the name of a handle, where the first trials have it; by default at the methods' defaults.
        also: parameters of further first trials, each beside the defaults of its ``method``.
    """

    methods: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    ranges: Mapping[str, Search] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    starts: Mapping[str, float] = field(default_factory=dict)
    also: tuple[Mapping[str, Any], ...] = ()
    _opened: dict[Context, Opened] = field(default_factory=dict, init=False, compare=False, repr=False)

    def opened(self, context: Context) -> Opened:
        """The space for one task.

        Raises:
            ValueError: the task refuses all methods, or a name or a range means nothing here.
        """
        if context not in self._opened:
            self._opened[context] = Opened(self, context)
        return self._opened[context]

    def __call__(self, trial: optuna.trial.BaseTrial, context: Context) -> Recipe:
        """Draw a recipe."""
        return self.opened(context).recipe(lambda parameter: drawn(trial, parameter))

    def parameters(self, context: Context) -> dict[str, BaseDistribution]:
        """Every parameter that a recipe of the space may have, by name; which it has, its method says."""
        return self.opened(context).parameters

    def left_out(self, context: Context) -> dict[str, str]:
        """The methods that the task refuses, by name, and why."""
        return self.opened(context).left_out

    def imitates(self, context: Context) -> bool:
        """Whether any of its recipes asks for the teacher's outputs."""
        return any(recipe.asks(context.teacher_id) for recipe in self.opened(context).defaults.values())

    def looks_at(self, context: Context) -> tuple[str, ...]:
        """The places in the teacher's network whose features its recipes' losses look at."""
        losses = [loss for recipe in self.opened(context).defaults.values() for loss in recipe.losses]
        return tuple(dict.fromkeys(place for loss in losses for place in loss.looks_at()))

    def taught(self, context: Context) -> tuple[TaughtTask, ...]:
        """The tasks of its recipes whose training data the teacher has to make."""
        tasks = dict.fromkeys(recipe.task for recipe in self.opened(context).defaults.values())
        return tuple(task for task in tasks if task != context.task and isinstance(task, TaughtTask))

    def starting_points(self, context: Context) -> list[dict[str, Any]]:
        """Methods' own defaults as parameters, and what the study adds: what a sweep tries first.

        Of chosen methods, each is tried; of all there are, the first of each idea: the search finds out about
        the others, rather than spend its beginning on one trial of everything.

        Students have the size that the study gives them. Where they may start from the teacher, those of
        methods that quantize do.
        """
        opened = self.opened(context)
        points = [opened.point(wanted)[0] for wanted in self._first_wishes(opened)]
        for wanted in self.also:
            if wanted[METHOD] in opened.methods:
                point, complete = opened.point(wanted)
                points += [point] if complete and point not in points else []
        return points

    def smallest(self, context: Context) -> tuple[Recipe, ...]:
        """The recipes one of which packs smallest: everything at the end at which files are smaller."""
        opened, found = self.opened(context), list[Recipe]()
        for start in opened.fresh:
            found += opened.different({START: start, PRUNE: True}, lambda each: each.end(smallest=True))
        return tuple(found)

    def largest(self, context: Context) -> tuple[Recipe, ...]:
        """The recipes one of which packs largest: all at the other end, and not quantized if possible."""
        opened, found = self.opened(context), list[Recipe]()
        for start in opened.starts:
            found += opened.different({START: start, PRUNE: False}, lambda each: each.end(smallest=False))
        return tuple(recipe for recipe in found if not recipe.quantizes) or tuple(found)

    def fastest(self, context: Context) -> tuple[Recipe, ...]:
        """The recipes one of which is fastest: the smallest network, for each way to compute its layers."""
        opened, found = self.opened(context), list[Recipe]()
        sizes = {handle.parameter for start in opened.fresh for handle in opened.sizes(start)}
        for start in opened.fresh:
            found += opened.different(
                {START: start, PRUNE: False},
                lambda each: each.end(smallest=True) if each.name in sizes else each.start,
            )
        ways: dict[Any, Recipe] = {}
        for recipe in found:
            ways.setdefault((recipe.origin, recipe.activations), recipe)
        return tuple(ways.values())

    def _first(self, opened: Opened) -> list[str]:
        """The methods that a sweep begins with, by name."""
        ideas = {method.idea: name for name, method in reversed(opened.methods.items())}
        return (
            list(opened.methods)
            if self.methods is not None
            else sorted(ideas.values(), key=list(opened.methods).index)
        )

    def _first_wishes(self, opened: Opened) -> list[dict[str, Any]]:
        """What a sweep begins with: each of the first methods, and each of several architectures."""
        names, fresh = self._first(opened), opened.fresh
        if len(fresh) == 1:
            return [{METHOD: name} for name in names]
        pairs = islice(zip(cycle(names), cycle(fresh), strict=False), max(len(names), len(fresh)))
        return [{METHOD: name, START: start} for name, start in pairs]

    def sizes(self, context: Context) -> dict[str, Search]:
        """From what to what the size of the first students is searched, by handle; equal ends where fixed."""
        opened = self.opened(context)
        return {handle.name: opened.ends(handle) for start in opened.fresh for handle in opened.sizes(start)}

    def handles(self, origins: Origins) -> dict[str, list[Handle]]:
        """Everything that can be turned, by name; one name may be that of several methods' handles."""
        found: dict[str, list[Handle]] = {}
        groups = [*(sizes_of(*each) for each in origins), handles_in("pruner", PRUNING)]
        groups += [handles_of(method) for method in self.chosen().values()]
        for handle in (handle for group in groups for handle in group):
            found.setdefault(handle.name, []).append(handle)
        return found

    def chosen(self) -> dict[str, Method[Any]]:
        """The methods to be searched, by name, in the order of the list of all."""
        wanted = set(map(method_name, METHODS if self.methods is None else self.methods))
        wanted -= set(map(method_name, self.without))
        return {method.name: method for method in METHODS.values() if method.name in wanted}

    def narrowed(
        self, origins: Origins, methods: Sequence[str], fixed: Sequence[str], ranges: Sequence[str]
    ) -> Space:
        """The space that a user asks for.

        Args:
            origins: of the students, whose sizes can be turned.
            methods: names of methods, short or whole; none are the study's own.
            fixed: such as ``bits=4``.
            ranges: such as ``bits=2:4``.

        Raises:
            ValueError: one sentence that says what is wrong and what there is.
        """
        space = self
        if methods:
            space = replace(self, methods=tuple(map(method_name, methods)), without=())
        handles = space.handles(origins)
        values = dict(fixed_value(text, handles, CHOICES) for text in fixed)
        searches = dict(searched_range(text, handles) for text in ranges)
        if both := values.keys() & searches.keys():
            raise ValueError(f"{min(both)} cannot be fixed and searched at once")
        kept = {name: value for name, value in space.fixed.items() if name not in searches}
        return replace(space, fixed={**kept, **values}, ranges={**space.ranges, **searches})


class Opened:
    """A space for one context.

    Attributes:
        methods: those that the task takes, by name.
        left_out: those that it refuses, and why.
        defaults: by method, the recipe with everything where the first trials have it.
        origins: how a student may come to be, by the value of ``start``.
        starts: what a student may begin with.
        parameters: everything that may be drawn.
    """

    def __init__(self, space: Space, context: Context) -> None:
        """See :meth:`Space.opened`."""
        self._space, self._context = space, context
        self.origins = dict(context.origins)
        known = replace(space, methods=None, without=()).handles(context.origins)
        for name in {*space.ranges, *space.fixed, *space.starts} - CHOICES.keys():
            known_name(name, known)
        self.starts = tuple(self.origins)
        if START in space.fixed:
            if space.fixed[START] not in self.starts:
                had = " or ".join(self.starts)
                raise ValueError(
                    f"start={space.fixed[START]} is none of this study's, whose students are {had}"
                )
            self.starts = (space.fixed[START],)
        self.parameters: dict[str, BaseDistribution] = {}
        self._numbers = {handle: self._parameter(handle) for handles in known.values() for handle in handles}
        self.methods = space.chosen()
        self.left_out: dict[str, str] = {}
        self._refused: dict[str, set[Any]] = {}
        self.defaults: dict[str, Recipe] = {}
        for name in list(self.methods):
            for start in self.fresh:
                try:
                    begun = preferring({METHOD: name, START: start}, lambda each: each.start)
                    self.defaults.setdefault(name, self.recipe(begun))
                except ValueError as error:
                    self.left_out.setdefault(name, str(error))
            if name not in self.defaults:
                del self.methods[name]
        self.left_out = {name: why for name, why in self.left_out.items() if name not in self.defaults}
        if not self.methods:
            raise ValueError(f"no method is left: {'; '.join(f'{k}: {v}' for k, v in self.left_out.items())}")
        for name in self.methods:
            for start in self.starts:
                try:
                    self.recipe(preferring({METHOD: name, START: start}, lambda each: each.start))
                except ValueError:  # the method takes the first start: what it refuses is this one
                    self._refused.setdefault(name, set()).add(start)
                self.recipe(preferring({METHOD: name, START: start, PRUNE: True}, self._add))

    def recipe(self, choose: Choose) -> Recipe:
        """The recipe whose parameters are chosen by ``choose``, which is asked of those that it has."""
        context = self._context
        method = self.methods[choose(self._choice(METHOD))]
        start = self._start(method.name, choose)
        sizes = self._turned(self.sizes(start), choose)
        pruning: dict[str, Any] = {}
        if PRUNER not in arguments_of(method) and self._chosen(PRUNE, choose):
            values = self._turned(handles_in("pruner", PRUNING), choose)
            pruning["pruner"] = cast(Pruner, turned(PRUNING, {each.field: value for each, value in values}))
        given = Setting(
            context.task,
            resized(self.origins[start], {each.field: value for each, value in sizes}),
            context.epochs,
            context.teacher_id,
            context.teacher_views,
            seed=context.seed,
            teacher_route=context.teacher_route,
            live_features=context.live_features,
            lacking_features=(*context.lacking_features, *LACKING.get(start, ())),
            exit_layers=context.exit_layers,
            **pruning,
        )
        values = self._turned(handles_of(method), choose)
        if isinstance(given.origin, Slice):
            width = given.origin.cut.width
            values = [
                (each, min(value / width, each.range.high) if each.name == RATE else value)
                for each, value in values
            ]
        return self._affordable(method, given, called_with(method, values))

    def _affordable(self, method: Method[Any], given: Setting, arguments: Mapping[str, Any]) -> Recipe:
        """The recipe of as many epochs as its student may have, or of the fewest more that its method takes.

        A method may give a slice new weights, which take all epochs.
        """
        recipe = method(given, **arguments)
        most, compute = given.epochs, self._context.compute
        if compute is None or recipe.origin.parent is None:
            return recipe
        for epochs in range(epochs_for(given.origin, given.task, most, compute), most):
            with suppress(ValueError):  # too few for the phases of the method, which takes them all
                return method(replace(given, epochs=epochs), **arguments)
        return recipe

    def point(self, wanted: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Parameters of a first trial, at the defaults of the wanted method where nothing else is wanted.

        Returns:
            The parameters, and whether all that was wanted is among them.
        """
        started = self.defaults[wanted[METHOD]].quantizes and TEACHER in self.starts
        start = TEACHER if started else self.starts[0]
        wanted = {START: start, **wanted} if len(self.starts) > 1 else wanted
        point: dict[str, Any] = {}

        def choose(parameter: Parameter) -> Any:
            value = wanted.get(parameter.name, parameter.start)
            point[parameter.name] = value if parameter.takes(value) else parameter.start
            return point[parameter.name]

        self.recipe(choose)
        return point, all(point.get(name) == value for name, value in wanted.items())

    def smaller(self, point: Mapping[str, Any], share: float) -> dict[str, Any]:
        """A first trial whose student has its size moved toward the smallest.

        Args:
            point: of :meth:`Space.starting_points`; the network as it is is the widest slice of it.
            share: of the way from the size that it has, in [0, 1].
        """
        start = point[START] if point.get(START) in self.fresh else self.starts[0]
        wanted = dict(point) | ({START: start} if len(self.starts) > 1 else {})
        whole = start != point.get(START, start) and self.origins[start].cuts
        for handle in self.sizes(start):
            parameter = self._numbers[handle]
            if parameter is not None:
                widest = whole and parameter.name == WIDTH
                own = parameter.end(smallest=False) if widest else point.get(parameter.name, parameter.start)
                wanted[parameter.name] = replace(parameter, start=own).toward_smallest(share)
        return self.point(wanted)[0]

    @property
    def fresh(self) -> tuple[str, ...]:
        """The starts whose sizes are searched: the first, and the architectures beside it."""
        return (self.starts[0], *(start for start in self.starts[1:] if start in FAMILIES))

    def sizes(self, start: str) -> tuple[Handle, ...]:
        """What can be turned of the size of students that begin so."""
        return sizes_of(start, self.origins[start])

    def ends(self, handle: Handle) -> Search:
        """From what to what a handle of an architecture is searched; equal ends where it is not."""
        own = self._space.fixed.get(handle.name, handle.default)
        search = self._space.ranges.get(handle.name, handle.range.search)
        return (own, own) if handle.name in self._space.fixed or search is None else search

    def different(self, given: Mapping[str, Any], choose: Choose) -> tuple[Recipe, ...]:
        """One recipe per method that packs differently from those before, chosen where nothing is given."""
        found: dict[Any, Recipe] = {}
        for name in self.methods:
            recipe = self.recipe(preferring({METHOD: name, **given}, choose))
            found.setdefault((recipe.origin, recipe.quantizer, recipe.activations, recipe.pruner), recipe)
        return tuple(found.values())

    def _chosen(self, name: str, choose: Choose) -> Any:
        """The value of a parameter that is no number."""
        if name in self._space.fixed:
            return self._space.fixed[name]
        parameter = self._choice(name)
        return parameter.start if name == START and len(self.starts) == 1 else choose(parameter)

    def _start(self, method: str, choose: Choose) -> Any:
        """What the student begins with; the first that the method takes, where it refuses what was chosen."""
        refused = self._refused.get(method, set())
        taken = [start for start in self.starts if start not in refused]
        chosen = self._chosen(START, choose)
        return chosen if chosen in taken else taken[0]

    def _choice(self, name: str) -> Parameter:
        choices = {METHOD: tuple(self.methods), START: self.starts}.get(name, CHOICES.get(name, ()))
        return Parameter(name, CategoricalDistribution(choices), choices[0])

    def _turned(self, handles: Iterable[Handle], choose: Choose) -> list[tuple[Handle, Any]]:
        """The handles that are fixed or searched, and their values."""
        found = []
        for handle in handles:
            parameter = self._numbers[handle]
            if handle.name in self._space.fixed:
                found.append((handle, self._space.fixed[handle.name]))
            elif parameter is not None:
                found.append((handle, handle.value(choose(parameter))))
        return found

    def _parameter(self, handle: Handle) -> Parameter | None:
        """How a handle is searched; None where it is not."""
        search = self._space.ranges.get(handle.name, handle.range.search)
        if search is None:
            return None
        handle.range.check_search(handle.name, search)
        start = handle.within(self._space.starts.get(handle.name, handle.default), search)
        distribution = handle.distribution(search)
        return Parameter(handle.parameter, distribution, handle.drawn(start), handle.range.smaller)

    def _add(self, parameter: Parameter) -> Any:
        """Take a parameter into :attr:`parameters`; its value is where the first trials have it."""
        known = self.parameters.setdefault(parameter.name, parameter.distribution)
        if known != parameter.distribution:
            raise ValueError(
                f"{parameter.name} is searched in two ways, {known} and {parameter.distribution}"
            )
        return parameter.start
