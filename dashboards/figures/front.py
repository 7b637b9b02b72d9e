"""Two or three numbers of every trial against each other: one pure function computes, another draws."""

from __future__ import annotations

import html
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboards.axes import Axis
from dashboards.figures.front_view import MANY, FrontView, Mark, is_measured, quality_range, staircase
from dashboards.figures.parts import empty, faded, padded, round_ticks, styled
from dashboards.text import number
from dashboards.theme import LIGHT, SYMBOLS, Theme

FRONT_MARK, OTHER_MARK = 13, 8


def front_figure(view: FrontView, theme: Theme = LIGHT, *, height: int = 480, ids: bool = True) -> go.Figure:
    """Draw the view: the front in full colour with a step line, the rest faint.

    Args:
        view: as :func:`front_view` computes it.
        theme: its colours.
        height: in pixels.
        ids: whether marks carry their run ids, as a page needs them that reacts to clicks.
    """
    if view.data.empty and not any(map(is_measured, view.marks)):
        return empty(theme, height, "No trial has ended yet")
    if view.z is not None:
        return _cloud(view, theme, height, ids)
    figure = styled(go.Figure(), theme, height)
    x_range, y_range = _range(view, view.x, "x"), _range(view, view.y, "y")
    _add_limits(figure, view, theme)
    _add_steps(figure, view, theme, x_range)
    _add_spread(figure, view, theme)  # below the marks, which are what a click opens
    _add_marks(figure, view, theme, ids)
    _add_reference(figure, view, theme)
    for mark in view.teachers:
        _add_teacher(figure, view, theme, mark, x_range)
    for mark in view.runtimes:
        _add_mark(figure, view, theme, mark, ("x", 12))
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
        return padded(known.min(), known.max()) if len(known) else (0.0, 1.0)
    if _is_quality(axis):
        return quality_range(values, view.data["front"].to_numpy(dtype=bool), axis, marks)
    known = np.array([value for value in (*values, *marks) if math.isfinite(value)])
    return padded(known.min(), known.max(), least=0.05 * abs(known).max()) if len(known) else (0.0, 1.0)


def _is_quality(axis: Axis) -> bool:
    """Whether students that learned little would squeeze the rest of it into a line."""
    return axis.key.startswith("validation_") or axis.up


def _axis(view: FrontView, axis: Axis, name: str, limits: tuple[float, float]) -> dict[str, Any]:
    layout: dict[str, Any] = {"range": list(limits), "title_text": axis.title}
    if axis.log:
        ticks = round_ticks([10 ** limits[0], 10 ** limits[1]])
        layout |= {"type": "log", "tickvals": ticks, "ticktext": [number(tick) for tick in ticks]}
    return layout


def _scatter(view: FrontView) -> Any:
    return go.Scattergl if len(view.data) > MANY else go.Scatter


def _template(view: FrontView, group: str = "") -> str:
    lines = ["%{hovertext}", f"{_value('x', view.x)}, {_value('y', view.y)}"]
    if view.z is not None:
        lines.append(_value("z", view.z))
    return "<br>".join([*lines, html.escape(group, quote=False)]) + "<extra></extra>"


def _value(name: str, axis: Axis) -> str:
    return f"%{{{name}:{axis.form}}} {axis.unit or axis.label}"


def _add_marks(figure: go.Figure, view: FrontView, theme: Theme, ids: bool) -> None:
    kind = _scatter(view)
    for place, group in enumerate(view.groups):
        rows = view.data[view.data["group"] == group]
        if rows.empty:
            continue
        # What Plotly shows as a legend is HTML of a kind.
        name, symbol = html.escape(group, quote=False), SYMBOLS[place % len(SYMBOLS)]
        colour = theme.colour(place)
        for on_front in (False, True):
            part = rows[rows["front"] == on_front]
            if part.empty:
                continue
            figure.add_trace(
                kind(
                    x=part["x"].to_numpy(dtype=np.float32),
                    y=part["y"].to_numpy(dtype=np.float32),
                    mode="markers",
                    name=name,
                    legendgroup=str(place),
                    showlegend=False,
                    hovertext=part["hover"].tolist(),
                    hovertemplate=_template(view, group),
                    customdata=part["run_id"].tolist() if ids else None,
                    marker={
                        "color": colour,
                        "symbol": symbol,
                        "size": FRONT_MARK if on_front else OTHER_MARK,
                        "opacity": 1.0 if on_front else 0.32 if len(view.data) <= MANY else 0.2,
                        "line": {
                            "color": theme.paper if on_front else colour,
                            "width": 1.5 if on_front else 0,
                        },
                    },
                )
            )
        # A mark of its own, so that the legend shows every group in full colour.
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=name,
            legendgroup=str(place),
            legendrank=1000 + place,
            marker={"color": colour, "symbol": symbol, "size": 11},
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
                "dash": ("solid", "dash", "dot", "dashdot")[i % 4],
            },
            fill="tozeroy" if alone and view.y.up else None,
            fillcolor=faded(theme.ink, 0.035),
            hoverinfo="skip",
            legendrank=2000 + i,
        )


def _add_reference(figure: go.Figure, view: FrontView, theme: Theme) -> None:
    if view.reference.empty:
        return
    figure.add_scatter(
        x=view.reference["x"].tolist(),
        y=view.reference["y"].tolist(),
        mode="markers",
        name="Best in full precision",
        marker={"symbol": "circle-open", "size": 18, "color": theme.soft, "line": {"width": 1.4}},
        hoverinfo="skip",
        legendrank=2900,
    )


def _add_spread(figure: go.Figure, view: FrontView, theme: Theme) -> None:
    rows = view.spread
    if rows.empty:
        return
    figure.add_scatter(
        x=rows["x"].tolist(),
        y=rows["y"].tolist(),
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (rows["high"] - rows["y"]).tolist(),
            "arrayminus": (rows["y"] - rows["low"]).tolist(),
            "color": theme.soft,
            "thickness": 1.4,
            "width": 5,
        },
        mode="markers",
        name="Mean and spread over seeds",
        marker={"symbol": "diamond", "size": 7, "color": theme.soft},
        hovertext=[f"Mean of {int(number)} seeds" for number in rows["count"]],
        hovertemplate=_template(view),
        legendrank=2950,
    )


def _add_teacher(
    figure: go.Figure, view: FrontView, theme: Theme, mark: Mark, limits: tuple[float, float]
) -> None:
    name = html.escape(mark.name, quote=False)
    if math.isfinite(mark.y):
        figure.add_scatter(
            x=[10 ** limits[0], 10 ** limits[1]] if view.x.log else list(limits),
            y=[mark.y, mark.y],
            mode="lines",
            name=name,
            legendgroup=name,
            showlegend=not math.isfinite(mark.x),
            line={"color": theme.soft, "width": 1.2, "dash": "dash"},
            hoverinfo="skip",
            legendrank=3000,
        )
    _add_mark(figure, view, theme, mark, ("star", 17))


def _add_mark(figure: go.Figure, view: FrontView, theme: Theme, mark: Mark, shape: tuple[str, float]) -> None:
    """Draw ``mark`` where both its numbers are known, as a symbol of so many pixels."""
    if not (math.isfinite(mark.x) and math.isfinite(mark.y)):
        return
    name = html.escape(mark.name, quote=False)
    symbol, size = shape
    figure.add_scatter(
        x=[mark.x],
        y=[mark.y],
        mode="markers",
        name=name,
        legendgroup=name,
        marker={
            "symbol": symbol,
            "size": size,
            "color": theme.ink,
            "line": {"color": theme.paper, "width": 1.5},
        },
        hovertext=[f"<b>{name}</b>,<br>{mark.told}"],
        hovertemplate=_template(view),
        legendrank=3000,
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
        text = f"budget: {'at least' if axis.up else 'at most'} {limit:.4g} {axis.unit}".rstrip()
        line = {"color": theme.soft, "width": 1, "dash": "dot"}
        note = {"font": {"size": 12, "color": theme.soft}, "text": text, "showarrow": False}
        if name == "x":
            figure.add_vline(x=limit, line=line)
            at = math.log10(limit) if axis.log and limit > 0 else limit
            figure.add_annotation(
                x=at, y=0.01, yref="paper", xanchor="right" if not axis.up else "left", yanchor="bottom",
                textangle=-90, xshift=-2, **note,
            )  # fmt: skip
        else:
            figure.add_hline(y=limit, line=line)
            figure.add_annotation(
                x=0.01, xref="paper", y=limit, xanchor="left", yanchor="top" if axis.up else "bottom", **note
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


def _cloud(view: FrontView, theme: Theme, height: int, ids: bool) -> go.Figure:
    figure = styled(go.Figure(), theme, height)
    for place, group in enumerate(view.groups):
        rows = view.data[view.data["group"] == group]
        if rows.empty:
            continue
        name = html.escape(group, quote=False)
        for on_front in (False, True):
            part = rows[rows["front"] == on_front]
            figure.add_scatter3d(
                **{axis: part[axis].to_numpy(dtype=np.float32) for axis in "xyz"},
                mode="markers",
                name=name,
                legendgroup=str(place),
                showlegend=on_front or not bool(rows["front"].any()),
                hovertext=part["hover"].tolist(),
                hovertemplate=_template(view, group),
                customdata=part["run_id"].tolist() if ids else None,
                marker={
                    "color": theme.colour(place),
                    "size": 5.5 if on_front else 3,
                    "opacity": 1.0 if on_front else 0.25,
                },
            )
    assert view.z is not None
    axes = {"xaxis": view.x, "yaxis": view.y, "zaxis": view.z}
    figure.update_layout(
        scene={
            **{name: _axis_3d(view, axis, name[0]) for name, axis in axes.items()},
            "camera": {"eye": {"x": 1.5, "y": -1.5, "z": 0.7}},
            "aspectmode": "manual",
            "aspectratio": {"x": 1.25, "y": 1.25, "z": 0.85},
        },
        margin={"l": 10, "r": 10, "t": 44, "b": 10},
        uirevision="cloud",
    )
    return figure


def _axis_3d(view: FrontView, axis: Axis, name: str) -> dict[str, Any]:
    layout: dict[str, Any] = {
        "title": {"text": axis.title.replace(", logarithmic", ""), "font": {"size": 12}}
    }
    if axis.log:
        ticks = [tick for tick in round_ticks(view.data[name]) if f"{tick:.0e}"[0] == "1"]
        layout |= {"type": "log", "tickvals": ticks, "ticktext": [number(tick) for tick in ticks]}
    return layout
