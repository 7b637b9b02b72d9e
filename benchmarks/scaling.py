"""How the driver of a sweep bears many trials: trials that sleep, on clusters of 1, 2, 4 and 8 nodes.

Nodes are raylets on this machine with as many logical CPUs as asked for; searcher, callback and tracker are
the real ones, and each trial is recorded in MLflow. Processor and memory are those of the driver process
alone. Busy is the share of the slots' time in which a trial slept, between the first trials and the start
of the last.

    python -m benchmarks.scaling [--trials 2000] [--nodes 1 2 4 8] [--per-node 4] [--epochs 3] [--seconds 0.5]

Each cluster is measured in a process of its own. Where the machine is too small for the processes of 200
trials ("MB per trial" says what one takes), what they would ask of the driver is 200 / SECONDS results a
second: compare with "results/s" of a run with ``--seconds 0``, the most it can do here.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from search.clusters.environment import prepare_environment

prepare_environment(None)
os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # eight nodes start on one machine

import optuna  # noqa: E402
import ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from benchmarks.sleeper import Sleeper  # noqa: E402
from search.clusters.machine import Machine  # noqa: E402
from search.objectives.yardstick import Yardstick  # noqa: E402
from search.options import Options  # noqa: E402
from search.sampling.journal import open_study  # noqa: E402
from search.sampling.searcher import Judge, OptunaSearcher  # noqa: E402
from search.sweeps.trial_events import TrialEvents  # noqa: E402
from search.sweeps.trials import TrialInputs, make_scheduler, run_trials  # noqa: E402
from search.tracking.record import Record  # noqa: E402
from search.tracking.tracker import SweepTracker  # noqa: E402
from studies.known import find_study  # noqa: E402
from trainables import methods  # noqa: E402
from trainables.metrics import quality_of  # noqa: E402
from trainables.metrics.latency import fingerprint  # noqa: E402
from trainables.optimizers import AdamW  # noqa: E402
from trainables.quantizers import Uniform  # noqa: E402
from trainables.recipe import Recipe  # noqa: E402
from trainables.trainable import TrialSettings  # noqa: E402

STORE_BYTES = 100 * 2**20
"""Of each node's object store; there is next to nothing in it."""

PACKED_BYTES = 10_000
MARKS = (0.1, 0.25, 0.5, 0.75, 1.0)
"""At which shares of the trials the driver's memory is read."""


class Clock:
    """Notes starts, ends, the driver's memory and, once, that of the trials' processes.

    Args:
        trials: how many there will be.
    """

    def __init__(self, trials: int) -> None:
        self.starts: list[float] = []
        self.ends: list[float] = []
        self.memory: dict[int, float] = {}
        self.private: list[float] = []
        self._marks = [max(1, round(trials * mark)) for mark in MARKS]

    def changed(self, records: Mapping[str, Record]) -> None:
        """A trial started, reported or ended."""
        now = time.perf_counter()
        if len(records) > len(self.starts):
            self.starts.append(now)

    def ended(self) -> None:
        """A trial ended."""
        self.ends.append(time.perf_counter())
        if len(self.ends) in self._marks:
            self.memory[len(self.ends)] = resident_megabytes()
            self.private = self.private or [private_megabytes(pid) for pid in sleepers()]


class Counted(TrialEvents):
    """The sweep's own events, counted without a look at every record."""

    def __init__(self, tracker: SweepTracker, clock: Clock) -> None:
        super().__init__(tracker, clock, Yardstick(quality_of("accuracy")))
        self._clock = clock

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Ray Tune."""
        super().on_trial_complete(iteration, trials, trial, **info)
        self._clock.ended()


def resident_megabytes() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def private_megabytes(pid: int) -> float:
    """Memory that the process ``pid`` shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1e3


def sleepers() -> list[int]:
    """Process ids of the trials' actors."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith((b"ray::Sleeper", b"ray::_Inner")):
                found.append(int(path.parent.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def measure(
    nodes: int, per_node: int, trials: int, epochs: int, seconds: float, folder: Path
) -> dict[str, Any]:
    """Run one sweep and return its figures."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES},
    )
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=per_node, object_store_memory=STORE_BYTES)
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        return _measure(nodes * per_node, trials, epochs, seconds, folder)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _measure(slots: int, trials: int, epochs: int, seconds: float, folder: Path) -> dict[str, Any]:
    study = find_study("digits")
    task = study.make_task(None, {})

    def space(trial: optuna.trial.BaseTrial) -> Recipe:
        bits = trial.suggest_int("bits", 1, 8)
        rate = trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True)
        return methods.post_training_quantization(
            methods.Setting(task, study.students[0][1], epochs=1),
            quantizer=Uniform(bits, 256),
            optimizer=AdamW(rate),
        )

    uri = f"sqlite:///{folder}/mlflow.db"
    options = Options("scaling", trials, 0, folder, uri, concurrency=slots, scheduler="none")
    tracker = SweepTracker(options.tracking_uri, folder, "digits", options.name)
    tracker.open(params={}, tags={"rayduce.metric": task.metric})
    journal = open_study(folder / "s.journal", options.name, ("maximize", "minimize"))
    searcher = OptunaSearcher(
        journal,
        space,
        Judge(lambda result: [result["validation_accuracy"], result["packed_bytes"]]),
        trials=trials,
        parameters={},
    )
    clock = Clock(trials)
    events = Counted(tracker, clock)
    given = {
        "epochs": epochs,
        "seconds": seconds,
        "packed_bytes": PACKED_BYTES,
        "trials": tracker.folder.trials.absolute(),
    }
    scheduler = make_scheduler(options.yardstick(quality_of(task.metric)), options)
    # Without settings, whose class would bring torch into every process.
    settings = cast(TrialSettings, None)
    before = _processor_seconds()
    run_trials(
        searcher,
        scheduler,
        events,
        TrialInputs(given, settings),
        options,
        Machine("cpu", slots, 1.0, 0.0),
        trainable=Sleeper,
    )
    used = _processor_seconds() - before
    start = time.perf_counter()
    tracker.flush()
    tracker.close()
    states = [record.state for record in events.records.values()]
    if states != ["finished"] * trials:
        raise SystemExit(
            f"expected {trials} finished trials, got {len(states)} in states {sorted(set(states))}"
        )
    wall = clock.ends[-1] - clock.starts[0]
    # The last trials leave slots empty whatever the driver does, and the first wait for their processes.
    full = [end for end in clock.ends if clock.starts[0] < end <= clock.starts[-1]][slots:]
    steady = (len(full) - 1) / (full[-1] - full[0])
    return {
        "slots": slots,
        "trials_per_s": trials / wall,
        "steady_trials_per_s": steady,
        "busy": steady * epochs * seconds / slots,
        "results_per_s": steady * epochs,
        "driver_cpu_ms_per_trial": 1000 * used / trials,
        "memory_mb": {str(count): round(value) for count, value in clock.memory.items()},
        "undelivered_s": time.perf_counter() - start,
        "mb_per_trial_process": sum(clock.private) / len(clock.private),
    }


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure each cluster, or with ``--one`` the one that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--per-node", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        with tempfile.TemporaryDirectory() as folder:
            (nodes,) = given.nodes
            found = measure(nodes, given.per_node, given.trials, given.epochs, given.seconds, Path(folder))
        print(json.dumps(found))
        return
    print(f"machine: {json.dumps(fingerprint())}")
    versions = {name: version(name) for name in ("ray", "optuna", "mlflow")}
    print(f"python {platform.python_version()}, {versions}")
    print(f"{given.trials} trials of {given.epochs} epochs of {given.seconds:g} s")
    heads = ("nodes", "slots", "trials/s", "busy", "results/s", "CPU ms/trial", "MB per trial", "driver MB")
    print(" ".join(f"{head:>12}" for head in heads))
    for nodes in given.nodes:
        numbers = [f"--{name}={getattr(given, name.replace('-', '_'))}" for name in _SHARED]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scaling", "--one", f"--nodes={nodes}", *numbers],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        row = (
            f"{nodes}",
            f"{found['slots']}",
            f"{found['steady_trials_per_s']:.1f}",
            f"{found['busy']:.0%}",
            f"{found['results_per_s']:.1f}",
            f"{found['driver_cpu_ms_per_trial']:.0f}",
            f"{found['mb_per_trial_process']:.0f}",
        )
        grown = ", ".join(f"{count}: {value}" for count, value in found["memory_mb"].items())
        print(" ".join(f"{cell:>12}" for cell in row), "  ", grown, flush=True)


_SHARED = ("per-node", "trials", "epochs", "seconds")


if __name__ == "__main__":
    main()
