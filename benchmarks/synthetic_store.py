"""A store with a sweep of any size, written to MLflow's tables at once.

Through MLflow's client 10,000 trials take five minutes. What a trial has (17 tags, 55 params, 12 metrics with
a history) is what a sweep of digits writes.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from search.store.mlflow_client import EXPERIMENT_PREFIX, connect

METHODS = (
    "full_precision",
    "knowledge_distillation",
    "post_training_quantization",
    "quantized_distillation",
    "differentiable_quantization",
    "learned_step_quantization",
    "quantization_aware_training",
)
BEGIN = 1_790_000_000_000  # milliseconds
TEACHER_BYTES = 1_306_128
TEACHER_ACCURACY, SAMPLES = 0.9889, 360
EPOCHS = 5


def write_store(
    folder: Path, trials: int, *, sweep: str = "digits-1", seed: int = 0, running: int = 0
) -> Path:
    """Add a sweep of ``trials`` to the store in ``folder``, which is made if missing.

    Args:
        folder: of the store.
        trials: how many, at least ``running``.
        sweep: its name.
        seed: of the numbers.
        running: how many of the last trials, and with them the sweep, still run.

    Returns:
        The database.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mlflow.db"
    connect(f"sqlite:///{path}", create=True)
    database = sqlite3.connect(path)
    with database:
        experiment = _experiment(database, folder)
        parent = uuid.UUID(int=seed).hex
        base: dict[str, Any] = {"experiment": experiment, "folder": folder}
        _write(
            database,
            parent,
            sweep,
            "RUNNING" if running else "FINISHED",
            BEGIN,
            BEGIN + trials * 1000,
            **base,
        )
        metrics = {
            "teacher_validation_accuracy": TEACHER_ACCURACY,
            "teacher_accuracy": 0.9972,
            "teacher_packed_bytes": float(TEACHER_BYTES),
            "teacher_validation_samples": float(SAMPLES),
            "teacher_samples": float(SAMPLES),
        }
        tags = {"rayduce.metric": "accuracy", "rayduce.kind": "sweep", "study": "digits"}
        tags |= {"sweep": sweep, "state": "running" if running else "finished"}
        params = {
            "trials": str(trials),
            "seed": "0",
            "limits.packed_bytes": "200000",
            "max_drop": "5",
        }
        _facts(database, parent, tags, params, {key: [value] for key, value in metrics.items()}, BEGIN)
        for number, trial in enumerate(_trials(np.random.default_rng(seed), trials)):
            run_id = uuid.UUID(int=(seed + 1) * 10**12 + number).hex
            start = BEGIN + number * 1000
            state = trial["state"] if number < trials - running else "running"
            status = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "pruned": "KILLED"}[
                state
            ]
            end = None if state == "running" else start + 7000
            _write(database, run_id, trial["name"], status, start, end, **base)
            tags = {**trial["tags"], "mlflow.parentRunId": parent, "rayduce.trial_id": f"{number:05d}"}
            tags |= {"sweep": sweep, "state": state, "mlflow.runName": trial["name"]}
            _facts(database, run_id, tags, trial["params"], trial["metrics"], start)
    database.close()
    return path


def _experiment(database: sqlite3.Connection, folder: Path) -> int:
    name = EXPERIMENT_PREFIX + "digits"
    found = database.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,)).fetchone()
    if found:
        return int(found[0])
    location = (folder.absolute() / "artifacts" / name).as_uri()
    columns = [row[1] for row in database.execute("PRAGMA table_info(experiments)")]
    values = {
        "name": name,
        "artifact_location": location,
        "lifecycle_stage": "active",
        "workspace": "default",
    }
    used = {key: value for key, value in values.items() if key in columns}
    cursor = database.execute(
        f"INSERT INTO experiments ({','.join(used)}) VALUES ({','.join('?' * len(used))})", [*used.values()]
    )
    return int(cursor.lastrowid or 0)


def _trials(random: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        method = str(random.choice(METHODS))
        quantized = method not in ("full_precision", "knowledge_distillation")
        bits = int(random.choice([2, 3, 4, 6, 8])) if quantized else None
        bucket = int(random.choice([64, 256, 1024])) if quantized else None
        depth, width = int(random.integers(1, 5)), float(random.choice([0.125, 0.25, 0.35, 0.5, 0.75, 1.0]))
        sparsity = round(float(random.choice([0.0, random.uniform(0.2, 0.9)])), 3)
        rate = float(10 ** random.uniform(-4, -2))
        weights = 300_000 * width**2 * (0.4 + 0.25 * depth)
        size = int(600 + weights * ((bits or 16) / 8) * (1 - 0.8 * sparsity))
        learned = 1 - 0.35 * np.exp(-((weights * (bits or 8) / 8) ** 0.35) / 18) - 0.1 * sparsity**4
        learned -= 0.02 * abs(np.log10(rate) + 3) + 0.1 * (bits == 2) * random.random() ** 2
        quality = float(np.clip(learned + random.normal(0, 0.006) - 0.008, 0.1, 0.999))
        state = "finished"
        if number % 97 == 13:
            state = "failed"
        elif number % 11 == 5:
            state = "pruned"
        curve = [quality * (1 - 0.4 * 0.5**epoch) for epoch in range(1, EPOCHS)] + [quality]
        metrics: dict[str, list[float]] = {
            "validation_accuracy": curve,
            "loss": [0.9 * 0.6**epoch for epoch in range(EPOCHS)],
            "packed_bytes": [float(size)] * EPOCHS,
            "seconds": [1.4 * (epoch + 1) for epoch in range(EPOCHS)],
        }
        if state == "finished":
            gained = max(round(float(quality - TEACHER_ACCURACY) * SAMPLES), 0) + number % 4
            metrics |= {
                "validation_lost_answers": [round((TEACHER_ACCURACY - quality) * SAMPLES) + float(gained)],
                "validation_gained_answers": [float(gained)],
                "compression_ratio": [TEACHER_BYTES / size],
                "latency_ms": [0.01 + weights / 4e6],
                "macs": [float(int(weights * 18))],
                "sparsity": [sparsity],
                "mean_bits": [float(bits or 16)],
                "parameters": [float(int(weights))],
            }
        tags: dict[str, Any] = {
            "method": method,
            "model": "ConvNet",
            "depth": depth,
            "width": width,
            "bits": bits,
            "bucket_size": bucket,
            "sparsity_target": sparsity,
            "epochs": EPOCHS,
            "rayduce.recipe_id": f"{number:016x}",
            "rayduce.kind": "trial",
            "latency_machine": json.dumps({"processor": "AMD EPYC", "cores": 2}),
        }
        if state != "finished":
            tags["reason"] = (
                "FloatingPointError: loss is nan" if state == "failed" else "dominated at epoch 2"
            )
        params = {
            "method": method,
            "model": "ConvNet",
            "origin.model.depth": str(depth),
            "origin.model.width": str(width),
            "phases.0.optimizer.learning_rate": repr(rate),
            "seed": "0",
            **{f"setting.{i}": "fixed" for i in range(45)},
        }
        if quantized:
            params |= {"quantizer.bits": str(bits), "quantizer.bucket_size": str(bucket)}
        if sparsity:
            params |= {"pruner": "Magnitude", "pruner.sparsity": str(sparsity)}
        name = f"{method[:4]}-{bits}bit-d{depth}-w{width}-s{100 * sparsity:.0f}"
        yield {"state": state, "name": name, "tags": tags, "params": params, "metrics": metrics}


def _write(
    database: sqlite3.Connection,
    run_id: str,
    name: str,
    status: str,
    start: int,
    end: int | None,
    *,
    experiment: int,
    folder: Path,
) -> None:
    of_study = folder.absolute() / "artifacts" / (EXPERIMENT_PREFIX + "digits")
    location = (of_study / run_id / "artifacts").as_uri()
    database.execute(
        "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, "
        "start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id) "
        "VALUES (?, ?, 'UNKNOWN', '', '', 'synthetic', ?, ?, ?, '', 'active', ?, ?)",
        (run_id, name, status, start, None if status == "RUNNING" else end, location, experiment),
    )


def _facts(
    database: sqlite3.Connection,
    run_id: str,
    tags: dict[str, Any],
    params: dict[str, str],
    metrics: dict[str, list[float]],
    start: int,
) -> None:
    for table, pairs in (("tags", tags), ("params", params)):
        rows = [(key, str(value), run_id) for key, value in pairs.items() if value is not None]
        database.executemany(f"INSERT INTO {table} (key, value, run_uuid) VALUES (?, ?, ?)", rows)
    history = [
        (key, value, start + 1000 * (step + 1), step + 1, run_id)
        for key, values in metrics.items()
        for step, value in enumerate(values)
    ]
    latest = {row[0]: row for row in history}
    for table, values in (("metrics", history), ("latest_metrics", [*latest.values()])):
        database.executemany(
            f"INSERT INTO {table} (key, value, timestamp, step, run_uuid, is_nan) VALUES (?, ?, ?, ?, ?, 0)",
            values,
        )
