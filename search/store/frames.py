"""Runs as rows and typed columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from search.objectives.certainty import BOUNDS, COUNTS
from search.objectives.front import front_so_far
from search.objectives.mark import MARK_TAG, RuntimeMark
from search.store.mlflow_client import (
    FRONT_TAG,
    METRIC_TAG,
    RECIPE_TAG,
    SEEDLESS_TAG,
    SIGNATURE_TAG,
    STATE_TAG,
    STUDY_TAG,
    SWEEP_TAG,
    TRIAL_TAG,
    StoreError,
)
from search.store.runs import RunRow
from search.store.sweep import Sweep
from trainables.files import TENSORS_FILE
from trainables.foreign import shown
from trainables.metrics import costs_of
from trainables.sealed import unsealed

STATES = {
    "RUNNING": "running",
    "SCHEDULED": "running",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "stopped",
}
"""What MLflow's own status says; a tag tells ``pruned`` from ``stopped``."""


KNOWN_STATES = frozenset({*STATES.values(), "pruned"})


TEXT, WHOLE, REAL, FLAG, TIME = "string", "Int64", "float64", "bool", "datetime64[ms, UTC]"


# Column -> dtype. What trials measure stands between the two, by the registry and the sweep's metric.
_BEFORE_METRICS = {
    "run_id": TEXT,
    "trial_id": TEXT,
    "name": TEXT,
    "state": TEXT,
    "reason": TEXT,
    "method": TEXT,
    "model": TEXT,
    "bits": WHOLE,
    "bucket_size": WHOLE,
    "depth": REAL,
    "width": REAL,
    "sparsity_target": REAL,
}


_AFTER_METRICS = {
    "trained": REAL,
    "front": FLAG,
    "recipe_id": TEXT,
    "seedless_id": TEXT,
    "start_time": TIME,
    "end_time": TIME,
    "feasible": FLAG,
    "copied_from": TEXT,
    "continues": TEXT,
    "trained_with": TEXT,
}


_TAGS = {
    "trial_id": TRIAL_TAG,
    "recipe_id": RECIPE_TAG,
    "seedless_id": SEEDLESS_TAG,
    **{
        name: name
        for name in (
            "copied_from",
            "continues",
            "trained_with",
            "reason",
            "method",
            "model",
            "bits",
            "bucket_size",
            "depth",
            "width",
            "sparsity_target",
        )
    },
}
"""Column -> the tag that tells it."""


SWEEP_COLUMNS = {
    "run_id": TEXT,
    "name": TEXT,
    "study": TEXT,
    "state": TEXT,
    "metric": TEXT,
    "teacher_quality": REAL,
    "teacher_validation": REAL,
    "teacher_bytes": WHOLE,
    "seconds": REAL,
    "start_time": TIME,
}


TENSOR_COLUMNS = {
    "name": TEXT,
    "shape": TEXT,
    "codec": TEXT,
    "bits": REAL,
    "sparsity": REAL,
    "bytes": REAL,
    "entropy_bytes": REAL,
    "share": REAL,
    "levels": "object",
}


LAYER_COLUMNS = {
    "name": TEXT,
    **dict.fromkeys(("macs", "weights", "packed_bytes", "onnx_bytes", "activation_bytes"), WHOLE),
    "latency_share": REAL,
}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values, ready for JSON: None where nothing finite was measured, times as ISO text."""
    plain = {column: [_plain(value) for value in frame[column]] for column in frame.columns}
    return [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]


def drawn(trials: pd.DataFrame) -> pd.DataFrame:
    """The rows of trials as they were drawn, without the students that they trained beside their own."""
    return trials[trials["trained_with"].isna()]


def numbers(trials: pd.DataFrame) -> pd.Series[int]:
    """Of each row which trial it is, counted from 1; students trained together are one."""
    own = trials["trained_with"].fillna(trials["trial_id"])
    return pd.Series(pd.factorize(own)[0] + 1, index=trials.index, dtype="int64")


def tensors_of(content: bytes, run_id: str) -> pd.DataFrame:
    """The rows of :meth:`Store.tensors` from the ``content`` of a run's file.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        return frame_of([_tensor(row) for row in unsealed(content)["tensors"]], TENSOR_COLUMNS)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise StoreError(
            f"The file {TENSORS_FILE} of the run {run_id} is damaged ({shown(str(error))}); "
            "what it told is in the student's own file: rayduce inspect."
        ) from error


def layers_of(content: bytes, run_id: str) -> pd.DataFrame:
    """The rows of :meth:`Store.layers` from the ``content`` of a run's file.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        return frame_of([_layer(row) for row in unsealed(content).get("layers", [])], LAYER_COLUMNS)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise StoreError(
            f"The file {TENSORS_FILE} of the run {run_id} is damaged ({shown(str(error))}); "
            "what it told is told again by rayduce inspect --layers."
        ) from error


def _layer(row: Mapping[str, Any]) -> dict[str, Any]:
    whole = {key: row[key] for key, kind in LAYER_COLUMNS.items() if kind == WHOLE}
    share = row["latency_share"]
    if not all(type(value) is int and 0 <= value < 2**53 for value in whole.values()):
        raise ValueError("a cost is no whole number")
    if share is not None and not 0 <= share <= 1:
        raise ValueError("a share is not in [0, 1]")
    return {
        "name": shown(str(row["name"])),
        **whole,
        "latency_share": None if share is None else float(share),
    }


def _tensor(row: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {
        key: None if row[key] is None else float(row[key])
        for key in ("bits", "sparsity", "bytes", "entropy_bytes", "share")
    }
    levels = [(float(value), int(count)) for value, count in row["levels"]]
    if not all(math.isfinite(value) for value in (*filter(None, numbers.values()), *(v for v, _ in levels))):
        raise ValueError("a number is not finite")
    return {
        "name": shown(str(row["name"])),
        "shape": shown("x".join(map(str, row["shape"] or ()))),
        "codec": shown(str(row["codec"])),
        **numbers,
        "levels": levels,
    }


def sweep_of(row: RunRow, params: Mapping[str, str]) -> Sweep:
    """The sweep whose run has that ``row`` and those ``params``."""
    return Sweep(
        run_id=row.run_id,
        name=row.tags.get(SWEEP_TAG, row.name),
        study=row.tags.get(STUDY_TAG, ""),
        state=state_of(row),
        metric=row.tags[METRIC_TAG],
        start_time=time_of(row.start_time),
        seconds=duration_of(row),
        metrics=row.metrics,
        params=params,
        signatures={
            key.removeprefix(SIGNATURE_TAG): text
            for key, text in row.tags.items()
            if key.startswith(SIGNATURE_TAG)
        },
        mark=RuntimeMark.read(row.tags.get(MARK_TAG), row.metrics),
    )


def trials_frame(runs: Iterable[RunRow], sweep: Sweep) -> pd.DataFrame:
    quality, budget, runs = sweep.quality, sweep.budget, list(runs)
    qualities = [name for each in quality.reported for name in (each.validation, each.name)]
    costs = {metric.name: WHOLE if metric.whole else REAL for metric in costs_of(quality)}
    counts = dict.fromkeys(COUNTS, WHOLE) | dict.fromkeys(BOUNDS, REAL)
    kinds = {**dict.fromkeys(qualities, REAL), **costs, **counts}
    columns = {**_BEFORE_METRICS, **kinds, **_AFTER_METRICS}
    values: dict[str, list[Any] | pd.Series[Any]] = {
        **{column: [run.tags.get(tag) for run in runs] for column, tag in _TAGS.items()},
        **{name: _measured([run.metrics.get(name) for run in runs]) for name in (*kinds, "trained")},
        "run_id": [run.run_id for run in runs],
        "name": [run.name for run in runs],
        "state": [state_of(run) for run in runs],
        "seconds": _measured([run.metrics.get("seconds", duration_of(run)) for run in runs]),
        "front": [run.tags.get(FRONT_TAG) == "true" for run in runs],
        "start_time": _times([run.start_time for run in runs]),
        "end_time": _times([run.end_time for run in runs]),
    }
    trials = pd.DataFrame(
        {name: _column(values[name], dtype) for name, dtype in columns.items() if name != "feasible"}
    )
    limited = {
        name: trials[name].to_numpy(dtype="float64", na_value=np.nan).tolist()
        for name in (quality.validation, *budget.limits)
    }
    feasible = budget.within(limited, quality, sweep.teacher_validation)
    trials.insert(list(columns).index("feasible"), "feasible", np.array(feasible, dtype=bool))
    # Tags of ended trials arrive after the trials.
    if sweep.state != "finished" or not any(FRONT_TAG in run.tags for run in runs):
        trials["front"] = front_so_far(trials, quality, sweep.costs)
    return trials


def frame_of(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {name: _column([row[name] for row in rows], dtype) for name, dtype in columns.items()}
    )


def _column(values: list[Any] | pd.Series[Any], dtype: str) -> pd.Series[Any]:
    """A column of exactly ``dtype``; a number that does not read as one is missing."""
    if dtype not in (WHOLE, REAL):
        return pd.Series(values, dtype=dtype)
    numbers = values if isinstance(values, pd.Series) else _read(values)
    if dtype == REAL:
        return numbers
    # Beyond 2**53 a float64 is no certain whole number.
    whole = numbers.where((numbers.abs() <= 2**53) & (numbers == numbers.round()))
    return whole.astype("Int64")


def _read(values: list[Any]) -> pd.Series[Any]:
    """Numbers from text that anybody may have written."""
    return pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").astype("float64")


def _measured(values: list[float | None]) -> pd.Series[Any]:
    return pd.Series(np.array(values, dtype="float64"))


def _times(milliseconds: list[int | None]) -> pd.Series[Any]:
    return pd.Series(np.array(milliseconds, dtype="datetime64[ms]")).dt.tz_localize("UTC")


def param_column(values: list[str | None]) -> pd.api.extensions.ExtensionArray | np.ndarray[Any, Any]:
    """Numbers if every value that is there reads as one, else text; ``None`` and ``none`` are text."""
    texts = pd.Series(values, dtype=TEXT)
    numbers = pd.to_numeric(texts, errors="coerce")
    if numbers.notna().sum() == texts.notna().sum():
        return numbers.to_numpy(dtype="float64", na_value=np.nan)
    return texts.array


def state_of(run: RunRow) -> str:
    """The tag tells; a run that MLflow ended in another way is what MLflow says."""
    status: str = STATES.get(run.status, "running")
    tag = run.tags.get(STATE_TAG)
    return (
        tag
        if tag is not None and tag in KNOWN_STATES and (tag == "running") == (status == "running")
        else status
    )


def time_of(milliseconds: int) -> pd.Timestamp:
    return pd.Timestamp(milliseconds, unit="ms", tz="UTC")


def duration_of(run: RunRow) -> float:
    return np.nan if run.end_time is None else (run.end_time - run.start_time) / 1000


def _plain(value: Any) -> Any:
    if pd.isna(value) or (isinstance(value, float) and not np.isfinite(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else value
