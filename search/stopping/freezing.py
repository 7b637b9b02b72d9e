"""Ray Tune's side of freeze-thaw search: its policy decides, and Pareto dominance where that cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from search.objectives.yardstick import Yardstick
from search.sampling.freezing.modelled import Beginnings, Modelled, Once
from search.sampling.freezing.policy import FreezeThaw, Unable
from search.sampling.proposals import Proposals
from search.stopping.halving import Rules
from search.stopping.scheduler import ParetoScheduler, recipe_of
from search.tracking.trained import Ledger
from trainables.recipe import Recipe


class FreezeThawScheduler(ParetoScheduler):
    """Ends what a policy calls hopeless, if that may end anything, and takes up what promises most.

    Those over budget end before they train, as ever. As long as the policy cannot decide, the rules of
    Pareto dominance do.

    Args:
        yardstick: of the sweep.
        rules: for where the policy cannot decide.
        over_budget: see :class:`ParetoScheduler`.
        policy: that decides.
        told: tells the policy what begins.
        say: hears why it cannot decide, once.
        ledger: see :class:`ParetoScheduler`.
    """

    def __init__(
        self,
        yardstick: Yardstick,
        rules: Rules | None,
        over_budget: Callable[[Recipe, Mapping[str, Any]], str],
        policy: FreezeThaw,
        told: Beginnings,
        say: Callable[[str], None],
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__(yardstick.quality, yardstick.costs, rules, over_budget, ledger)
        self._policy, self._told, self._say = policy, told, Once(say)
        self._too_large: set[str] = set()
        self._by_rules: dict[str, str] = {}

    def proposals(self, otherwise: Proposals) -> Proposals:
        """What is tried next, by the same policy; ``otherwise`` where it cannot decide."""
        return Modelled(self._policy, otherwise, self._say)

    def begin(self, name: str, recipe: Recipe) -> None:
        """See :class:`search.sampling.searcher.Revisits`."""
        super().begin(name, recipe)
        self._told.begin(name, recipe)

    def learn(self, name: str, recipe: Recipe, result: Mapping[str, Any]) -> str:
        """Hear what the trial ``name`` reported; why it should end, if it is over budget, else empty."""
        self._ledger.hear(name, int(result["epoch"]), result)
        sure = self.sure(name, recipe, result)
        if sure:
            self._too_large.add(name)
        else:
            self._by_rules[name] = self.ranked(name, recipe, result)
        # Also what is too large, which tells sizes.
        self._policy.report(name, {**self._first.get(name, {}), **result})
        return sure

    def decide(self, name: str) -> str:
        """Why the trial ``name`` should end after what it reported last; empty if it should go on."""
        try:
            return self._policy.goes_on(name)
        except Unable as error:
            if self._halving is not None:
                self._say(f"Pareto dominance ends trials: {error}")
            return self._by_rules.get(name, "")

    def promising(self) -> str | None:
        """A pruned trial that promises more than any new one; see
        :class:`search.sampling.searcher.Revisits`."""
        try:
            return self._policy.choose(self._policy.next).continues or None
        except Unable:  # told where the next one is drawn
            return None

    def take_up(self, name: str, as_name: str) -> None:
        """See :class:`search.sampling.searcher.Revisits`."""
        super().take_up(name, as_name)
        self._policy.take_up(name, as_name)

    def ended(self, name: str, state: str) -> None:
        """See :class:`ParetoScheduler`."""
        super().ended(name, state)
        self._by_rules.pop(name, None)
        self._policy.end(name, state)
        if name in self._too_large:
            self._policy.never_again(name)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP or CONTINUE; Ray does not ask about a trial's last result."""
        if result.get("state") != "running":
            return TrialScheduler.CONTINUE
        name = str(trial.config["trial"])
        reason = self.learn(name, recipe_of(trial), result) or self.decide(name)
        if not reason:
            return TrialScheduler.CONTINUE
        self.prune(name, reason)
        return TrialScheduler.STOP

    def debug_string(self) -> str:
        """What Ray shows of it."""
        return "Freeze-thaw search."
