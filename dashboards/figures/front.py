"""Two or three numbers of every trial against each other: one pure function computes, another draws."""

from __future__ import annotations

import html
import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboards.axes import Axis, Lost
from dashboards.figures.front_cloud import cloud, template_of
from dashboards.figures.front_marks import (
    FRONT,
    add_reference,
    add_runtime,
    add_spread,
    add_teacher,
    labels_of,
)
from dashboards.figures.front_view import (
    MANY,
    VIEW,
    FrontView,
    is_measured,
    quality_range,
    staircase,
)
from dashboards.figures.parts import empty, faded, padded, round_ticks, styled
from dashboards.marks import colour_of, symbol_of
from dashboards.text import number
from dashboards.theme import LIGHT, Theme
from search.objectives.on_split import SURE

OTHER_MARK, CROWDED_MARK = 8, 5
"""Pixels of students off the front, and among many: larger ones would be one blot, and a
browser without a graphics card would draw several times as long."""
DASHES = ("solid", "dash", "dot", "dashdot")
"""Of the fronts and teachers of sweeps over each other."""
MOST_WHISKERS = 80
"""Of more students on a front intervals would be one blot."""
MOST_ENTRIES = 12
"""Groups that a legend names one by one; of more, those off the front share an entry."""
NEAREST = 0.04
"""Share of a quality's span that is shown at least behind the best of the front."""


def front_figure(
    view: FrontView,
    theme: Theme = LIGHT,
    *,
    height: int = 480,
    ids: bool = True,
    chosen: str | None = None,
    still: bool = False,
) -> go.Figure:
    """Draw the view: the front in full colour with a step line, the rest faint, what ended early hollow.

    Args:
        view: as :func:`front_view` computes it.
        theme: its colours.
        height: in pixels.
        ids: whether marks carry their run ids, as a page needs them that reacts to clicks.
        chosen: the run id of a student that is ringed, as the one to ship; default none.
        still: whether it is for paper, without what is said to whoever has a mouse. Default no.
    """
    if view.data.empty and not any(map(is_measured, view.marks)):
        return empty(theme, height, "No trial has ended yet")
    if view.z is not None:
        return cloud(view, theme, height, ids)
    figure = styled(go.Figure(), theme, height)
    x_range, y_range = _range(view, view.x, "x"), _range(view, view.y, "y")
    _add_limits(figure, view, theme)
    _add_steps(figure, view, theme, x_range)
    add_spread(figure, view, theme)  # below the marks, which are what a click opens
    _add_intervals(figure, view, theme)
    _add_chosen(figure, view, theme, chosen)
    _add_marks(figure, view, theme, ids)
    # Who loses least stands on top.
    labels = labels_of(view, x_range, y_range[::-1] if isinstance(view.y, Lost) else y_range)
    for i, mark in enumerate(view.teachers):
        add_teacher(figure, view, theme, mark, labels, x_range, DASHES[i % len(DASHES)])
    for mark in view.runtimes:
        add_runtime(figure, view, theme, mark, labels)
    add_reference(figure, view, theme, labels)
    if not still:
        _add_note(figure, view, theme, y_range)
    figure.update_layout(uirevision="front")
    figure.update_xaxes(**_axis(view, view.x, "x", x_range))
    figure.update_yaxes(**_axis(view, view.y, "y", y_range))
    return figure


def _range(view: FrontView, axis: Axis, name: str) -> tuple[float, float]:
    values = view.data[name].to_numpy(dtype=float)
    marks = [getattr(mark, name) for mark in view.marks]
    if axis.log:
        known = np.log10([value for value in (*values, *marks) if math.isfinite(value)])
        low, high = padded(known.min(), known.max()) if len(known) else (0.0, 1.0)
        # Above those that lose nothing there is room for a label.
        return (low - 0.05 * (high - low) if isinstance(axis, Lost) else low), high
    if _is_quality(axis) and view.scale != "all":
        front = view.data["front"].to_numpy(dtype=bool)
        return quality_range(values, front, axis, marks, _near(values[front], axis, view))
    known = np.array([value for value in (*values, *marks) if math.isfinite(value)])
    return padded(known.min(), known.max(), least=0.05 * abs(known).max()) if len(known) else (0.0, 1.0)


def _near(front: NDArray[np.float64], axis: Axis, view: FrontView) -> float:
    """How far behind the best of the front is near the teacher: five times what the best loses to it.

    A share of the axis' span, at least :data:`NEAREST` and at most ``VIEW``.
    """
    teachers = [mark.y for mark in view.teachers if math.isfinite(mark.y)]
    front = front[np.isfinite(front)]
    if not len(front) or not teachers or axis is not view.y:
        return VIEW
    best = float(front.max() if axis.up else front.min())
    return min(max(5 * abs(max(teachers) - best) / axis.span(best), NEAREST), VIEW)


def _is_quality(axis: Axis) -> bool:
    """Whether students that learned little would squeeze the rest of it into a line."""
    return axis.key.startswith("validation_") or axis.up


def _axis(view: FrontView, axis: Axis, name: str, limits: tuple[float, float]) -> dict[str, Any]:
    layout: dict[str, Any] = {"range": list(limits), "title_text": axis.title}
    if axis.log:
        ticks = round_ticks([10 ** limits[0], 10 ** limits[1]])
        layout |= {"type": "log", "tickvals": ticks, "ticktext": [number(tick) for tick in ticks]}
    if isinstance(axis, Lost):  # who loses least stands on top, and who loses nothing has a line of its own
        above = [tick for tick in layout["tickvals"] if tick > 1.2 * axis.floor]
        layout["range"] = [limits[1], limits[0]]
        layout |= {"tickvals": [axis.floor, *above], "ticktext": ["none", *map(number, above)]}
    return layout


def _add_marks(figure: go.Figure, view: FrontView, theme: Theme, ids: bool) -> None:
    aside = folded_groups(view)
    for order, group in enumerate(view.groups):
        rows, place = view.data[view.data["group"] == group], view.places.get(group, order)
        if rows.empty:
            continue
        # What Plotly shows as a legend is HTML of a kind.
        name, symbol, colour = html.escape(group, quote=False), symbol_of(place), colour_of(place, theme)
        entry = str(len(view.groups) if group in aside else order)
        finished = rows["state"] == "finished"
        kinds = (~finished, finished & ~rows["front"], finished & rows["front"])
        looks = ((False, True), (False, False), (True, False))
        for those, (on_front, ended) in zip(kinds, looks, strict=True):
            if those.any():
                mark = _mark(symbol, colour, theme, on_front, ended, many=len(view.data) > MANY)
                told = {"name": name, "legendgroup": entry, "hovertemplate": template_of(view, group)}
                _add_points(figure, rows[those], mark, ids, len(view.data) > MANY, told)
        if group not in aside:  # a mark of its own, so that the legend shows every group in full colour
            look = {"color": colour, "symbol": symbol, "size": 11}
            _add_entry(figure, name, look, _rank(rows, order), legendgroup=entry)
    grey = {"color": theme.soft, "size": 9}
    if aside:
        others = f"{len(aside)} others, not on the front"
        _add_entry(figure, others, grey | {"symbol": "circle"}, 1900, legendgroup=str(len(view.groups)))
    if (view.data["state"] != "finished").any():
        hollow = grey | {"symbol": "circle-open", "line": {"width": 1.3}}
        _add_entry(figure, "Hollow: ended early, no student", hollow, 1999)


def _mark(
    symbol: str, colour: str, theme: Theme, on_front: bool, ended: bool, *, many: bool
) -> dict[str, Any]:
    """What a student looks like."""
    return {
        "color": colour,
        "symbol": f"{symbol}-open" if ended else symbol,
        "size": FRONT if on_front else CROWDED_MARK if many else OTHER_MARK,
        "opacity": _opacity(on_front, ended, many=many),
        "line": {
            "color": theme.paper if on_front else colour,
            "width": 1.5 if on_front else 1.3 if ended else 0,
        },
    }


def _add_points(
    figure: go.Figure, part: pd.DataFrame, mark: dict[str, Any], ids: bool, many: bool, told: dict[str, Any]
) -> None:
    """Students that look alike."""
    kind: Any = go.Scattergl if many else go.Scatter
    figure.add_trace(
        kind(
            x=part["x"].to_numpy(dtype=np.float32),
            y=part["y"].to_numpy(dtype=np.float32),
            mode="markers",
            showlegend=False,
            hovertext=None if part["hover"].isna().all() else part["hover"].to_numpy(dtype=object),
            customdata=part["run_id"].to_numpy(dtype=object) if ids else None,
            marker=mark,
            **told,
        )
    )


def _add_entry(figure: go.Figure, name: str, mark: dict[str, Any], rank: int, **more: Any) -> None:
    """A line of the legend."""
    figure.add_scatter(x=[None], y=[None], mode="markers", name=name, legendrank=rank, marker=mark, **more)


def folded_groups(view: FrontView) -> frozenset[str]:
    """Of many groups those without a member on the front: the legend has one entry for all of them.

    A mark that is pointed at still says its own group.
    """
    shown = set(view.data["group"])
    on_front = set(view.data.loc[view.data["front"], "group"])
    aside = shown - on_front
    return frozenset(aside if on_front and len(shown) > MOST_ENTRIES and len(aside) > 1 else ())


def _rank(rows: pd.DataFrame, order: int) -> int:
    """Of a group in the legend, whose end is folded where it is long: those without a student come last."""
    return order + (1000 if rows["front"].any() else 1400 if rows["state"].eq("finished").any() else 2500)


def _opacity(on_front: bool, ended: bool, *, many: bool) -> float:
    return 1.0 if on_front else (0.3 if ended else 0.2) if many else 0.55 if ended else 0.4


def _add_intervals(figure: go.Figure, view: FrontView, theme: Theme) -> None:
    """Whiskers of the front: where its qualities surely lie."""
    rows = view.data[view.data["front"] & view.data["low"].notna()]
    if rows.empty or len(rows) > MOST_WHISKERS:
        return
    figure.add_scatter(
        x=rows["x"].tolist(),
        y=rows["y"].tolist(),
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (rows["high"] - rows["y"]).clip(lower=0).tolist(),
            "arrayminus": (rows["y"] - rows["low"]).clip(lower=0).tolist(),
            "color": faded(theme.ink, 0.4),
            "thickness": 1.2,
            "width": 3,
        },
        mode="markers",
        name=f"{SURE} interval",
        marker={"size": 0.1, "color": theme.soft},
        hoverinfo="skip",
        legendrank=2940,
        showlegend=False,
    )


def _add_chosen(figure: go.Figure, view: FrontView, theme: Theme, chosen: str | None) -> None:
    """A ring around the student to ship."""
    rows = view.data[view.data["run_id"] == chosen]
    if chosen is None or rows.empty:
        return
    figure.add_scatter(
        x=rows["x"].tolist(),
        y=rows["y"].tolist(),
        mode="markers",
        name="To ship",
        marker={"symbol": "circle-open", "size": 27, "color": theme.chosen, "line": {"width": 3}},
        hoverinfo="skip",
        legendrank=900,
    )


def _add_steps(figure: go.Figure, view: FrontView, theme: Theme, limits: tuple[float, float]) -> None:
    edge = limits[0] if view.x.up else limits[1]
    edge = 10**edge if view.x.log else edge
    if (limit := view.limits.get(view.x.key)) is not None:  # beyond it nothing is promised
        edge = max(edge, limit) if view.x.up else min(edge, limit)
    for i, (sweep, rows) in enumerate(view.data.groupby("sweep", sort=False)):
        steps = staircase(rows, view.x.up, view.y.up)
        if steps.empty:
            continue
        alone = view.data["sweep"].nunique() == 1
        figure.add_scatter(
            x=[*steps["x"], edge],
            y=[*steps["y"], steps["y"].iloc[-1]],
            mode="lines",
            name="Front" if alone else f"Front of {html.escape(str(sweep), quote=False)}",
            line={
                "shape": "hv",
                "color": theme.ink,
                "width": 1.4,
                "dash": DASHES[i % len(DASHES)],
            },
            fill="tozeroy" if alone and view.y.up else None,
            fillcolor=faded(theme.ink, 0.035),
            hoverinfo="skip",
            legendrank=2000 + i,
        )


def _add_limits(figure: go.Figure, view: FrontView, theme: Theme) -> None:
    """Shade what keeps to the budgets on both axes, with a line where each ends."""
    limits = {name: view.limits.get(axis.key) for name, axis in (("x", view.x), ("y", view.y))}
    if not any(limit is not None for limit in limits.values()):
        return
    shape: dict[str, Any] = {
        "type": "rect",
        "layer": "below",
        "line": {"width": 0},
        "fillcolor": theme.allowed,
    }
    for name, axis in (("x", view.x), ("y", view.y)):
        limit = limits[name]
        if limit is None:
            shape |= {f"{name}ref": f"{name} domain", f"{name}0": 0, f"{name}1": 1}
            continue
        beyond = 1e6 * max(abs(limit), 1.0)
        far = (1e12 if axis.up else 1e-9) if axis.log else (beyond if axis.up else -beyond)
        shape |= {f"{name}ref": name, f"{name}0": limit, f"{name}1": far}
        at = math.log10(limit) if axis.log and limit > 0 else limit  # a line takes the value itself
        nothing = isinstance(axis, Lost) and limit == axis.floor
        text = f"budget: {'at least' if axis.up else 'at most'} {axis.amount(0 if nothing else limit)}"
        line = {"color": theme.soft, "width": 1, "dash": "dot"}
        note = {"font": {"size": 12, "color": theme.soft}, "text": text, "showarrow": False}
        if name == "x":
            figure.add_vline(x=limit, line=line)
            figure.add_annotation(
                x=at, y=0.01, yref="paper", xanchor="right" if not axis.up else "left", yanchor="bottom",
                textangle=-90, xshift=-2, **note,
            )  # fmt: skip
        else:
            figure.add_hline(y=limit, line=line)
            figure.add_annotation(
                x=0.01, xref="paper", y=at, xanchor="left", yanchor="top" if axis.up else "bottom", **note
            )
    figure.add_shape(shape)


def _add_note(figure: go.Figure, view: FrontView, theme: Theme, limits: tuple[float, float]) -> None:
    if view.y.log or not _is_quality(view.y):
        return
    values = view.data["y"]
    outside = int((values < limits[0] if view.y.up else values > limits[1]).sum())
    if outside:
        figure.add_annotation(
            text=f"{outside:,} {'below' if view.y.up else 'above'} this view; double-click shows all",
            xref="paper",
            yref="paper",
            x=1,
            y=0.01 if view.y.up else 0.99,
            xanchor="right",
            yanchor="bottom" if view.y.up else "top",
            showarrow=False,
            font={"size": 12, "color": theme.soft},
        )
