"""What the samplers are called; loads no Optuna, so that a help text or a wrong name is answered at once."""

from __future__ import annotations

from search.problem import Problem
from trainables.alike import meant

DEFAULT = "tpe"

BY_TRAININGS = frozenset({"freeze-thaw"})
"""Samplers many of whose trials share trainings: a number of trials says little of what they take."""

POPULATION = 20
"""Of NSGA-II. Optuna's 50 would make a sweep of our usual 36 to 100 trials one random generation or two."""

SUMMARIES: dict[str, str] = {
    DEFAULT: "tree-structured Parzen estimators, parameter by parameter",
    "freeze-thaw": "a model of all trials' courses, which begins what promises most per second",
    "gp": "Gaussian processes and expected hypervolume improvement; up to some hundred trials",
    "nsga2": f"a genetic algorithm, {POPULATION} students a generation; for hundreds of trials",
    "random": "independent draws",
    "qmc": "a Sobol sequence: even coverage, learns nothing",
    "reinforce": "a policy of independent parameters, learned by policy gradients",
}
"""Name, as the user types it -> one line for ``--help``; in the order of the samplers themselves."""


def check_name(name: str) -> None:
    """Refuse a name that no sampler has.

    Raises:
        Problem: the message lists those that there are.
    """
    if name not in SUMMARIES:
        raise Problem(
            f"There is no sampler {name!r}{meant(name, SUMMARIES)}; choose one of {', '.join(SUMMARIES)}."
        )
