"""One trial: its curves, where its bytes are, and the levels of one of its tensors."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.figures.parts import empty, styled
from dashboards.text import missing, share, size
from dashboards.theme import LIGHT, Theme
from trainables.metrics import Quality

MOST_TENSORS = 24
"""Of more tensors the smallest share one bar."""


def curves_figure(
    history: pd.DataFrame,
    quality: Quality,
    theme: Theme = LIGHT,
    *,
    teacher: float = float("nan"),
    height: int = 320,
) -> go.Figure:
    """Quality and training loss by epoch.

    Args:
        history: as :meth:`search.store.store.Store.history` returns it.
        quality: of the sweep.
        theme: its colours.
        teacher: the teacher's quality on the validation split, drawn as a line; NaN if not known.
        height: in pixels.
    """
    scores = _column(history, quality.validation) * quality.scale
    losses = _column(history, "loss")
    if scores.empty and losses.empty:
        return empty(theme, height, "No epoch has been reported yet")
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.1)
    for column, (values, name) in enumerate(((scores, quality.label), (losses, "training loss")), start=1):
        figure.add_scatter(
            x=values.index.tolist(),
            y=values.tolist(),
            mode="lines+markers" if len(values) < 60 else "lines",
            name=name,
            line={"color": theme.colour(column - 1), "width": 2},
            marker={"size": 6},
            hovertemplate="epoch %{x}: %{y:.4~g}<extra></extra>",
            row=1,
            col=column,
        )
    if not missing(teacher):
        above = not scores.empty and scores.iloc[-1] > quality.points(teacher)  # where no label has room then
        line = {"color": theme.soft, "width": 1.2, "dash": "dash"}
        figure.add_hline(y=quality.points(teacher), line=line, row=1, col=1)
        figure.add_annotation(
            text="teacher",
            x=1,  # at the left stand the numbers of the axis
            xref="x domain",
            y=quality.points(teacher),
            yref="y",
            xanchor="right",
            yanchor="top" if above else "bottom",
            showarrow=False,
            font={"size": 12, "color": theme.soft},
        )
    styled(figure, theme, height)
    figure.update_layout(showlegend=False, margin={"t": 20})
    figure.update_xaxes(title_text="Epoch")
    figure.update_yaxes(title_text=f"Validation {quality.heading}", row=1, col=1)
    figure.update_yaxes(title_text="Training loss", row=1, col=2)
    return figure


def bytes_data(tensors: pd.DataFrame, most: int = MOST_TENSORS) -> pd.DataFrame:
    """The rows of the figure: the largest tensors first, the rest as one.

    Args:
        tensors: as :meth:`search.store.store.Store.tensors` returns them.
        most: how many rows there are at most, at least 1.

    Returns:
        Columns name, bytes, entropy_bytes, bits (NaN for the header and the rest), sparsity, share.
    """
    rows = tensors.sort_values("bytes", ascending=False, ignore_index=True)
    columns = ["name", "bytes", "entropy_bytes", "bits", "sparsity", "share"]
    if len(rows) <= most:
        return rows[columns]
    rest = rows.iloc[most - 1 :]
    summed = pd.DataFrame(
        {
            "name": [f"{len(rest)} others"],
            "bytes": [rest["bytes"].sum()],
            "entropy_bytes": [rest["entropy_bytes"].sum()],
            "bits": [np.nan],
            "sparsity": [np.nan],
            "share": [rest["share"].sum()],
        }
    )
    return pd.concat([rows.iloc[: most - 1][columns], summed], ignore_index=True)


def bytes_figure(tensors: pd.DataFrame, theme: Theme = LIGHT) -> go.Figure:
    """A bar per tensor, as long as it takes bytes; a mark where the entropy of its levels lies."""
    rows = bytes_data(tensors)
    if rows.empty:
        return empty(theme, 260, "The file holds no tensor")
    names = [html.escape(str(name), quote=False) for name in rows["name"]]
    notes = [
        ", ".join(part for part in (_bits(row.bits), _zeros(row.sparsity), _part(row.share)) if part)
        for row in rows.itertuples()
    ]
    figure = styled(go.Figure(), theme, 90 + 24 * max(len(rows), 4))
    figure.add_bar(
        x=rows["bytes"].tolist(),
        y=names,
        orientation="h",
        name="as stored",
        marker={"color": theme.colour(0)},
        hovertext=[size(value) for value in rows["bytes"]],
        customdata=notes,
        hovertemplate="<b>%{y}</b><br>%{hovertext} as stored<br>%{customdata}<extra></extra>",
    )
    figure.add_scatter(
        x=rows[["bytes", "entropy_bytes"]].max(axis=1).tolist(),
        y=names,
        mode="text",
        text=[f"\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}{each}" for each in notes],
        textposition="middle right",
        textfont={"size": 12, "color": theme.soft},
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=rows["entropy_bytes"].tolist(),
        y=names,
        mode="markers",
        name="entropy of its levels",
        marker={"symbol": "line-ns", "size": 13, "line": {"width": 2.4, "color": theme.colour(1)}},
        hovertext=[size(value) for value in rows["entropy_bytes"]],
        hovertemplate="<b>%{y}</b><br>%{hovertext} is the order-0 entropy<extra></extra>",
    )
    most = max(rows["bytes"].max(), rows["entropy_bytes"].max())
    figure.update_layout(bargap=0.35, margin={"l": 10, "t": 36})
    figure.update_xaxes(title_text="Bytes in the packed file", range=[0, 1.6 * most])
    figure.update_yaxes(autorange="reversed", showgrid=False, ticksuffix="  ")
    return figure


def levels_figure(levels: list[tuple[float, int]], title: str, theme: Theme = LIGHT) -> go.Figure:
    """How often each level of a tensor is used.

    Args:
        levels: pairs of value and count.
        title: of the horizontal axis.
        theme: its colours.
    """
    if not levels:
        return empty(theme, 300, "Nothing is stored by level here")
    values, counts = zip(*levels, strict=True)
    figure = styled(go.Figure(), theme, 300)
    # Learned points lie close together in places: bars of one width each at its rank say more than at its
    # value.
    figure.add_bar(
        x=[f"{value:.3g}" for value in values]
        if len(set(f"{v:.3g}" for v in values)) == len(values)
        else values,
        y=list(counts),
        marker={"color": theme.colour(0)},
        hovertemplate="%{x}: %{y:,} weights<extra></extra>",
    )
    figure.update_layout(bargap=0.15, margin={"t": 20})
    figure.update_xaxes(title_text=title, type="category", nticks=24)
    figure.update_yaxes(title_text="Weights")
    return figure


def _column(history: pd.DataFrame, name: str) -> pd.Series[float]:
    if name not in history:
        return pd.Series(dtype="float64")
    return history[name].astype("float64").dropna()


def _bits(value: object) -> str:
    return "" if missing(value) else f"{value:g} bit"


def _part(value: Any) -> str:
    return "under 1 % of the file" if float(value) < 0.01 else f"{share(value)} of the file"


def _zeros(value: object) -> str:
    return "" if missing(value) or not value else f"{share(value)} zeros"
