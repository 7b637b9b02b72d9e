"""Trials taken up again: searcher, rules and log together, by a driver that is killed again and again."""

import json
import math
import random
from collections import Counter

import optuna
import pytest
from ray.tune.search import Searcher

from search.sampling.journal import open_study
from search.sampling.samplers import find_sampler
from search.sampling.searcher import Judge, OptunaSearcher
from search.stopping.halving import Rules
from search.stopping.scheduler import ParetoScheduler
from search.sweeps.records import replay
from spaces import Context
from spaces.architectures import fresh
from studies.images import IMAGES, sized
from trainables.metrics import quality_of
from trainables.models import ConvNet
from trainables.recipe import recipe_from_dict
from trainables.tasks import Digits

EPOCHS = 6
TRIALS = 60
images = sized(IMAGES, (1, 2), (0.1, 1.0))
CONTEXT = Context(Digits(), fresh(ConvNet()), "0" * 16, EPOCHS)


class Killed(Exception):
    pass


class Log(list):
    """Events, of which one more than ``room`` is not written any more."""

    room = math.inf

    def append(self, event):
        if len(self) >= self.room:
            raise Killed
        super().append(json.loads(json.dumps(event)))


def reported(recipe, epoch):
    """A course of its own for each recipe: early and late learners, large and small ones."""
    chance = random.Random(recipe.recipe_id)
    best, pace, size = chance.uniform(0.5, 1), chance.uniform(0.2, 3), chance.randint(500, 5000)
    accuracy = best * (1 - math.exp(-pace * epoch))
    state = "running" if epoch < EPOCHS else "finished"
    return {"validation_accuracy": accuracy, "packed_bytes": size, "epoch": epoch, "state": state}


def drive(journal, log, sampler):
    """One driver, from the start or from what the one before left, to the end or until it is killed."""
    study = open_study(journal, "s", ("maximize", "minimize"), resume=journal.exists())
    scheduler = ParetoScheduler(
        quality_of("accuracy"), ("packed_bytes",), Rules(reduction=2, grace=1, chance=0.1, revive=True)
    )
    replay(log, scheduler)
    searcher = OptunaSearcher(
        study,
        lambda trial: images(trial, CONTEXT),
        Judge(lambda result: [result["validation_accuracy"], result["packed_bytes"]]),
        trials=TRIALS,
        parameters=images.parameters(CONTEXT),
        sampler=find_sampler(sampler),
        revisits=scheduler,
    )
    while (config := searcher.suggest("t")) != Searcher.FINISHED:
        name, recipe = config["trial"], recipe_from_dict(json.loads(config["recipe"]))
        own = [event for event in log if event["run"] == name]
        if own and own[-1]["kind"] == "end":  # what stands between Ray and the searcher
            last = next(event["step"] for event in reversed(own) if event["kind"] == "epoch")
            searcher.on_trial_complete("t", {**reported(recipe, last), "state": own[-1]["state"]})
            continue
        if not own:
            tags = {"continues": config["continues"]} if "continues" in config else {}
            log.append({"kind": "start", "run": name, "recipe": recipe.to_dict(), "tags": tags})
        before = [e["step"] for e in log if e["kind"] == "epoch" and e["run"] == config.get("continues")]
        steps = [e["step"] for e in own if e["kind"] == "epoch"] or before
        standing = steps[-1] if steps else 0
        for epoch in range(standing, EPOCHS + 1):
            result = reported(recipe, epoch)
            reason = scheduler.learn(name, recipe, result)
            if epoch > standing or not own[1:]:
                log.append({"kind": "epoch", "run": name, "step": epoch, "metrics": result})
            if reason:
                scheduler.ended(name, "pruned")
                result["state"] = "pruned"
                break
        log.append({"kind": "end", "run": name, "state": result["state"]})
        searcher.on_trial_complete("t", result)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_driver_that_is_killed_takes_up_the_same_trials(tmp_path, sampler):
    straight = Log()
    drive(tmp_path / "a.journal", straight, sampler)
    ends = Counter(event["run"] for event in straight if event["kind"] == "end")
    assert ends == {f"{number:05d}": 1 for number in range(TRIALS)}
    taken_up = [e["tags"]["continues"] for e in straight if e["kind"] == "start" and e["tags"]]
    assert len(taken_up) == len(set(taken_up)) >= 1
    states = {event["run"]: event["state"] for event in straight if event["kind"] == "end"}
    assert {states[name] for name in taken_up} == {"pruned"}
    fresh = [json.dumps(e["recipe"]) for e in straight if e["kind"] == "start" and not e["tags"]]
    assert len(fresh) == len(set(fresh)) == TRIALS - len(taken_up)

    chance, log = random.Random(1), Log()
    while True:
        log.room = len(log) + chance.randint(1, 9)
        try:
            drive(tmp_path / "b.journal", log, sampler)
            break
        except Killed:
            pass
    assert list(log) == list(straight)


def test_who_is_over_budget_stays_so():
    limit = 2000
    scheduler = ParetoScheduler(
        quality_of("accuracy"),
        ("packed_bytes",),
        Rules(reduction=2, grace=1, chance=0.0, revive=True),
        lambda recipe, result: "too large" if result["packed_bytes"] > limit else "",
    )
    recipe = images(random_trial(), CONTEXT)

    def tell(name, epoch, accuracy, size):
        result = {"epoch": epoch, "validation_accuracy": accuracy, "packed_bytes": size}
        if reason := scheduler.learn(name, recipe, result):
            scheduler.ended(name, "pruned")
        return reason

    assert tell("00000", 0, 0.9, 3000) == "too large"
    for number in range(1, 9):
        tell(f"{number:05d}", 1, 0.9 - 0.1 * number, 1000 + 10 * number)
    assert scheduler.promising() not in (None, "00000")


def random_trial():
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()


def test_latency_that_is_known_only_at_first_goes_over_to_who_goes_on():
    scheduler = ParetoScheduler(
        quality_of("accuracy"),
        ("packed_bytes", "latency_ms"),
        Rules(reduction=2, grace=1, chance=0.0, revive=True),
    )
    recipe = images(random_trial(), CONTEXT)
    for number in range(5):
        name = f"{number:05d}"
        shown = {"validation_accuracy": 0.9 - 0.1 * number, "packed_bytes": 1000 + number}
        scheduler.learn(name, recipe, {**shown, "epoch": 0, "latency_ms": 1.0 + number})
        if scheduler.learn(name, recipe, {**shown, "epoch": 1}):
            scheduler.ended(name, "pruned")
    assert scheduler.promising() == "00001"
    scheduler.take_up("00001", "00005")
    assert scheduler.promising() == "00002"
    reason = scheduler.learn("00005", recipe, {"epoch": 2, "validation_accuracy": 0.1, "packed_bytes": 2000})
    assert reason == ""  # alone on its rung
    beside = {"epoch": 2, "validation_accuracy": 0.9, "packed_bytes": 1000}
    assert scheduler.learn("00000", recipe, beside) == ""
    assert "number 2 of 2" in scheduler.learn(
        "00005", recipe, {"epoch": 2, "validation_accuracy": 0.1, "packed_bytes": 2000}
    )
