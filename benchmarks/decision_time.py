"""What a decision of freeze-thaw search takes once there are many trials: processor time and memory.

Trials of the digits study, of all its methods, are told to the policy as a sweep would tell them: every
third one finishes, others were ended after 1 to 20 of 35 epochs, and eight run. Then it is asked for the
next trial, and whether one that runs goes on, several times each. What it draws ahead on its thread is there,
as in a sweep. The times are of the process: other work on the machine counts little.

    python -m benchmarks.decision_time --trials 100 --trials 1000
"""

from __future__ import annotations

import argparse
import math
import platform
import random
import resource
import time
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np

from search.objectives.yardstick import Yardstick
from search.sampling.freezing.candidates import Candidate, Candidates
from search.sampling.freezing.courses import Measure
from search.sampling.freezing.means import Settings
from search.sampling.freezing.policy import FreezeThaw
from studies.known import find_study
from trainables.metrics import quality_of
from trainables.metrics.latency import fingerprint
from trainables.training.prefixes import shared_prefix

RUNNING = 8
"""Trials at a time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, action="append", help="how many there are; repeatable")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    print(
        f"Python {platform.python_version()}, numpy {version('numpy')}, scipy {version('scipy')}; "
        f"{fingerprint()}."
    )
    for trials in arguments.trials or [1000]:
        before = _megabytes()
        policy, candidates = told(trials)
        settle(policy, candidates, trials)
        choosing, going_on = zip(*measured(policy, trials, arguments.repeats), strict=True)
        print(
            f"{trials} trials: the next one {_text(choosing)}, whether one goes on {_text(going_on)}; "
            f"memory {_megabytes() - before:.0f} MB more"
        )


def told(trials: int, seed: int = 0) -> tuple[FreezeThaw, Candidates]:
    """A policy that has heard of so many ``trials``."""
    study = find_study("digits")
    task = study.make_task(None, {})
    context = study.context(task, study.teacher_recipe(task).recipe_id, seed)
    candidates = Candidates(
        lambda trial: study.space(trial, context), study.space.parameters(context), seed, shared_prefix
    )
    known = {"packed_bytes": 1.3e6, "validation_accuracy": 0.99}
    policy = FreezeThaw(
        candidates, Measure(Yardstick(quality_of("accuracy"), known)), seed, 4, Settings(stops=True)
    )
    chance, seen = random.Random(seed), set[str]()
    for number in range(trials):
        candidate = next(c for c in candidates.pool(number) if c.recipe.recipe_id not in seen)
        seen.add(candidate.recipe.recipe_id)
        name = f"{number:05d}"
        policy.begin(name, candidate)
        last = candidate.epochs if number % 3 == 0 else chance.randint(1, 20)
        for result in course(candidate, last, chance):
            policy.report(name, result)
        if number < trials - RUNNING:
            policy.end(name, "finished" if last == candidate.epochs else "pruned")
    return policy, candidates


def course(candidate: Candidate, last: int, chance: random.Random) -> Iterator[dict[str, float]]:
    """Reports of a student that learns at a pace of its own, up to the epoch ``last``."""
    best, pace = chance.uniform(0.5, 1), chance.uniform(0.1, 1)
    size = 2 ** (candidate.outline.log2_bytes + 0.1 * chance.random())
    for epoch in range(last + 1):
        accuracy = 0.1 + (best - 0.1) * (1 - math.exp(-pace * epoch))
        yield {
            "epoch": epoch,
            "validation_accuracy": accuracy,
            "packed_bytes": size,
            "seconds": 0.1 + 0.2 * epoch,
        }


def settle(policy: FreezeThaw, candidates: Candidates, trials: int) -> None:
    """Let what the policy makes on its thread be there."""
    policy.prepare(trials)
    for fit in policy._fits.values():
        fit.result()
    for litter in policy._litters():
        litter.result()
    candidates.pool(trials)


def measured(policy: FreezeThaw, trials: int, repeats: int) -> Iterator[tuple[float, float]]:
    """Milliseconds of a proposal and of one trial's judgement, each from a log that has just changed."""
    running = [name for name, course in policy._courses.items() if course.state == "running"]
    judged = [name for name in running if policy._courses[name].epoch < policy._courses[name].epochs]
    for number in range(repeats):
        policy._changed()
        began = time.process_time()
        policy.choose(trials)
        chosen = time.process_time()
        policy._changed()
        policy.goes_on(judged[number % len(judged)])
        yield 1e3 * (chosen - began), 1e3 * (time.process_time() - chosen)


def _text(values: tuple[float, ...]) -> str:
    return f"{np.median(values):.0f} ms (the longest of {len(values)} {max(values):.0f})"


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
