"""Decisions of freeze-thaw search: functions of the log, by a driver that is killed again and again."""

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from ray.tune.search import Searcher

from search.objectives.budget import Budget
from search.objectives.yardstick import Yardstick
from search.sampling.freezing.candidates import Candidate, Candidates
from search.sampling.freezing.courses import Measure
from search.sampling.freezing.means import Means, Settings
from search.sampling.freezing.modelled import Beginnings
from search.sampling.freezing.outline import outline_of
from search.sampling.freezing.policy import FreezeThaw, Unable
from search.sampling.journal import open_study
from search.sampling.samplers import find_sampler
from search.sampling.searcher import EARLIER, Judge, OptunaSearcher
from search.stopping.freezing import FreezeThawScheduler
from search.stopping.halving import Rules
from search.sweeps.records import replay
from search.tracking.trained import Allowance, Ledger
from trainables import methods
from trainables.metrics import Quality, quality_of
from trainables.models import ConvNet
from trainables.optimizers import AdamW
from trainables.origins import Fresh, Slice, Trained
from trainables.quantizers import Uniform
from trainables.recipe import recipe_from_dict
from trainables.tasks import Digits
from trainables.training.prefixes import shared_prefix

EPOCHS, TRIALS = 6, 24
PARAMETERS = {
    "method": CategoricalDistribution(("full_precision", "post_training_quantization")),
    "width": IntDistribution(1, 4),
    "learning_rate": FloatDistribution(5e-4, 1e-2, log=True),
    "bits": IntDistribution(1, 8),
}
YARDSTICK = Yardstick(quality_of("accuracy"), {"packed_bytes": 1e6, "validation_accuracy": 0.99})


def space(trial):
    method = trial.suggest_categorical("method", PARAMETERS["method"].choices)
    model = ConvNet(depth=1, width=trial.suggest_int("width", 1, 4) / 10)
    optimizer = AdamW(trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True))
    setting = methods.Setting(Digits(), Fresh(model), EPOCHS)
    if method == "full_precision":
        return methods.full_precision(setting, optimizer=optimizer)
    quantizer = Uniform(trial.suggest_int("bits", 1, 8))
    return methods.post_training_quantization(setting, quantizer=quantizer, optimizer=optimizer)


def reported(recipe, epoch, **more):
    """A course of its own for each recipe: early and late learners, large and small ones."""
    chance = random.Random(recipe.recipe_id)
    best, pace = chance.uniform(0.5, 1), chance.uniform(0.2, 3)
    size = 3000 * 4 * getattr(recipe.quantizer, "bits", 32) * recipe.model.width
    accuracy = 0.1 + (best - 0.1) * (1 - math.exp(-pace * epoch))
    state = "running" if epoch < EPOCHS else "finished"
    told = {"validation_accuracy": accuracy, "packed_bytes": size, "seconds": 0.1 + 0.2 * epoch}
    return {**told, "epoch": epoch, "state": state, **more}


def policy_of(
    yardstick=YARDSTICK,
    seed=0,
    designed=3,
    settings=Settings(price=0.0, dearest=0.0, stops=True),
    last=None,
    allowance=None,
):
    candidates = Candidates(space, PARAMETERS, seed, shared_prefix)
    return candidates, FreezeThaw(candidates, Measure(yardstick), seed, designed, settings, last, allowance)


def within(recipe, result):
    return "too large" if result["packed_bytes"] > 100_000 else ""


class Killed(Exception):
    pass


class Log(list):
    """Events, of which one more than ``room`` is not written any more."""

    room = math.inf

    def append(self, event):
        if len(self) >= self.room:
            raise Killed
        super().append(json.loads(json.dumps(event)))


def drive(journal, log, trainings=None):
    """One driver, from the start or from what the one before left, to the end or until it is killed."""
    study = open_study(journal, "s", ("maximize", "minimize"), resume=journal.exists())
    allowance = Allowance(Ledger(), trainings, TRIALS)
    settings = Settings(price=0.0, dearest=0.0, stops=True, patience=3.0)  # many are ended, some go on
    candidates, policy = policy_of(seed=4, designed=12, settings=settings, last=TRIALS, allowance=allowance)
    told = Beginnings(policy, candidates, study)
    told.earlier()
    said = []
    scheduler = FreezeThawScheduler(YARDSTICK, Rules(), within, policy, told, said.append, allowance.ledger)
    replay(log, scheduler)
    searcher = OptunaSearcher(
        study,
        space,
        Judge(YARDSTICK.objectives),
        trials=TRIALS,
        parameters=PARAMETERS,
        sampler=find_sampler("freeze-thaw"),
        revisits=scheduler,
        used_up=allowance.used_up,
        model=scheduler.proposals,
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
            if epoch < EPOCHS and (reason or scheduler.decide(name)):
                result["state"] = "pruned"
                break
        log.append({"kind": "end", "run": name, "state": result["state"]})
        scheduler.ended(name, result["state"])
        searcher.on_trial_complete("t", result)
    assert said == []
    return allowance.ledger.spent()


def test_a_driver_that_is_killed_decides_as_one_that_is_not(tmp_path):
    straight = Log()
    drive(tmp_path / "a.journal", straight)
    ends = [event for event in straight if event["kind"] == "end"]
    assert len(ends) == TRIALS
    states = {event["run"]: event["state"] for event in ends}
    assert {"pruned", "finished"} == set(states.values())
    starts = [event for event in straight if event["kind"] == "start"]
    taken_up = [event["tags"]["continues"] for event in starts if event["tags"]]
    assert taken_up and {states[name] for name in taken_up} == {"pruned"}
    fresh = [json.dumps(event["recipe"]) for event in starts if not event["tags"]]
    assert len(fresh) == len(set(fresh)) == TRIALS - len(taken_up)
    too_large = {e["run"] for e in straight if e["kind"] == "epoch" and within(None, e["metrics"])}
    assert too_large and not too_large & set(taken_up)

    chance, log = random.Random(1), Log()
    while True:
        log.room = len(log) + chance.randint(20, 60)
        try:
            drive(tmp_path / "b.journal", log)
            break
        except Killed:
            pass
    assert list(log) == list(straight)


def test_with_few_trainings_left_only_what_fits_begins(tmp_path):
    log = Log()
    trainings = 4
    assert trainings <= drive(tmp_path / "a.journal", log, trainings) < trainings + 1
    ends = [event["state"] for event in log if event["kind"] == "end"]
    assert trainings < len(ends) < TRIALS and "pruned" in ends

    ledger = Ledger()
    allowance = Allowance(ledger, 1.5, 20)
    means = Means(Settings(), allowance)
    ledger.begin("a", EPOCHS)
    assert means.fitting(np.array([0.4, 0.5, 0.6])).tolist() == [True, True, False]
    assert means.fitting(np.array([0.9, 1.0, 1.1]), more=0.5).tolist() == [True, True, False]
    assert Means(Settings()).fitting(np.array([5.0])).all()


def test_a_trial_costs_more_as_trials_become_the_scarcer():
    settings = Settings(price=0.25, dearest=0.5)
    assert Means(settings).price() == 0.25
    assert Means(settings, Allowance(Ledger(), None, 20)).price() == 0.5
    prices = [Means(settings, Allowance(Ledger(), 8, trials)).price() for trials in (80, 20, 8)]
    assert prices == [0.25, 0.4, 0.5]


def told(policy, candidates, order):
    """The policy after a few trials that end at different epochs; ``order`` shuffles what slots say."""
    pool = candidates.pool(0)[:8]
    slots = []
    for number, candidate in enumerate(pool):
        name, last = f"{number:05d}", EPOCHS if number % 2 else 2 + number % 4
        events = [("begin", name, candidate)]
        events += [("report", name, reported(candidate.recipe, epoch)) for epoch in range(last + 1)]
        state = ("finished", "finished", "pruned", "running")[0 if last == EPOCHS else 2 + number % 3 % 2]
        slots.append([*events, *([] if state == "running" else [("end", name, state)])])
    chance = random.Random(order)
    while slots:
        slot = chance.choice(slots) if order else slots[0]
        kind, name, what = slot.pop(0)
        getattr(policy, kind)(name, what)
        slots = [each for each in slots if each]
    return policy


def test_in_which_order_slots_report_does_not_matter():
    decisions = []
    for order in (0, 1, 2):
        candidates, policy = policy_of(settings=Settings(first=1000, stops=True))  # a fit sees what was there
        told(policy, candidates, order)
        choice = policy.choose(8)
        name = choice.continues or choice.candidate.recipe.recipe_id
        running = [key for key, course in policy._courses.items() if course.state == "running"]
        assert running
        decisions.append((name, [policy.goes_on(each)[:30] for each in running]))
    assert decisions[0] == decisions[1] == decisions[2]


@pytest.mark.parametrize(
    ("finished", "learnt", "stops", "ends"),
    [(6, 0.01, True, True), (3, 0.01, True, False), (6, 0.2, True, False), (6, 0.01, False, False)],
    ids=["hopeless", "few have finished", "promising", "nothing ends by default"],
)
def test_only_what_is_hopeless_ends_and_when_some_have_finished(finished, learnt, stops, ends):
    settings = Settings(first=1000) if not stops else Settings(first=1000, stops=True)
    candidates, policy = policy_of(settings=settings)
    for number, candidate in enumerate(candidates.pool(0)[: finished + 1]):
        policy.begin(f"{number:05d}", candidate)
        better = number < finished
        for epoch in range(EPOCHS + 1 if better else 4):
            accuracy = 0.1 + (0.14 if better else learnt) * epoch
            told = reported(candidate.recipe, epoch, validation_accuracy=accuracy)
            policy.report(f"{number:05d}", told)
        if better:
            policy.end(f"{number:05d}", "finished")
    assert ("promises" in policy.goes_on(f"{finished:05d}")) == ends


def test_a_choice_is_new_and_the_same_when_asked_again():
    candidates, policy = policy_of()
    told(policy, candidates, 0)
    known = {course.candidate.recipe.recipe_id for course in policy._courses.values()}
    choice = policy.choose(8)
    assert policy.choose(8) is choice
    assert choice.continues or choice.candidate.recipe.recipe_id not in known


def test_reports_without_numbers_and_failures_are_no_trouble():
    candidates, policy = policy_of()
    told(policy, candidates, 0)
    odd = candidates.pool(0)[20:23]
    for number, candidate in enumerate(odd, 8):
        policy.begin(f"{number:05d}", candidate)
    policy.report("00008", reported(odd[0].recipe, 0))
    policy.report("00008", reported(odd[0].recipe, 1, validation_accuracy=math.nan))
    policy.end("00008", "failed")
    policy.report("00009", reported(odd[1].recipe, 0, packed_bytes=None, seconds=None))
    policy.report("00009", reported(odd[1].recipe, 1, packed_bytes=math.nan))
    policy.end("00010", "failed")
    assert isinstance(policy.goes_on("00009"), str)
    assert policy.choose(11)


def test_where_training_fails_nothing_is_promised():
    candidates, policy = policy_of()
    told(policy, candidates, 0)
    pool = candidates.pool(0)
    bad = next(each for each in pool[30:] if each.params["method"] == "post_training_quantization")
    beside = candidates.of({**bad.params, "learning_rate": bad.params["learning_rate"] * 1.01})
    view = policy._seen()
    before = view.index([beside], [None], view.front([]))[0]
    policy.begin("00050", bad)
    policy.end("00050", "failed")
    view = policy._seen()
    assert view.index([beside], [None], view.front([]))[0] < before


def test_what_is_over_the_budget_says_nothing_of_what_it_could_have_learnt():
    candidates, policy = policy_of()
    told(policy, candidates, 0)
    pool = candidates.pool(0)
    large = next(each for each in pool[30:] if each.params["method"] == "post_training_quantization")
    beside = candidates.of({**large.params, "learning_rate": large.params["learning_rate"] * 1.01})
    view = policy._seen()
    before = view.index([beside], [None], view.front([]))[0]
    policy.begin("00050", large)
    policy.report("00050", reported(large.recipe, 0))
    policy.end("00050", "pruned")
    policy.never_again("00050")
    view = policy._seen()
    assert view.index([beside], [None], view.front([]))[0] > 0.9 * before
    assert "00050" not in policy._stopped()


def test_only_what_keeps_the_limits_gains():
    limit = 8000
    budget = Budget({"packed_bytes": limit}, max_drop=10.0)
    candidates, policy = policy_of(Yardstick(YARDSTICK.quality, YARDSTICK.teacher, budget))
    told(policy, candidates, 0)
    view = policy._seen()
    pool = candidates.pool(0)[8:]
    index = view.index(pool, [None] * len(pool), view.front([]))
    costs, _ = view._told(pool, [None] * len(pool))
    large = costs[:, 0] > math.log2(limit)
    assert large.any() and (index[large] == 0).all() and (index[~large] > 0).any()


def test_from_where_on_students_count():
    guesses = np.array([0.08, 0.1, 0.1, 0.12, 0.9])
    measure = Measure(YARDSTICK)
    guess = measure.guess(guesses)
    assert guess == 0.1 and measure.least(guesses) == pytest.approx(0.1 + 0.75 * 0.89)
    assert measure.guess(np.array([0.8, 0.9])) == 0.99 / 2, (
        "students that begin with trained weights know more"
    )
    strict = Measure(Yardstick(YARDSTICK.quality, YARDSTICK.teacher, Budget({}, max_drop=2.0)))
    assert strict.least(guesses) == pytest.approx(0.97)
    assert strict.guess(guesses) == guess, "what may be lost says nothing of what guessing is"
    lax = Measure(Yardstick(YARDSTICK.quality, YARDSTICK.teacher, Budget({}, max_drop=80.0)))
    assert lax.least(guesses) == measure.least(guesses)
    alone = Measure(Yardstick(YARDSTICK.quality, {}))
    assert alone.least(guesses) == pytest.approx(0.775)


def test_a_third_objective_and_a_cost_that_is_limited_only():
    budget = Budget({"ram_bytes": 2000})
    yardstick = Yardstick(YARDSTICK.quality, YARDSTICK.teacher, budget, minimized=("macs",))
    candidates, policy = policy_of(yardstick)
    for number, candidate in enumerate(candidates.pool(0)[:6]):
        name, width = f"{number:05d}", candidate.recipe.model.width
        policy.begin(name, candidate)
        for epoch in range(EPOCHS + 1):
            policy.report(name, reported(candidate.recipe, epoch, macs=1e5 * width, ram_bytes=1e4 * width))
        policy.end(name, "finished")
    view = policy._seen()
    narrow, wide = (candidates.of({**candidates.pool(0)[9].params, "width": width}) for width in (1, 4))
    costs, likely = view._told([narrow, wide], [None, None])
    assert costs[0, 1] < costs[1, 1]
    assert likely[0] > 0.5 > likely[1]
    assert policy.choose(6)


def test_without_a_scale_of_quality_tpe_draws_and_says_so(tmp_path):
    error = Quality("error", "error", "down", "How wrong it is.", 0.0, math.inf)
    yardstick = Yardstick(error, {"packed_bytes": 1e6})
    candidates, policy = policy_of(yardstick, designed=0, settings=Settings(finished=1))
    study = open_study(tmp_path / "s.journal", "s", ("minimize", "minimize"))
    said = []
    beginnings = Beginnings(policy, candidates, study)
    scheduler = FreezeThawScheduler(yardstick, Rules(), lambda *_: "", policy, beginnings, said.append)
    searcher = OptunaSearcher(
        study,
        space,
        Judge(yardstick.objectives),
        trials=4,
        parameters=PARAMETERS,
        sampler=find_sampler("freeze-thaw"),
        revisits=scheduler,
        model=scheduler.proposals,
    )
    recipes = set()
    for number in range(4):
        config = searcher.suggest(str(number))
        recipe = recipe_from_dict(json.loads(config["recipe"]))
        recipes.add(recipe.recipe_id)
        for epoch in range(EPOCHS + 1):
            result = reported(recipe, epoch, validation_error=9.0 - epoch)
            scheduler.learn(config["trial"], recipe, result)
            scheduler.decide(config["trial"])
        scheduler.ended(config["trial"], "finished")
        searcher.on_trial_complete(str(number), {**result, "state": "finished"})
    assert len(recipes) == 4
    assert len(said) == len(set(said)) == 2
    assert all("error was not measured" in text for text in said)


def test_what_does_not_train_has_the_price_of_what_does_and_is_learnt_from():
    """Else a sweep is spent on round-to-nearest students that cost nothing but their start."""
    candidates, policy = policy_of(settings=Settings())
    told(policy, candidates, 8)
    recipe = methods.round_to_nearest(
        methods.Setting(Digits(), Trained(ConvNet(depth=1, width=0.2), "0" * 16), 0), quantizer=Uniform(2)
    )
    assert recipe.epochs == 0
    free = replace(candidates.pool(0)[0], recipe=recipe)
    view = policy._seen()
    trained = [c for c in candidates.pool(0) if c.epochs]
    seconds = view._left([free, *trained], [None] * (1 + len(trained)))
    usual = np.median(view._time.of_epochs(view._inputs(trained)) * EPOCHS)
    assert seconds[0] > 0.2 * usual
    heard = policy._heard
    policy.begin("00090", free)
    policy.report("00090", {**reported(free.recipe, 0), "validation_accuracy": 0.1})
    policy.end("00090", "finished")
    assert policy._heard == heard + 1
    course = policy._courses["00090"]
    assert course.state == "finished" and course.telling == [0]


def test_what_a_student_with_trained_weights_reports_before_it_trains_is_learnt_from():
    candidates, policy = policy_of()
    new = candidates.pool(0)[0]
    slim = replace(new, recipe=replace(new.recipe, origin=Slice(Trained(new.recipe.model, "0" * 16))))
    for name, candidate in (("00000", new), ("00001", slim)):
        policy.begin(name, candidate)
        for epoch in range(4):
            policy.report(name, reported(candidate.recipe, epoch))
    assert [course.telling for course in policy._courses.values()] == [[1, 2, 3], [0, 1, 2, 3]]
    assert policy._heard == 3 + 4


def test_siblings_share_their_first_phases_and_begin_behind_them():
    candidates, policy = policy_of()
    base = next(c for c in candidates.pool(0) if c.params["method"] == "post_training_quantization")
    siblings = candidates.siblings(base, 0)
    assert siblings and {each.prefix for each in siblings} == {base.prefix}
    assert base.recipe.recipe_id not in {each.recipe.recipe_id for each in siblings}
    assert {each.params["method"] for each in siblings} == {"full_precision", "post_training_quantization"}
    told(policy, candidates, 0)
    policy.begin("00060", base)
    for epoch in range(EPOCHS + 1):
        policy.report("00060", reported(base.recipe, epoch))
    policy.end("00060", "finished")
    ids = {each.recipe.recipe_id for each in policy._rivals(61)[1]}
    assert ids & {each.recipe.recipe_id for each in siblings}
    other = candidates.of({**base.params, "learning_rate": base.params["learning_rate"] * 1.1})
    cached, new = policy._seen()._left([siblings[0], other], [None, None])
    assert cached < new / 3


def test_what_is_drawn_depends_on_seed_and_number_alone():
    one, other = (Candidates(space, PARAMETERS, seed, shared_prefix) for seed in (0, 1))
    first = [each.recipe.recipe_id for each in one.pool(5)]
    assert [
        each.recipe.recipe_id for each in Candidates(space, PARAMETERS, 0, shared_prefix).pool(5)
    ] == first
    assert [each.recipe.recipe_id for each in other.pool(5)] != first
    base = one.pool(5)[0]
    beside = [each.params for each in one.neighbours(base, 3)]
    assert beside == [each.params for each in one.neighbours(base, 3)] and beside


def test_another_sweeps_trials_are_learnt_from_and_not_repeated(tmp_path):
    candidates, policy = policy_of(designed=0, settings=Settings())
    study = open_study(tmp_path / "s.journal", "s", ("maximize", "minimize"))
    pool = candidates.pool(0)
    for number, candidate in enumerate(pool[:5]):
        last = reported(candidate.recipe, EPOCHS)
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if number < 4 else TrialState.FAIL,
                values=YARDSTICK.objectives(last) if number < 4 else None,
                params=dict(candidate.params),
                distributions=dict(candidate.distributions),
                user_attrs={EARLIER: f"s-0/0000{number}", "recipe_id": candidate.recipe.recipe_id},
            )
        )
    Beginnings(policy, candidates, study).earlier()
    found = policy.choose(5).candidate
    assert found.recipe.recipe_id not in {each.recipe.recipe_id for each in pool[:5]}
    view = policy._seen()
    assert len(view.front([]).worths) == 0
    _, near = view._predicted([pool[0]], [None])
    assert near[0] < 0.4


def test_nothing_ends_when_nothing_could_begin():
    candidates, policy = policy_of(last=8)
    told(policy, candidates, 0)
    running = [name for name, course in policy._courses.items() if course.state == "running"]
    assert [policy.goes_on(name) for name in running] == [""] * len(running)


def test_a_space_without_anything_new_is_said_to_be_at_its_end():
    one = {"bits": IntDistribution(1, 2)}

    def few(trial):
        quantizer = Uniform(trial.suggest_int("bits", 1, 2))
        return methods.post_training_quantization(
            methods.Setting(Digits(), Fresh(ConvNet()), EPOCHS), quantizer=quantizer, optimizer=AdamW(1e-3)
        )

    candidates = Candidates(few, one, 0, shared_prefix)
    policy = FreezeThaw(candidates, Measure(YARDSTICK), 0)
    for bits in (1, 2):
        policy.begin(f"0000{bits}", candidates.of({"bits": bits}))
    with pytest.raises(Unable, match="new"):
        policy.choose(2)


def test_how_far_a_training_is_goes_by_its_share():
    recipe = policy_of()[0].pool(0)[0].recipe
    assert recipe.epochs == EPOCHS
    alone, longest = (Candidate(recipe, {}, {}, outline_of(recipe), longest=most) for most in (0, EPOCHS))
    short = Candidate(recipe, {}, {}, outline_of(recipe), longest=4 * EPOCHS)
    for epoch in range(EPOCHS + 1):
        usual = math.log1p(epoch) / math.log1p(EPOCHS)
        assert alone.moment(epoch) == longest.moment(epoch) == usual
        assert short.moment(epoch) == math.log1p(4 * epoch) / math.log1p(4 * EPOCHS)
