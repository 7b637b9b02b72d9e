"""A budget of compute: what trials count, when no other begins, and that a killed driver goes on alike."""

import json
import math
import random
import re

import pytest
from optuna.distributions import IntDistribution
from ray.tune.search import Searcher

from search.options import TRIALS_PER_TRAINING, Options, amount_in_words, extent
from search.problem import Problem
from search.sampling.journal import open_study
from search.sampling.samplers import find_sampler
from search.sampling.searcher import Judge, OptunaSearcher
from search.stopping.halving import Rules
from search.stopping.scheduler import ParetoScheduler
from search.sweeps.records import replay
from search.tracking.trained import BEGINNING, Allowance, Ledger
from tests.recipes import STUDENT
from trainables import methods
from trainables.metrics import quality_of
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.recipe import recipe_from_dict
from trainables.tasks import Digits


def test_a_trial_counts_the_share_of_its_training_that_it_did() -> None:
    ledger = Ledger()
    ledger.begin("a", 10)
    ledger.begin("b", 4)
    assert ledger.spent() == 2 * BEGINNING and ledger.bound() == 2  # both may train to their ends
    for epoch in range(6):
        ledger.hear("a", epoch, {})
    ledger.hear("b", 0, {})
    ledger.hear("b", 1, {})
    assert ledger.spent() == 0.75
    ledger.end("a")
    assert ledger.bound() == 1.5  # what a leaves is there for others
    ledger.hear("b", 4, {})
    ledger.end("b")
    assert ledger.spent() == ledger.bound() == 1.5


def test_what_is_taken_over_does_not_count() -> None:
    ledger = Ledger()
    ledger.begin("a", 10)
    ledger.hear("a", 0, {})
    ledger.hear("a", 7, {"shared_epochs": 7.0})
    assert ledger.bound() == pytest.approx(0.3) and ledger.spent() == BEGINNING
    ledger.hear("a", 8, {})
    ledger.hear("a", 8, {"shared_epochs": 8})  # after a restart: known already
    ledger.end("a")
    assert ledger.spent() == pytest.approx(0.1)
    ledger.take_up("a", "b")
    assert ledger.bound() == pytest.approx(0.3)  # before it has said anything
    ledger.hear("b", 8, {})
    ledger.hear("b", 10, {})
    ledger.end("b")
    assert ledger.spent() == ledger.bound() == pytest.approx(0.3)


def test_a_student_that_another_sweep_made_counts_its_beginning_as_does_one_that_never_trains() -> None:
    ledger = Ledger()
    ledger.begin("copied", 10)
    ledger.hear("copied", 10, {})
    ledger.begin("untrained", 0)
    ledger.hear("untrained", 0, {})
    for name in ("copied", "untrained"):
        ledger.end(name)
    assert ledger.spent() == ledger.bound() == 2 * BEGINNING


def test_saying_it_again_changes_nothing() -> None:
    ledger = Ledger()
    for _ in range(2):
        ledger.begin("a", 4)
        ledger.hear("a", 0, {})
        ledger.hear("a", 1, {"shared_epochs": math.nan})
        ledger.end("a")
        ledger.take_up("a", "b")
    assert (ledger.trials, ledger.spent(), ledger.bound()) == (2, 0.25 + BEGINNING, 1.0)
    ledger.hear("nobody", 3, {})
    ledger.take_up("nobody", "c")
    assert ledger.trials == 2


def test_thirds_are_whole_in_the_end() -> None:
    ledger = Ledger()
    for number in range(30):
        ledger.begin(str(number), 3)
        ledger.hear(str(number), 0, {})
        ledger.hear(str(number), 1, {})
        ledger.end(str(number))
    assert Allowance(ledger, 10).used_up()
    assert not Allowance(ledger, 11).used_up() and not Allowance(ledger).used_up()


def test_what_a_sweep_may_train_by_default() -> None:
    def asked(*words: object, usual: int = 50) -> tuple[object, ...]:
        return tuple(extent(*words, usual=usual, usual_sampler=None).values())  # type: ignore[arg-type]

    assert asked(None, None, None) == (50, None, "tpe")
    assert asked(None, None, "tpe") == (50, None, "tpe")
    assert asked(7, None, "freeze-thaw") == (7, None, "freeze-thaw")
    assert asked(None, None, "freeze-thaw") == (150, 15, "freeze-thaw")
    assert asked(None, None, "freeze-thaw", usual=16) == (120, 12, "freeze-thaw")
    assert asked(None, None, "freeze-thaw", usual=5) == (50, 5, "freeze-thaw")
    assert asked(None, 7, "random") == (7 * TRIALS_PER_TRAINING, 7, "random")
    assert asked(9, 7, "random") == (9, 7, "random")
    with pytest.raises(Problem, match=r"^5 trainings cannot be done in 1 trial, .* or give at least 5\.$"):
        asked(1, 5, "tpe")


def test_few_trials_are_not_a_model_s_by_default() -> None:
    def asked(*words: object, usual: int = 50) -> object:
        return extent(*words, usual=usual, usual_sampler="freeze-thaw")["sampler"]  # type: ignore[arg-type]

    assert asked(23, None, None) == asked(None, 11, None) == asked(23, 11, None) == "tpe"
    assert asked(24, None, None) == asked(None, 12, None) == asked(30, 12, None) == "freeze-thaw"
    assert asked(None, None, None, usual=23) == "tpe" and asked(None, None, None) == "freeze-thaw"
    assert asked(8, None, "freeze-thaw") == asked(None, 1, "freeze-thaw") == "freeze-thaw"


def test_amounts_have_words() -> None:
    assert amount_in_words(9, None) == "9 trials"
    assert amount_in_words(9, 1) == "1 training in at most 9 trials"


@pytest.mark.parametrize(("trials", "trainings"), [(10, 0), (10, -1), (4, 5)])
def test_a_wrong_amount_is_refused_in_one_sentence(tmp_path, trials: int, trainings: int) -> None:
    with pytest.raises(ValueError, match=re.escape(str(trainings))) as error:
        Options("s", trials, 0, tmp_path, "", trainings=trainings)
    assert str(error.value).startswith("trainings must be at ") and "\n" not in str(error.value)


EPOCHS, SLOTS, TRAININGS = 8, 3, 9


def space(trial):
    setting = methods.Setting(Digits(), Fresh(STUDENT), EPOCHS, seed=trial.suggest_int("seed", 0, 10**6))
    return methods.post_training_quantization(setting, quantizer=Uniform(trial.suggest_int("bits", 1, 8)))


def reported(recipe, epoch):
    chance = random.Random(recipe.recipe_id)
    best, pace, size = chance.uniform(0.5, 1), chance.uniform(0.2, 3), chance.randint(500, 5000)
    state = "running" if epoch < EPOCHS else "finished"
    accuracy = best * (1 - math.exp(-pace * epoch))
    return {"validation_accuracy": accuracy, "packed_bytes": size, "epoch": epoch, "state": state}


class Killed(Exception):
    pass


class Log(list):
    """Events, of which one more than ``room`` is not written any more."""

    room = math.inf

    def append(self, event):
        if len(self) >= self.room:
            raise Killed
        super().append(json.loads(json.dumps(event)))


def drive(journal, log, rules, sampler="random", trials=1000):
    """A driver of three places, from what the one before left, to the end or until it is killed.

    Returns:
        The trainings that all trials did, and how often a place had to wait.
    """
    study = open_study(journal, "s", ("maximize", "minimize"), resume=journal.exists())
    allowance = Allowance(Ledger(), TRAININGS, trials)
    scheduler = ParetoScheduler(
        quality_of("accuracy"), ("packed_bytes",), rules, lambda *_: "", allowance.ledger
    )
    replay(log, scheduler)
    searcher = OptunaSearcher(
        study,
        space,
        Judge(lambda result: [result["validation_accuracy"], result["packed_bytes"]]),
        trials=trials,
        parameters={"seed": IntDistribution(0, 10**6), "bits": IntDistribution(1, 8)},
        sampler=find_sampler(sampler),
        revisits=scheduler,
        used_up=allowance.used_up,
    )
    places, number, waited, over = {}, 0, 0, False
    while places or not over:
        while len(places) < SLOTS and not over:
            config = searcher.suggest(str(number))
            over = config == Searcher.FINISHED
            waited += config is None
            if not isinstance(config, dict):
                break
            name, recipe = config["trial"], recipe_from_dict(json.loads(config["recipe"]))
            own = [event for event in log if event["run"] == name]
            if own and own[-1]["kind"] == "end":  # what stands between Ray and the searcher
                last = next(event["step"] for event in reversed(own) if event["kind"] == "epoch")
                searcher.on_trial_complete(str(number), {**reported(recipe, last), "state": own[-1]["state"]})
            else:
                if not own:
                    log.append({"kind": "start", "run": name, "recipe": recipe.to_dict(), "tags": {}})
                steps = [event["step"] for event in own if event["kind"] == "epoch"]
                # What was said of the last report of all, nobody has heard.
                undecided = bool(steps) and log[-1]["run"] == name
                places[str(number)] = name, recipe, (steps or [-1])[-1] + (0 if undecided else 1)
            number += 1
        if not places:
            continue
        # The trial that is least far, of them the first: whoever drives, the order is the same.
        ray_id = min(places, key=lambda each: (places[each][2], places[each][0]))
        name, recipe, epoch = places[ray_id]
        result = reported(recipe, epoch)
        reason = scheduler.learn(name, recipe, result) if epoch < EPOCHS else ""
        if (log[-1]["run"], log[-1].get("step")) != (name, epoch):
            log.append({"kind": "epoch", "run": name, "step": epoch, "metrics": result})
        if epoch < EPOCHS and not reason:
            places[ray_id] = name, recipe, epoch + 1
            continue
        state = "pruned" if reason else "finished"
        if state == "finished":
            scheduler.learn(name, recipe, result)
        scheduler.ended(name, state)
        log.append({"kind": "end", "run": name, "state": state})
        searcher.on_trial_complete(ray_id, {**result, "state": state})
        del places[ray_id]
    return allowance.ledger.spent(), waited


def test_without_early_ends_it_is_a_number_of_trials(tmp_path) -> None:
    log = Log()
    spent, _ = drive(tmp_path / "a.journal", log, None)
    assert spent == TRAININGS
    assert sum(event["kind"] == "end" for event in log) == TRAININGS


def test_what_ended_trials_leave_others_train_and_a_killed_driver_goes_on_alike(tmp_path) -> None:
    rules, straight = Rules(grace=1), Log()
    spent, waited = drive(tmp_path / "a.journal", straight, rules)
    ends = [event["state"] for event in straight if event["kind"] == "end"]
    assert ends.count("pruned") > 3 and len(ends) > TRAININGS
    assert TRAININGS <= spent < TRAININGS + 1
    assert waited  # a place rests while those that run may need all that is left

    chance, log = random.Random(1), Log()
    while True:
        log.room = len(log) + chance.randint(5, 25)
        try:
            again, _ = drive(tmp_path / "b.journal", log, rules)
            break
        except Killed:
            pass
    assert list(log) == list(straight) and again == spent


def test_the_number_of_trials_may_end_it_before(tmp_path) -> None:
    log = Log()
    spent, _ = drive(tmp_path / "a.journal", log, Rules(grace=1), trials=10)
    assert sum(event["kind"] == "end" for event in log) == 10 and spent < TRAININGS
