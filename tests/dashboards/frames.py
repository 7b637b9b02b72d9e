"""Trials and sweeps as the store would return them, made by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd

from search.store.sweep import Sweep
from trainables.metrics import quality_of

ACCURACY, BLEU = quality_of("accuracy"), quality_of("bleu")

_TRIAL: dict[str, Any] = {
    "run_id": "a" * 32,
    "trial_id": "t1",
    "name": "qd-4bit",
    "state": "finished",
    "reason": None,
    "method": "quantized_distillation",
    "model": "ConvNet",
    "bits": 4,
    "bucket_size": 256,
    "depth": 2,
    "width": 0.5,
    "sparsity_target": 0.3,
    "validation_accuracy": 0.95,
    "accuracy": None,
    "packed_bytes": 4_000,
    "compression_ratio": 100.0,
    "onnx_bytes": 5_000,
    "ram_bytes": 2_048,
    "latency_ms": 0.25,
    "macs": 12_000,
    "sparsity": 0.29,
    "mean_bits": 4.0,
    "parameters": 900,
    "seconds": 1.5,
    "front": False,
    "recipe_id": "0123456789abcdef",
    "seedless_id": None,
    "start_time": pd.Timestamp("2026-01-02 03:04", tz="UTC"),
    "end_time": pd.Timestamp("2026-01-02 03:05", tz="UTC"),
    "feasible": True,
    "copied_from": None,
    "continues": None,
    "trained_with": None,
}
_DTYPES = {
    **dict.fromkeys(
        ["run_id", "trial_id", "name", "state", "reason", "method", "model", "recipe_id", "seedless_id"],
        "string",
    ),
    **dict.fromkeys(
        ["bits", "bucket_size", "packed_bytes", "onnx_bytes", "ram_bytes", "macs", "parameters"], "Int64"
    ),
    **dict.fromkeys(["width", "sparsity_target", "compression_ratio", "latency_ms", "sparsity"], "float64"),
    **dict.fromkeys(["mean_bits", "seconds", "validation_accuracy", "accuracy"], "float64"),
    "front": "bool",
    "feasible": "bool",
    "copied_from": "string",
    "continues": "string",
    "trained_with": "string",
    "start_time": "datetime64[ms, UTC]",
    "end_time": "datetime64[ms, UTC]",
}


def trials(*rows: dict[str, Any]) -> pd.DataFrame:
    """A frame of trials; each row says how it differs from a finished 4-bit student."""
    full = [{**_TRIAL, "run_id": f"{i:032x}", "trial_id": f"t{i}", **row} for i, row in enumerate(rows)]
    return pd.DataFrame(full, columns=list(_TRIAL)).astype(_DTYPES)


def bleu_trials(*rows: dict[str, Any]) -> pd.DataFrame:
    """As :func:`trials`, of students that translate; each row says how it differs from one of BLEU 34.2."""
    measured = {
        "validation_bleu": 34.2,
        "bleu": None,
        "validation_chrf": 58.11,
        "chrf": None,
        "validation_perplexity": 5.2,
        "perplexity": None,
        "latency_beam_ms": 21.5,
    }
    of_all = trials(*({key: value for key, value in row.items() if key not in measured} for row in rows))
    own = [{**measured, **{key: row[key] for key in row.keys() & measured.keys()}} for row in rows]
    without = of_all.drop(columns=["validation_accuracy", "accuracy"])
    return without.join(pd.DataFrame(own, columns=list(measured)).astype("float64"))


def bleu_sweep(**changes: Any) -> Sweep:
    """A finished sweep whose teacher has BLEU 35 on the test split, 36 on validation and 400 kB."""
    metrics = {"teacher_bleu": 35.0, "teacher_validation_bleu": 36.0, "teacher_packed_bytes": 400_000.0}
    signatures = {"bleu": "nrefs:1|case:mixed|tok:13a"}
    return sweep(
        **{"name": "phrases-1", "metric": "bleu", "metrics": metrics, "signatures": signatures, **changes}
    )


def sweep(**changes: Any) -> Sweep:
    """A finished sweep whose teacher has 97 % on the test split, 98 % on validation and 400 kB."""
    fields: dict[str, Any] = {
        "run_id": "f" * 32,
        "name": "digits-1",
        "study": "digits",
        "state": "finished",
        "metric": "accuracy",
        "start_time": pd.Timestamp("2026-01-02 03:04", tz="UTC"),
        "seconds": 200.0,
        "metrics": {
            "teacher_accuracy": 0.97,
            "teacher_validation_accuracy": 0.98,
            "teacher_packed_bytes": 400_000.0,
        },
    }
    return Sweep(**{**fields, **changes})
