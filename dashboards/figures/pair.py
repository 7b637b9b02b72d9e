"""Two students side by side: their curves, and which class they take for which."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.axes import quality_axis
from dashboards.figures.parts import empty, styled
from dashboards.theme import LIGHT, Theme
from trainables.metrics import Quality
from trainables.predictions import Classes

MOST_CLASSES = 40
"""Of more classes only those that are confused most are drawn."""


def curves_of_two(
    histories: Sequence[pd.DataFrame], names: Sequence[str], quality: Quality, theme: Theme = LIGHT
) -> go.Figure:
    """The validation quality of two trials after each epoch.

    Args:
        histories: as :meth:`search.store.store.Store.history` returns them.
        names: of the students.
        quality: of their sweep.
        theme: its colours.
    """
    axis, figure = quality_axis(quality), styled(go.Figure(), theme, 300)
    for place, (history, name) in enumerate(zip(histories, names, strict=True)):
        if quality.validation not in history:
            continue
        known = history[quality.validation].dropna()
        figure.add_scatter(
            x=known.index.tolist(),
            y=(axis.scale * known).tolist(),
            mode="lines+markers",
            name=html.escape(name, quote=False),
            line={"color": theme.colour(place), "width": 2, "dash": ("solid", "dash")[place % 2]},
        )
    if not figure.data:
        return empty(theme, 300, "Neither has been measured yet")
    figure.update_layout(margin={"t": 30})
    figure.update_xaxes(title_text="Epoch", rangemode="tozero")
    figure.update_yaxes(title_text=axis.title)
    return figure


def confusions(true: Classes, said: Classes) -> pd.DataFrame:
    """How often which class was taken for which: columns true, said, count; right answers left out.

    The most frequent first.
    """
    wrong = true != said
    pairs, counts = np.unique(np.column_stack([true[wrong], said[wrong]]), axis=0, return_counts=True)
    found = pd.DataFrame({"true": pairs[:, 0], "said": pairs[:, 1], "count": counts})
    return found.sort_values(["count", "true", "said"], ascending=[False, True, True], ignore_index=True)


def named(number: int, classes: Sequence[str]) -> str:
    """A class as a figure writes it: its name without marks, cut, or its number."""
    return html.escape(classes[number][:24], quote=False) if 0 <= number < len(classes) else str(number)


def confusion_figure(
    true: Classes, said: Classes, name: str, theme: Theme = LIGHT, classes: Sequence[str] = ()
) -> go.Figure:
    """Which class a student takes for which; right answers, of which there are most, are left blank.

    Args:
        true: the classes that the data has.
        said: those that the student says.
        name: of the student.
        theme: its colours.
        classes: what classes are called, by number; those without a name are called by it.
    """
    pairs = confusions(true, said)
    if pairs.empty:
        return empty(theme, 340, "Every answer is right")
    weight = pd.concat([pairs.groupby("true")["count"].sum(), pairs.groupby("said")["count"].sum()])
    worst = weight.groupby(level=0).sum().sort_values(ascending=False).index[:MOST_CLASSES]
    several = len(np.union1d(true, said)) <= MOST_CLASSES
    drawn = np.union1d(true, said) if several else np.sort(worst.to_numpy())
    place = {int(each): i for i, each in enumerate(drawn)}
    table = np.full((len(drawn), len(drawn)), np.nan)
    for is_so, answer, number in pairs.to_numpy(dtype=int).tolist():
        if is_so in place and answer in place:
            table[place[is_so], place[answer]] = number
    names = [named(each, classes) for each in drawn.tolist()]
    figure = styled(go.Figure(), theme, 340)
    figure.add_heatmap(
        z=table.tolist(),
        x=names,
        y=names,
        colorscale=[[0.0, theme.scale[0]], [1.0, theme.scale[1]]],  # numbers can be read on both ends
        showscale=False,
        texttemplate="%{z}",
        hoverongaps=False,
        hovertemplate="%{z} of class %{y} taken for %{x}<extra></extra>",
    )
    figure.update_layout(
        title={"text": html.escape(name, quote=False), "font": {"size": 14}}, margin={"t": 40}
    )
    figure.update_xaxes(title_text="Said", type="category")
    figure.update_yaxes(title_text="True class", type="category", autorange="reversed")
    return figure
