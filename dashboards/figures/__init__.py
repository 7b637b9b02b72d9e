"""Every figure as two pure functions: one from data frames to what is shown, one from that to a Plotly
figure.

In a notebook::

    from pathlib import Path
    from dashboards import figures
    from search.store import open_store

    store = open_store(Path("rayduce-store"))
    sweep = store.sweep()
    figures.front_figure(figures.front_view([(sweep, store.trials(sweep.name))]))
"""

from dashboards.axes import SIZE, Axis, axes_of, axis_of, quality_axis
from dashboards.figures.compare import Comparison, Side, compare, fronts_figure, growth_figure
from dashboards.figures.front import front_figure
from dashboards.figures.front_view import COLOURS, FrontView, front_view, limits_of, staircase
from dashboards.figures.matched import Matched, matched
from dashboards.figures.pair import confusion_figure, confusions, curves_of_two
from dashboards.figures.parameters import (
    contour_data,
    contour_figure,
    importance_figure,
    labels_of,
    parallel_figure,
    slice_figure,
)
from dashboards.figures.progress import (
    progress_data,
    progress_figure,
    seconds_left,
    states_data,
    states_figure,
)
from dashboards.figures.slots import slots_data, slots_figure
from dashboards.figures.trial import bytes_data, bytes_figure, curves_figure, levels_figure
from dashboards.theme import DARK, LIGHT, Theme, theme_of

__all__ = [
    "COLOURS",
    "DARK",
    "LIGHT",
    "SIZE",
    "Axis",
    "Comparison",
    "FrontView",
    "Matched",
    "Side",
    "Theme",
    "axes_of",
    "axis_of",
    "bytes_data",
    "bytes_figure",
    "compare",
    "confusion_figure",
    "confusions",
    "contour_data",
    "contour_figure",
    "curves_figure",
    "curves_of_two",
    "front_figure",
    "front_view",
    "fronts_figure",
    "growth_figure",
    "importance_figure",
    "labels_of",
    "levels_figure",
    "limits_of",
    "matched",
    "parallel_figure",
    "progress_data",
    "progress_figure",
    "quality_axis",
    "seconds_left",
    "slice_figure",
    "slots_data",
    "slots_figure",
    "staircase",
    "states_data",
    "states_figure",
    "theme_of",
]
