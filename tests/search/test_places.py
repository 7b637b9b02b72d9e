"""Stores that were moved, copied or renamed, in folders of any name, and on disks that are only read."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, RunData, RunInfo, RunTag
from mlflow.store.entities import PagedList
from typer.testing import CliRunner

from rayduce.commands.app import app
from search.store import places
from search.store.mlflow_client import StoreError, connect, database_path, settle
from search.store.places import BESIDE_TAG, local_path, run_folder
from search.store.store import Store, open_store, own_database
from search.tracking.delivery import Delivery
from search.tracking.tracker import SweepTracker
from tests.search.small_sweep import small_sweep
from tests.stores import FACTS, RECIPE, add_trial, copy_blank, final, kept, tracker

ODD_NAMES = [
    "My%20Project",
    "100%",
    "a#b",
    "a?b&c=d",
    'it\'s "quoted"',
    "back\\slash",
    "new\nline",
    "~",
    "schräg+plus",
    "%2e%2e",
    "[bold]",
    "semi;colon@x:y",
]


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def swept(folder: Path, sweep: str = "digits-1") -> None:
    """A finished sweep of two trials in the store's own database."""
    made = SweepTracker(own_database(folder), folder, "digits", sweep)
    made.open({"trials": 2}, {"rayduce.metric": "accuracy"})
    add_trial(made, "t1", final(0.95, 4_000))
    add_trial(made, "t2", final(0.90, 1_000))
    page = kept(made, "page", {"front.html": b"<html>"})
    best = {"best": "t1"}
    made.finish_sweep("finished", {}, {}, page, aliases=best, descriptions={"t1": "It is."})
    made.close()


def students(store: Store) -> dict[str, bytes]:
    rows = store.trials()
    return {
        t: store.download(r, "student.rdz") for t, r in zip(rows["trial_id"], rows["run_id"], strict=True)
    }


COMMANDS = [
    ["sweep", "digits"],
    ["resume", "digits-1"],
    ["deliver", "digits-1"],
    ["front"],
    ["export", "0123456789", "out.rdz"],
    ["dashboard"],
    ["mlflow"],
]
WHOLE = {"t1": b"t1", "t2": b"t2"}


def addresses(database: Path) -> set[str]:
    """Every address that MLflow keeps of what is ours."""
    with closing(sqlite3.connect(database)) as opened:
        found = opened.execute(
            "SELECT artifact_location FROM experiments WHERE name != 'Default' UNION "
            "SELECT artifact_uri FROM runs UNION SELECT source FROM model_versions UNION "
            "SELECT storage_location FROM model_versions WHERE storage_location IS NOT NULL"
        )
        return {row[0] for row in found}


def below(uri: str, folder: Path) -> bool:
    path = local_path(uri)
    return path is not None and path.is_relative_to(folder)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_store_may_have_any_name(name: str, blank: Path, tmp_path: Path) -> None:
    folder = copy_blank(blank, tmp_path / "above" / name / "store")
    swept(folder)
    store = open_store(folder)
    assert students(store) == WHOLE
    [run_id] = store.trials().query("trial_id == 't1'")["run_id"]
    assert Path(store.artifact_location(run_id, "student.rdz")).read_bytes() == b"t1"
    assert [p.name for p in (tmp_path / "above").iterdir()] == [name], "MLflow made a folder of another name"
    assert {p.name for p in folder.iterdir()} >= {"mlflow.db", "artifacts", "sweeps", "trials"}

    uri = own_database(folder)
    assert database_path(uri) == folder / "mlflow.db"
    theirs = MlflowClient(uri, registry_uri=uri)  # as MLflow's pages read it
    assert Path(theirs.download_artifacts(run_id, "student.rdz")).read_bytes() == b"t1"


def test_usual_paths_keep_the_address_that_everybody_writes(tmp_path: Path) -> None:
    assert own_database(tmp_path / "a store, 100%") == f"sqlite:///{tmp_path}/a store, 100%/mlflow.db"
    assert database_path("sqlite:////a%20b/100%25/mlflow.db") == Path("/a b/100%/mlflow.db")


def test_mlflow_makes_a_database_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow writes the current folder into SQL, too, as if it could not have quotes in its name."""
    (tmp_path / "My Project").mkdir()
    here = tmp_path / 'it\'s "here"'
    here.mkdir()
    monkeypatch.chdir(here)
    client = connect(own_database(tmp_path / "My%20Project"), create=True)
    client.create_experiment("x")
    assert (tmp_path / "My%20Project" / "mlflow.db").is_file() and not os.listdir(tmp_path / "My Project")
    default = client.get_experiment("0").artifact_location
    assert local_path(default) == tmp_path / "My%20Project" / "artifacts" / "0"
    assert "_MLFLOW_SERVER_ARTIFACT_ROOT" not in os.environ and not os.listdir(here)


@pytest.mark.parametrize("uri", ["sqlite:///", "sqlite://", "sqlite:///:memory:", "sqlite:///a?mode=ro"])
def test_an_address_that_names_no_file_is_refused(uri: str) -> None:
    with pytest.raises(StoreError, match=re.escape(repr(uri)) + " names no file: give sqlite:///PATH"):
        connect(uri, create=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (os.fsdecode(b"caf\xe9"), r"caf\\xe9.* cannot be used: .*not UTF-8, and the byte 0xe9"),
        ("/".join(["x" * 100] * 6), r"The path /.*\.\.\. has \d+ bytes, and SQLite takes 504"),
        ("x" * 300, r"x+.*File name too long"),
    ],
    ids=["latin", "deep", "long"],
)
def test_a_store_that_cannot_be_is_refused_by_name(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    for command in COMMANDS:
        done = CliRunner().invoke(app, [*command, "--store", str(tmp_path / name)])
        assert done.exit_code == 2 and len(done.output.strip().splitlines()) == 1, done.output
        assert re.search(words, done.output), done.output
    assert not os.listdir(tmp_path)


def test_the_longest_path_that_is_taken_works(blank: Path, tmp_path: Path) -> None:
    folder = tmp_path
    while (rest := 504 - len(str(folder)) - len("/mlflow.db")) > 0:
        folder = folder / ("x" * min(rest - 1, 100 if rest > 110 else rest - 1))
    swept(copy_blank(blank, folder))
    assert len(str(folder / "mlflow.db")) == 504 and students(open_store(folder)) == WHOLE


@pytest.mark.parametrize("command", [*COMMANDS, ["plan", "digits"]])
def test_an_empty_name_is_not_the_current_folder(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*command, "--store", ""])
    assert done.exit_code == 2 and "must name a folder" in done.output and not os.listdir(tmp_path)


def test_a_moved_store_is_where_it_is(blank: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new %23 place"
    swept(copy_blank(blank, old))
    old.rename(new)
    told: list[str] = []
    store = open_store(new, tell=told.append)
    assert told == [f"The store was in {old} and is in {new} now; its artifacts are found there."]
    assert students(store) == WHOLE
    assert all(below(uri, new / "artifacts") for uri in addresses(new / "mlflow.db"))
    [run_id] = store.trials().query("trial_id == 't1'")["run_id"]
    assert store.artifact_location(run_id, "student.rdz").startswith(str(new))
    assert store.download(store.registered("models:/rayduce-digits@best"), "student.rdz") == b"t1"
    theirs = MlflowClient(own_database(new), registry_uri=own_database(new))
    assert Path(theirs.download_artifacts(run_id, "student.rdz")).read_bytes() == b"t1"
    version = theirs.get_model_version_by_alias("rayduce-digits", "best")
    uri = theirs.get_model_version_download_uri("rayduce-digits", version.version)
    assert local_path(uri) == new / "artifacts" / "rayduce-digits" / run_id / "artifacts"
    open_store(new, tell=told.append)
    assert len(told) == 1, "said once"


def test_commands_tell_of_a_move_beside_their_results(blank: Path, tmp_path: Path) -> None:
    swept(copy_blank(blank, tmp_path / "old"))
    (tmp_path / "old").rename(tmp_path / "new")
    done = CliRunner().invoke(app, ["front", "--json", "--store", str(tmp_path / "new")])
    assert done.exit_code == 0 and f"is in {tmp_path / 'new'} now" in done.stderr
    assert f'"{tmp_path / "new" / "artifacts"}' in done.stdout and str(tmp_path / "old") not in done.stdout


def test_what_is_delivered_after_a_move_goes_to_the_new_place(blank: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    copy_blank(blank, old)
    half = SweepTracker(own_database(old), old, "digits", "digits-1")
    half.open({}, {"rayduce.metric": "accuracy"})
    half.start_trial("t1", "qd-t1", RECIPE, FACTS)
    half.flush()
    half.abandon()
    old.rename(new)
    for name, sweep in (("t1", "digits-1"), ("t2", "digits-2")):
        made = SweepTracker(own_database(new), new, "digits", sweep)
        made.open({}, {"rayduce.metric": "accuracy"}, resume=sweep == "digits-1")
        add_trial(made, name, final(0.95, 4_000))
        made.finish_sweep("finished", {}, {}, {})
        made.close()
        assert open_store(new).download(made.run_ids[name], "student.rdz") == name.encode()
    assert not old.exists()
    assert all(below(uri, new) for uri in addresses(new / "mlflow.db"))


def test_an_experiment_without_a_sweep_moves_too(blank: Path, tmp_path: Path) -> None:
    """A driver that died between the two left one; its files must not go to where the store was."""
    old, new = tmp_path / "old", tmp_path / "new"
    assert not Delivery(own_database(copy_blank(blank, old)), old, "digits", "digits-1").connect()
    old.rename(new)
    swept(new)
    assert students(open_store(new)) == WHOLE and not old.exists()


@pytest.mark.parametrize("marked", [True, False], ids=["new", "of-before"])
def test_a_copied_store_reads_what_is_its_own(marked: bool, blank: Path, tmp_path: Path) -> None:
    """Whether its experiment says that it moves with its store, or is older than that."""
    original, copied = tmp_path / "original", tmp_path / "copied"
    swept(copy_blank(blank, original))
    if not marked:
        with closing(sqlite3.connect(original / "mlflow.db")) as database:
            database.execute("DELETE FROM experiment_tags WHERE key = ?", (BESIDE_TAG,))
            database.commit()
    shutil.copytree(original, copied)
    before = addresses(original / "mlflow.db")
    for path in original.rglob("artifacts/**/student.rdz"):
        path.write_bytes(b"the original's")
    assert students(open_store(copied)) == WHOLE
    assert set(students(open_store(original)).values()) == {b"the original's"}
    assert addresses(original / "mlflow.db") == before
    assert not before & addresses(copied / "mlflow.db")


def test_only_what_is_ours_follows(blank: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    swept(copy_blank(blank, old))
    theirs = MlflowClient(own_database(old))
    foreign = (tmp_path / "big disk" / "artifacts" / "theirs").as_uri()
    run = theirs.create_run(theirs.create_experiment("theirs", foreign))
    odd = theirs.create_run(theirs.get_experiment_by_name("rayduce-digits").experiment_id)  # type: ignore[union-attr]
    with closing(sqlite3.connect(old / "mlflow.db")) as database:
        elsewhere = "file:///elsewhere/model"
        database.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (elsewhere, odd.info.run_id))
        database.commit()
    old.rename(new)
    open_store(new)
    assert addresses(new / "mlflow.db") >= {foreign, run.info.artifact_uri, elsewhere}
    assert (
        sum(str(new) in uri for uri in addresses(new / "mlflow.db")) == 1 + 3
    )  # the experiment and its runs


def test_a_database_beside_another_store_is_left_alone(blank: Path, tmp_path: Path) -> None:
    """Two stores may share one database; its artifacts are where they were made, whoever opens it."""
    shared, own = copy_blank(blank, tmp_path / "shared"), tmp_path / "own"
    uri = own_database(shared)
    (shared / "artifacts").mkdir()
    small_sweep(uri, own)
    before = addresses(shared / "mlflow.db")
    for folder in (own, shared):
        told: list[str] = []
        store = open_store(folder, uri, told.append)
        assert told == [] and addresses(shared / "mlflow.db") == before
    run_id = store.front()["run_id"][0]
    assert open_store(own, uri).download(run_id, "student.rdz")
    with pytest.raises(
        StoreError, match=r"which is not below .*shared/artifacts: give the folder of their store"
    ):
        store.download(run_id, "student.rdz")
    shutil.rmtree(own)
    other = SweepTracker(uri, tmp_path / "third", "digits", "digits-2")
    with pytest.raises(
        StoreError, match=r"own/artifacts/rayduce-digits, and the folder that this was in is not there"
    ):
        other.open({}, {"rayduce.metric": "accuracy"})
    assert not own.exists(), "the old place is not made again"


def test_a_link_to_a_store_is_the_store(blank: Path, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    swept(copy_blank(blank, real))
    link.symlink_to(real)
    told: list[str] = []
    assert (
        students(open_store(link, tell=told.append)) == students(open_store(real, tell=told.append)) == WHOLE
    )
    assert told == []


def test_many_may_open_a_moved_store_at_once(blank: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    swept(copy_blank(blank, old))
    old.rename(new)
    told: list[str] = []
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: settle(own_database(new), told.append), range(16)))
    assert len(told) == 1
    program = "import sys; from search.store.mlflow_client import settle; settle(sys.argv[1], print)"
    new.rename(old)
    command = [sys.executable, "-c", program, own_database(old)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sorted(bool(process.communicate()[0]) for process in running) == [False, False, True]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert students(open_store(old)) == WHOLE


def test_addresses_follow_all_or_none(blank: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    swept(copy_blank(blank, old))
    before = addresses(old / "mlflow.db")
    old.rename(new)
    with closing(sqlite3.connect(new / "mlflow.db", isolation_level=None)) as database:
        database.execute(
            "CREATE TRIGGER no BEFORE UPDATE ON model_versions BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(sqlite3.IntegrityError):
            places.put_right(database, new)
        assert not database.in_transaction
        database.execute("DROP TRIGGER no")
    assert addresses(new / "mlflow.db") == before
    assert students(open_store(new)) == WHOLE


def test_a_run_is_found_nowhere_but_in_its_store(tmp_path: Path) -> None:
    run, roots = "ab" * 16, [tmp_path / "store"]
    below = tmp_path / "store" / "artifacts" / "rayduce-digits" / run / "artifacts"
    assert run_folder(below.as_uri(), run, roots, moved=False) == below
    moved = f"file:///elsewhere/artifacts/rayduce-digits/{run}/artifacts"
    assert run_folder(moved, run, roots, moved=True) == below
    assert run_folder(moved, run, roots, moved=False) is None
    for uri in (
        "file:///etc",
        f"file:///etc/{run}/artifacts",
        (below.parent.parent / ("cd" * 16) / "artifacts").as_uri(),
        f"{tmp_path.as_uri()}/store/artifacts/../{run}/artifacts",
        f"{tmp_path.as_uri()}/store/artifacts/%2e%2e/{run}/artifacts",
        f"s3://bucket/artifacts/rayduce-digits/{run}/artifacts",
        f"http://127.0.0.1/artifacts/rayduce-digits/{run}/artifacts",
    ):
        assert run_folder(uri, run, roots, moved=True) is None, uri


def test_no_file_from_outside_of_the_store_is_handed_out(blank: Path, tmp_path: Path) -> None:
    folder, outside = copy_blank(blank, tmp_path / "store"), tmp_path / "outside"
    swept(folder)
    store = open_store(folder)
    run_id = store.trials()["run_id"][0]
    outside.mkdir()
    (outside / "student.rdz").write_bytes(b"secret")
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (outside.as_uri(), run_id))
        database.commit()
    with pytest.raises(
        StoreError, match=r"are said to be at file:///.*outside, which is not below .*store/artifacts"
    ):
        store.download(run_id, "student.rdz")

    other = store.trials()["run_id"][1]
    own = Path(store.artifact_location(other, "student.rdz"))
    own.unlink()
    own.symlink_to(outside / "student.rdz")
    with pytest.raises(StoreError, match=r"The file student.rdz of the run .* cannot be read"):
        store.download(other, "student.rdz")
    own.unlink()
    os.mkfifo(own)
    with pytest.raises(StoreError, match=r"cannot be read: .*it is no regular file"):
        store.download(other, "student.rdz")
    shutil.rmtree(own.parent)
    own.parent.symlink_to(outside)
    with pytest.raises(StoreError, match="cannot be read"):
        store.download(other, "student.rdz")


def mount(*words: object) -> None:
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system of its own cannot be mounted here: {done.stderr.strip()}")


@pytest.fixture
def read_only(blank: Path, tmp_path: Path) -> Iterator[Path]:
    """A store on a disk that is only read, of whose database a part is still in the log of a dead writer."""
    folder, at = tmp_path / "written", tmp_path / "read only"
    swept(copy_blank(blank, folder))
    writer = (
        "import os, sqlite3, sys; d = sqlite3.connect(sys.argv[1]); "
        "d.execute('PRAGMA journal_mode=WAL'); d.execute('PRAGMA wal_autocheckpoint=0'); "
        "d.execute(\"UPDATE tags SET value = 'only in the log' WHERE key = 'method'\"); d.commit(); "
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", writer, folder / "mlflow.db"], check=False)
    (folder / "mlflow.db-shm").unlink()
    assert (folder / "mlflow.db-wal").stat().st_size > 0
    at.mkdir()
    try:
        mount("-t", "tmpfs", "tmpfs", at)
        shutil.copytree(folder, at, dirs_exist_ok=True)
        mount("-o", "remount,ro", at)
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], capture_output=True, check=False)


def test_a_store_on_a_disk_that_is_only_read_is_read(read_only: Path, tmp_path: Path) -> None:
    """By another path than it was written by, too, and with all that was committed."""
    before = everything_below(read_only)
    store = open_store(read_only)
    assert students(store) == WHOLE
    assert set(store.trials()["method"]) == {"only in the log"}
    run_id = store.trials()["run_id"][0]
    assert store.artifact_location(run_id, "student.rdz").startswith(str(read_only))
    assert store.history(run_id)["loss"].tolist() == [0.5]
    assert store.download(store.registered("models:/rayduce-digits@best"), "student.rdz") == b"t1"
    with store.served() as uri:
        assert all(below(each, read_only) for each in addresses(database_path(uri)))
        theirs = MlflowClient(uri, registry_uri=uri)
        assert Path(theirs.download_artifacts(run_id, "student.rdz")).read_bytes() == b"t1"
    for command in (["front"], ["front", "--html", str(tmp_path / "front.html")]):
        done = CliRunner().invoke(app, [*command, "--store", str(read_only)])
        assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["sweep", "digits", "--store", str(read_only)])
    assert done.exit_code == 2 and "Read-only file system" in done.output, done.output
    assert everything_below(read_only) == before


def test_a_store_that_is_being_written_elsewhere_is_read_as_it_grows(blank: Path, tmp_path: Path) -> None:
    folder, at = tmp_path / "written", tmp_path / "read only"
    swept(copy_blank(blank, folder))
    living = tracker(folder, "digits-2")
    living.open({}, {"rayduce.metric": "accuracy"})
    try:
        at.mkdir()
        mount("--bind", folder, at)
        mount("-o", "remount,bind,ro", at)
        store = open_store(at)
        add_trial(living, "t9", final(0.9, 900))
        living.flush()
        assert store.trials("digits-2")["trial_id"].tolist() == ["t9"]
        assert students(store) == {"t9": b"t9"}
        assert all(str(at) not in uri for uri in addresses(folder / "mlflow.db")), "its writer is at home"
        with store.served() as uri:
            assert database_path(uri).parent not in (at, folder)
    finally:
        living.close()
        subprocess.run(["umount", "--lazy", str(at)], capture_output=True, check=False)


def experiment(client: MlflowClient) -> str:
    [found] = [e for e in client.search_experiments(view_type=3) if e.name != "Default"]  # active and deleted
    return str(found.experiment_id)


def test_a_renamed_experiment_has_its_sweeps(folder: Path) -> None:
    swept(folder)
    client = MlflowClient(own_database(folder))
    client.rename_experiment(experiment(client), "my best digits")
    assert students(open_store(folder)) == WHOLE
    swept(folder, "digits-2")
    assert experiment(client) == open_store(folder).experiment_of(open_store(folder).sweep("digits-2"))
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:  # as those made before had no such tag
        database.execute("DELETE FROM experiment_tags")
        database.commit()
    swept(folder, "digits-3")
    experiment(client)
    run_id = open_store(folder).trials("digits-3")["run_id"][0]
    assert open_store(folder).complete(run_id[:8]) == run_id


def test_a_deleted_experiment_is_said_to_be_deleted(folder: Path) -> None:
    swept(folder)
    client = MlflowClient(own_database(folder))
    number = experiment(client)
    client.rename_experiment(number, "mine")
    client.delete_experiment(number)
    restore = (
        f"MLFLOW_TRACKING_URI='{own_database(folder)}' mlflow experiments restore --experiment-id {number}"
    )
    deleted = re.escape(f"is deleted in MLflow; bring it back by `{restore}`")
    with pytest.raises(StoreError, match="The experiment mine with the sweeps digits-1 " + deleted):
        open_store(folder).sweep()
    with pytest.raises(StoreError, match=deleted):
        open_store(folder).sweep("digits-1")
    with pytest.raises(StoreError, match="The experiment mine of the study digits " + deleted):
        swept(folder, "digits-2")
    done = subprocess.run(
        restore.replace(" mlflow ", f" {sys.executable} -m mlflow "),
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert students(open_store(folder)) == WHOLE


def test_a_deleted_run_stays_hidden(folder: Path) -> None:
    swept(folder)
    store = open_store(folder)
    MlflowClient(own_database(folder)).delete_run(store.trials()["run_id"][0])
    assert open_store(folder).trials()["trial_id"].tolist() == ["t2"]


def test_a_renamed_model_gets_the_students_of_the_next_sweep(folder: Path) -> None:
    swept(folder)
    client = MlflowClient(own_database(folder), registry_uri=own_database(folder))
    client.rename_registered_model("rayduce-digits", "my best")
    swept(folder, "digits-2")
    assert len(client.search_registered_models()) == 1
    store = open_store(folder)
    assert store.registered("models:/my best@best") == store.trials("digits-2")["run_id"][0]
    with pytest.raises(StoreError, match="there is models:/my best@best"):
        store.registered("models:/rayduce-digits@best")
    client.delete_registered_model("my best")
    swept(folder, "digits-3")
    assert store.registered("models:/rayduce-digits@best") == store.trials("digits-3")["run_id"][0]


class Server(MlflowClient):
    """What a server may answer; it has one experiment with one trial."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: list[str] = []

    tracking_uri = "http://127.0.0.1:5000"

    def get_run(self, run_id: str) -> Run:
        info = RunInfo(run_id, "1", "me", "FINISHED", 0, 1, "active", self.address, run_name="x")
        return Run(info, RunData(tags=[RunTag("rayduce.kind", "trial")]))

    def download_artifacts(self, run_id: str, path: str, dst_path: str | None = None) -> str:
        self.asked.append(path)
        got = Path(dst_path or "") / path
        got.write_bytes(b"handed out by the server")
        return str(got)

    def search_experiments(self, *args: object, **kwargs: object) -> PagedList[Experiment]:
        return PagedList([Experiment("1", "rayduce-digits", self.address, "active")], None)

    def search_runs(self, *args: object, **kwargs: object) -> PagedList[Run]:
        return PagedList([], None)


@pytest.mark.parametrize(
    "address",
    ["file:///etc", "/etc", "etc", "http://10.0.0.1/x", "s3://b/x", "mlflow-artifacts://10.0.0.1:5000/x"],
)
def test_a_server_names_no_other_place_to_read(address: str, tmp_path: Path) -> None:
    client = Server(address)
    with pytest.raises(StoreError, match=f"are at {re.escape(address)}, and only those that it hands out"):
        Store(client, client.tracking_uri, tmp_path).download("ab" * 16, "passwd")
    assert client.asked == []


@pytest.mark.parametrize("address", ["mlflow-artifacts:/1/x", "mlflow-artifacts://127.0.0.1:5000/1/x"])
def test_what_a_server_hands_out_is_read(address: str, tmp_path: Path) -> None:
    client = Server(address)
    found = Store(client, client.tracking_uri, tmp_path).download("ab" * 16, "student.rdz")
    assert found == b"handed out by the server"


def test_a_server_names_no_place_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "home"
    client = Server(target.as_uri())
    monkeypatch.setattr("search.tracking.delivery.connect", lambda uri, create: client)
    delivery = Delivery(client.tracking_uri, tmp_path / "store", "digits", "digits-1")
    with pytest.raises(StoreError, match=r"home, which would be on this machine: start it with --serve"):
        delivery.connect()
    client.address = "mlflow-artifacts:/1"
    assert not delivery.connect()
    client.address = target.as_uri()
    delivery._remember("t1", client.get_run("ab" * 16))
    with pytest.raises(StoreError, match="home, which would be on this machine"):
        delivery._folder("t1")
