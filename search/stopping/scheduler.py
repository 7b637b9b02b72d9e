"""Ray Tune's side of ending trials early: :mod:`search.stopping.halving` decides."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.objectives.costs import doublings
from search.stopping.halving import ParetoHalving, Rules
from search.tracking.trained import Ledger
from trainables.metrics import Quality
from trainables.recipe import Recipe, recipe_from_dict


class ParetoScheduler(FIFOScheduler):
    """Ends trials that are over budget before they train, and those without a prospect of the front.

    A trial that it ends has the state ``pruned`` and a ``reason`` in its last result; searcher and tracker
    read it there. What it knows are the results it was told, by the trials' names, so that a sweep that goes
    on tells them again with :meth:`learn`.

    Args:
        quality: what selects students.
        costs: names of what is minimised beside it, such as ``packed_bytes``.
        rules: how strict to be; None ends trials for their budget alone.
        over_budget: why a student of a recipe, with the result of an untrained one, can never be within the
            budget, in a sentence; empty where it can.
        ledger: is told what trials train; default one of its own.
    """

    def __init__(
        self,
        quality: Quality,
        costs: Sequence[str],
        rules: Rules | None,
        over_budget: Callable[[Recipe, Mapping[str, Any]], str] = lambda recipe, result: "",
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__()
        self._ledger = ledger or Ledger()
        self._quality = quality
        self._costs = tuple(costs)
        self._halving = None if rules is None else ParetoHalving(rules, math.isfinite(quality.best))
        self._over_budget = over_budget
        self._first: dict[str, Mapping[str, Any]] = {}
        self._pruned: dict[str, str] = {}

    def learn(self, name: str, recipe: Recipe, result: Mapping[str, Any]) -> str:
        """Why the trial ``name`` should end with this ``result``; empty where it should go on.

        Results without the quality or one of the costs are not compared, nor is one before the end whose
        size is still being learned: what others came to tells nothing of it. What only the first and the
        last result have, such as latency, stays what it was.
        """
        self._ledger.hear(name, int(result["epoch"]), result)
        return self.sure(name, recipe, result) or self.ranked(name, recipe, result)

    def sure(self, name: str, recipe: Recipe, result: Mapping[str, Any]) -> str:
        """Why the trial ``name`` can never be within the budget, as its first ``result`` has it."""
        if int(result["epoch"]) > 0:
            return ""
        self._first[name] = result
        return self._over_budget(recipe, result)

    def ranked(self, name: str, recipe: Recipe, result: Mapping[str, Any]) -> str:
        """Why the trial ``name`` should end for what others did."""
        epoch, learned = int(result["epoch"]), recipe.quantizer.learns_size
        losses = self._losses({**self._first.get(name, {}), **result})
        if self._halving is None or losses is None or (learned and epoch < recipe.epochs):
            return ""
        return self._halving.report(name, epoch, losses, epochs=recipe.epochs)

    def begin(self, name: str, recipe: Recipe) -> None:
        """The trial ``name`` begins: there is nothing to be learnt from that but what it may train."""
        self._ledger.begin(name, recipe.epochs)

    def ended(self, name: str, state: str) -> None:
        """The trial ``name`` ended as ``state``; pruned, it may be taken up again, unless for the budget."""
        self._ledger.end(name)
        if state == "pruned" and self._halving is not None:
            self._halving.stop(name)

    def promising(self) -> str | None:
        """A pruned trial that would now go on; see :class:`search.sampling.searcher.Revisits`."""
        return None if self._halving is None else self._halving.promising()

    def take_up(self, name: str, as_name: str) -> None:
        """The pruned trial ``name`` goes on as another one; saying so again changes nothing."""
        self._ledger.take_up(name, as_name)
        if self._halving is not None:
            self._halving.take_up(name, as_name)
        if name in self._first:
            self._first[as_name] = self._first.pop(name)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP or CONTINUE; Ray does not ask about a trial's last result."""
        if result.get("state") != "running":
            return TrialScheduler.CONTINUE
        name = str(trial.config["trial"])
        reason = self.learn(name, recipe_of(trial), result)
        if not reason:
            return TrialScheduler.CONTINUE
        self.prune(name, reason)
        return TrialScheduler.STOP

    def prune(self, name: str, reason: str) -> None:
        """The trial ``name`` is to end, which its last result will say."""
        self._pruned[name] = reason

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Learn from a finished trial, and write on a pruned one what it is.

        Ray gives copies of results to schedulers; the trial's own is what searcher and callbacks are told
        next.
        """
        name = str(trial.config["trial"])
        if name in self._pruned:
            trial.last_result.update(state="pruned", reason=self._pruned.pop(name))
            self.ended(name, "pruned")
            return
        if result.get("state") == "finished":
            self.learn(name, recipe_of(trial), result)
        if result.get("state") in ("finished", "failed"):
            self.ended(name, result["state"])
        self._first.pop(name, None)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Whatever was decided about it is void: it failed."""
        self._pruned.pop(str(trial.config["trial"]), None)
        self.ended(str(trial.config["trial"]), "failed")

    def debug_string(self) -> str:
        """What Ray shows of it."""
        return "Ends trials by Pareto dominance."

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what was learnt is told again, see :meth:`learn`."""

    def _losses(self, result: Mapping[str, Any]) -> tuple[float, ...] | None:
        """Quality and costs, less is better; None where one was not measured."""
        values = [result.get(name) for name in (self._quality.validation, *self._costs)]
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            return None
        quality, *costs = (float(value) for value in values if value is not None)
        return (self._quality.loss(quality), *map(doublings, costs))


def recipe_of(trial: Trial) -> Recipe:
    """What a trial of Ray's trains."""
    return recipe_from_dict(json.loads(trial.config["recipe"]))
