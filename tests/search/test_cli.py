"""The commands as a user types them: one small sweep for all, then what can go wrong."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import safetensors.numpy
import typer
from mlflow import MlflowClient
from typer.testing import CliRunner

from rayduce.commands.app import app
from search.sampling.samplers import SAMPLERS
from search.store.store import open_store
from studies.known import STUDIES
from tests.search import mlflow_table
from tests.stores import copy_blank
from trainables.methods import METHODS
from trainables.metrics import METRICS

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = list(typer.main.get_group(app).commands)
FIELDS = {
    "run_id", "method", "accuracy", "packed_bytes", "compression_ratio", "latency_ms",
    "bits", "bucket_size", "depth", "width", "sparsity", "packed_file",
}  # fmt: skip


def rayduce(*arguments, cwd=ROOT):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "rayduce.commands.app", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=400)


def inside(*arguments):
    """What a command says in JSON, in this process: to start another takes longer than what it does."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A store with one sweep of eight trials, made by the command itself."""
    store = tmp_path_factory.mktemp("cli") / "store"
    small = ("--trials", 8, "--epochs", 2, "--scheduler", "none", "--sampler", "tpe")
    done = rayduce("sweep", "digits", *small, "--store", store, "--name", "small")
    assert done.returncode == 0, done.stdout + done.stderr
    return store, done


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_a_sweep_ends_with_a_front_that_evaluates_to_what_it_says(swept, tmp_path):
    store, done = swept
    assert "8/8" in done.stdout and "on the front" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    front = json.loads(rayduce("front", "small", "--store", store, "--json").stdout)
    assert front and all(row.keys() >= FIELDS for row in front)
    assert [row["packed_bytes"] for row in front] == sorted(row["packed_bytes"] for row in front)
    alone = json.loads(rayduce("evaluate", front[0]["packed_file"], "--json", cwd=tmp_path).stdout)
    assert alone["accuracy"] == front[0]["accuracy"]
    for row in front[:3]:
        again = inside("evaluate", row["packed_file"])
        assert again["accuracy"] == row["accuracy"]
        assert again["packed_bytes"] == row["packed_bytes"] == Path(row["packed_file"]).stat().st_size
        validation = inside("evaluate", row["packed_file"], "--split", "validation")
        assert validation["accuracy"] == row["validation_accuracy"]
    for source in (front[0]["run_id"][:8], "models:/rayduce-digits@smallest"):
        again = inside("evaluate", source, "--store", store)
        assert (again["source"], again["accuracy"]) == (source, front[0]["accuracy"])
    parts = inside("inspect", front[0]["run_id"], "--store", store)
    assert sum(part["bytes"] for part in parts) == front[0]["packed_bytes"]


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_the_store_holds_every_trial_with_a_true_end(swept):
    store, _ = swept
    opened = open_store(store)
    sweep, trials = opened.sweep("small"), opened.trials("small")
    assert sweep.state == "finished" and len(trials) == 8
    finished = trials["state"] == "finished"
    assert finished.any() and set(trials["state"][~finished]) <= {"pruned"}
    assert trials["reason"][~finished].notna().all()
    assert trials["validation_accuracy"].between(0, 1).all() and (trials["latency_ms"][finished] > 0).all()
    measured = trials["accuracy"].notna()
    assert (measured == trials["front"]).all()  # the test split is for the front alone
    assert sweep.teacher_quality > 0.95
    page = opened.download(sweep.run_id, "front.html").decode()
    assert page.startswith("<!DOCTYPE html>") and "small" in page
    for run_id in trials["run_id"]:
        recipe = json.loads(opened.download(run_id, "recipe.json"))
        assert recipe["type"] == "Recipe"
        history = opened.history(run_id)
        epochs = list(history["validation_accuracy"].dropna().index)
        # Epochs that another trial of the same first phases has trained are not reported again.
        shared = int(history["shared_epochs"].max()) if "shared_epochs" in history else 1
        assert epochs in ([0], [0, *range(shared, epochs[-1] + 1)]) and epochs[-1] <= 2
    first = {method.idea: method.name for method in reversed(METHODS.values())}
    begun = [method.name for method in METHODS.values() if method.name in first.values()]
    assert sorted(trials["method"]) == sorted(begun[:8])  # the defaults of the first of each idea


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_mlflow_has_what_its_page_lists_and_nothing_else(swept):
    """Both ways: what a sweep logs is in docs/mlflow.md, and what is there is logged where it says."""
    store, _ = swept
    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    runs = client.search_runs(["1"], "tags.sweep = 'small'")
    kinds = {"sweep": [], "trial": [], "student": [], "front": []}
    for run in runs:
        tags = run.data.tags
        kinds[tags["rayduce.kind"]].append(run)
        if tags["rayduce.kind"] == "trial" and tags["state"] == "finished":
            kinds["student"].append(run)
        if tags.get("front") == "true":
            kinds["front"].append(run)
    kinds["finished sweep"] = kinds["sweep"]
    assert len(kinds["sweep"]) == 1 and len(kinds["trial"]) == 8 and kinds["front"]

    def names(run, section):
        if section == "Artifacts":
            return [file.path for file in client.list_artifacts(run.info.run_id)]
        return list({"Metrics": run.data.metrics, "Tags": run.data.tags, "Params": run.data.params}[section])

    seldom = {"translation", "now and then"}  # not in a sweep of digits
    for section in ("Metrics", "Tags", "Params", "Artifacts"):
        table = mlflow_table.rows(section)
        for run in runs:
            own = {kind for kind, members in kinds.items() if run in members} | {"some", "now and then"}
            documented = [row for row in table if row.where & own]
            for name in names(run, section):
                assert any(row.matches(name) for row in documented), f"{section} of {own}: {name}"
        for row in table:
            for where in row.where - seldom:
                logged = [any(map(row.matches, names(run, section))) for run in kinds.get(where, runs)]
                if row.below and row.name.startswith("losses"):
                    where = "some"  # a recipe without terms of its own has `losses` = `none`
                assert any(logged) if where == "some" else all(logged), f"{section} of {where}: {row.name}"
    units = {row.name: row.unit for row in mlflow_table.rows("Metrics")}
    for metric in METRICS:
        assert units[metric.name] == metric.unit, metric.name


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_a_registered_student_can_be_taken_away(swept, tmp_path):
    store, _ = swept
    front = open_store(store).front("small")

    def export(alias, target):
        return CliRunner().invoke(
            app, ["export", f"models:/rayduce-digits@{alias}", str(target), "--store", str(store)]
        )

    done = export("smallest", tmp_path / "s.rdz")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "s.rdz").stat().st_size == front["packed_bytes"].min()
    unknown = export("tiny", tmp_path / "t.rdz")
    assert unknown.exit_code == 2 and "@smallest" in unknown.output


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_a_student_can_be_taken_away_in_each_format(swept, tmp_path):
    store, _ = swept
    row = open_store(store).front("small").iloc[-1]
    for name in ("s.rdz", "s.onnx", "s.safetensors"):
        done = rayduce("export", row["run_id"][:8], tmp_path / name, "--store", store)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "s.rdz").stat().st_size == row["packed_bytes"]
    session = onnxruntime.InferenceSession(tmp_path / "s.onnx", providers=["CPUExecutionProvider"])
    [logits] = session.run(None, {session.get_inputs()[0].name: np.zeros((3, 1, 8, 8), np.float32)})
    assert logits.shape == (3, 10)
    assert safetensors.numpy.load_file(tmp_path / "s.safetensors")
    rows = json.loads(rayduce("inspect", tmp_path / "s.rdz", "--json").stdout)
    assert sum(r["bytes"] for r in rows) == row["packed_bytes"]
    keys = {"name", "shape", "codec", "bits", "sparsity", "bytes", "entropy_bytes", "share"}
    assert all(r.keys() >= keys for r in rows)
    again = rayduce("export", tmp_path / "s.rdz", tmp_path / "s.onnx")
    assert again.returncode == 2 and "--force" in again.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_a_name_in_use_is_refused_and_the_teacher_is_used_again(swept):
    store, _ = swept
    done = rayduce("sweep", "digits", "--store", store, "--name", "small")
    assert done.returncode == 2 and "small already" in done.stderr and "Traceback" not in done.stderr
    assert len(list((store / "teachers").glob("*.rdz"))) == 1
    own = rayduce(
        "sweep", "digits", "--trials", 2, "--epochs", 2, "--store", store, "--concurrency", 1,
        "--model", "examples.own_model:SeparableNet",
    )  # fmt: skip
    assert own.returncode == 0, own.stdout + own.stderr
    assert "using the teacher of an earlier sweep" in own.stdout
    row = json.loads(rayduce("front", "digits-1", "--store", store, "--json").stdout)[0]
    assert row["model"] == "examples.own_model:SeparableNet"
    refused = rayduce("evaluate", row["packed_file"])
    assert refused.returncode == 2 and "--model" in refused.stderr and "Traceback" not in refused.stderr
    allowed = rayduce("evaluate", row["packed_file"], "--model", "examples.own_model:SeparableNet", "--json")
    assert json.loads(allowed.stdout)["accuracy"] == row["accuracy"]
    other = rayduce("evaluate", row["packed_file"], "--model", "examples.own_model:Another")
    assert other.returncode == 2 and "correct --model" in other.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_a_sweep_learns_from_another_and_trains_no_recipe_twice(swept):
    store, _ = swept
    done = rayduce(
        "sweep", "digits", "--from", "small", "--sampler", "gp", "--trials", 9, "--epochs", 2,
        "--max-drop", 5, "--scheduler", "none", "--store", store, "--name", "again",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "learning from 8 earlier trials, with 8 students at hand" in done.stdout
    opened = open_store(store)
    old, new = opened.trials("small").set_index("recipe_id"), opened.trials("again").set_index("recipe_id")
    copied = new[new["copied_from"].notna()]
    assert len(copied) == 8 and set(copied.index) == set(old.index)  # the starting points
    for recipe_id, row in copied.iterrows():
        assert row["copied_from"] == f"small/{old['trial_id'][recipe_id]}"
        assert row["validation_accuracy"] == old["validation_accuracy"][recipe_id]
        file = opened.download(row["run_id"], "student.rdz")
        assert file == opened.download(old["run_id"][recipe_id], "student.rdz")
        assert len(opened.history(row["run_id"])["validation_accuracy"].dropna()) == 1
    lost = 100 * (opened.sweep("again").teacher_validation - new["validation_accuracy"])
    assert list(new["feasible"]) == list(lost.round(9) <= 5)
    assert new.loc[new["front"], "feasible"].all() and not new["feasible"].all()
    over = new[~new["feasible"]].iloc[0]
    refused = wrong("export", over["run_id"][:8], store / "over.rdz", "--store", store)
    assert (
        "points of accuracy to the teacher" in refused and "more than 5" in refused and "--force" in refused
    )
    forced = CliRunner().invoke(
        app, ["export", over["run_id"][:8], str(store / "over.rdz"), "--store", str(store), "--force"]
    )
    assert forced.exit_code == 0 and (store / "over.rdz").stat().st_size == over["packed_bytes"]
    assert "--epochs 2" in wrong("sweep", "digits", "--from", "small", "--store", store)
    assert "'nope'" in wrong("sweep", "digits", "--from", "nope", "--epochs", 2, "--store", store)


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_a_sweep_is_never_mixed_with_another_in_the_same_folder(swept, tmp_path):
    """Another MLflow store does not know the name, but the folder's journal and trials do."""
    store, _ = swept
    elsewhere = f"sqlite:///{tmp_path}/other.db"
    done = rayduce("sweep", "digits", "--store", store, "--tracking-uri", elsewhere, "--name", "small")
    assert done.returncode == 2 and "small already" in done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_keeps_what_finished_and_leaves_nothing_running(swept, number):
    store, _ = swept
    name = f"stopped-{number.name}"
    command = [
        sys.executable,
        "-m",
        "rayduce.commands.app",
        "sweep",
        "digits",
        "--epochs",
        "3",
        "--trials",
        "200",
    ]
    process = subprocess.Popen(
        [*command, "--scheduler", "none", "--store", store, "--name", name],  # those that end have finished
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    for line in process.stdout:
        if "2/200" in line:
            break
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors and process.returncode == 130, errors
    assert f"rayduce resume {name}" in errors.replace("\n", " ")
    opened = open_store(store)
    trials = opened.trials(name)
    assert opened.sweep(name).state == "stopped"
    assert "running" not in set(trials["state"]) and (trials["state"] == "finished").sum() >= 2


@pytest.fixture
def folder(tmp_path):
    """A small image folder of two classes."""
    from PIL import Image

    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (8, 8), (number * 40, 0, 0)).save(tmp_path / "photos" / label / f"{number}.png")
    return tmp_path / "photos"


def wrong(*arguments):
    """Run in this process; the error's one sentence."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 2, (done.output, done.exception)
    assert "Traceback" not in done.output
    message = done.stderr.strip().splitlines()
    assert sum(line.startswith("Error:") for line in message) == 1, message
    return " ".join(message)


def test_limits_and_aims_of_no_metric_are_told_and_write_nothing(tmp_path):
    store = ("--store", tmp_path / "store")
    for command in ("sweep", "plan"):
        no_metric = wrong(command, "digits", "--max", "speed=3", *store)
        assert "--max speed cannot be used: there is no such metric: use one of packed_bytes, " in no_metric
    more = wrong("sweep", "digits", "--minimize", "sparsity", *store)
    assert "--minimize sparsity cannot be used: more of it is better" in more
    twice = wrong("sweep", "digits", "--minimize", "packed_bytes", *store)
    assert "--minimize packed_bytes can be left out" in twice
    assert "--max macs must be a number, got 'many'" in wrong("sweep", "digits", "--max", "macs=many", *store)
    assert not (tmp_path / "store" / "sweeps").exists()


def test_sweeps_that_cannot_start_say_so_and_write_nothing(tmp_path, folder):
    from PIL import Image

    store = ("--store", tmp_path / "store")
    assert "no study 'diggits'" in wrong("sweep", "diggits", *store)
    assert "--data" in wrong("sweep", "cifar10", *store)
    assert "nowhere" in wrong("sweep", "cifar10", "--data", tmp_path / "nowhere", *store)
    assert "--data" in wrong("sweep", "image_folder", *store)
    for command in ("sweep", "plan"):  # an empty name would be the folder one stands in
        assert "the name is empty" in wrong(command, "image_folder", "--data", "", *store)
    assert "is not a directory" in wrong("plan", "text_pairs", "--data", __file__, *store)
    assert "potatoes" in wrong("sweep", "digits", "--max-bytes", "3 potatoes", *store)
    for command in ("sweep", "plan"):
        assert "the least is about" in wrong(command, "digits", "--max-bytes", "64", *store)
    assert "the least is about" in wrong("sweep", "digits", "--max-latency-ms", "0.0001", *store)
    assert "--max-drop must be at least 0" in wrong("sweep", "digits", "--max-drop", "-1", *store)
    assert "sampler 'grid'" in wrong("sweep", "digits", "--sampler", "grid", *store)
    assert "no store" in wrong("sweep", "digits", "--from", "nope", *store)
    assert "--hours must be above 0" in wrong("plan", "digits", "--hours", "0", *store)
    assert "sweep name" in wrong("sweep", "digits", "--name", "../up", *store)
    assert "sweep name" in wrong("sweep", "digits", "--name", "", *store)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, but nobody listens
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        os.environ["RAY_AUTH_MODE"] = "disabled"
        assert address in wrong("sweep", "digits", "--address", address, *store)
    assert "HOST:PORT" in wrong("sweep", "digits", "--address", "ray://x", *store)
    assert "--model" in wrong("sweep", "digits", "--model", "no_colon", *store)
    assert "no_such_module" in wrong("sweep", "digits", "--model", "no_such_module:Net", *store)
    for option in ("--image-size", "--vocabulary"):
        assert f"{option} is not for the study digits" in wrong("sweep", "digits", option, "32", *store)
    corpus = ("sweep", "text_pairs", "--data", folder)
    assert "--source and --target together" in wrong(*corpus, "--source", "de", *store)
    Image.new("RGB", (9, 8)).save(folder / "cat" / "odd.png")
    assert "--image-size" in wrong("sweep", "image_folder", "--data", folder, *store)
    single = tmp_path / "single"
    (folder / "cat").rename(tmp_path / "cat")
    single.mkdir()
    (tmp_path / "cat").rename(single / "cat")
    assert "class" in wrong("sweep", "image_folder", "--data", single, *store)
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert "store" in wrong("sweep", "digits", "--store", tmp_path / "file").lower()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "mlflow.db").write_bytes(b"not a database at all" * 100)
    assert "mlflow.db" in wrong("sweep", "digits", "--name", "x", "--store", tmp_path / "bad")


def test_reading_what_is_not_there(tmp_path):
    missing = ("--store", tmp_path / "none")
    assert "no store" in wrong("front", *missing)
    assert "no store" in wrong("dashboard", *missing)
    assert "no store" in wrong("mlflow", *missing)
    assert not (tmp_path / "none").exists()
    assert "neither a file nor a run" in wrong("evaluate", tmp_path / "none.rdz")
    assert "cannot read" in wrong("evaluate", tmp_path)
    (tmp_path / "bad.rdz").write_bytes(b"\x8bRDZ\x01" + b"\0" * 50)
    assert "bad.rdz" in wrong("inspect", tmp_path / "bad.rdz")
    assert "bad.rdz" in wrong("evaluate", tmp_path / "bad.rdz")
    assert "bad.rdz" in wrong("export", tmp_path / "bad.rdz", tmp_path / "o.rdz")
    assert "neither a file nor a run" in wrong("export", "nothing", tmp_path / "o.rdz")
    assert "export format" in wrong("export", tmp_path / "bad.rdz", tmp_path / "o.mlmodel")
    assert "does not exist" in wrong("export", tmp_path / "bad.rdz", tmp_path / "no" / "o.rdz")
    assert "about ONNX" in wrong("export", tmp_path / "bad.rdz", tmp_path / "o.rdz", "--reduced-range")


def test_a_taken_port_is_named(blank, tmp_path):
    store = copy_blank(blank, tmp_path / "store")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert str(port) in wrong("dashboard", "--port", port, "--store", store)
        assert str(port) in wrong("mlflow", "--port", port, "--store", store)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_examples(name):
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0 and f"rayduce {name}" in done.output
    assert not re.search(r"<\w+( range)?>", done.output), "what a value is, not which type it has"


def test_help_names_every_study_sampler_and_method():
    said = " ".join(CliRunner().invoke(app, ["sweep", "--help"]).output.split())
    studies = f"{', '.join(study.name for study in STUDIES[:-1])} or {STUDIES[-1].name}"
    assert f"{studies}; or your own FILE.py." in said
    assert f"{', '.join(sampler.name for sampler in SAMPLERS[:-1])} or {SAMPLERS[-1].name}." in said
    assert ", ".join(METHODS) in said


def test_the_list_of_commands_cuts_no_sentence():
    done = CliRunner().invoke(app, ["--help"])
    listed = done.output.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == COMMANDS
    assert all(line.endswith(".") and not line.endswith("..") for line in listed)
