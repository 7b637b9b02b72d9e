"""Drivers that are really killed, and what is left of their sweeps.

``RAYDUCE_KILLS=10 pytest tests/search/test_survival.py`` kills as often; the suite, for its time, less. Two
more kills come while the end is delivered, and the store is renamed between these.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from typer.testing import CliRunner

from rayduce.commands.app import app
from search.log.folder import SweepFolder
from search.problem import Problem
from search.store.store import open_store, own_database
from search.sweeps.records import records_of
from tests.stores import read_lines, write_lines
from trainables.metrics import quality_of

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("RAYDUCE_KILLS", "2"))
WAIT = 600  # seconds until a test gives up; nothing is asserted about time

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("survival")]


def driver(store, name, *arguments, **popen):
    """A driver of the small sweep, started."""
    command = [sys.executable, "-m", "tests.search.driver", str(store), name, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **popen.pop("env", {})}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen,
    )  # fmt: skip


def finish(process, code=0):
    """Wait for a driver that nobody disturbs."""
    out, errors = process.communicate(timeout=WAIT)
    assert process.returncode == code and "Traceback" not in errors, (process.returncode, out, errors)
    return out, errors


def until(condition, process):
    """Wait until ``condition`` holds or the process has ended."""
    deadline = time.monotonic() + WAIT
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines_of(folder):
    return folder.log.read_bytes().count(b"\n") if folder.log.exists() else 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A store in which two sweeps were started at once, ``calm`` and ``other``."""
    store = tmp_path_factory.mktemp("calm") / "store"
    store.mkdir()
    other = driver(store, "other", "--trials", "2")
    calm = driver(store, "calm")
    finish(other)
    finish(calm)
    return store


def test_two_sweeps_on_one_store_are_both_right(undisturbed):
    check_whole(undisturbed, "calm")
    check_whole(undisturbed, "other", trials=2)
    assert len(list((undisturbed / "teachers").glob("*.rdz"))) == 1, "trained once, though both needed it"
    calm, _ = summary(undisturbed, "calm")
    assert summary(undisturbed, "other")[0] == {key: calm[key] for key in ("00000", "00001")}


def with_teacher(undisturbed, path):
    """A store that has the teacher already."""
    path.mkdir()
    for name in ("teachers", "latency"):
        shutil.copytree(undisturbed / name, path / name)
    return path


def summary(store, name):
    """What does not depend on time: of each trial its recipe, quality and size; and the front."""
    events = SweepFolder(store, name).events()
    records = records_of(events, store, quality_of("accuracy"))
    assert all(record.state == "finished" for record in records.values()), records
    trials = {
        key: (r.recipe.recipe_id, r.metrics["validation_accuracy"], r.metrics["packed_bytes"])
        for key, r in records.items()
    }
    front = {key: r.metrics["accuracy"] for key, r in records.items() if "accuracy" in r.metrics}
    return trials, front


def runs_of(store):
    """All runs, as MLflow itself tells them."""
    client = MlflowClient(own_database(store))
    return client.search_runs([e.experiment_id for e in client.search_experiments()])


def check_whole(store, name, trials=8, epochs=4):
    """Every line of what must hold after a sweep that was disturbed and has finished."""
    folder = SweepFolder(store, name)
    events = folder.events()
    ends = Counter(e["run"] for e in events if e["kind"] == "end" and e["run"] and e["state"] != "stopped")
    assert ends == {f"{n:05d}": 1 for n in range(trials)}, "each ends exactly once"

    client = MlflowClient(own_database(store))
    runs = [run for run in runs_of(store) if run.data.tags["sweep"] == name]
    kinds = Counter(run.data.tags["rayduce.kind"] for run in runs)
    assert kinds == {"sweep": 1, "trial": trials}
    found = open_store(store).trials(name)
    assert sorted(found["trial_id"]) == [f"{n:05d}" for n in range(trials)]
    assert set(found["state"]) == {"finished"} and open_store(store).sweep(name).state == "finished"
    assert all(run.info.status == "FINISHED" for run in runs)
    for run in runs:
        if run.data.tags["rayduce.kind"] == "trial":
            history = client.get_metric_history(run.info.run_id, "validation_accuracy")
            taken = client.get_metric_history(run.info.run_id, "shared_epochs")
            first = int(taken[0].value) if taken else 1  # those before it another trial has reported
            assert sorted(m.step for m in history) == [0, *range(first, epochs + 1)], "each epoch once"
            assert {f.path for f in client.list_artifacts(run.info.run_id)} == {
                "predictions.json",
                "recipe.json",
                "student.rdz",
                "tensors.json",
            }
    tags = {run.info.run_id: run.data.tags for run in runs}
    front = {own["rayduce.trial_id"] for own in tags.values() if own.get("front") == "true"}
    assert front == summary(store, name)[1].keys(), "what MLflow marks was measured on the test split"
    registered = client.search_model_versions("name = 'rayduce-digits'")
    versions = Counter(version.run_id for version in registered if version.run_id in tags)
    assert versions and set(versions.values()) == {1}, "a student is registered once"
    assert {tags[run_id]["front"] for run_id in versions} == {"true"}

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = JournalStorage(JournalFileBackend(str(folder.journal)))
    states = [t.state.name for t in optuna.load_study(study_name=name, storage=journal).trials]
    assert states == ["COMPLETE"] * trials

    left = sorted(p.relative_to(folder.trials).as_posix() for p in folder.trials.rglob("*") if p.is_file())
    files = ("predictions.json", "student.rdz", "tensors.json")
    assert left == [f"{n:05d}/{file}" for n in range(trials) for file in files]
    assert not list(store.rglob("*.pkl")) and not folder.scratch.exists()


def disturb(how, process, folder, chance):
    """Disturb a running driver, and see that it ends as it should."""
    if how == "killed":
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return
    with pytest.raises(Problem, match="is running already, by process"), folder.claimed():
        pass
    process.send_signal(signal.SIGINT)
    if how == "interrupted":
        _, errors = process.communicate(timeout=WAIT)
        assert process.returncode == 130 and "Traceback" not in errors, errors
        runs = runs_of(folder.store)
        assert {run.info.status for run in runs} <= {"KILLED", "FINISHED"}, "nothing is left RUNNING"
        assert open_store(folder.store).sweep(folder.name).state == "stopped"
        return
    time.sleep(chance.uniform(0, 2.5))  # while trials end, while Ray does, or too late
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=WAIT)
    # The second may reach an interpreter that is ending already, and handles no signals any more.
    assert process.returncode in (130, -signal.SIGINT) and "Traceback" not in errors, errors


def test_a_driver_may_be_stopped_at_any_moment(undisturbed, tmp_path):
    """Killed, interrupted once and twice, again and again: the sweep ends as if nothing had been."""
    store, name = with_teacher(undisturbed, tmp_path / "store"), "calm"
    folder = SweepFolder(store, name)
    chance = random.Random(int(os.environ.get("RAYDUCE_KILL_SEED", "0")))
    ways = ["killed"] * KILLS + ["interrupted", "interrupted twice"]
    chance.shuffle(ways)
    for number, how in enumerate(ways):
        process = driver(store, name, *(["--resume"] if folder.log.exists() else []))
        if how == "killed" and chance.random() < 0.25:  # at any time since the start
            time.sleep(chance.uniform(0, 15))
        else:  # while trials run: these moments are the ones that hurt
            wanted = lines_of(folder) + chance.randint(3, 7)
            until(lambda wanted=wanted: lines_of(folder) >= wanted, process)
            time.sleep(chance.uniform(0, 0.5))
        assert process.poll() is None, f"it ended after {number} of {ways}: {process.communicate()}"
        disturb(how, process, folder, chance)
    finish(driver(store, name, "--resume"))
    check_whole(store, name)
    assert summary(store, name) == summary(undisturbed, "calm")


def ended(folder):
    """Whether the log has the sweep's end."""
    if not folder.log.exists():
        return False
    ends = [
        e["state"] for e in folder.events() if e["kind"] in ("again", "end") and not e["run"] and "state" in e
    ]
    return ends[-1:] == ["finished"]


def test_a_driver_may_be_killed_while_it_delivers(undisturbed, tmp_path):
    """Twice: with the end in the log and not in MLflow. ``resume`` sends what is lacking, the page too."""
    store, name = with_teacher(undisturbed, tmp_path / "store"), "calm"
    folder = SweepFolder(store, name)
    for number in range(2):
        process = driver(store, name, *(["--resume"] if folder.log.exists() else []), "--hold")
        until(lambda out=process.stdout: "held" in out.readline(), process)
        assert process.poll() is None and ended(folder)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert open_store(store).sweep(name).state == "running", "MLflow was not told"
        if number == 0:
            store = store.rename(tmp_path / "renamed")
            folder = SweepFolder(store, name)
    for told in ("MLflow has everything of calm", "The sweep calm has finished"):
        done = CliRunner().invoke(app, ["resume", name, "--store", str(store)])
        assert done.exit_code == 0 and told in done.output, done.output + done.stderr
    check_whole(store, name)
    assert summary(store, name) == summary(undisturbed, "calm")
    parent = next(run for run in runs_of(store) if run.data.tags["rayduce.kind"] == "sweep")
    files = {each.path for each in MlflowClient(own_database(store)).list_artifacts(parent.info.run_id)}
    assert files == {"front.csv", "front.html", "predictions.json", "settings.json"}


def test_a_finished_trial_without_its_student_is_left_out(undisturbed, tmp_path):
    """Its file is gone when the sweep goes on: that is told, and the rest is as it was."""
    store, name = tmp_path / "store", "calm"
    shutil.copytree(undisturbed, store)
    folder = SweepFolder(store, name)
    lines = read_lines(folder.log)
    last = max(number for number, line in enumerate(lines) if line["kind"] == "end" and line["run"])
    write_lines(folder.log, lines[: last + 1])  # killed when the last trial had ended
    (folder.trials / "00003" / "student.rdz").unlink()
    (folder.trials / "00005" / "student.rdz").write_bytes(b"damaged")
    out, _ = finish(driver(store, name, "--resume"))
    assert "say leaving out 2 trials whose students are lost: 00003, 00005" in out
    records = records_of(folder.events(), store, quality_of("accuracy"))
    lost = {key for key, record in records.items() if record.state == "failed"}
    assert lost == {"00003", "00005"} and "its student is lost: " in records["00003"].reason
    assert len([record for record in records.values() if record.state == "finished"]) == 6
    assert open_store(store).sweep(name).state == "finished"


def test_going_on_needs_a_sweep_that_can_go_on(undisturbed, tmp_path):
    def answer(*arguments):
        done = CliRunner().invoke(app, ["resume", *map(str, arguments), "--store", str(undisturbed)])
        assert "Traceback" not in done.output
        return done.exit_code, done.output + done.stderr

    code, text = answer("calm")
    assert code == 0 and "has finished" in text
    code, text = answer("nobody")
    assert code == 2 and "no sweep named 'nobody'; it has calm, other" in text
    nowhere = CliRunner().invoke(app, ["resume", "calm", "--store", str(tmp_path / "none")])
    assert nowhere.exit_code == 2 and "There is no store at" in nowhere.stderr
    store = with_teacher(undisturbed, tmp_path / "store")
    shutil.copytree(undisturbed / "sweeps", store / "sweeps")
    log = SweepFolder(store, "calm").log
    lines = read_lines(log)
    lines[0]["settings"]["data"] = "0" + lines[0]["settings"]["data"]
    write_lines(log, lines[:-4])
    done = CliRunner().invoke(app, ["resume", "calm", "--store", str(store)])
    assert done.exit_code == 2 and "give the right --data" in done.stderr
