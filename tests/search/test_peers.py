"""Students that are trained together: each is a result of its own, whatever is killed or lost on the way."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from optuna.trial import TrialState

import trainables.trainable
from search.log.events import History, check_event
from search.objectives.yardstick import Yardstick
from search.sampling.continuing import disagreement
from search.sampling.proposals import RECIPE as RECIPE_ID
from search.sampling.searcher import Judge
from search.store.mlflow_client import TRAINED_WITH_TAG
from search.store.store import open_store
from search.sweeps.measuring import choose_front
from search.sweeps.records import lost_trials, records_of, replay
from search.sweeps.trial_events import TrialEvents
from search.tracking.record import drawn
from search.tracking.tracker import SweepTracker
from tests.recipes import STUDENT
from tests.stores import copy_blank, make_blank
from trainables import methods
from trainables.methods.together import Companions
from trainables.metrics import quality_of
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.recipe import canonical_json
from trainables.shipping.evaluation import evaluate_file
from trainables.shipping.packed_file import unpack
from trainables.tasks import Digits
from trainables.trainable import Copy, StudentTrial
from trainables.training.learner import Diverged, Learner
from trainables.training.trial_metrics import TrialSettings

ACCURACY = quality_of("accuracy")
YARDSTICK = Yardstick(ACCURACY, {"validation_accuracy": 0.99, "packed_bytes": 100_000.0})


def recipe_of(count=3, bits=4):
    given = methods.Setting(Digits(batch_size=256), Fresh(STUDENT), epochs=1, seed=3)
    return methods.mutual_learning(
        given, companions=Companions(count), quantizer=Uniform(bits), optimizer=AdamW(0.01)
    )


RECIPE = recipe_of()


class Local(StudentTrial):
    def setup(self, config):
        folder = config.pop("folder")
        settings = TrialSettings(None, teacher_bytes=100_000, trials=folder)
        measured = config.pop("measured", {})
        super().setup(config, Digits().load(None), {}, [], settings, measured)


def last_result(recipe, folder, **config):
    """That of a trial that trains in this process."""
    torch.set_num_threads(1)
    trial = Local({"recipe": canonical_json(recipe), "trial": "00000", "folder": folder, **config})
    result = trial.step()
    while not result["done"]:
        result = trial.step()
    return result


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trials")
    return folder / "00000", last_result(RECIPE, folder)


def files_in(folder):
    return [(folder / place / "student.rdz").read_bytes() for place in (".", "2", "3")]


def test_each_student_has_a_file_and_a_result_of_what_is_in_it(finished):
    folder, result = finished
    task = Digits().open(Digits().load(None), torch.device("cpu"), 0)
    results = [result, *result["peers"]]
    assert len(results) == 3
    for recipe, found, file in zip(RECIPE.results, results, files_in(folder), strict=True):
        assert unpack(file).recipe == recipe
        assert found["packed_bytes"] == len(file) and found["state"] == "finished"
        assert found["compression_ratio"] == 100_000 / len(file)
        assert found["validation_accuracy"] == evaluate_file(file, task, "validation")["accuracy"]
        assert found["epoch"] == 1 and found["seconds"] == result["seconds"]
        assert found["parameters"] > 0 and found["macs"] > 0
    assert len({each["macs"] for each in results}) == 3


def test_a_students_own_recipe_makes_it_again(finished, tmp_path):
    second = RECIPE.results[1]
    last_result(second, tmp_path)
    assert (tmp_path / "00000" / "student.rdz").read_bytes() == files_in(finished[0])[1]


def copy_of(finished, tmp_path):
    folder = tmp_path / "00000"
    for place, file in zip((".", "2", "3"), files_in(finished[0]), strict=True):
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / "student.rdz").write_bytes(file)
    return folder


def comparable(result):
    return {key: value for key, value in result.items() if key not in ("seconds", "peers", "loss")}


def test_a_trial_that_nobody_heard_of_is_answered_from_its_files(finished, tmp_path):
    copy_of(finished, tmp_path)
    result = last_result(RECIPE, tmp_path)
    assert comparable(result) == comparable(finished[1])
    assert list(map(comparable, result["peers"])) == list(map(comparable, finished[1]["peers"]))


def test_a_student_whose_file_is_damaged_is_lost_alone(finished, tmp_path):
    folder = copy_of(finished, tmp_path)
    (folder / "2" / "student.rdz").write_bytes(b"damaged")
    (folder / "3" / "student.rdz").write_bytes(files_in(finished[0])[1])  # another one's
    result = last_result(RECIPE, tmp_path)
    assert result["state"] == "finished" and "a student is left out" in result["reason"]
    assert [(each["state"], each["reason"]) for each in result["peers"]] == [
        ("failed", "its file was not written, or is lost")
    ] * 2
    assert (folder / "2" / "student.rdz.damaged").read_bytes() == b"damaged"
    assert (folder / "3" / "student.rdz.damaged").is_file()


def test_a_student_that_diverged_is_lost_alone(tmp_path, monkeypatch):
    ship = Learner.ship

    def shipped(learner, epoch):
        if learner.recipe == RECIPE.results[2]:
            raise Diverged("a weight is nan")
        return ship(learner, epoch)

    monkeypatch.setattr(Learner, "ship", shipped)
    result = last_result(RECIPE, tmp_path)
    assert [each["state"] for each in result["peers"]] == ["finished", "failed"]
    assert result["state"] == "finished" and result["peers"][1]["reason"] == "a weight is nan"
    assert not (tmp_path / "00000" / "3").exists()


def test_students_of_an_earlier_sweep_come_together(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(trainables.trainable.ray, "get", lambda reference: reference)
    results = [finished[1], *finished[1]["peers"]]
    copies = {
        recipe.recipe_id: Copy(f"old/0000{number}", result, file)
        for number, (recipe, result, file) in enumerate(
            zip(RECIPE.results, results, files_in(finished[0]), strict=True)
        )
    }
    whole = last_result(RECIPE, tmp_path / "whole", measured=copies)
    assert files_in(tmp_path / "whole" / "00000") == files_in(finished[0])
    assert [each["copied_from"] for each in (whole, *whole["peers"])] == [
        "old/00000",
        "old/00001",
        "old/00002",
    ]
    del copies[RECIPE.results[1].recipe_id]
    less = last_result(RECIPE, tmp_path / "less", measured=copies)
    assert [each["state"] for each in less["peers"]] == ["failed", "finished"]
    assert "trained with its own is not there any more" in less["peers"][0]["reason"]
    assert not (tmp_path / "less" / "00000" / "2").exists()


class Silent:
    def changed(self, records):
        pass


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    return make_blank(tmp_path_factory.mktemp("blank") / "mlflow.db")


class Sweep:
    """A sweep whose one trial has finished; opened again, what a driver after a kill is."""

    def __init__(self, folder, finished, resume=False):
        self.tracker = SweepTracker(f"sqlite:///{folder}/mlflow.db", folder, "digits", "s")
        before = self.tracker.folder.events()
        self.tracker.open({}, {"rayduce.metric": "accuracy"}, resume=resume)
        records = records_of(before, folder, ACCURACY)
        self.events = TrialEvents(self.tracker, Silent(), YARDSTICK, records=records)
        self.result = finished[1] | {"latency_ms": 0.5}
        place = self.tracker.folder.trials / "00000"
        for number, file in zip((".", "2", "3"), files_in(finished[0]), strict=True):
            (place / number).mkdir(parents=True, exist_ok=True)
            (place / number / "student.rdz").write_bytes(file)
            (place / number / "tensors.json").write_text("{}")
        config = {"recipe": canonical_json(RECIPE), "trial": "00000"}
        self.trial = SimpleNamespace(trial_id="ray", config=config, error_file=None)
        self.events.on_step_begin(0, [self.trial])
        self.events.on_trial_start(0, [], self.trial)

    def end(self):
        self.events.on_trial_result(0, [], self.trial, self.result)
        self.events.ended("ray", self.result, False)
        self.events.halt.check()


KEYS = ["00000", "00000.2", "00000.3"]


def told(tracker):
    return [(event["kind"], event["run"]) for event in tracker.folder.events() if event["run"]]


def test_every_student_is_logged_before_the_end_of_its_trial(blank, finished, tmp_path):
    sweep = Sweep(copy_blank(blank, tmp_path), finished)
    sweep.end()
    sweep.events.ended("ray", sweep.result, False)  # told twice
    assert [each for each in told(sweep.tracker) if each[0] != "note"] == [
        ("start", "00000"),
        ("epoch", "00000"),
        *((kind, key) for key in KEYS[1:] for kind in ("start", "epoch", "end")),
        ("end", "00000"),
    ]
    records = sweep.events.records
    assert {key: record.state for key, record in records.items()} == dict.fromkeys(KEYS, "finished")
    assert [records[key].recipe for key in KEYS] == list(RECIPE.results)
    assert list(drawn(records)) == ["00000"]
    assert records_of(sweep.tracker.folder.events(), tmp_path, ACCURACY) == records
    assert set(choose_front(records, YARDSTICK)) <= set(KEYS)
    assert {key for key, record in records.items() if record.front} == set(choose_front(records, YARDSTICK))
    sweep.tracker.close()
    store = open_store(tmp_path)
    rows = store.trials("s").set_index("trial_id")
    assert sorted(rows.index) == KEYS and rows["recipe_id"].nunique() == 3
    assert rows.loc["00000.2", "trained_with"] == "00000" and rows["trained_with"].isna()["00000"]
    for key, file in zip(KEYS, files_in(finished[0]), strict=True):
        assert store.download(rows.loc[key, "run_id"], "student.rdz") == file
        assert rows.loc[key, "packed_bytes"] == len(file)
    assert "quantizer.bits" in store.parameters(store.sweep("s")).columns
    assert not any(name.startswith("peers.") for name in store.parameters(store.sweep("s")).columns)


@pytest.mark.parametrize("noted", [0, 1, 2])
def test_a_driver_killed_between_two_of_them_leaves_nothing_twice(blank, finished, tmp_path, noted):
    """Killed after it began to note a student: what it had noted stays, and the rest is noted later."""
    folder = copy_blank(blank, tmp_path)
    first = Sweep(folder, finished)
    first.events.on_trial_result(0, [], first.trial, first.result)
    place = first.tracker.folder.trials / "00000"
    own = first.events.records["00000"]
    for number in range(2, 2 + noted):
        peer = first.result["peers"][number - 2]
        first.events._finish_peer(own, number, peer, place / str(number) / "student.rdz")
    killed, first.tracker._end = first.tracker._end, lambda *rest, **more: 1 / 0
    if noted < 2:
        with pytest.raises(ZeroDivisionError):
            first.events._finish_peer(own, 2 + noted, first.result["peers"][noted], place / "x")
    first.tracker._end = killed
    first.tracker.abandon()
    again = Sweep(folder, finished, resume=True)
    again.end()
    ends = [run for kind, run in told(again.tracker) if kind == "end"]
    starts = [run for kind, run in told(again.tracker) if kind == "start"]
    assert sorted(ends) == sorted(starts) == KEYS and ends[-1] == "00000"
    assert again.events.records["00000.3"].packed_file.read_bytes() == files_in(finished[0])[2]
    assert {record.state for record in again.events.records.values()} == {"finished"}
    again.tracker.close()
    assert sorted(open_store(folder).trials("s")["trial_id"]) == KEYS


def test_a_student_of_a_training_that_fails_after_all_has_failed(blank, finished, tmp_path):
    folder = copy_blank(blank, tmp_path)
    first = Sweep(folder, finished)
    first.tracker._end = lambda *rest, **more: 1 / 0
    with pytest.raises(ZeroDivisionError):
        first.events._finish_peer(first.events.records["00000"], 2, first.result["peers"][0], tmp_path)
    first.tracker.abandon()
    again = Sweep(folder, finished, resume=True)
    again.result = {"epoch": 0, "state": "failed", "reason": "no memory"}
    again.events.ended("ray", again.result, False)
    assert {record.state for record in again.events.records.values()} == {"failed"}
    assert "has not finished" in again.events.records["00000.2"].reason
    again.tracker.close()


def test_what_is_drawn_and_what_ends_early_knows_trials_alone(blank, finished, tmp_path):
    sweep = Sweep(copy_blank(blank, tmp_path), finished)
    sweep.end()
    heard = []
    hearer = SimpleNamespace(
        learn=lambda name, recipe, result: heard.append(name),
        begin=lambda name, recipe: None,
        ended=lambda name, state: None,
        take_up=heard.append,
    )
    replay(sweep.tracker.folder.events(), hearer)
    assert set(heard) == {"00000"}
    records = sweep.events.records
    judge = Judge(lambda result: [math.nan])
    attributes = {RECIPE_ID: RECIPE.recipe_id}
    kept = [SimpleNamespace(number=0, user_attrs=attributes, state=TrialState.RUNNING)]
    assert disagreement(kept, drawn(records), judge) == ""
    assert disagreement(kept, records, judge) == "it lacks the trial 00000.2"
    study = SimpleNamespace(get_trials=lambda deepcopy: [])
    assert lost_trials(records, study) == {}
    sweep.tracker.close()  # delivers the file
    records["00000.2"].packed_file.unlink()
    assert list(lost_trials(records, study)) == ["00000.2"]


@pytest.mark.parametrize(
    ("run", "own"),
    [("00000.1", "00000"), ("00000.3", "00001"), ("x", "00000"), ("00000.3", ""), ("00000", "00000")],
)
def test_a_log_that_names_others_is_refused(run, own):
    history = History("s")
    tags = {"rayduce.kind": "sweep", "sweep": "s", "study": "digits", "rayduce.metric": "accuracy"}
    history.add(
        check_event(
            {
                "kind": "open",
                "run": "",
                "time": 1,
                "name": "s",
                "study": "digits",
                "params": {},
                "tags": tags,
                "settings": {},
            }
        )
    )
    start = {"kind": "start", "name": "n", "params": {}, "recipe": {}}
    common = {"rayduce.kind": "trial", "sweep": "s"}
    history.add(
        check_event({**start, "run": "00000", "time": 2, "tags": {**common, "rayduce.trial_id": "00000"}})
    )
    beside = {**common, "rayduce.trial_id": "00000.2", TRAINED_WITH_TAG: "00000"}
    history.add(check_event({**start, "run": "00000.2", "time": 3, "tags": beside}))
    with pytest.raises(ValueError, match=r"trained with|started already"):
        wrong = {**common, "rayduce.trial_id": run, TRAINED_WITH_TAG: own}
        history.add(check_event({**start, "run": run, "time": 4, "tags": wrong}))
