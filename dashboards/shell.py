"""What stands around every view: the heading, the way to the others, the choice of sweep and of light or
dark."""

from __future__ import annotations

from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update

from dashboards.address import Asked, asked
from dashboards.callbacks import Count, Text
from dashboards.live import Live
from dashboards.pages import PAGES, page_at
from dashboards.pages.common import SWEEP, THEME, URL, VERSION, aria
from dashboards.pages.finding import find_linked
from dashboards.summary import facts
from search.store.store import StoreError
from search.store.sweep import Sweep

TICK_MS = 1_500
"""How often a page asks whether there is something new; the answer is a number."""

# The choice is applied before anything is drawn, so that a dark page does not flash. Dash asks for Plotly,
# which is larger than all the rest, only when the first figure is there.
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" type="image/svg+xml" href="/assets/favicon.svg">
<link rel="preload" href="/_dash-component-suites/plotly/package_data/plotly.min.js" as="script">
<script>
(() => {
  let chosen = null;
  try { chosen = JSON.parse(localStorage.getItem("theme")); } catch (error) { chosen = null; }
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const known = chosen === "dark" || chosen === "light";
  document.documentElement.dataset.theme = known ? chosen : dark ? "dark" : "light";
})();
</script>
{%css%}
</head>
<body>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>
"""

_TOGGLE = """
(clicks, chosen) => {
  const root = document.documentElement;
  if (clicks) root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  return root.dataset.theme;
}
"""


def layout(live: Live) -> html.Div:
    """The page without a view, which depends on the address."""
    version = live.version  # before what is read by it: what comes between is told at the next tick
    return html.Div(
        [
            html.A("Skip to the view", href="#view", className="skip"),
            html.Header(
                className="bar",
                children=[
                    html.Div("Rayduce", className="brand"),
                    html.Nav(id="nav", **aria(label="Views")),
                    html.Div(
                        className="choices",
                        children=[
                            html.Label("Sweep", htmlFor=SWEEP),
                            dcc.Dropdown(
                                id=SWEEP,
                                options=_options(live),
                                clearable=False,
                                placeholder="",
                                persistence=True,
                                persistence_type="session",
                            ),
                            html.Button("Light / dark", id="toggle", className="quiet", type="button"),
                        ],
                    ),
                ],
            ),
            html.Main(
                className="page",
                children=[
                    html.Div(id="headline", className="masthead"),
                    html.Div(_problem(live.problem), id="problem", role="status"),
                    html.Div(id="unknown", role="status"),
                    html.Div(id="view", tabIndex=-1),
                ],
            ),
            dcc.Location(id=URL, refresh="callback-nav"),  # a click on a mark changes the view, not the page
            dcc.Store(id=VERSION, data=version),
            dcc.Store(id=THEME, storage_type="local"),
            dcc.Store(id="address"),
            dcc.Interval(id="tick", interval=TICK_MS),
        ]
    )


def register(app: Dash, live: Live) -> None:
    """Connect the shell to what is read."""
    app.clientside_callback(_TOGGLE, Output(THEME, "data"), Input("toggle", "n_clicks"), State(THEME, "data"))
    _connect_tick(app, live)
    _connect_view(app, live)
    _connect_sweeps(app, live)
    _connect_headline(app, live)
    app.clientside_callback(
        ClientsideFunction("address", "shell"),
        Output("address", "data"),
        Input(URL, "pathname"),
        Input(SWEEP, "value"),
        Input("nav", "children"),
    )


def _connect_tick(app: Dash, live: Live) -> None:
    @app.callback(
        Output(VERSION, "data"),
        Output("problem", "children"),
        Input("tick", "n_intervals"),
        State(VERSION, "data"),
        prevent_initial_call=True,
    )
    def tick(_: Count | None, known: Count | None) -> Any:
        if known == live.version:
            return no_update, no_update
        return live.version, _problem(live.problem)


def _connect_view(app: Dash, live: Live) -> None:
    @app.callback(
        Output("view", "children"),
        Output("nav", "children"),
        Input(URL, "pathname"),
        State(SWEEP, "value"),
        State(URL, "search"),
    )
    def show(path: Text | None, name: Text | None, search: Text | None) -> Any:
        path, wanted = path or "/", asked(search)
        if ctx.triggered_id is None or name is None:  # the menu has it a little later
            name = _linked(live, path, wanted) or name
        shown = page_at(path)
        links = [
            dcc.Link(
                page.TITLE,
                href=page.PATH,
                className="here" if page is shown else "",
                title="This view is on show" if page is shown else None,
            )
            for page in PAGES
            if page.PATH
        ]
        if shown is None:
            return html.P("There is no such page.", className="empty"), links
        return shown.layout(live, live.sweep(name), path, wanted), links


def _connect_sweeps(app: Dash, live: Live) -> None:
    @app.callback(
        Output(SWEEP, "options"),
        Output(SWEEP, "value"),
        Input(VERSION, "data"),
        State(SWEEP, "value"),
        State(SWEEP, "options"),
        State(URL, "search"),
        State(URL, "pathname"),
    )
    def offer(
        _: Count | None,
        value: Text | None,
        options: list[dict[Text, Text]] | None,
        search: Text | None,
        path: Text | None,
    ) -> Any:
        new, wanted = _options(live), value
        if ctx.triggered_id is None:  # a link shows its sweep, whichever was on show before
            wanted = _linked(live, path or "/", asked(search)) or value
        chosen = live.sweep(wanted)
        name = None if chosen is None else chosen.name
        return no_update if new == options else new, no_update if name == value else name

    @app.callback(
        Output("unknown", "children"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        Input(URL, "pathname"),
        State(URL, "search"),
    )
    def miss(_: Count | None, name: Text | None, path: Text | None, search: Text | None) -> Any:
        wanted, shown = _linked(live, path or "/", asked(search)), live.sweep(None)
        if wanted is None or shown is None or name != shown.name or _is_known(live, wanted):
            return []
        text = f"There is no sweep named {wanted} in this store; {shown.name} is shown."
        return html.Div(text, className="problem")


def _linked(live: Live, path: str, wanted: Asked) -> str | None:
    """The sweep that an address means: that of its trial, else the one that it names, known or not."""
    try:
        found = find_linked(live, path)
    except StoreError:
        found = None
    return wanted.get("sweep") if found is None else found[0].name


def _is_known(live: Live, name: str) -> bool:
    return any(sweep.name == name for sweep in live.sweeps)


def _connect_headline(app: Dash, live: Live) -> None:
    @app.callback(
        Output("headline", "children"), Input(VERSION, "data"), Input(SWEEP, "value"), Input(URL, "pathname")
    )
    def head(version: Count | None, name: Text | None, path: Text | None) -> Any:
        sweep = live.sweep(name)
        if version is None or (path or "").startswith("/trial"):
            return []
        return _headline(sweep)


def _headline(sweep: Sweep | None) -> Any:
    if sweep is None:
        text: list[Any] = [
            "This store has no sweep yet. Start one with ",
            html.Code("rayduce sweep digits"),
            "; it appears here by itself.",
        ]
        return html.Section(html.P(text, className="empty"), className="panel")
    badge = html.Span(sweep.state, className=f"state state-{sweep.state}")
    return [html.H1(sweep.name), html.P([badge, " ", facts(sweep)], className="facts")]


def _options(live: Live) -> list[dict[str, str]]:
    return [{"label": sweep.name, "value": sweep.name} for sweep in live.sweeps]


def _problem(problem: str) -> Any:
    if not problem:
        return []
    text = f"{problem} What was read before is shown; the page goes on by itself when the store is back."
    return html.Div(text, className="problem")
