"""Where the parts of a trial's page stand that its packed file fills."""

from __future__ import annotations

from typing import Any

from dash import html

from dashboards.pages.common import choice, graph


def of_the_file() -> list[Any]:
    """What is said of a packed file."""
    return [
        html.Section(
            className="panel",
            children=[
                html.H2("Where its bytes are"),
                html.P(
                    "A bar per tensor of the packed file, with stored bits, share of zeros and share of the "
                    "file; the mark is the order-0 entropy of its levels, which bounds coders that know "
                    "only their frequencies.",
                    className="caption",
                ),
                html.Div(id="bytes"),
                html.Div([choice("tensor", "Levels of", [], None, width=340)], className="controls"),
                graph("levels", height=300),
            ],
        ),
        html.Section(
            className="panel",
            children=[
                html.H2("What its layers cost"),
                html.P(
                    "Without the layers inside them. Multiply-adds are of one use; output is what a layer "
                    "hands on, in the type that it has at run time, where it is no part of another layer. "
                    "rayduce inspect --layers also measures shares of latency.",
                    className="caption",
                ),
                html.Div(id="layers"),
            ],
        ),
    ]
