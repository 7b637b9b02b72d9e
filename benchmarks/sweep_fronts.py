"""The fronts of whole sweeps of one checkout against those of another, in hypervolume on the test split.

Both checkouts run the same command with the same seeds, in turns. A finished sweep is a line of
``sweeps.jsonl`` in the folder, and the same command goes on where it was stopped.

    python -m benchmarks.sweep_fronts OUT --before CHECKOUT --after CHECKOUT [--seeds 5] [--study digits]

The volume is that of log2 of the bytes and test accuracy, from the teacher's size and guessing on: one unit
is a file of half the size at full accuracy.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from search.objectives.front import size_quality_hypervolume
from trainables.metrics import quality_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--after", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--study", default="digits")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--guessing", type=float, default=0.1, help="accuracy that is worth nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out / "sweeps.jsonl"
    sides = {"before": options.before.absolute(), "after": options.after.absolute()}
    for seed in range(options.seeds):
        done = {(row["side"], row["seed"]) for row in read(log)}
        for side in sorted(sides, reverse=bool(seed % 2)):
            if (side, seed) not in done:
                row = {"side": side, "seed": seed} | sweep(sides[side], options, seed)
                with log.open("a") as file:
                    print(json.dumps(row), file=file, flush=True)
    report(read(log), options.guessing)


def read(log: Path) -> list[dict[str, Any]]:
    """The sweeps that are there."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def sweep(checkout: Path, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One sweep: its front and its wall time."""
    store = options.out.absolute() / "store"
    shutil.rmtree(store, ignore_errors=True)
    command = [sys.executable, "-m", "rayduce.commands.app", "sweep", options.study, "--seed", str(seed)]
    command += ["--trials", str(options.trials), "--concurrency", str(options.concurrency)]
    begun = time.monotonic()
    subprocess.run(
        [*command, "--store", str(store)],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        check=True,
        stdout=(options.out / "last.log").open("w"),
        stderr=subprocess.STDOUT,
    )
    seconds = time.monotonic() - begun
    (table,) = (store / "sweeps").glob("*/front.csv")
    front = pd.read_csv(table)
    (teacher,) = (store / "teachers").glob("*.rdz")
    return {
        "seconds": seconds,
        "teacher_bytes": teacher.stat().st_size,
        "front": front[["name", "packed_bytes", "validation_accuracy", "accuracy"]].to_dict("records"),
    }


def report(rows: list[dict[str, Any]], guessing: float) -> None:
    """Print the volume of each front, and what they differ in by seed."""
    largest = min(row["teacher_bytes"] for row in rows)
    volumes: dict[str, dict[int, float]] = {"before": {}, "after": {}}
    for row in rows:
        front = pd.DataFrame(row["front"])
        volumes[row["side"]][row["seed"]] = size_quality_hypervolume(
            front["packed_bytes"],
            front["accuracy"],
            quality_of("accuracy"),
            reference_bytes=largest,
            reference_value=guessing,
        )
    print("| seed | before | after | difference | seconds before | after |\n|---|---|---|---|---|---|")
    taken = {(row["side"], row["seed"]): row["seconds"] for row in rows}
    both = sorted(volumes["before"].keys() & volumes["after"].keys())
    for seed in both:
        old, new = volumes["before"][seed], volumes["after"][seed]
        times = " | ".join(f"{taken[side, seed]:.0f}" for side in volumes)
        print(f"| {seed} | {old:.3f} | {new:.3f} | {new - old:+.3f} | {times} |")
    ratios = [volumes["after"][seed] / volumes["before"][seed] for seed in both]
    if len(both) > 1:
        error = statistics.stdev(ratios) / len(ratios) ** 0.5
        print(
            f"\nratio after/before: {np.mean(ratios):.3f} ± {error:.3f} (standard error, {len(both)} seeds)"
        )


if __name__ == "__main__":
    main()
