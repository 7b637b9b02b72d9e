"""Post-training quantization of a network as it was given: how long a trial takes that trains nothing.

    CIFAR_IMAGES=DIR CIFAR_CHECKPOINT=FILE python -m benchmarks.own_front.rounding [--rounds 5]

What a trial does, step by step, in one process on one thread: building the student, rounding and packing it,
reading it back, its metrics, its latency (of a network that the table does not have yet), and apart from
these its evaluation on the validation split. Medians of several rounds.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from studies.job import study_of_file
from trainables import methods
from trainables.quantizers import Uniform
from trainables.shipping.evaluation import open_student
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training.trainer import Trainer
from trainables.training.trial_metrics import TrialSettings, final_metrics, latencies

JOB = Path(__file__).parent / "job.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = study_of_file(JOB, print)
    task = study.make_task(None, {})
    assert study.arrays is not None  # of a job file
    data = task.open(study.arrays, torch.device("cpu"), 0)
    sources = LocalSources(NoSources().network, study.given)
    setting = methods.Setting(task, study.teacher, 2)
    seconds: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        begun = time.perf_counter()
        found = work(*arguments)
        seconds.setdefault(name, []).append(time.perf_counter() - begun)
        return found

    for _ in range(options.rounds):
        recipe = methods.round_to_nearest(setting, quantizer=Uniform(8))
        trainer = timed("building", Trainer, recipe, data, sources, torch.device("cpu"))
        file = timed("rounding and packing", trainer.ship)
        _, student = timed("reading back", open_student, file)
        with tempfile.TemporaryDirectory() as table:
            settings = TrialSettings(Path(table), len(file))
            timed("metrics", final_metrics, recipe, file, student, settings)
            timed("latency", latencies, recipe, file, student, settings)
        quality = timed("evaluation", data.evaluate, student, "validation")
    print(f"{platform.machine()}, torch {torch.__version__}, {len(file):,} bytes, {quality}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name}: {median:.3f} s")
    print(f"a trial without its evaluation: {sum(medians.values()) - medians['evaluation']:.2f} s")


if __name__ == "__main__":
    main()
