"""The front of one's own network: how small CIFAR-10's ResNet becomes within one and within three points.

    CIFAR_IMAGES=DIR CIFAR_CHECKPOINT=FILE python -m benchmarks.own_front.front STORE [--epochs 14]

A sweep of :mod:`benchmarks.own_front.job` over learned steps (LSQ) with pruning, of the whole network and of
slices of it; it can be stopped and started again. At the end it prints the front, and the largest compression
within one and three points of the network that was given. The front is chosen on the validation split and
measured on the test split.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rayduce import Sweep
from spaces import Space
from studies.job import study_of_file

JOB = Path(__file__).parent / "job.py"
LSQ: dict[str, Any] = {"method": "learned_step_quantization"}
FIRST: tuple[dict[str, Any], ...] = (
    {**LSQ, "start": "slice", "width": 0.75, "symmetric_bits": 3, "sparsity": 0.8},
    {**LSQ, "start": "teacher", "symmetric_bits": 3, "sparsity": 0.88},
    {**LSQ, "start": "slice", "width": 0.5, "symmetric_bits": 3, "sparsity": 0.3},
    {**LSQ, "start": "slice", "width": 0.75, "symmetric_bits": 4, "sparsity": 0.86},
)
"""Where the search begins, after the whole network in 3 bits, pruned to 70 %; the rest is drawn by TPE."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--trials", type=int, default=9)
    parser.add_argument(
        "--concurrency", type=int, default=None, help="students at a time; as ever by default"
    )
    parser.add_argument("--name", default="own-front")
    options = parser.parse_args()
    study = replace(
        study_of_file(JOB, print, store=options.store.absolute()),
        epochs=options.epochs,
        space=Space(
            methods=("learned_step_quantization",),
            ranges={"symmetric_bits": (2, 4), "width": (0.3, 1.0), "sparsity": (0.3, 0.95)},
            fixed={"depth_share": 1.0, "learning_rate": 1e-3, "prune": True},
            starts={"symmetric_bits": 3, "sparsity": 0.7},
            also=FIRST,
        ),
    )
    begun = time.time()
    if (options.store / "sweeps" / options.name).exists():
        sweep = Sweep.resume(options.name, store=options.store, model=str(JOB))
        sweep._study = study
    else:
        # Until it quantizes, a student of this method is measured as it would ship, rounded: that says little
        # of how it ends, so none ends early.
        sweep = Sweep(
            study,
            store=options.store,
            name=options.name,
            trials=options.trials,
            concurrency=options.concurrency,
            scheduler="none",
            model=str(JOB),
        )
    front = sweep.run()
    print(f"{platform.machine()}, {os.cpu_count()} processors, torch {torch.__version__}")
    print(f"{(time.time() - begun) / 3600:.2f} hours in this run, {options.epochs} epochs a trial")
    teacher = front.teacher
    print(
        f"network: {100 * teacher['accuracy']:.2f} % on the test split, {teacher['packed_bytes']:,.0f} bytes"
    )
    for student in front:
        assert student.quality is not None  # of a finished sweep
        ratio, lost = teacher["packed_bytes"] / student.packed_bytes, teacher["accuracy"] - student.quality
        print(f"{student.name}: {ratio:.1f}x, {-100 * lost:+.2f} points ({student.packed_bytes:,} bytes)")
    for points in (1.0, 3.0):
        fit = [each for each in front if 100 * (teacher["accuracy"] - (each.quality or 0.0)) <= points]
        best = max((teacher["packed_bytes"] / each.packed_bytes for each in fit), default=0.0)
        print(f"within {points:g} point{'s' * (points > 1)} on the test split: {best:.1f}x")


if __name__ == "__main__":
    main()
