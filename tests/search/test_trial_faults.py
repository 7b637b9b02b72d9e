"""Trials whose processes are killed, and a store whose disk is full or read-only, on a real Ray."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from optuna.distributions import IntDistribution

from search.clusters.machine import Machine
from search.objectives.yardstick import Yardstick
from search.options import Options
from search.sampling.journal import mend_journal, open_study
from search.sampling.searcher import Judge, OptunaSearcher
from search.store.mlflow_client import StoreError
from search.sweeps.halt import Halt
from search.sweeps.records import records_of
from search.sweeps.trial_events import TrialEvents
from search.sweeps.trials import TrialInputs, make_scheduler, run_trials
from search.tracking.tracker import SweepTracker
from tests.recipes import STUDENT
from tests.search import dying
from tests.stores import copy_blank
from trainables import methods
from trainables.metrics import quality_of
from trainables.models import Custom
from trainables.models.custom import allow
from trainables.origins import Fresh
from trainables.tasks import Digits
from trainables.training.trial_metrics import TrialSettings

TARGET = "tests.search.dying:Net"
DIRECTIONS = ("maximize", "minimize")


class Silent:
    def changed(self, records):
        pass


def objectives(result):
    return [result["validation_accuracy"], result["packed_bytes"]]


class Sweep:
    """Trials of given recipes in a store, run by what a sweep runs them with."""

    def __init__(self, store, recipes, watcher=None, resume=False):
        self.options = Options("s", len(recipes), 0, store, f"sqlite:///{store}/mlflow.db", concurrency=2)
        self.tracker = SweepTracker(self.options.tracking_uri, store, "digits", "s")
        before = self.tracker.folder.events()
        self.tracker.open({}, {"rayduce.metric": "accuracy"}, resume=resume)
        journal = self.tracker.folder.journal
        self.study = open_study(journal, "s", DIRECTIONS, resume=mend_journal(journal))
        self.events = TrialEvents(
            self.tracker,
            watcher or Silent(),
            Yardstick(quality_of("accuracy")),
            records=records_of(before, store, quality_of("accuracy")),
            halt=Halt(),
        )
        last = len(recipes) - 1
        self.searcher = OptunaSearcher(
            self.study,
            lambda trial: recipes[trial.suggest_int("n", 0, last)],
            Judge(objectives),
            trials=len(recipes),
            parameters={"n": IntDistribution(0, last)},
            starting_points=[{"n": n} for n in range(len(recipes))],
        )

    def run(self):
        trials = self.tracker.folder.trials
        settings = TrialSettings(None, teacher_bytes=100_000, own=(TARGET,), trials=trials)
        arrays = ray.put(Digits().load(None))
        machine = Machine("cpu", 2, 1.0, 0.0)
        scheduler = make_scheduler(
            self.options.yardstick(quality_of("accuracy")), replace(self.options, scheduler="none")
        )
        inputs = TrialInputs(arrays, settings)
        run_trials(self.searcher, scheduler, self.events, inputs, self.options, machine)
        return self.events.records


@pytest.fixture
def deaths():
    dying.DEATHS.mkdir(exist_ok=True)
    yield dying.DEATHS
    shutil.rmtree(dying.DEATHS)


@pytest.mark.slow
def test_a_killed_process_is_retried_from_its_checkpoint_and_not_for_ever(
    ray_session, blank, tmp_path, deaths
):
    allow(TARGET)
    lives = (0, 1, 4)  # of four lives the last one is not given

    def recipe(count):
        (deaths / str(count)).touch()
        model = Custom(target=TARGET, depth=1 + count, width=1.0)
        return methods.full_precision(methods.Setting(Digits(), Fresh(model), epochs=4))

    sweep = Sweep(copy_blank(blank, tmp_path / "store"), [recipe(count) for count in lives])
    records = sweep.run()
    sweep.tracker.finish_sweep("finished", {}, {}, {})
    sweep.tracker.close()
    calm, once, always = (records[f"{number:05d}"] for number in range(3))
    assert (calm.state, once.state, always.state) == ("finished", "finished", "failed")
    assert [path.stat().st_size for path in sorted(deaths.iterdir())] == [0, 1, 4]
    assert always.reason and "\n" not in always.reason
    assert once.metrics["validation_accuracy"] == calm.metrics["validation_accuracy"], "as if it had not died"
    assert [trial.state.name for trial in sweep.study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    ends = [e["run"] for e in sweep.tracker.folder.events() if e["kind"] == "end" and e["run"]]
    assert sorted(ends) == ["00000", "00001", "00002"]


def mount(*words):
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system of its own cannot be mounted here: {done.stderr.strip()}")


class FullDisk:
    """A file system of 24 MB that is filled to the last byte."""

    words = r"(?i)no space left|disk is full"

    def __init__(self, folder):
        self.path = folder
        mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", folder)

    def spoil(self):
        with open(self.path / "filler", "wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"x" * 4096)

    def mend(self):
        (self.path / "filler").unlink()


class ReadOnlyDisk:
    """A disk that finds an error in itself, so that the kernel takes no writes any more."""

    words = r"(?i)read-?only|disk I/O error"  # the kernel's words, or SQLite's, if it comes upon it first

    def __init__(self, folder):
        self.path = folder
        self._image = folder.with_name("image")
        with self._image.open("wb") as file:
            file.truncate(64 * 2**20)
        if shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/sbin:/usr/sbin") is None:
            pytest.skip("needs mkfs.ext4")
        environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/sbin:/usr/sbin"}
        subprocess.run(["mkfs.ext4", "-q", self._image], check=True, env=environment)
        mount("-o", "loop,errors=remount-ro", self._image, folder)
        [device] = [line.split()[0] for line in Path("/proc/mounts").read_text().splitlines()
                    if line.split()[1] == str(folder)]  # fmt: skip
        self._trigger = Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error")

    def spoil(self):
        self._trigger.write_text("test")

    def mend(self):
        """Put a new disk in its place, with what can be read of the old one."""
        new = self.path.with_name("new")
        new.mkdir()
        mount("-t", "tmpfs", "tmpfs", new)
        shutil.copytree(self.path, new, dirs_exist_ok=True, ignore=shutil.ignore_patterns("lost+found"))
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)
        mount("--bind", new, self.path)
        subprocess.run(["umount", "--lazy", str(new)], check=True)
        for engine in SqlAlchemyStore._engine_map.values():
            engine.dispose()  # a process of its own, as a user's, would have no file of the old disk open


@pytest.fixture(params=[FullDisk, ReadOnlyDisk])
def disk(request, tmp_path):
    """A file system of its own, unmounted afterwards."""
    path = tmp_path / "disk"
    path.mkdir()
    yield request.param(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


class Spoiler:
    """Spoils the disk when the first trial has reported twice."""

    def __init__(self, disk):
        self.disk = disk
        self.done = False

    def changed(self, records):
        if not self.done and any(record.metrics.get("epoch", 0) >= 2 for record in records.values()):
            self.done = True
            self.disk.spoil()


@pytest.mark.slow
def test_a_disk_that_takes_no_more_stops_the_sweep_and_spoils_nothing(ray_session, blank, disk):
    recipes = [
        methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=6, seed=seed))
        for seed in range(4)
    ]
    store = copy_blank(blank, disk.path / "store")
    spoiler = Spoiler(disk)
    first = Sweep(store, recipes, spoiler)
    with pytest.raises((OSError, StoreError), match=disk.words):
        first.run()
    assert spoiler.done
    first.tracker.abandon()
    assert not any(record.state == "failed" for record in first.events.records.values())

    disk.mend()
    second = Sweep(store, recipes, resume=True)
    second.tracker.go_on("")
    records = second.run()
    second.tracker.finish_sweep("finished", {}, {}, {})
    second.tracker.close()
    assert [record.state for record in records.values()] == ["finished"] * 4
    assert [trial.state.name for trial in second.study.trials] == ["COMPLETE"] * 4
    ends = [e["run"] for e in second.tracker.folder.events() if e["kind"] == "end" and e["run"]]
    assert sorted(ends) == [f"{number:05d}" for number in range(4)]
    students = {path.parent.name: path for path in second.tracker.folder.trials.glob("*/student.rdz")}
    assert students.keys() == records.keys()
    for key, record in records.items():
        assert students[key].stat().st_size == record.metrics["packed_bytes"]
