"""What the live and the offline page look alike by."""

from __future__ import annotations

from importlib import resources
from typing import Any

PLOT_CONFIG: Any = {
    "displaylogo": False,
    # Plotly offers a button by default that uploads the figure and its data to its makers' cloud.
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d"],
    "toImageButtonOptions": {"format": "svg", "filename": "front"},
}


def stylesheet() -> str:
    """The style sheet of both pages."""
    return resources.files("dashboards").joinpath("assets", "style.css").read_text(encoding="utf-8")
