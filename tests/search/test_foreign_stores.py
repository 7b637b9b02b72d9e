"""A store, a log and a database of MLflow's that come from somebody else."""

import os
import sqlite3
from urllib.parse import quote

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from rayduce.commands.app import app
from search.log import events
from search.log.event_log import read_log
from search.log.events import LATEST
from search.log.folder import SweepFolder
from search.problem import Problem
from search.sampling.samplers import CONTINUES
from search.store.mlflow_client import StoreError
from search.store.store import own_database
from search.sweeps.resume import find_sweep
from tests.search.small_sweep import small_sweep
from tests.stores import FACTS, RECIPE, kept, read_lines, settings_of, tracker, write_lines

NAME = "digits-1"
TAGS = {"rayduce.metric": "accuracy"}


@pytest.fixture(autouse=True)
def without_environment(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def log(folder):
    """Of a sweep with one trial, ended; nothing of it is in MLflow any more."""
    sweep = tracker(folder, NAME)
    sweep.open({}, TAGS, settings=settings_of(NAME))
    sweep.start_trial("00000", "qd", RECIPE, FACTS)
    sweep.log_epoch("00000", 1, {"loss": 0.5})
    sweep.finish_trial("00000", "finished", {}, {}, kept(sweep, "00000", {"student.rdz": b"student"}))
    described = {"aliases": {"best": "00000"}, "descriptions": {"00000": "x"}}
    sweep.finish_sweep("finished", {}, {}, {}, **described)
    sweep.flush()
    sweep.abandon()
    return sweep.folder.log


def run(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join((done.output + done.stderr).split())


OPEN, START, EPOCH, END, FINISH = range(5)
WRONG = [
    (OPEN, "kind", "shut"),
    (OPEN, "kind", ["open"]),
    (OPEN, "name", "digits-2"),
    (OPEN, "study", "../digits"),
    (OPEN, "study", "mnist"),
    (OPEN, "params", {"trials": 4}),
    (OPEN, "tags", {}),
    (OPEN, "settings", []),
    (OPEN, "settings", {"options": {}}),
    (OPEN, "settings", settings_of("../../elsewhere")),
    (OPEN, "settings", settings_of(NAME, tracking_uri=7)),
    (OPEN, "settings", settings_of(NAME, tracking_uri="ftp://example.org")),
    (OPEN, "settings", settings_of(NAME) | {"study": {"name": "digits", "epochs": "many"}}),
    (OPEN, "settings", settings_of(NAME) | {"data": "no hash"}),
    (OPEN, "time", "now"),
    (START, "run", "../00000"),
    (START, "run", "0' or '1'='1"),
    (START, "run", ""),
    (START, "run", 5),
    (START, "name", None),
    (START, "recipe", "Recipe"),
    (START, "tags", {"rayduce.kind": "sweep"}),
    (EPOCH, "time", 0),
    (EPOCH, "time", -5),
    (EPOCH, "time", True),
    (EPOCH, "time", LATEST + 1),
    (EPOCH, "time", 1e300),
    (EPOCH, "step", 1.5),
    (EPOCH, "step", -1),
    (EPOCH, "step", 10**400),
    (EPOCH, "metrics", {"loss": "low"}),
    (EPOCH, "metrics", {"loss": True}),
    (EPOCH, "metrics", {"loss": None}),
    (EPOCH, "metrics", {"loss": 10**400}),
    (EPOCH, "metrics", [0.5]),
    (EPOCH, "metrics", "loss"),
    (END, "state", "done"),
    (END, "state", ["finished"]),
    (END, "tags", {"mlflow.parentRunId": "0" * 32}),
    (END, "tags", {"rayduce.trial_id": "00001"}),
    (END, "tags", {"sweep": "other"}),
    (END, "tags", {"reason": ["why"]}),
    (END, "extra", 1),
    (FINISH, "aliases", {"production": "00000"}),
    (FINISH, "aliases", {"best": "00009"}),
    (FINISH, "aliases", {"best": 0}),
    (FINISH, "descriptions", {}),
    (FINISH, "descriptions", {"00000": 1}),
    *(
        (END, "files", {name: "trials/digits-1/00000/student.rdz"})
        for name in ("", ".", "..", "../x", "/etc/x", "a/b", "a\\b", "%2e%2e", "a\0", "~", "-x", "\udce9")
    ),
    *(
        (END, "files", {"student.rdz": path})
        for path in (
            "mlflow.db", "trials/digits-2/00000/student.rdz", "trials/digits-1/../../x", "/etc/passwd",
            "sweeps/digits-1", "sweeps/digits-1/", "trials//digits-1/x", "trials/digits-1/%2e%2e/x",
            "../trials/digits-1/x", "teachers/digits-1/x", "trials/digits-1/a\\b", "trials/digits-1/a\0", 5,
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("number", "field", "value"), WRONG)
def test_what_an_event_cannot_say_is_refused_where_it_is_read(log, number, field, value):
    changed = read_lines(log)
    changed[number][field] = value
    write_lines(log, changed)
    with pytest.raises(StoreError, match=r"^The log .*events\.jsonl is damaged at byte \d+: ") as caught:
        SweepFolder(log.parents[2], NAME).events()
    assert len(str(caught.value)) < 700 and str(caught.value).isprintable()


@pytest.mark.parametrize("field", ["kind", "run", "time", "name", "study", "params", "tags", "settings"])
def test_a_field_that_is_missing_is_told(log, field):
    changed = read_lines(log)
    del changed[0][field]
    write_lines(log, changed)
    with pytest.raises(StoreError, match="damaged at byte 0"):
        read_log(log, NAME)


ORDERS = {
    "a trial twice": [0, 1, 1, 2, 3, 4],
    "a trial that never started": [0, 2, 3, 4],
    "no beginning": [1, 2, 3, 4],
    "two beginnings": [0, 0, 1, 2, 3, 4],
}


@pytest.mark.parametrize("name", ORDERS)
def test_events_that_cannot_follow_one_another_are_told(log, name):
    lines = read_lines(log)
    write_lines(log, [lines[number] | {"time": time} for time, number in enumerate(ORDERS[name])])
    with pytest.raises(StoreError, match="damaged at byte"):
        read_log(log, NAME)


def test_the_log_as_it_was_written_is_read(log):
    write_lines(log, read_lines(log))
    assert [event["kind"] for event in read_log(log, NAME).events] == ["open", "start", "epoch", "end", "end"]
    assert events._CONTINUES == CONTINUES


def test_a_log_reaches_no_other_folder(log, folder, tmp_path):
    """It wants to have a file of ours overwritten, and a private one sent away."""
    private = tmp_path / "private"
    private.write_text("secret")
    lines = read_lines(log)
    lines[END]["files"] = {"../../../../private": "trials/digits-1/00000/student.rdz", "x": "../../private"}
    write_lines(log, lines)
    code, told = run("deliver", NAME, "--store", folder)
    assert code == 2 and "is damaged at byte" in told
    assert private.read_text() == "secret"


def artifacts(folder):
    client = MlflowClient(own_database(folder))
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    trial = next(run for run in runs if "rayduce.trial_id" in run.data.tags)
    return trial, {each.path for each in client.list_artifacts(trial.info.run_id)}


@pytest.mark.parametrize("what", ["file", "trial's folder", "pipe"])
def test_links_out_of_the_sweeps_folders_are_not_followed(log, folder, tmp_path, what):
    private = tmp_path / "private"
    private.mkdir()
    (private / "student.rdz").write_text("secret")
    student = SweepFolder(folder, NAME).trials / "00000" / "student.rdz"
    student.unlink()
    if what == "file":
        student.symlink_to(private / "student.rdz")
    elif what == "pipe":
        os.mkfifo(student)
    else:
        student.parent.rmdir()
        student.parent.symlink_to(private)
    for file in folder.glob("artifacts/*/*/artifacts/*"):
        file.unlink()
    (log.parent / "delivered.json").unlink()
    code, told = run("deliver", NAME, "--store", folder, "--seconds", "5")
    assert code == 2 and "lacks the file student.rdz" in told
    assert "is a link" in told or "no regular file" in told
    trial, files = artifacts(folder)
    assert files == {"recipe.json"} and trial.info.status == "FINISHED", "the rest goes on"


@pytest.mark.parametrize("place", ["sweeps", "sweeps/digits-1", "sweeps/digits-1/lock", "trials/digits-1"])
def test_a_sweep_whose_folders_are_links_is_refused(log, folder, tmp_path, place):
    victim = tmp_path / "victim"
    (folder / place).rename(victim) if (folder / place).exists() else victim.write_text("mine")
    (folder / place).symlink_to(victim)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for command in ("deliver", "resume"):
        code, told = run(command, NAME, "--store", folder)
        assert code == 2 and "is a link" in told
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_store_itself_may_be_a_link(log, folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    (log.parent / "delivered.json").unlink()
    assert run("deliver", NAME, "--store", tmp_path / "link")[0] == 0


@pytest.mark.parametrize(
    "place", ["{outside}", "{outside}/rayduce-digits/{run}/artifacts/x", "{outside}/x/{run}/artifacts", "/"]
)
def test_mlflows_database_does_not_say_where_files_are_written(log, folder, tmp_path, place):
    outside = tmp_path / "outside"
    outside.mkdir()
    trial, _ = artifacts(folder)
    uri = "file://" + quote(place.format(outside=outside, run=trial.info.run_id))
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (uri, trial.info.run_id))
    database.close()
    (log.parent / "delivered.json").unlink()
    code, told = run("deliver", NAME, "--store", folder, "--seconds", "5")
    assert code == 2 and "its files would lie in" in told
    assert not list(outside.rglob("*"))


KEPT = "http://tracker.example.org:5000"


def named_only_in_the_log(log, **options):
    lines = read_lines(log)
    lines[OPEN]["settings"] = settings_of(NAME, **options)
    write_lines(log, lines)


@pytest.mark.parametrize("uri", [KEPT, "sqlite:////tmp/else where/mlflow.db", "http://a/$(touch x)"])
@pytest.mark.parametrize("command", ["deliver", "resume"])
def test_a_tracking_server_that_only_the_log_names_gets_nothing(log, folder, command, uri, monkeypatch):
    named_only_in_the_log(log, tracking_uri=uri)
    (log.parent / "delivered.json").unlink()
    told = run(command, NAME, "--store", folder)
    quoted = uri if uri == KEPT else f"'{uri}'"
    again = f"rayduce {command} {NAME} --store '{folder}' --tracking-uri {quoted}"
    assert told[0] == 2 and "nothing is sent there unless you name it" in told[1] and again in told[1]
    found = find_sweep(folder, NAME)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://another.example.org")
    with pytest.raises(Problem, match="unless you name it"):
        found.tracking_uri(command, None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert found.tracking_uri(command, None) == uri
    assert found.tracking_uri(command, "sqlite:////x.db") == "sqlite:////x.db"


def test_a_password_of_the_environment_is_used_where_the_log_has_the_rest(log, folder, monkeypatch):
    named_only_in_the_log(log, tracking_uri="http://***@tracker.example.org")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@tracker.example.org")
    found = find_sweep(folder, NAME)
    assert found.tracking_uri("deliver", None) == "http://me:secret@tracker.example.org"


def unfinished(log):
    write_lines(log, read_lines(log)[:-1])


def test_a_cluster_that_only_the_log_names_is_not_joined(log, folder):
    named_only_in_the_log(log, address="ray.example.org:6379")
    unfinished(log)
    code, told = run("resume", NAME, "--store", folder)
    assert code == 2 and "it is not joined unless you name it" in told
    assert f"rayduce resume {NAME} --store '{folder}' --address ray.example.org:6379" in told


def test_code_that_only_the_log_names_is_not_imported(log, folder, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    named_only_in_the_log(log, own_model="evil:Net")
    unfinished(log)
    code, told = run("resume", NAME, "--store", folder)
    assert code == 2 and "imported only if you name it" in told
    assert f"rayduce resume {NAME} --store '{folder}' --model evil:Net" in told


def test_what_goes_on_is_told_whole(log, folder):
    """Whoever types it is not asked for the next thing that it lacked."""
    named_only_in_the_log(
        log, tracking_uri=KEPT, address="ray.example.org:6379", own_model="my nets/net.py", device="pi"
    )
    unfinished(log)
    whole = (
        f"rayduce resume {NAME} --store '{folder}' --tracking-uri {KEPT} --address ray.example.org:6379 "
        "--model 'my nets/net.py' --measure"
    )
    given: list[str] = []
    for option in (("--tracking-uri", KEPT), ("--address", "ray.example.org:6379"), ("--model", "net.py")):
        code, told = run("resume", NAME, "--store", folder, *given)
        assert code == 2 and whole in told, given
        given += option
    code, told = run("resume", NAME, "--store", folder, *given)
    assert code == 2 and "by a command that is kept nowhere" in told and whole in told


@pytest.mark.parametrize(
    "options",
    [
        {"trials": 0}, {"trainings": 0}, {"trials": "many"}, {"trials": True}, {"seed": -1},
        {"concurrency": 0}, {"data": 5}, {"data": "a\0b"}, {"about_data": []}, {"download": "yes"},
        {"budget": 5}, {"budget": {"limits": {"packed_bytes": "1"}}}, {"sampler": 7},
        {"earlier": "digits-1"}, {"earlier": ["../x"]}, {"earlier": [5]}, {"address": []},
        {"scheduler": "mine"}, {"unknown": 1}, {"own_model": 1}, {"size": 1}, {"minimized": "latency_ms"},
        {"budget": {"limits": {"packed_bytes": -1}, "max_drop": None}},
        {"budget": {"limits": [], "max_drop": None}}, {"minimize_latency": True},
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_told(log, folder, options):
    named_only_in_the_log(log, **options)
    unfinished(log)
    code, told = run("resume", NAME, "--store", folder)
    assert code == 2 and f"The settings of {NAME} cannot be used" in told
    assert "Traceback" not in told


def test_nothing_is_fetched_because_a_log_says_so(log, folder):
    named_only_in_the_log(log, download=True)
    assert not find_sweep(folder, NAME).options("sqlite:////x.db").download


def test_a_finished_sweep_is_delivered_by_resume_too(blank, folder):
    """Killed while it delivered its end: both commands finish that, and then say that all is done."""
    small_sweep(own_database(folder), folder, NAME)
    sweep = SweepFolder(folder, NAME)
    lines = read_lines(sweep.log)
    lines[0]["settings"] = settings_of(NAME)
    write_lines(sweep.log, [line for line in lines if "front.html" not in line.get("files", {})])
    (folder / "mlflow.db").write_bytes(blank.read_bytes())
    code, told = run("resume", NAME, "--store", folder)
    assert code == 0 and "MLflow gets what it lacks" in told and "has everything of digits-1" in told
    client = MlflowClient(own_database(folder))
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    parent = next(run for run in runs if run.data.tags["rayduce.kind"] == "sweep")
    assert {run.info.status for run in runs} == {"FINISHED", "FAILED", "KILLED"}
    assert parent.info.status == "FINISHED"
    files = {each.path for each in client.list_artifacts(parent.info.run_id)}
    assert files == {"front.csv", "front.html", "settings.json"}
    code, told = run("resume", NAME, "--store", folder)
    assert code == 0 and told.startswith("The sweep digits-1 has finished: rayduce front")
