"""The layers of one trial's student, with what each of them costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dashboards.live import Live
from dashboards.pages.common import note, plain_table
from dashboards.text import missing, size, told, whole
from search.store.store import StoreError

MOST_LAYERS = 400
"""Rows of the table; a page is no place for more."""

_SHOWN: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("macs", "Multiply-adds", whole),
    ("weights", "Weights", whole),
    ("packed_bytes", "Packed", size),
    ("onnx_bytes", "In ONNX", size),
    ("activation_bytes", "Output", size),
    ("latency_share", "Latency", lambda value: f"{100 * value:.1f} %"),
)


def layers_table(live: Live, run_id: str) -> Any:
    """A row for each layer, in the network's order; a sentence where nothing is known.

    Columns in which no layer has anything, such as shares of a latency that was not measured, are left out.
    """
    try:
        layers = live.store.layers(run_id)
    except StoreError as error:
        return note(told(error))
    if layers.empty:
        return note("Its layers are not known: it has no ONNX form, or an earlier version made it.")
    shown = [each for each in _SHOWN if layers[each[0]].fillna(0).any()]
    rows = [
        [row["name"] or "(network)", *(_cell(row[key], show) for key, _, show in shown)]
        for row in layers.head(MOST_LAYERS).to_dict("records")
    ]
    if len(layers) > MOST_LAYERS:
        rows.append([f"and {len(layers) - MOST_LAYERS} more", *("" for _ in shown)])
    sums = {"macs", "weights", "packed_bytes", "onnx_bytes"}
    total = [_cell(layers[key].sum(), show) if key in sums else "" for key, _, show in shown]
    head = ["Layer", *(title for _, title, _ in shown)]
    return plain_table(head, [*rows, ["all", *total]], text_columns=1)


def _cell(value: Any, show: Callable[[Any], str]) -> str:
    return "" if missing(value) or not value else show(value)
