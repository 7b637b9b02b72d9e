"""What a driver that goes on makes of trials of which something is gone."""

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.store.mlflow_client import StoreError
from search.sweeps.records import lost_trials, records_of
from search.tracking.record import Record
from tests.recipes import STUDENT
from trainables import methods
from trainables.metrics import quality_of
from trainables.origins import Fresh
from trainables.shipping.evaluation import ship
from trainables.tasks import Digits

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


def test_a_recipe_that_is_none_is_told(tmp_path):
    start = {
        "kind": "start", "run": "00000", "time": 1, "name": "x", "params": {}, "tags": {},
        "recipe": {"type": "X"},
    }  # fmt: skip
    with pytest.raises(
        StoreError, match=r"recipe of the trial 00000 that this version cannot read: .*unknown"
    ):
        records_of([start], tmp_path, quality_of("accuracy"))
