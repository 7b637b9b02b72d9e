"""Who is ended early, and that searcher, tracker and store hear of it once."""

import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import ray
from optuna.distributions import IntDistribution
from ray.tune.schedulers import TrialScheduler

from search.clusters.machine import Machine
from search.objectives.budget import Budget
from search.objectives.yardstick import Yardstick
from search.options import Options
from search.sampling.journal import open_study
from search.sampling.searcher import Judge, OptunaSearcher
from search.stopping.halving import Rules
from search.stopping.scheduler import ParetoScheduler
from search.store.store import open_store
from search.sweeps.trial_events import TrialEvents
from search.sweeps.trials import TrialInputs, make_scheduler, run_trials
from search.tracking.tracker import SweepTracker
from tests.recipes import STUDENT
from trainables import methods
from trainables.metrics import quality_of
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.pruners import Saliency
from trainables.quantizers import Uniform
from trainables.recipe import canonical_json
from trainables.tasks import Digits
from trainables.training.trial_metrics import TrialSettings, settled

ACCURACY = quality_of("accuracy")
RANK = Rules(reduction=2, grace=1, chance=0.0, revive=True)


def recipe_of(epochs=4, bits=4, bucket_size=256, learning_rate=5e-3):
    return methods.post_training_quantization(
        methods.Setting(Digits(batch_size=128), Fresh(STUDENT), epochs),
        quantizer=Uniform(bits, bucket_size),
        optimizer=AdamW(learning_rate),
    )


def trial_of(name, recipe):
    return SimpleNamespace(config={"trial": name, "recipe": canonical_json(recipe)}, last_result={})


def result_of(epoch, accuracy, packed_bytes, **more):
    shown = {"epoch": epoch, "validation_accuracy": accuracy, "packed_bytes": packed_bytes}
    return {**shown, "state": "running", **more}


def scheduler_of(rules, costs=("packed_bytes",), limit=math.inf):
    return ParetoScheduler(
        ACCURACY, costs, rules, lambda recipe, result: "too large" if result["packed_bytes"] > limit else ""
    )


def over(budget):
    return lambda recipe, result: budget.sure_before_training(settled(recipe, result), ACCURACY)


def test_a_student_over_budget_does_not_train():
    scheduler, trial = scheduler_of(None, limit=1000), trial_of("00000", recipe_of())
    assert scheduler.on_trial_result(None, trial, result_of(0, 0.1, 1001)) == TrialScheduler.STOP
    scheduler.on_trial_complete(None, trial, result_of(0, 0.1, 1001))
    assert trial.last_result == {"state": "pruned", "reason": "too large"}
    other = trial_of("00001", recipe_of())
    assert scheduler.on_trial_result(None, other, result_of(0, 0.1, 1000)) == TrialScheduler.CONTINUE


def test_a_student_that_learns_its_size_is_judged_at_its_end():
    given = methods.Setting(Digits(batch_size=128), Fresh(STUDENT), 4)
    learned = methods.pseudo_quantization_noise(given)
    budget = Budget({"packed_bytes": 1000})
    scheduler = ParetoScheduler(ACCURACY, ("packed_bytes",), Rules(grace=1), over(budget))
    for number in range(12):  # small and good ones: a large bad one would have no prospect beside them
        for epoch in range(5):
            scheduler.learn(f"{number:05d}", recipe_of(), result_of(epoch, 0.2 * epoch + 0.1, 500))
    course = [result_of(epoch, 0.1, 5000) for epoch in range(4)]
    assert all(scheduler.learn("plain", recipe_of(), each) for each in course)
    assert not any(scheduler.learn("learned", learned, each) for each in course)
    late = result_of(0, 0.1, 5000, latency_ms=20.0)
    slow = ParetoScheduler(ACCURACY, (), None, over(Budget({"latency_ms": 10.0})))
    assert "20" in slow.learn("slow", learned, late)  # its network is what it is


def test_a_student_whose_channels_are_cut_is_judged_at_its_end():
    given = methods.Setting(Digits(batch_size=128), Fresh(STUDENT), 4)
    cut = methods.full_precision(replace(given, pruner=Saliency(by="channels")))
    tight = Budget({"packed_bytes": 1000, "latency_ms": 10.0, "macs": 500})
    scheduler = ParetoScheduler(ACCURACY, ("packed_bytes",), None, over(tight))
    large = result_of(0, 0.1, 9000, latency_ms=20.0, macs=600)
    assert scheduler.learn("cut", cut, large) == ""
    reason = scheduler.learn("whole", recipe_of(), large)
    assert "9,000 bytes" in reason and "20 ms" in reason and "multiply-adds are 600, 100 more" in reason


def test_without_rules_nobody_is_compared():
    scheduler = scheduler_of(None)
    for name, accuracy in (("00000", 0.9), ("00001", 0.1)):
        trial = trial_of(name, recipe_of())
        assert scheduler.on_trial_result(None, trial, result_of(1, accuracy, 500)) == TrialScheduler.CONTINUE


def test_a_dominated_student_ends_at_its_rung_and_a_failed_one_as_failed():
    scheduler = scheduler_of(RANK)
    first, second, third = (trial_of(f"0000{number}", recipe_of()) for number in range(3))
    assert scheduler.on_trial_result(None, first, result_of(1, 0.9, 500)) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, second, result_of(1, 0.8, 600)) == TrialScheduler.STOP
    scheduler.on_trial_complete(None, second, {})
    assert second.last_result["state"] == "pruned" and "number 2 of 2" in second.last_result["reason"]
    assert scheduler.on_trial_result(None, third, result_of(1, 0.7, 700)) == TrialScheduler.STOP
    scheduler.on_trial_error(None, third)
    scheduler.on_trial_complete(None, third, {"state": "failed"})
    assert third.last_result == {}


def test_what_is_known_only_at_first_stays_a_cost():
    scheduler = scheduler_of(RANK, ("packed_bytes", "latency_ms"))
    for name, latency, action in (
        ("00000", 2.0, "CONTINUE"),
        ("00001", 1.0, "CONTINUE"),
        ("00002", 3.0, "STOP"),
    ):
        trial = trial_of(name, recipe_of())
        scheduler.on_trial_result(None, trial, result_of(0, 0.1, 500, latency_ms=latency))
        assert scheduler.on_trial_result(None, trial, result_of(1, 0.5, 500)) == action
    unmeasured = trial_of("00003", recipe_of())
    assert scheduler.on_trial_result(None, unmeasured, result_of(1, 0.1, 900)) == TrialScheduler.CONTINUE


def test_telling_again_what_was_recorded_gives_the_same_decisions():
    reports = [
        (f"{n:05d}", epoch, 0.1 * (n % 7), 400 + 50 * (n % 5)) for n in range(12) for epoch in range(3)
    ]
    told = [scheduler_of(RANK) for _ in range(2)]
    for name, epoch, accuracy, size in reports:
        reasons = {s.learn(name, recipe_of(), result_of(epoch, accuracy, size)) for s in told}
        assert len(reasons) == 1


class Silent:
    def changed(self, records):
        pass


def test_pruned_trials_of_a_real_sweep_are_recorded_once_and_taken_up(ray_session, tmp_path, monkeypatch):
    good = recipe_of(3)
    worse = recipe_of(3, bits=6, learning_rate=1e-3)  # larger, and learns slowly
    worst = recipe_of(3, bits=7, learning_rate=1e-6)  # larger still, and learns nothing
    large = recipe_of(3, bits=8, bucket_size=32)
    order = [good, worse, large, worst]
    options = Options("s", 5, 0, tmp_path, f"sqlite:///{tmp_path}/mlflow.db", concurrency=1)
    tracker = SweepTracker(options.tracking_uri, tmp_path, "digits", "s")
    tracker.open({}, {"rayduce.metric": "accuracy"})
    told, ends, plain = Counter(), Counter(), tracker.finish_trial
    monkeypatch.setattr(
        tracker, "finish_trial", lambda name, *rest: (ends.update([name]), plain(name, *rest))
    )
    study = open_study(tmp_path / "s.journal", "s", ("maximize", "minimize"))
    tell = study.tell
    monkeypatch.setattr(
        study, "tell", lambda trial, *rest, **more: (told.update([trial.number]), tell(trial, *rest, **more))
    )
    scheduler = scheduler_of(RANK, limit=1500)
    searcher = OptunaSearcher(
        study,
        lambda trial: order[trial.suggest_int("which", 0, 3)],
        Judge(lambda r: [r["validation_accuracy"], r["packed_bytes"]]),
        trials=5,
        parameters={},
        starting_points=[{"which": number} for number in range(4)],
        revisits=scheduler,
    )
    events = TrialEvents(tracker, Silent(), Yardstick(ACCURACY))
    arrays = Digits().load(None)
    settings = TrialSettings(None, teacher_bytes=100_000, trials=tracker.folder.trials)
    inputs = TrialInputs(ray.put(arrays), settings)
    run_trials(searcher, scheduler, events, inputs, options, Machine("cpu", 1, 1.0, 0.0))
    tracker.finish_sweep("finished", {}, {}, {})
    tracker.close()

    records = list(events.records.values())
    assert [(r.state, r.metrics["epoch"]) for r in records] == [
        ("finished", 3),
        ("pruned", 1),
        ("pruned", 0),
        ("pruned", 1),
        ("pruned", 2),  # goes on with the second, which now is second of three, to the next rung
    ]
    assert "number 2 of 2" in records[1].reason and records[2].reason == "too large"
    assert "after epoch 2, it is number 2 of 2" in records[4].reason
    assert records[1].packed_file is None
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", *["PRUNED"] * 4]
    assert set(told.values()) == set(ends.values()) == {1} and len(told) == len(ends) == 5
    assert [trial.user_attrs.get("continues") for trial in study.trials] == [None] * 4 + ["00001"]
    logged = [event for event in tracker.folder.events() if event["run"] == "00004"]
    assert logged[0]["tags"]["continues"] == "00001"
    assert [event["step"] for event in logged if event["kind"] == "epoch"] == [1, 2]
    kept = {path.parent.name for path in tracker.folder.trials.glob("*/state.safetensors")}
    assert kept == {"00003", "00004"}  # until the sweep has finished
    opened = open_store(tmp_path, options.tracking_uri)
    trials = opened.trials("s")
    assert list(trials["state"]) == ["finished", *["pruned"] * 4]
    assert list(trials["reason"].fillna(""))[1:] == [record.reason for record in records[1:]]
    assert list(trials["front"]) == [True, *[False] * 4]


def test_a_real_sweep_of_few_recipes_ends_and_goes_on_to_nothing(ray_session, tmp_path):
    """36 trials of a space of two recipes; and once more, after all that it can do was done."""
    recipes = [recipe_of(1, bits=bits) for bits in (2, 4)]
    options = Options("s", 36, 0, tmp_path, f"sqlite:///{tmp_path}/mlflow.db", concurrency=1)
    arrays = ray.put(Digits().load(None))
    records = {}
    for resume in (False, True):
        tracker = SweepTracker(options.tracking_uri, tmp_path, "digits", "s")
        tracker.open({}, {"rayduce.metric": "accuracy"}, resume=resume)
        searcher = OptunaSearcher(
            open_study(tmp_path / "s.journal", "s", ("maximize", "minimize"), resume=resume),
            lambda trial: recipes[trial.suggest_int("which", 0, 1)],
            Judge(lambda r: [r["validation_accuracy"], r["packed_bytes"]]),
            trials=36,
            parameters={"which": IntDistribution(0, 1)},
        )
        events = TrialEvents(tracker, Silent(), Yardstick(ACCURACY), records=records)
        settings = TrialSettings(None, teacher_bytes=100_000, trials=tracker.folder.trials)
        machine = Machine("cpu", 1, 1.0, 0.0)
        run_trials(searcher, scheduler_of(None), events, TrialInputs(arrays, settings), options, machine)
        records = events.records
        assert searcher.exhausted
        assert sorted(r.recipe.quantizer.bits for r in records.values()) == [2, 4]
        assert {record.state for record in records.values()} == {"finished"}
        tracker.close()


def test_the_command_line_chooses(tmp_path):
    options = Options("s", 1, 0, tmp_path, "")
    recipe = recipe_of(12)
    for name, ends in (("pareto", True), ("revive", True), ("none", False)):
        scheduler = make_scheduler(options.yardstick(ACCURACY), replace(options, scheduler=name))
        reasons = []
        for number in range(40):
            for epoch in range(12):
                shown = result_of(epoch, 0.9 - 0.01 * number, 500 + number)
                reasons.append(scheduler.learn(f"{number:05d}", recipe, shown))
                if reasons[-1]:
                    scheduler.ended(f"{number:05d}", "pruned")
                    break
        assert any(reasons) == ends
        assert (scheduler.promising() is not None) == (name == "revive")
