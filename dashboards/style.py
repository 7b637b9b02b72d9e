"""What the live and the offline page look alike by."""

from __future__ import annotations

from importlib import resources
from typing import Any

_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    # Plotly offers a button by default that uploads the figure and its data to its makers' cloud.
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "responsive": True,
    "toImageButtonOptions": {"format": "svg", "filename": "rayduce"},
}
PLOT_CONFIG: Any = {**_CONFIG, "modeBarButtonsToRemove": ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d"]}
SELECTING_CONFIG: Any = {**_CONFIG, "modeBarButtonsToRemove": ["zoomIn2d", "zoomOut2d", "autoScale2d"]}
"""Of a figure whose marks can be selected by box or lasso."""


def stylesheet() -> str:
    """The style sheet of both pages."""
    return resources.files("dashboards").joinpath("assets", "style.css").read_text(encoding="utf-8")
