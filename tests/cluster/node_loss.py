"""Three trials on two nodes of which one dies; a program, since it needs a Ray of its own.

    python -m tests.cluster.node_loss FOLDER

prints what became of the trials, as JSON: ``states``, ``lost`` (trials that were on the node that died) and
``processes`` (of each trial, in the order in which they reported).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.clusters.environment import prepare_environment

prepare_environment(None)

import ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from search.clusters.machine import Machine  # noqa: E402
from search.objectives.yardstick import Yardstick  # noqa: E402
from search.options import Options  # noqa: E402
from search.sampling.journal import open_study  # noqa: E402
from search.sampling.searcher import Judge, OptunaSearcher  # noqa: E402
from search.sweeps.trial_events import TrialEvents  # noqa: E402
from search.sweeps.trials import TrialInputs, make_scheduler, run_trials  # noqa: E402
from search.tracking.record import Record  # noqa: E402
from search.tracking.tracker import SweepTracker  # noqa: E402
from tests.recipes import STUDENT  # noqa: E402
from trainables import methods  # noqa: E402
from trainables.metrics import quality_of  # noqa: E402
from trainables.origins import Fresh  # noqa: E402
from trainables.quantizers import Symmetric  # noqa: E402
from trainables.tasks import Digits  # noqa: E402
from trainables.trainable import TrialSettings  # noqa: E402

TRIALS, EPOCHS = 3, 12


class Silent:
    def changed(self, records: Mapping[str, Record]) -> None:
        pass


class Killer(TrialEvents):
    """Kills a node, with all its processes, as soon as a trial there has reported.

    Args:
        tracker: of the sweep.
        raylet: process id of the node's raylet.
    """

    def __init__(self, tracker: SweepTracker, raylet: int) -> None:
        super().__init__(tracker, Silent(), Yardstick(quality_of("accuracy")))
        self.raylet = raylet
        self.lost: list[str] = []
        self.processes: dict[str, list[int]] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        super().on_trial_result(iteration, trials, trial, result, **info)
        seen = self.processes.setdefault(str(trial.config["trial"]), [])
        if result["pid"] not in seen:
            seen.append(result["pid"])
        workers = children(self.raylet)
        if not self.lost and result["pid"] in workers:
            self.lost = [name for name, known in self.processes.items() if known[-1] in workers]
            for pid in (self.raylet, *workers):
                os.kill(pid, signal.SIGKILL)


def children(pid: int) -> set[int]:
    """Process ids of those that ``pid`` started."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for path in lists for child in path.read_text().split()}


def main(folder: Path) -> None:
    """Run it in ``folder``."""
    node = {"include_dashboard": False, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, **node})
    try:
        doomed = cluster.add_node(num_cpus=2, object_store_memory=100 * 2**20)
        cluster.connect()
        _search(folder, doomed.all_processes["raylet"][0].process.pid)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _search(folder: Path, raylet: int) -> None:
    uri = f"sqlite:///{folder}/mlflow.db"
    options = Options("lost", TRIALS, 0, folder, uri, scheduler="none")
    tracker = SweepTracker(options.tracking_uri, folder, "digits", options.name)
    tracker.open({}, {"rayduce.metric": "accuracy"})
    study = open_study(folder / "s.journal", options.name, ("maximize", "minimize"))
    searcher = OptunaSearcher(
        study,
        lambda trial: methods.quantization_aware_training(
            methods.Setting(Digits(), Fresh(STUDENT), epochs=EPOCHS),
            quantizer=Symmetric(trial.suggest_int("bits", 2, 8)),
        ),
        Judge(lambda result: [result["validation_accuracy"], result["packed_bytes"]]),
        trials=TRIALS,
        parameters={},
    )
    events = Killer(tracker, raylet)
    settings = TrialSettings(None, teacher_bytes=100_000, trials=tracker.folder.trials)
    scheduler = make_scheduler(options.yardstick(quality_of("accuracy")), options)
    arrays = Digits().load(None)
    inputs = TrialInputs(arrays, settings)
    run_trials(searcher, scheduler, events, inputs, options, Machine("cpu", TRIALS, 1.0, 0.0))
    tracker.finish_sweep("finished", {}, {}, {})
    tracker.close()
    found = {
        "states": {name: record.state for name, record in events.records.items()},
        "reasons": {name: record.reason for name, record in events.records.items()},
        "lost": events.lost,
        "processes": events.processes,
        "told": [trial.state.name for trial in study.trials],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
