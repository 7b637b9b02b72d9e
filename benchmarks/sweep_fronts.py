"""The fronts of whole sweeps of two kinds, in hypervolume on the test split, at equal wall time.

Both kinds, of two checkouts or with other options, run with the same seeds, in turns. A finished sweep is a
line of ``sweeps.jsonl`` in the folder, and the same command goes on where it was stopped.

    python -m benchmarks.sweep_fronts OUT --before CHECKOUT --after CHECKOUT [--seeds 5] [--study digits]
    python -m benchmarks.sweep_fronts OUT --before-with "--sampler tpe" --after-with "--sampler freeze-thaw"

The volume is that of log2 of the bytes and halvings of what is lost on test to the teacher's quality on
validation, from its size on and from ten points lost (``--within``): one unit is a file of half the size that
loses half. ``--by shares`` counts the quality itself, from guessing on. At each time it is that of students
that had finished by then and were on the front of the validation split; times count from the first student's
start.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from rayduce.commands.arguments import allow_own
from search.log.event_log import read_log
from search.objectives.front import non_dominated, size_loss_hypervolume, size_quality_hypervolume
from trainables.metrics import quality_of
from trainables.shipping.evaluation import evaluate_file
from trainables.shipping.packed_file import read_header
from trainables.tasks.base import LoadedTask

HERE = Path(__file__).resolve().parents[1]
SIDES = ("before", "after")
SHARES = (0.25, 0.5, 1.0)
"""Of the shorter of a seed's two sweeps: where their volumes are compared."""

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    for side in SIDES:
        parser.add_argument(f"--{side}", type=Path, default=HERE, help="its checkout; default this one")
        parser.add_argument(f"--{side}-with", default="", help="options of its sweeps")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--study", default="digits")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--data", type=Path, help="of the study")
    parser.add_argument("--quality", default="accuracy", help="by which students are chosen")
    parser.add_argument("--by", choices=("losses", "shares"), default="losses", help="what quality counts")
    parser.add_argument("--within", type=float, default=0.1, help="loss from which on losses count")
    parser.add_argument("--guessing", type=float, default=0.1, help="quality from which on shares count")
    options = parser.parse_args()
    if options.study.endswith(".py"):
        allow_own(options.study)
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out / "sweeps.jsonl"
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        done = {(row["side"], row["seed"]) for row in read(log)}
        for side in sorted(SIDES, reverse=bool(seed % 2)):
            if (side, seed) not in done:
                row = {"side": side, "seed": seed} | sweep(side, options, seed)
                with log.open("a") as file:
                    print(json.dumps(row), file=file, flush=True)
    report(read(log), options)


def read(log: Path) -> list[Row]:
    """The sweeps that are there."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def sweep(side: str, options: argparse.Namespace, seed: int) -> Row:
    """One sweep: its wall time, and the students that it finished."""
    store = options.out.absolute() / "store"
    shutil.rmtree(store, ignore_errors=True)
    checkout = getattr(options, side).absolute()
    command = [sys.executable, "-m", "rayduce.commands.app", "sweep", options.study, "--seed", str(seed)]
    command += ["--trials", str(options.trials), "--concurrency", str(options.concurrency)]
    command += ["--data", str(options.data.absolute())] if options.data else []
    begun = time.monotonic()
    subprocess.run(
        [*command, "--store", str(store), *shlex.split(getattr(options, f"{side}_with"))],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        check=True,
        stdout=(options.out / "last.log").open("w"),
        stderr=subprocess.STDOUT,
    )
    seconds = time.monotonic() - begun
    (log,) = (store / "sweeps").glob("*/events.jsonl")
    (teacher,) = (store / "teachers").glob("*.rdz")
    searched, found = students(log, options.quality)
    content = teacher.read_bytes()
    task = opened(content, options)
    return {
        "seconds": seconds,
        "teacher_bytes": len(content),
        "teacher_quality": evaluate_file(content, task, "validation")[options.quality],
        "searched": searched,
        "students": tested(found, store / "trials" / log.parent.name, task, options.quality),
    }


def opened(content: bytes, options: argparse.Namespace) -> LoadedTask:
    """The task of a packed file."""
    recipe = read_header(content)
    return recipe.task.open(recipe.task.load(options.data), torch.device("cpu"), recipe.seed)


def students(log: Path, quality: str) -> tuple[float, list[tuple[float, int, float, str]]]:
    """Seconds of a search, and of each finished student ``(seconds, bytes, validation, trial)``."""
    begun: int | None = None
    ended = 0
    found = []
    measured: dict[str, dict[str, Any]] = {}
    for event in read_log(log, log.parent.name).events:
        if event["kind"] == "start" and begun is None:
            begun = event["time"]
        of = measured.setdefault(event["run"], {})
        of.update(event.get("metrics", {}))
        if event["kind"] == "end" and event["run"] and begun is not None:
            ended = event["time"] - begun
            if event["state"] == "finished":
                found.append((ended / 1000, of["packed_bytes"], of[f"validation_{quality}"], event["run"]))
    return ended / 1000, found


def tested(
    found: list[tuple[float, int, float, str]], trials: Path, task: LoadedTask, quality: str
) -> list[tuple[float, int, float, float]]:
    """The students that were on the front when they finished, with their quality on the test split."""
    kept = []
    for place, (seconds, size, valid, trial) in enumerate(found):
        so_far = [(each[1], each[2]) for each in found[: place + 1]]
        if non_dominated(so_far, (False, True))[-1]:
            content = (trials.joinpath(*trial.split(".")) / "student.rdz").read_bytes()  # 00035.2 lies within
            kept.append((seconds, size, valid, evaluate_file(content, task, "test")[quality]))
    return kept


def volume(row: Row, until: float, options: argparse.Namespace) -> float:
    """Of the front that a sweep had after ``until`` seconds."""
    known = [(size, valid, test) for seconds, size, valid, test in row["students"] if seconds <= until]
    front = (
        non_dominated([(size, valid) for size, valid, _ in known], (False, True)).tolist() if known else []
    )
    chosen = [each for each, kept in zip(known, front, strict=True) if kept]
    sizes, tests = [size for size, _, _ in chosen], [test for _, _, test in chosen]
    quality, teacher = quality_of(options.quality), row["teacher_quality"]
    if options.by == "shares":
        return size_quality_hypervolume(
            sizes, tests, quality, reference_bytes=row["teacher_bytes"], reference_value=options.guessing
        )
    return size_loss_hypervolume(
        sizes,
        tests,
        quality,
        reference_bytes=row["teacher_bytes"],
        teacher_value=teacher,
        reference_value=teacher - options.within,
    )


def reached(row: Row, goal: float, options: argparse.Namespace) -> float:
    """After how many seconds a sweep was at the volume ``goal``; infinite if it never was."""
    moments = sorted(seconds for seconds, *_ in row["students"])
    return next((each for each in moments if volume(row, each, options) >= goal), math.inf)


def report(rows: list[Row], options: argparse.Namespace) -> None:
    """Print the volumes of each seed's two sweeps, and what they differ in."""
    of = {(row["side"], row["seed"]): row for row in rows}
    seeds = sorted({seed for _, seed in of if all((side, seed) in of for side in SIDES)})
    columns = [f"{side} at {share:g}" for share in SHARES for side in SIDES]
    print(f"| seed | {' | '.join(columns)} | seconds before | after | before's end, reached after |")
    print("|---" * (len(columns) + 4) + "|")
    gains: dict[float, list[float]] = {share: [] for share in SHARES}
    for seed in seeds:
        old, new = (of[side, seed] for side in SIDES)
        common = min(old["searched"], new["searched"])
        cells = []
        for share in SHARES:
            pair = [volume(row, share * common, options) for row in (old, new)]
            gains[share].append(pair[1] - pair[0])
            cells += [f"{each:.3f}" for each in pair]
        goal = volume(old, math.inf, options)
        share = reached(new, goal, options) / old["searched"]
        times = f"{old['searched']:.0f} | {new['searched']:.0f} | {f'{share:.2f}' if share < 99 else 'never'}"
        print(f"| {seed} | {' | '.join(cells)} | {times} |")
    print()
    for share, each in gains.items():
        error = f" ± {statistics.stdev(each) / len(each) ** 0.5:.3f}" if len(each) > 1 else ""
        print(
            f"after - before at {share:g} of the common time: {statistics.mean(each):+.3f}{error} "
            f"(standard error, {len(each)} seeds)"
        )


if __name__ == "__main__":
    main()
