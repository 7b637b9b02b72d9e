"""What a driver that goes on makes of trials of which something is gone."""

from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.objectives.budget import Budget
from search.objectives.yardstick import Yardstick
from search.store.mlflow_client import StoreError
from search.sweeps.records import lost_trials, records_of, replay
from search.sweeps.trial_events import TrialEvents
from search.tracking.record import Record
from search.tracking.tracker import SweepTracker
from search.tracking.trained import BEGINNING
from tests.recipes import STUDENT
from tests.search.small_sweep import Silent
from trainables import methods
from trainables.metrics import quality_of
from trainables.origins import Fresh
from trainables.recipe import canonical_json
from trainables.shipping.evaluation import ship
from trainables.tasks import Digits

ACCURACY = quality_of("accuracy")
RECIPE = methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=1))


def study(*states):
    found = optuna.create_study()
    for state in states:
        found.add_trial(create_trial(state=state, value=1.0 if state == TrialState.COMPLETE else None))
    return found


@pytest.fixture
def finished(tmp_path):
    """A finished trial with its student."""
    path = tmp_path / "student.rdz"
    path.write_bytes(ship(RECIPE, RECIPE.build(), None, {}))
    return Record("00000", RECIPE, "finished", packed_file=path)


COMPLETE = study(TrialState.COMPLETE)


def test_a_trial_with_its_student_is_not_lost(finished):
    assert lost_trials({"00000": finished}, COMPLETE) == {}


def test_a_finished_trial_needs_its_student(finished):
    path = finished.packed_file
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "its student is lost: " in lost_trials({"00000": finished}, COMPLETE)["00000"]
    path.unlink()
    assert "its student is lost: cannot read" in lost_trials({"00000": finished}, COMPLETE)["00000"]
    other = methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=2))
    path.write_bytes(whole)
    finished.recipe = other
    assert "its student is another one" in lost_trials({"00000": finished}, COMPLETE)["00000"]
    finished.packed_file = None
    assert "names no file" in lost_trials({"00000": finished}, COMPLETE)["00000"]


def test_what_optuna_hands_out_again_goes_on_and_what_it_does_not_is_lost():
    records = {
        f"{n:05d}": Record(f"{n:05d}", RECIPE, state) for n, state in enumerate(["running", "stopped"])
    }
    assert lost_trials(records, study(TrialState.RUNNING, TrialState.RUNNING)) == {}
    lost = lost_trials(records, study(TrialState.RUNNING, TrialState.COMPLETE))
    assert lost == {"00001": "its end was lost with the end of the sweep's log"}
    pruned = {"00000": Record("00000", RECIPE, "pruned"), "00001": Record("00001", RECIPE, "failed")}
    assert lost_trials(pruned, study(TrialState.PRUNED, TrialState.FAIL)) == {}


def test_costs_that_end_trials_early_are_logged_from_the_first_report_so_that_a_sweep_goes_on(tmp_path):
    tracker = SweepTracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path, "digits", "aims")
    tracker.open({}, {"rayduce.metric": "accuracy"})
    yardstick = Yardstick(ACCURACY, {}, Budget({"ram_bytes": 4096}), "onnx_bytes", ("macs",))
    events = TrialEvents(tracker, Silent(), yardstick)
    config = {"recipe": canonical_json(RECIPE), "trial": "00000"}
    trial = SimpleNamespace(trial_id="ray", config=config, error_file=None)
    events.on_trial_start(0, [], trial)
    measured = {"onnx_bytes": 9000, "ram_bytes": 2048, "macs": 12_000, "latency_ms": 0.25}
    shown = {"validation_accuracy": 0.5, "packed_bytes": 8000, "seconds": 1.0, "state": "running"}
    events.on_trial_result(0, [], trial, {**shown, **measured, "epoch": 0})
    events.on_trial_result(0, [], trial, {**shown, "epoch": 1, "loss": 0.5})
    tracker.flush()
    heard = []

    class Hearer:
        def begin(self, name, recipe):
            assert (name, recipe) == ("00000", RECIPE)

        def learn(self, name, recipe, result):
            heard.append(result)

    replay(tracker.folder.events(), Hearer())
    del measured["latency_ms"], shown["state"]  # which nobody asked for
    done = {"epoch": 1, "loss": 0.5, "trained": 1 / RECIPE.epochs}
    assert heard == [{**shown, **measured, "epoch": 0, "trained": BEGINNING}, {**shown, **done}]
    tracker.close()


def test_a_recipe_that_is_none_is_told(tmp_path):
    start = {
        "kind": "start", "run": "00000", "time": 1, "name": "x", "params": {}, "tags": {},
        "recipe": {"type": "X"},
    }  # fmt: skip
    with pytest.raises(
        StoreError, match=r"recipe of the trial 00000 that this version cannot read: .*unknown"
    ):
        records_of([start], tmp_path, quality_of("accuracy"))


def test_a_failed_trial_keeps_its_whole_traceback(tmp_path):
    tracker = SweepTracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path, "digits", "fails")
    tracker.open({}, {"rayduce.metric": "accuracy"})
    events = TrialEvents(tracker, Silent(), Yardstick(ACCURACY, {}))
    error = tmp_path / "error.txt"
    error.write_text('\x1b[36mray::run()\x1b[39m\n  File "net.py", line 3\nOSError: http://a:b@c/d\n')
    whole = "Traceback (most recent call last):\nValueError: no"
    for name, file, result in (
        ("00000", None, {"epoch": 0, "state": "failed", "reason": "ValueError: no", "traceback": whole}),
        ("00001", str(error), {}),
        ("00002", None, {}),
    ):
        config = {"recipe": canonical_json(RECIPE), "trial": name}
        trial = SimpleNamespace(trial_id=name, config=config, error_file=file)
        events.on_step_begin(0, [trial])
        events.on_trial_start(0, [], trial)
        events.ended(name, result, error=not result)
    tracker.close()
    kept = {path.parent.name: path.read_text() for path in tracker.folder.trials.glob("*/traceback.txt")}
    assert kept == {"00000": whole, "00001": 'ray::run()\n  File "net.py", line 3\nOSError: http://***@c/d'}
    assert events.records["00001"].reason == "OSError: http://***@c/d"
    delivered = {path.read_text() for path in (tmp_path / "artifacts").rglob("traceback.txt")}
    assert delivered == set(kept.values())
