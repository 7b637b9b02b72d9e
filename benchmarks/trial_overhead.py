"""What a trial costs that trains nothing: Rayduce against Ray Tune's own parts, in one run.

Both run two trials at a time on one local Ray, search with Optuna for two objectives, record every trial
in an MLflow sqlite store and write a checkpoint per trial. Rayduce's trials also build the student, pack
it, read it back, evaluate it on the validation split and look its latency up; they are proposed by TPE, and
once more by freeze-thaw search, whose model learns from each of them. Ray's side is a function
trainable with ``OptunaSearch`` and ``MLflowLoggerCallback`` at their defaults.

    python benchmarks/trial_overhead.py [--trials 200] [--ray-trials 20]
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from search.clusters.environment import prepare_environment

prepare_environment(None)

import optuna  # noqa: E402
import ray  # noqa: E402
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution  # noqa: E402
from ray import tune  # noqa: E402
from ray.air.integrations.mlflow import MLflowLoggerCallback  # noqa: E402
from ray.tune.search.optuna import OptunaSearch  # noqa: E402

from search.clusters.machine import Machine  # noqa: E402
from search.options import Options  # noqa: E402
from search.sampling.journal import open_study  # noqa: E402
from search.sampling.samplers import find_sampler  # noqa: E402
from search.sampling.searcher import Judge, OptunaSearcher  # noqa: E402
from search.stopping.freezing import FreezeThawScheduler  # noqa: E402
from search.sweeps.trial_events import TrialEvents  # noqa: E402
from search.sweeps.trials import Searched, TrialInputs, make_scheduler, run_trials  # noqa: E402
from search.tracking.record import Record  # noqa: E402
from search.tracking.tracker import SweepTracker  # noqa: E402
from studies.known import find_study  # noqa: E402
from trainables import methods  # noqa: E402
from trainables.metrics import quality_of  # noqa: E402
from trainables.metrics.latency import fingerprint  # noqa: E402
from trainables.optimizers import AdamW  # noqa: E402
from trainables.origins import Fresh  # noqa: E402
from trainables.quantizers import Uniform  # noqa: E402
from trainables.recipe import Recipe  # noqa: E402
from trainables.trainable import TrialSettings  # noqa: E402


def three_numbers(trial: optuna.trial.BaseTrial) -> tuple[int, int, float]:
    """What is searched: bits, log2 of the bucket size, and a learning rate that trains nothing."""
    return (
        trial.suggest_int("bits", 1, 8),
        trial.suggest_int("log2_bucket_size", 5, 10),
        trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
    )


class Clock:
    """Notes when trials end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def changed(self, records: Mapping[str, Record]) -> None:
        ended = sum(record.state != "running" for record in records.values())
        while len(self.ends) < ended:
            self.ends.append(time.perf_counter())


PARAMETERS: Mapping[str, BaseDistribution] = {
    "bits": IntDistribution(1, 8),
    "log2_bucket_size": IntDistribution(5, 10),
    "learning_rate": FloatDistribution(5e-4, 1e-2, log=True),
}


def ours(folder: Path, trials: int, name: str) -> tuple[float, float]:
    """Seconds per trial once running, and in all, of the sampler ``name``."""
    study = find_study("digits")
    task = study.make_task(None, {})
    arrays = task.load(None)
    student = study.students[0][1].model.scaled(depth=1, width=0.25)

    def untrained(trial: optuna.trial.BaseTrial) -> Recipe:
        bits, log2_bucket, rate = three_numbers(trial)
        return methods.post_training_quantization(
            methods.Setting(task, Fresh(student), epochs=0),
            quantizer=Uniform(bits, 2**log2_bucket),
            optimizer=AdamW(rate),
        )

    options = Options(name, trials, 0, folder, f"sqlite:///{folder}/mlflow.db", concurrency=2)
    tracker = SweepTracker(options.tracking_uri, folder, "digits", options.name)
    tracker.open(params={}, tags={"rayduce.metric": task.metric})
    journal = open_study(folder / "s.journal", options.name, ("maximize", "minimize"))
    sampler, yardstick = find_sampler(name), options.yardstick(quality_of(task.metric))
    model = Searched(untrained, PARAMETERS, journal, 0, trials, print) if sampler.models else None
    scheduler = make_scheduler(yardstick, options, model)
    searcher = OptunaSearcher(
        journal,
        untrained,
        Judge(lambda result: [result["validation_accuracy"], result["packed_bytes"]]),
        trials=trials,
        parameters=PARAMETERS,
        sampler=sampler,
        revisits=scheduler,
        model=scheduler.proposals if isinstance(scheduler, FreezeThawScheduler) else None,
    )
    clock = Clock()
    settings = TrialSettings(folder / "latency", teacher_bytes=1_000_000, trials=tracker.folder.trials)
    events = TrialEvents(tracker, clock, yardstick)
    start = time.perf_counter()
    inputs = TrialInputs(arrays, settings)
    run_trials(searcher, scheduler, events, inputs, options, Machine("cpu", 2, 1.0, 0.0))
    tracker.flush()
    total = time.perf_counter() - start
    tracker.close()
    states = {record.state for record in events.records.values()}
    if len(events.records) != trials or states != {"finished"}:
        raise SystemExit(f"expected {trials} finished trials, got {len(events.records)} in states {states}")
    return (start + total - clock.ends[0]) / (trials - 1), total / trials


def untrained_function(config: dict[str, Any]) -> None:
    """Report once, with a checkpoint."""
    import torch  # what every trial of a real sweep imports

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "state").write_bytes(bytes(torch.zeros(5000).numpy()))
        tune.report(
            {"accuracy": config["learning_rate"], "packed_bytes": config["bits"]},
            checkpoint=tune.Checkpoint.from_directory(folder),
        )


def space(trial: optuna.trial.Trial) -> None:
    """The same space; at module level, because Ray pickles it."""
    three_numbers(trial)


def rays(folder: Path, trials: int) -> tuple[float, float]:
    """Seconds per trial once running, and in all, with Ray Tune's defaults."""
    times = folder / "ends"  # a file, because Ray works on a pickled copy of its callbacks

    class Ends(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            with times.open("a") as file:
                file.write(f"{time.perf_counter()}\n")

    start = time.perf_counter()
    tune.Tuner(
        tune.with_resources(untrained_function, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(space, metric=["accuracy", "packed_bytes"], mode=["max", "min"]),
            num_samples=trials,
            max_concurrent_trials=2,
        ),
        run_config=tune.RunConfig(
            name="rays",
            storage_path=str(folder / "rays"),
            callbacks=[
                MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/rays.db", experiment_name="rays"),
                Ends(),
            ],
            verbose=0,
        ),
    ).fit()
    total = time.perf_counter() - start
    ends = [float(line) for line in times.read_text().split()]
    if len(ends) != trials:
        raise SystemExit(f"expected {trials} trials, got {len(ends)}")
    return (ends[-1] - ends[0]) / (trials - 1), total / trials


def main() -> None:
    """Measure both and print them with their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--ray-trials", type=int, default=20)
    arguments = parser.parse_args()
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    with tempfile.TemporaryDirectory() as folder:
        own = {}
        for name in ("tpe", "freeze-thaw"):
            (Path(folder) / name).mkdir()
            own[name] = ours(Path(folder) / name, arguments.trials, name)
        ray_each, ray_total = rays(Path(folder), arguments.ray_trials)
    ray.shutdown()
    print(f"machine: {json.dumps(fingerprint())}")
    versions = {name: version(name) for name in ("ray", "optuna", "mlflow", "torch")}
    print(f"python {platform.python_version()}, {versions}")
    print(f"{'':<34}{'s per trial, running':>22}{'s per trial, with start':>25}{'trials':>8}")
    for name, (each, total) in own.items():
        print(f"{'Rayduce, everything on, ' + name:<36}{each:>20.3f}{total:>25.3f}{arguments.trials:>8}")
    our_each, our_total = own["tpe"]
    name = "Ray Tune, Optuna and MLflow parts"
    print(f"{name:<34}{ray_each:>22.3f}{ray_total:>25.3f}{arguments.ray_trials:>8}")
    print(f"{'ratio':<34}{ray_each / our_each:>22.1f}{ray_total / our_total:>25.1f}")


if __name__ == "__main__":
    main()
