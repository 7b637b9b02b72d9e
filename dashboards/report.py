"""A sweep's front as one HTML page that opens without a network."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.utils import PlotlyJSONEncoder

from dashboards.answer import HEADS, answer_of, answers, no_answer
from dashboards.figures.front import front_figure
from dashboards.figures.front_view import first_scale, front_view
from dashboards.style import PLOT_CONFIG, stylesheet
from dashboards.summary import (
    Card,
    caption,
    cards,
    columns,
    facts,
    failures,
    footnote,
    front_rows,
)
from dashboards.text import fit_sweep, fit_trials
from dashboards.theme import DARK
from search.objectives.budget import Budget
from search.objectives.choosing import choose, first_budget, limits_in_words
from search.store.sweep import Sweep

# Nothing is fetched, whatever a string in the page may hold.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)


# Dark where the screen is, and buttons that copy a command. `dark` and `colours` stand before it.
_SCRIPT = """if (dark) {
  const figure = document.getElementById("front");
  const recoloured = figure.data.map((trace, i) => merged(trace, colours.traces[i]));
  Plotly.react(figure, recoloured, merged(figure.layout, colours.layout));
}
function merged(into, more) {
  const found = {...into};
  for (const [name, value] of Object.entries(more)) {
    const nested = value && typeof value === "object" && !Array.isArray(value);
    found[name] = nested ? merged(into[name] ?? {}, value) : value;
  }
  return found;
}
document.querySelectorAll("code + button").forEach((button) => {
  button.onclick = () => navigator.clipboard.writeText(button.previousElementSibling.textContent)
    .then(() => {
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
});
"""


def front_html(trials: pd.DataFrame, sweep: Sweep, where: str = "") -> str:
    """The page of one sweep: headline numbers, what to ship, the figure, the table of the front.

    Args:
        trials: as :meth:`search.store.store.Store.trials` returns them.
        sweep: as :meth:`search.store.store.Store.sweep` returns it.
        where: what commands are told of the store, as :func:`dashboards.where.where` has it; default nothing.

    Returns:
        A complete document of about 5 MB, nearly all of it Plotly's own code.
    """
    trials, sweep = fit_trials(trials), fit_sweep(sweep)
    # Without run ids, for which an offline page has no use: 35 bytes each.
    view = front_view([(sweep, trials)], scale=first_scale(sweep, trials))
    figure = front_figure(view, ids=False)
    plot = figure.to_html(full_html=False, include_plotlyjs=False, config=PLOT_CONFIG, div_id="front")
    untold = replace(view, data=view.data.assign(hover=None))  # of which only the colours are taken
    dark = _colours(front_figure(untold, DARK, ids=False))
    title = html.escape(sweep.name)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Front · {title} · Rayduce</title>
<script>
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.dataset.theme = dark ? "dark" : "light";
</script>
<style>{stylesheet()}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<main class="page">
<header class="masthead">
<div>
<div class="brand">Rayduce</div>
<h1>{title}</h1>
<p class="facts">{html.escape(facts(sweep))}</p>
</div>
</header>
<section class="cards">{"".join(_card(card) for card in cards(trials, sweep))}</section>
{_ship(trials, sweep, where)}
<section class="panel">
<h2>Quality against size</h2>
<p class="caption">{html.escape(caption(sweep))}</p>
<div class="plot">{plot}</div>
</section>
<section class="panel">
<h2>The front</h2>
{_table(trials, sweep, where)}
{_failures(trials)}
</section>
<p class="footnote">{html.escape(footnote(sweep))}</p>
</main>
<script>
const colours = {dark};
{_SCRIPT}</script>
</body>
</html>
"""


def _colours(figure: go.Figure) -> str:
    """What of a figure is colour, as JSON that can stand in a script: for who has a dark screen."""
    whole = figure.to_plotly_json()
    layout = {name: whole["layout"].get(name) for name in ("template", "shapes", "annotations")}
    found = {
        "traces": [_coloured(trace) for trace in whole["data"]],
        "layout": {name: value for name, value in layout.items() if value is not None},
    }
    return json.dumps(found, cls=PlotlyJSONEncoder).replace("<", "\\u003c")


def _coloured(part: dict[str, Any]) -> dict[str, Any]:
    """The colours in a trace, at the places that they have there."""
    found: dict[str, Any] = {}
    for name, value in part.items():
        if isinstance(value, dict):
            if inner := _coloured(value):
                found[name] = inner
        elif name in ("color", "fillcolor", "bordercolor"):
            found[name] = value
    return found


def _card(card: Card) -> str:
    label, value, note = map(html.escape, card)
    return (
        f'<div class="card"><div class="label">{label}</div><div class="value">{value}</div>'
        f'<div class="note">{note}</div></div>'
    )


def _ship(trials: pd.DataFrame, sweep: Sweep, where: str) -> str:
    """The student to ship within the sweep's own limits, and within others that people ask for."""
    budget = first_budget(sweep.budget)
    choice = choose(trials, sweep.quality, sweep.teacher, budget, sweep.size)
    answer = answer_of(sweep, choice, budget, where)
    if answer is None:
        first = f'<p class="none">{html.escape(no_answer(sweep, choice, budget))}</p>'
    else:
        facts = "".join(f"<dt>{html.escape(n)}</dt><dd>{html.escape(text)}</dd>" for n, text in answer.facts)
        first = (
            f'<div class="answer"><span class="value">{html.escape(answer.size)}</span>'
            f'<span class="name">{html.escape(answer.name)}</span></div><dl class="facts">{facts}</dl>'
            f'<p class="caption">{html.escape(answer.why)}</p>'
            f'<div class="command">{_command(answer.command)}</div>'
        )
    head = "".join(
        f'<th class="{style}" scope="col">{title}</th>' for title, style in zip(HEADS, _STYLES, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{style}">{html.escape(text)}</td>' for text, style in zip(row, _STYLES, strict=True)
        )
        + "</tr>"
        for row in answers(trials, sweep)
    )
    return (
        f'<section class="panel ship"><h2>What do I ship?</h2><div class="halves"><div>{first}</div>'
        f'<div><h3>{html.escape(_others(sweep))}</h3><div class="scroll" tabindex="0">'
        f'<table class="front others"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div></div></div></section>"
    )


def _others(sweep: Sweep) -> str:
    costs = Budget(first_budget(sweep.budget).limits)
    within = f", {limits_in_words(costs, sweep.quality)}" if costs.limits else ""
    return f"The smallest for other losses{within}"


_STYLES = ("text", "text name", "main", "", "text")
"""Of the columns of :func:`dashboards.answer.answers`."""


def _command(text: str) -> str:
    """A line to type, ``text`` as it is, and the button that copies it."""
    return f'<code title="Click selects it all">{html.escape(text)}</code><button type="button">Copy</button>'


def _table(trials: pd.DataFrame, sweep: Sweep, where: str) -> str:
    rows = front_rows(trials, sweep, where=where)
    if not rows:
        return '<p class="empty">No trial has finished yet.</p>'
    shown = columns(sweep.quality, sweep.asked)
    head = "".join(f'<th class="{column.style}">{html.escape(column.title)}</th>' for column in shown)
    body = "".join(
        "<tr>" + "".join(f'<td class="{c.style}">{_cell(c.key, row)}</td>' for c in shown) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table class="front"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(key: str, row: dict[str, str]) -> str:
    text = html.escape(row[key])
    if key == "name":
        method = html.escape(row["method"])
        return (
            f'<span class="dot" style="background:{row["colour"]}"></span>'
            f'<span class="student"><b>{text}</b><br>{method}</span>'
        )
    if key == "command":
        return _command(row[key])
    return text


def _failures(trials: pd.DataFrame) -> str:
    failed = failures(trials)
    if not failed:
        return ""
    items = "".join(f"<li>{html.escape(name)}: {html.escape(reason)}</li>" for name, reason in failed)
    return f"<details><summary>{len(failed)} failed</summary><ul>{items}</ul></details>"
