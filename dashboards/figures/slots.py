"""When trials ran beside one another: a line for each slot of a machine or a cluster."""

from __future__ import annotations

import heapq
import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.figures.parts import empty, styled
from dashboards.figures.progress import STATE_COLOURS
from dashboards.theme import LIGHT, Theme
from search.store.sweep import Sweep
from search.units import show_state

MOST = 3000
"""Of more trials the last are drawn."""


def slots_data(trials: pd.DataFrame, sweep: Sweep, now: pd.Timestamp) -> pd.DataFrame:
    """In which slot each trial ran: the lowest that was free when it started.

    Args:
        trials: as :meth:`search.store.store.Store.trials` returns them; students that were trained beside
            another one's are left out.
        sweep: theirs.
        now: until when those run that have not ended.

    Returns:
        Columns run_id, name, state, start and end (minutes since the sweep began), slot (from 0), by start.
    """
    rows = trials[trials["trained_with"].isna() & trials["start_time"].notna()]
    rows = rows.sort_values(["start_time", "trial_id"], kind="stable").iloc[-MOST:]
    start = (rows["start_time"] - sweep.start_time).dt.total_seconds().to_numpy(dtype=float) / 60
    until = rows["end_time"].where(rows["end_time"].notna(), now.as_unit("ms"))
    end = (until - sweep.start_time).dt.total_seconds().to_numpy(dtype=float) / 60
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    slots = []
    for begun, ended in zip(start, end, strict=True):
        while busy and busy[0][0] <= begun:
            heapq.heappush(free, heapq.heappop(busy)[1])
        slot = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (float(max(ended, begun)), slot))
        slots.append(slot)
    return pd.DataFrame(
        {
            "run_id": rows["run_id"].to_numpy(dtype=object),
            "name": rows["name"].to_numpy(dtype=object),
            "state": rows["state"].to_numpy(dtype=object),
            "start": start,
            "end": np.maximum(end, start),
            "slot": slots,
        }
    )


def slots_figure(data: pd.DataFrame, theme: Theme = LIGHT) -> go.Figure:
    """Draw the trials as bars over time, by slot, in the colours of their states.

    Args:
        data: as :func:`slots_data` returns it.
        theme: its colours.
    """
    if data.empty:
        return empty(theme, 160, "No trial has started yet")
    lanes = int(data["slot"].max()) + 1
    figure = styled(go.Figure(), theme, min(90 + 26 * lanes, 420))
    hours = data["end"].max() > 180
    scale = 60.0 if hours else 1.0
    for state, rows in data.groupby("state", sort=False):
        names = [html.escape(str(name), quote=False) for name in rows["name"]]
        figure.add_bar(
            x=((rows["end"] - rows["start"]) / scale).tolist(),
            base=(rows["start"] / scale).tolist(),
            y=(rows["slot"] + 1).tolist(),
            orientation="h",
            width=0.72,
            name=html.escape(show_state(str(state)), quote=False),
            marker={
                "color": theme.colour(STATE_COLOURS.get(str(state), 5)),
                "line": {"color": theme.paper, "width": 1},
            },
            hovertext=names,
            hovertemplate="%{hovertext}<br>from %{base:.3~g}<extra></extra>",
        )
    figure.update_layout(barmode="overlay", margin={"t": 34, "b": 46})
    unit = "hours" if hours else "minutes"
    figure.update_xaxes(title_text=f"Time since the start ({unit})", rangemode="tozero")
    figure.update_yaxes(title_text="Slot", dtick=1 if lanes <= 12 else None, range=[lanes + 0.6, 0.4])
    return figure
