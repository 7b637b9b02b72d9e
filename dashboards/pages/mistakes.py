"""The samples that students get wrong, shown as what they are: pictures, sounds or sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dash import Dash, Input, Output, State, html
from flask import Response, abort, request

from dashboards.address import asked
from dashboards.callbacks import Count, Text
from dashboards.figures.pair import confusions
from dashboards.live import Live
from dashboards.pages.common import SWEEP, URL, VERSION, aria, choice, menu, note
from dashboards.pages.finding import find_trial
from dashboards.text import share, told
from search.objectives.certainty import Paired
from search.store.answers import TRUE
from search.store.store import StoreError
from search.store.sweep import Sweep
from search.units import count
from trainables.predictions import Classes
from trainables.samples import Samples, mark_of

SHOWN = 24
"""Samples at a time."""
MOST_PARTS = 200
"""Of so many samples each; what is beyond is left out, and said to be."""
_RUN = re.compile(r"[0-9a-f]{32}")
_MEDIA = {"image": ("png", "image/png"), "sound": ("wav", "audio/wav")}
WHICH = ("one", "left", "right", "both")
PICKED = {
    "one": "One of the two is wrong, or both",
    "left": "Only the left one is wrong",
    "right": "Only the right one is wrong",
    "both": "Both are wrong",
}


@dataclass(frozen=True)
class Said:
    """What a teacher and its students say of the same samples.

    Attributes:
        split: of the samples; ``test`` where all have seen it, since no choice has.
        true: the classes that the data has.
        teacher: those that the teacher says.
        students: those that each student says.
    """

    split: str
    true: Classes
    teacher: Classes
    students: tuple[Classes, ...]

    @property
    def wrong(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which samples the teacher gets right and each student wrong, shape (students, samples)."""
        return np.stack([(each != self.true) & (self.teacher == self.true) for each in self.students])


def said_by(live: Live, sweep: Sweep, runs: Sequence[str]) -> Said:
    """What trials of a sweep and its teacher say.

    Raises:
        StoreError: answers of one of them are not kept, or they are not of the same samples.
    """
    teacher, *students = (live.answers(run) for run in (sweep.run_id, *runs))
    split = "test" if all("test" in each for each in (teacher, *students)) else "validation"
    true, columns = teacher.get(split + TRUE), [each.get(split) for each in (teacher, *students)]
    found = [each for each in columns if each is not None and true is not None and each.shape == true.shape]
    if true is None or len(found) != len(columns):
        raise StoreError("Their answers are not of the same samples.")
    return Said(split, true, found[0], tuple(found[1:]))


def gallery(*, pair: bool) -> html.Section:
    """The place of the samples, which the callbacks fill; it is hidden as long as there is nothing to say.

    Args:
        pair: whether they are of two students, of whom one is chosen.
    """
    which = choice("wrong", "Which", list(PICKED.items()), "one", width=270)
    part = choice("part", "Samples", [("0", "all")], "0", width=170)
    title = "The samples that the teacher gets right, and one of the two does not"
    return html.Section(
        [
            html.H2(title if pair else "Its mistakes"),
            html.Div(id="mistaken"),
            html.Div([html.Div(which, hidden=not pair), part], className="controls"),
            html.Div(id="samples"),
        ],
        className="panel",
        id="gallery",
        hidden=True,
    )


def register(app: Dash, live: Live) -> None:
    """Connect the samples to what is read, and serve pictures and sounds."""
    _serve(app, live)

    @app.callback(
        Output("gallery", "hidden"),
        Output("mistaken", "children"),
        Output("samples", "children"),
        Output("part", "options"),
        Output("part", "value"),
        Input(VERSION, "data"),
        Input(URL, "search"),
        Input(SWEEP, "value"),
        Input("wrong", "value"),
        Input("part", "value"),
        State(URL, "pathname"),
    )
    def show(
        _: Count | None,
        search: Text | None,
        name: Text | None,
        which: Text | None,
        part: Text | None,
        path: Text | None,
    ) -> Any:
        nothing = menu([("0", "none")]), "0"
        try:
            students = _students(live, path, search, name)
            if students is None:
                return True, [], [], *nothing
            sweep, names, runs = students
            said = said_by(live, sweep, runs)
            samples = _samples(live, sweep, said)
        except StoreError as error:
            return False, [], note(told(error)), *nothing
        kind, words = (samples, "") if not isinstance(samples, str) else (None, samples)
        numbers = _picked(said, which or "one")
        parts = _parts(len(numbers))
        chosen = part if part in dict(parts) else parts[0][0]
        start = int(chosen)
        cards = [_card(sweep, said, kind, number, names) for number in numbers[start : start + SHOWN]]
        listed = html.Div(cards, className="samples") if cards else note("There are none.")
        body = [html.P(words, className="caption"), listed] if words else [listed]
        return False, _counted(said, names, kind), body, menu(parts), chosen


def _students(
    live: Live, path: str | None, search: str | None, name: str | None
) -> tuple[Sweep, list[str], list[str]] | None:
    """The sweep of the students that an address means, what they are called, and their run ids."""
    found = find_trial(live, path, name, search)
    if found is not None:
        row = found[1].iloc[found[2]]
        known = str(row["state"]) == "finished"
        return (found[0], [str(row["trial_id"])], [str(row["run_id"])]) if known else None
    if path != "/pair":
        return None
    values = asked(search)
    runs = [values.get(side, "") for side in ("left", "right")]
    sides = [live.find(run) if _RUN.fullmatch(run) else None for run in runs]
    if sides[0] is None or sides[1] is None or sides[0][0].run_id != sides[1][0].run_id:
        return None
    names = [str(each[1]["trial_id"].iloc[each[2]]) for each in sides if each is not None]
    return sides[0][0], names, runs


def _samples(live: Live, sweep: Sweep, said: Said) -> Samples | str:
    """What is kept of the samples of these answers, or why nothing is shown, in a sentence."""
    try:
        found = live.samples(sweep)
    except StoreError as error:
        return told(error)
    if found is None or said.split not in found.splits:
        return (
            "No samples are kept in this store: nothing can be shown of such data, or the sweep was made by "
            "an earlier version or in another store."
        )
    if found.marks.get(said.split) != mark_of(said.true):
        return "The samples that are kept in this store are of other data than these answers."
    return found


def _picked(said: Said, which: str) -> list[int]:
    """Numbers of the samples that the teacher gets right and the students get wrong as is asked for."""
    wrong = said.wrong
    first, last = wrong[0], wrong[-1]
    kinds = {"left": first & ~last, "right": ~first & last, "both": first & last}
    return [int(number) for number in np.flatnonzero(kinds.get(which, wrong.any(0)))]


def _parts(samples: int) -> list[tuple[str, str]]:
    """Which samples can be on show at a time: where they begin, and what the menu says."""
    starts = range(0, min(samples, SHOWN * MOST_PARTS), SHOWN)
    found = [
        (str(start), f"{start + 1:,} to {min(start + SHOWN, samples):,} of {samples:,}") for start in starts
    ]
    return found or [("0", "none")]


def _counted(said: Said, names: list[str], samples: Samples | None) -> list[Any]:
    """How often students and teacher differ, and which classes are taken for which."""
    lines: list[Any] = []
    for name, each in zip(names, said.students, strict=True):
        pair = Paired.of(said.teacher == said.true, each == said.true)
        pairs = confusions(said.true, each).head(3).to_dict("records")
        most = ", ".join(
            f"{_name(samples, row['true'])} for {_name(samples, row['said'])} ({count(row['count'], 'time')})"
            for row in pairs
        )
        most = f" Most often it takes {most}." if most else ""
        lines.append(
            html.P(
                f"Of {pair.samples:,} {said.split} samples trial {name} gets {pair.lost:,} wrong that the "
                f"teacher gets right, and {pair.gained:,} right that the teacher gets wrong; it agrees with "
                f"the teacher on {share((each == said.teacher).mean())}.{most}",
                className="caption",
            )
        )
    return lines


def _name(samples: Samples | None, number: int) -> str:
    return str(number) if samples is None else samples.name_of(int(number))


def _card(sweep: Sweep, said: Said, samples: Samples | None, number: int, names: list[str]) -> html.Figure:
    true = int(said.true[number])
    answers = [
        part
        for name, each in zip(names, said.students, strict=True)
        for part in (html.Br(), f"{name} says ", _answer(samples, int(each[number]), true))
    ]
    words = [f"{_name(samples, true)}, as the teacher says", *answers]
    return html.Figure(
        [
            html.Div(_shown(sweep, said, samples, number), className="sample"),
            html.Figcaption([html.Span(f"{said.split} {number:,}", className="number"), html.Br(), *words]),
        ]
    )


def _answer(samples: Samples | None, number: int, true: int) -> Any:
    text = _name(samples, number)
    return html.Span(text) if number == true else html.B(text, className="wrong")


def _shown(sweep: Sweep, said: Said, samples: Samples | None, number: int) -> Any:
    """A sample as what it is; a dash where it is not kept."""
    item = None if samples is None else samples.splits[said.split].get(number)
    if samples is None or item is None:
        return html.Span("\N{EN DASH}", title="This sample is not kept")
    if isinstance(item, str):
        return html.Blockquote(item)
    address = f"/sample/{sweep.run_id}/{said.split}/{number}.{_MEDIA[samples.kind][0]}"
    words = f"{said.split} sample {number}, {samples.name_of(int(said.true[number]))}"
    if samples.kind == "image":
        return html.Img(src=address, alt=words)
    return html.Audio(src=address, controls=True, preload="none", title=words, **aria(label=words))


def _serve(app: Dash, live: Live) -> None:
    @app.server.get("/sample/<run_id>/<split>/<int:number>.<suffix>")
    def sample(run_id: str, split: str, number: int, suffix: str) -> Response:
        """A sample of a sweep, by the sweep's run id: a picture or a sound, which were checked when read."""
        sweep = next((each for each in live.sweeps if each.run_id == run_id), None)
        try:
            samples = None if sweep is None else live.samples(sweep)
        except StoreError:
            samples = None
        if samples is None or samples.kind == "text" or _MEDIA[samples.kind][0] != suffix:
            abort(404)
        item = samples.splits.get(split, {}).get(number)
        if not isinstance(item, bytes):
            abort(404)
        answer = Response(item, mimetype=_MEDIA[samples.kind][1])
        answer.cache_control.private = True
        answer.cache_control.max_age = 600
        # Browsers ask for parts of a sound.
        answer.make_conditional(request.environ, accept_ranges=True, complete_length=len(item))
        return answer
