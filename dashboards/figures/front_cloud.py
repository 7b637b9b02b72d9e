"""Three numbers of every trial against each other."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboards.axes import Axis
from dashboards.figures.front_view import FrontView
from dashboards.figures.parts import round_ticks, styled
from dashboards.marks import colour_of
from dashboards.text import number
from dashboards.theme import Theme


def template_of(view: FrontView, group: str = "") -> str:
    """What is shown where the pointer is: the trial, its numbers on the axes, its group."""
    lines = ["%{hovertext}", f"{_value('x', view.x)}, {_value('y', view.y)}"]
    if view.z is not None:
        lines.append(_value("z", view.z))
    return "<br>".join([*lines, html.escape(group, quote=False)]) + "<extra></extra>"


def _value(name: str, axis: Axis) -> str:
    return f"%{{{name}:{axis.form}}} {axis.unit or axis.label}"


def cloud(view: FrontView, theme: Theme, height: int, ids: bool) -> go.Figure:
    figure = styled(go.Figure(), theme, height)
    for order, group in enumerate(view.groups):
        rows, place = view.data[view.data["group"] == group], view.places.get(group, order)
        if rows.empty:
            continue
        name = html.escape(group, quote=False)
        for on_front in (False, True):
            part = rows[rows["front"] == on_front]
            figure.add_scatter3d(
                **{axis: part[axis].to_numpy(dtype=np.float32) for axis in "xyz"},
                mode="markers",
                name=name,
                legendgroup=str(order),
                showlegend=on_front or not bool(rows["front"].any()),
                hovertext=part["hover"].to_numpy(dtype=object),
                hovertemplate=template_of(view, group),
                customdata=part["run_id"].to_numpy(dtype=object) if ids else None,
                marker={
                    "color": colour_of(place, theme),
                    "size": 7 if on_front else 4,
                    "opacity": 1.0 if on_front else 0.25,
                },
            )
    assert view.z is not None
    axes = {"xaxis": view.x, "yaxis": view.y, "zaxis": view.z}
    figure.update_layout(
        scene={
            **{name: _axis_3d(view, axis, name[0]) for name, axis in axes.items()},
            "camera": {"eye": {"x": 1.75, "y": -1.75, "z": 0.85}},
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
