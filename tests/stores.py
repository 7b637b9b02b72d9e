"""Real sqlite stores for tests, at the price of one schema creation a session."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from search.log.event_log import seal
from search.store.mlflow_client import connect
from search.tracking.tracker import SweepTracker

RECIPE: dict[str, Any] = {
    "type": "Recipe",
    "method": "quantized_distillation",
    "task": {"type": "Digits", "seed": 0},
    "quantizer": {"type": "Uniform", "bits": 4, "bucket_size": None},
    "losses": [{"type": "SoftTargets", "temperature": 4.0, "weight": {"type": "Constant", "value": 0.5}}],
    "exempt": ["classifier.*", "stem.*"],
    "phases": [],
}
FACTS: dict[str, Any] = {
    "method": "quantized_distillation",
    "model": "ConvNet",
    "depth": 2,
    "width": 0.5,
    "bits": 4,
    "bucket_size": 256,
    "sparsity": 0.3,
    "epochs": 2,
    "recipe_id": "0123456789abcdef",
}


def make_blank(path: Path) -> Path:
    """An MLflow database without runs, complete in its one file."""
    connect(f"sqlite:///{path}", create=True)
    database = sqlite3.connect(path)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


def copy_blank(blank: Path, folder: Path) -> Path:
    """A store folder of its own, with a copy of ``blank`` as its database."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(blank, folder / "mlflow.db")
    return folder


def tracker(folder: Path, sweep: str = "digits-1", study: str = "digits") -> SweepTracker:
    """A tracker on the store in ``folder``, not yet open."""
    return SweepTracker(f"sqlite:///{folder / 'mlflow.db'}", folder, study, sweep)


def kept(open_tracker: SweepTracker, trial_id: str, files: Mapping[str, bytes]) -> dict[str, Path]:
    """Files in a trial's own folder, as the tracker wants them: by the names of their artifacts."""
    folder = open_tracker.folder.trials / trial_id
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in files}


def final(quality: float, packed_bytes: int, metric: str = "accuracy") -> dict[str, float]:
    """What a trial reports at its end."""
    return {
        f"validation_{metric}": quality,
        "packed_bytes": packed_bytes,
        "compression_ratio": 100_000 / packed_bytes,
        "latency_ms": 0.25,
        "macs": 12_000,
        "sparsity": 0.29,
        "mean_bits": 4.0,
        "parameters": 900,
        "seconds": 1.5,
    }


def add_trial(
    open_tracker: SweepTracker,
    trial_id: str,
    metrics: Mapping[str, float | None],
    *,
    name: str | None = None,
    state: str = "finished",
    recipe: Mapping[str, Any] = RECIPE,
    facts: Mapping[str, Any] = FACTS,
    tags: Mapping[str, Any] | None = None,
) -> None:
    """One whole trial of one epoch, with ``student.rdz`` holding its id."""
    open_tracker.start_trial(trial_id, name or f"qd-{trial_id}", recipe, facts)
    open_tracker.log_epoch(trial_id, 1, {"loss": 0.5})
    open_tracker.finish_trial(
        trial_id, state, metrics, tags or {}, kept(open_tracker, trial_id, {"student.rdz": trial_id.encode()})
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The events of a log, unchecked and without the hash that each line ends with."""
    events: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    for event in events:
        del event["check"]
    return events


def write_lines(path: Path, events: Iterable[Mapping[str, Any]]) -> None:
    """A log of ``events`` with the hashes that belong there: somebody's who knows how it is done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    check, lines = "", []
    for event in events:
        line, check = seal(event, check)
        lines.append(line)
    path.write_bytes(b"".join(lines))


def settings_of(name: str, **options: Any) -> dict[str, Any]:
    """What a log says of how a sweep of the digits was asked for."""
    asked: dict[str, Any] = {
        "name": name, "trials": 2, "seed": 0, "tracking_uri": None, "data": None, "about_data": {},
        "download": False, "budget": {"limits": {}, "max_drop": None},
        "sampler": "random", "earlier": [], "size": "packed_bytes", "minimized": [],
        "concurrency": None, "address": None, "own_model": None, "scheduler": "none",
    }  # fmt: skip
    study = {"name": "digits", "epochs": 2}
    return {"options": asked | options, "study": study, "data": "00", "teacher": "00", "code": {}}
