"""What the views share: names of the shell's parts, and small components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from dash import dcc, html

from dashboards.style import PLOT_CONFIG

URL, VERSION, SWEEP, THEME = "url", "version", "sweep", "theme"
"""Address, number of what was read last, name of the sweep on show, ``light`` or ``dark``."""


BLANK: Any = {
    "data": [],
    "layout": {
        "xaxis": {"visible": False},
        "yaxis": {"visible": False},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    },
}
"""What stands in a figure's place until it is computed: nothing, not Plotly's empty axes."""


def aria(**values: str) -> Any:
    """Attributes for those who do not see the page: ``label="x"`` becomes ``aria-label``."""
    return {f"aria-{name}": value for name, value in values.items()}


def menu(options: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Values and what is shown for each, as a drop-down menu takes them."""
    return [{"value": value, "label": text} for value, text in options]


def choice(
    name: str,
    label: str,
    options: Sequence[tuple[str, str]] = (),
    value: str | list[str] | None = None,
    *,
    multiple: bool = False,
    width: int = 190,
    placeholder: str = "",
) -> html.Div:
    """A labelled menu that keeps what was chosen while the browser's tab is open."""
    return html.Div(
        [
            html.Label(label, htmlFor=name),
            dcc.Dropdown(
                id=name,
                options=menu(options),
                value=value,
                clearable=multiple,
                multi=multiple,
                searchable=len(options) > 8 or multiple or not options,
                placeholder=placeholder,
                persistence=True,
                persistence_type="session",
                style={"width": f"{width}px"},
            ),
        ],
        className="choice",
    )


def panel(title: str, *children: Any, caption: str = "") -> html.Section:
    """A titled box."""
    head: list[Any] = [html.H2(title)]
    if caption:
        head.append(html.P(caption, className="caption"))
    return html.Section([*head, *children], className="panel")


def graph(
    name: str, config: Any = PLOT_CONFIG, figure: go.Figure | None = None, height: int = 320
) -> dcc.Graph:
    """A figure's place."""
    return dcc.Graph(
        id=name,
        figure=BLANK if figure is None else figure,
        config=config,
        animate=False,
        className="plot",
        style={"minHeight": f"{height}px"},
    )


def plain_table(head: Sequence[str], rows: Sequence[Sequence[Any]], text_columns: int = 1) -> html.Div:
    """Rows of text; the first ``text_columns`` are set left, the others right."""
    styles = ["text" if i < text_columns else "" for i in range(len(head))]
    return html.Div(
        html.Table(
            [
                html.Thead(html.Tr([html.Th(t, className=s) for t, s in zip(head, styles, strict=True)])),
                html.Tbody(
                    [
                        html.Tr([html.Td(c, className=s) for c, s in zip(row, styles, strict=True)])
                        for row in rows
                    ]
                ),
            ],
            className="front",
        ),
        className="scroll",
    )


def note(text: str) -> html.P:
    """A sentence in place of something that is not there."""
    return html.P(text, className="empty")


def command(text: str) -> html.Div:
    """A line to type, with a button that copies it."""
    return html.Div(
        [
            html.Code(text, title="Click selects it all"),
            dcc.Clipboard(content=text, title="Copy", className="copy"),
        ],
        className="command",
    )
