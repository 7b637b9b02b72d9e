"""Values in the form that MLflow keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from search.store.mlflow_client import (
    RECIPE_TAG,
    SIGNATURE_TAG,
)
from search.tracking.updates import PARAM_LENGTH, TAG_LENGTH

STORED_AS = {"recipe_id": RECIPE_TAG, "sparsity": "sparsity_target"}
"""Tags that would be misread beside the metrics of the same name get another."""


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested JSON data as params with dotted names.

    The ``type`` of a part becomes the value under the part's own name, list items are numbered from 0,
    and text is cut at the length that MLflow stores. Recipes of other students are counted: they have runs.
    """
    flat: dict[str, str] = {}
    for key, value in data.items():
        if key == "type":
            if prefix:
                flat[prefix[:-1]] = _cut(value, PARAM_LENGTH)
            continue
        name = f"{prefix}{key}"
        if isinstance(value, (list, tuple)):
            if any(isinstance(item, Mapping) and item.get("type") == "Recipe" for item in value):
                flat[name] = str(len(value))
                continue
            if not any(isinstance(item, Mapping) for item in value):
                flat[name] = _cut(" ".join(map(str, value)) or "none", PARAM_LENGTH)
                continue
            value = dict(zip(map(str, range(len(value))), value, strict=True))
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = _cut(value, PARAM_LENGTH)
    return flat


def signature_tags(signatures: Mapping[str, str]) -> dict[str, str]:
    """Tags that say how metrics were computed, such as ``signature.bleu``, to be written to their runs."""
    return {SIGNATURE_TAG + metric: text for metric, text in signatures.items()}


def metric_values(metrics: Mapping[str, float | None]) -> dict[str, float | str]:
    """Numbers as the log has them; NaN as text, for JSON has none."""
    found: dict[str, float | str] = {}
    for key, value in metrics.items():
        if value is None:
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"the metric {key} must be a number, got {value!r}") from None
        if not math.isinf(number):  # MLflow would store the largest float, which then looks measured
            found[key] = "nan" if math.isnan(number) else number
    return found


def tag_values(tags: Mapping[str, Any]) -> dict[str, str]:
    return {STORED_AS.get(k, k): _cut(v, TAG_LENGTH) for k, v in tags.items() if v is not None}


def _cut(value: Any, length: int) -> str:
    text = str(value)
    return text if len(text) <= length else text[: length - 1] + "…"


def some_of(items: list[str], most: int = 3) -> str:
    rest = f" (and {len(items) - most} more)" if len(items) > most else ""
    return "; ".join(items[:most]) + rest
