"""The pages answer which student to ship, how sure that is, and which mistakes it makes."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dash import Dash
from dash.html import Div
from flask.testing import FlaskClient
from typer.testing import CliRunner

from dashboards import figures
from dashboards.address import asked, number_in
from dashboards.answer import answer_of
from dashboards.app import create_app
from dashboards.axes import lost_axis
from dashboards.figures.front_view import first_scale, front_view
from dashboards.figures.pair import confusions
from dashboards.figures.parameters import doubtful
from dashboards.figures.progress import verdict
from dashboards.live import Live
from dashboards.marks import PLACES, places_of, symbol_of
from dashboards.pages import front
from dashboards.pages.parameters import sampled
from dashboards.pages.progress import reasons_of
from dashboards.report import front_html
from dashboards.where import where
from rayduce.commands.app import app as commands
from search.objectives.budget import Budget
from search.objectives.choosing import choose
from search.objectives.importance import importance_spread
from search.store.answers import answers_of, not_told_apart
from search.store.remaining import ending_seconds, seconds_each
from search.store.store import Store, StoreError, open_store
from search.store.tracebacks import traceback_of
from search.tracking.delivery import SWEEP
from tests.dashboards.frames import sweep, trials
from tests.dashboards.recorded import answers_of_student, recorded
from tests.dashboards.test_app import ask, words
from tests.stores import add_trial, copy_blank, final, tracker
from trainables.samples import Samples, samples_json


@pytest.fixture(scope="module")
def store(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(recorded(blank, tmp_path_factory.mktemp("decide") / "a store"))


@pytest.fixture(scope="module")
def live(store: Store) -> Live:
    found = Live(store)
    found.read()
    return found


@pytest.fixture(scope="module")
def app(live: Live) -> Dash:
    return create_app(live)


@pytest.fixture
def client(app: Dash) -> Iterator[FlaskClient]:
    with app.server.test_client() as client:
        yield client


def run_of(store: Store, trial: str) -> str:
    frame = store.trials("digits-1")
    return str(frame.loc[frame["trial_id"] == trial, "run_id"].iloc[0])


def shipped(client: FlaskClient, app: Dash, **limits: float) -> str:
    names = {"most": "ship-bytes", "drop": "ship-drop", "latency": "ship-latency", "ram": "ship-ram"}
    values = {f"{names[name]}__value": value for name, value in limits.items()}
    return words(ask(client, app, "ship.children", **values)["ship"]["children"])


def test_the_page_ships_the_smallest_that_surely_loses_no_more(
    client: FlaskClient, app: Dash, store: Store
) -> None:
    text = shipped(client, app, drop=1.0)
    assert "15 kB" in text and "97.90 %" in text and "95 % sure" in text
    assert "0.10 points (" in text and "0.400 ms" in text
    assert f"rayduce export {run_of(store, '00002')[:8]} student.rdz --store '{store.folder}'" in text


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        ({"most": 16.0}, "15 kB"),
        ({"most": 10.0}, "9 kB"),
        ({"latency": 0.15}, "4 kB"),
        ({"drop": 2.0}, "9 kB"),
    ],
)
def test_limits_lead_to_one_student(client: FlaskClient, app: Dash, limits: Any, size: str) -> None:
    assert size in shipped(client, app, **limits)


def test_if_none_fits_the_page_says_which_is_nearest(client: FlaskClient, app: Dash) -> None:
    text = shipped(client, app, most=1.0)
    assert "No student fits; the nearest is qd-00000" in text and "at most 1 kB packed size" in text


def test_the_terminal_and_the_page_choose_the_same(client: FlaskClient, app: Dash, store: Store) -> None:
    here = ["choose", "--store", str(store.folder)]
    result = CliRunner().invoke(commands, [*here, "--max-drop", "1", "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == 0 and found["student"]["trial_id"] == "00002" and found["sure"] is True
    assert found["splits"]["test"]["points_lost"] == pytest.approx(0.1)
    assert found["student"]["run_id"][:8] in shipped(client, app, drop=1.0)
    nothing = CliRunner().invoke(commands, [*here, "--max-bytes", "1kB"])
    assert nothing.exit_code == 1 and "nearest" in nothing.stdout
    wrong = CliRunner().invoke(commands, [*here, "--max", "sparsity=1"])
    assert wrong.exit_code == 2 and "more of it is better" in wrong.stderr


def test_the_page_without_a_server_ships_the_same(client: FlaskClient, app: Dash, store: Store) -> None:
    page = front_html(store.trials("digits-1"), store.sweep("digits-1"), where(store))
    panel = page.partition("<h2>What do I ship?</h2>")[2].partition("<h3>")[0]
    said = html.unescape(" ".join(re.sub("<[^>]*>", " ", panel).split()))
    assert said.removesuffix(" Copy") == " ".join(
        shipped(client, app, drop=1.0).replace("Download", "").split()
    )
    rows = dict(re.findall('<tr><td class="text">(.*?)</td><td class="text name">(.*?)</td>', page))
    assert rows["1 point"].endswith("00002") and rows["5 points"] != rows["1 point"]


def test_the_size_that_is_shown_is_the_one_that_was_searched(store: Store) -> None:
    found = store.sweep("digits-1")
    in_onnx = replace(found, params={**found.params, "size": "onnx_bytes"})
    trials_ = store.trials("digits-1").assign(onnx_bytes=lambda frame: 3 * frame["packed_bytes"])
    for of, size, beside in ((found, "15 kB", ("In ONNX", "45 kB")), (in_onnx, "45 kB", ("Packed", "15 kB"))):
        choice = choose(trials_, of.quality, of.teacher, Budget(max_drop=1.0), of.size)
        answer = answer_of(of, choice, Budget(max_drop=1.0), "")
        assert answer is not None and answer.size == size and beside in answer.facts


def test_the_figure_rings_it_and_has_whiskers(client: FlaskClient, app: Dash) -> None:
    inputs = {"x__value": "packed_bytes", "y__value": "validation_accuracy", "z__value": "none"}
    figure = ask(
        client,
        app,
        "front.figure",
        **inputs,
        ended__value=["shown"],
        scale__value="near",
        **{"ship-drop__value": 1.0},
    )["front"]["figure"]
    traces = {trace.get("name"): trace for trace in figure["data"]}
    assert traces["To ship"]["x"] == [15.0] and "95 % interval" in traces
    assert "Hollow: ended early, no student" in traces
    hidden = ask(client, app, "front.figure", **inputs, ended__value=[], scale__value="near")["front"][
        "figure"
    ]
    assert "Hollow: ended early, no student" not in {trace.get("name") for trace in hidden["data"]}


def test_the_table_marks_it_and_says_what_is_lost(client: FlaskClient, app: Dash, store: Store) -> None:
    listing = ask(client, app, "listing.data", **{"ship-drop__value": 1.0})["listing"]["data"]
    assert [row["style"] for row in listing["rows"]] == ["", "", "shipped", ""]
    place = [column["key"] for column in listing["columns"]].index("lost")
    assert listing["rows"][2]["cells"][place] == "0.10 (\N{MINUS SIGN}0.34 to 0.54)"
    assert (
        listing["rows"][3]["cells"][place - 1].endswith("\N{ALMOST EQUAL TO}")
        and "McNemar" in listing["foot"]
    )
    assert listing["rows"][2]["run"] == run_of(store, "00002")


def test_no_tile_mixes_the_splits(client: FlaskClient, app: Dash) -> None:
    cards = ask(client, app, "cards.children")["cards"]["children"]["props"]["children"]
    for card in cards:
        assert not {"test", "validation"} <= set(words(card).replace(":", " ").split())
    assert "Smallest 95 % sure within 1 point" in words(cards[1]) and "15 kB" in words(cards[1])
    assert "not told from the next smaller" in words(cards[2])


def test_two_students_stand_side_by_side(client: FlaskClient, app: Dash, store: Store) -> None:
    search = f"?left={run_of(store, '00001')}&right={run_of(store, '00002')}"
    told = ask(client, app, "pair.children", url__search=search)
    text, mistakes = words(told["pair"]["children"]), words(told["mistakes"]["children"])
    assert "15 kB" in text and "+67 %" in text and "In brackets: 95 % intervals" in text
    assert "Their mistakes on the test split" in mistakes
    assert "qd-00002 (00002) is better on these 1,000 samples" in mistakes and "p = 0.0074" in mistakes
    # Of the 14 that the left one loses to the teacher, the right one loses 2 as well.
    assert "2 samples only qd-00001 (00001) gets right, 12 only qd-00002" in mistakes
    for odd in ("", "?left=x&right=y", f"?left={'0' * 32}&right={'1' * 32}"):
        assert "Tick two trials" in words(
            ask(client, app, "pair.children", url__search=odd)["pair"]["children"]
        )


def mistaken(client: FlaskClient, app: Dash, store: Store, **values: Any) -> dict[str, Any]:
    search = f"?left={run_of(store, '00001')}&right={run_of(store, '00000')}"
    values = {"url__search": search, "url__pathname": "/pair", **values}
    found: dict[str, Any] = ask(client, app, "gallery.hidden", **values)
    return found


def test_the_samples_that_a_student_gets_wrong_are_shown(
    client: FlaskClient, app: Dash, store: Store
) -> None:
    told = mistaken(client, app, store)
    cards = json.dumps(told["samples"]["children"])
    # The teacher gets 0 to 19 wrong; the left student 20 to 33 too, and the right one 20 to 109.
    assert told["gallery"]["hidden"] is False and cards.count('"Figure"') == 24
    assert [each["label"] for each in told["part"]["options"]][-1] == "73 to 90 of 90"
    run = store.sweep("digits-1").run_id
    assert f"/sample/{run}/test/20.png" in cards and "test sample 20, digit 0" in cards
    assert "digit 0, as the teacher says" in cards and "digit 3" in cards
    only = mistaken(client, app, store, wrong__value="right")
    assert "/test/34.png" in json.dumps(only["samples"]) and "/test/33.png" not in json.dumps(only["samples"])
    assert mistaken(client, app, store, wrong__value="left")["part"]["options"][0]["label"] == "none"
    beyond = json.dumps(mistaken(client, app, store, part__value="48")["samples"])
    assert "test 109" in beyond or "test 68" in beyond
    assert "This sample is not kept" in beyond, "only the first are"


def test_a_trial_shows_its_own_mistakes(client: FlaskClient, app: Dash, store: Store) -> None:
    at = {"url__search": "", "url__pathname": f"/trial/{run_of(store, '00001')}"}
    told = mistaken(client, app, store, **at)
    text = words(told["mistaken"]["children"])
    assert "gets 14 wrong that the teacher gets right, and 3 right that the teacher gets wrong" in text
    assert "Most often it takes digit" in text and json.dumps(told["samples"]).count('"Figure"') == 14
    for path in (f"/trial/{run_of(store, '00004')}", "/trial/" + "0" * 32, "/progress"):
        assert mistaken(client, app, store, url__search="", url__pathname=path)["gallery"]["hidden"] is True


def test_only_samples_of_the_store_are_handed_out(client: FlaskClient, store: Store) -> None:
    run = store.sweep("digits-1").run_id
    answer = client.get(f"/sample/{run}/test/21.png")
    assert answer.status_code == 200 and answer.mimetype == "image/png"
    assert answer.data.startswith(b"\x89PNG") and answer.headers["X-Content-Type-Options"] == "nosniff"
    part = client.get(f"/sample/{run}/test/21.png", headers={"Range": "bytes=0-7"})
    assert part.status_code == 206 and part.data == answer.data[:8]
    for wrong in (
        f"{run}/test/999.png",
        f"{run}/test/21.wav",
        f"{run}/train/1.png",
        f"{'0' * 32}/test/1.png",
    ):
        assert client.get(f"/sample/{wrong}").status_code == 404


@pytest.mark.parametrize("content", [None, b"{}", samples_json(Samples("text", (), {"test": {1: "<b>"}}))])
def test_without_samples_mistakes_have_their_numbers(blank: Path, tmp_path: Path, content: Any) -> None:
    store = open_store(recorded(blank, tmp_path / "store"))
    path = store.folder / "sweeps" / "digits-1" / "samples.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    live = Live(store)
    live.read()
    app = create_app(live)
    with app.server.test_client() as client:
        text = words(mistaken(client, app, store)["samples"]["children"])
    says = {None: "No samples are kept", b"{}": "it has no checksum"}.get(content, "are of other data")
    assert says in text and "test 20" in text and "0, as the teacher says" in text


def test_a_failed_trial_has_its_traceback_and_no_empty_charts(
    client: FlaskClient, app: Dash, store: Store
) -> None:
    told = ask(client, app, "trial-head.children", url__pathname=f"/trial/{run_of(store, '00005')}")
    text = words(told["trial-head"]["children"])
    assert 'File "net.py", line 3, in forward' in text and "ValueError: no room <b>" in text
    assert told["trained"]["hidden"] and told["shipped"]["hidden"]
    fine = ask(client, app, "trial-head.children", url__pathname=f"/trial/{run_of(store, '00001')}")
    assert "Traceback" not in words(fine["trial-head"]["children"]) and not fine["trained"]["hidden"]
    with pytest.raises(StoreError, match=r"no file 'traceback\.txt'"):
        traceback_of(store, run_of(store, "00001"))


def test_which_class_is_taken_for_which() -> None:
    true, _, said = answers_of_student(30, 20)
    found = confusions(true, said)
    assert found["count"].sum() == 30 and (found["said"] == (found["true"] + 3) % 10).all()
    assert confusions(true, true).empty and figures.confusion_figure(true, true, "a").layout.annotations


def test_the_last_cannot_be_told_from_the_next_smaller_one(store: Store, live: Live) -> None:
    runs = [run_of(store, trial) for trial in ("00000", "00001", "00002", "00003")]
    assert live.alike(live.sweeps[0]) == {runs[3]}
    with pytest.raises(StoreError, match=r"no file 'predictions\.json'"):
        answers_of(store, run_of(store, "00005"))
    assert not_told_apart(live.answers, run_of(store, "00005"), runs) == frozenset()


def test_a_damaged_file_of_answers_is_said_to_be_damaged(blank: Path, tmp_path: Path) -> None:
    store = open_store(recorded(blank, tmp_path / "store"))
    run_id = run_of(store, "00000")
    path = Path(store.artifact_location(run_id, "predictions.json"))
    path.write_bytes(path.read_bytes().replace(b"uint8", b"uint9"))
    with pytest.raises(StoreError, match=r"predictions.json of the run .* is damaged"):
        answers_of(store, run_id)


def test_the_offline_page_has_intervals_and_the_store(store: Store) -> None:
    found = store.sweep("digits-1")
    page = front_html(store.trials("digits-1"), found, " --store '/a b'")
    assert "97.90 % (96.8" in page and "student.rdz --store &#x27;/a b&#x27;" in page
    assert len(page) < 5_000_000


def test_methods_have_one_colour_and_symbol_whatever_else_is_shown() -> None:
    few = trials({"method": "quantized_distillation"})
    many = trials({"method": "full_precision"}, {"method": "quantized_distillation"}, {"method": "own"})
    places = [front_view([(sweep(), frame)]).places["Quantized distillation"] for frame in (few, many)]
    assert places[0] == places[1] == PLACES["Quantized distillation"]
    assert len({(place % 8, symbol_of(place)) for place in range(64)}) == 64
    assert places_of(["b", "a", "b"], methods=False) == {"b": 0, "a": 1}


def test_points_lost_are_drawn_with_the_best_on_top() -> None:
    frame = trials(
        {"packed_bytes": 1_000, "validation_accuracy": 0.90, "front": True},
        {"packed_bytes": 4_000, "validation_accuracy": 0.99, "front": True},
        {"packed_bytes": 4_000, "state": "pruned"},
    )
    view = front_view([(sweep(), frame)], scale="lost", ended=False)
    assert view.data["y"].tolist() == pytest.approx([8.0, view.y.values(frame)[1]]) and len(view.data) == 2
    figure = figures.front_figure(view)
    top, bottom = figure.layout.yaxis.range[1], figure.layout.yaxis.range[0]
    assert top < bottom and figure.layout.yaxis.ticktext[0] == "none"
    assert view.data["front"].all() and lost_axis(sweep()).floor > 0
    with pytest.raises(ValueError, match="scale must be one of"):
        front_view([(sweep(), frame)], scale="none")


def test_a_front_that_loses_nothing_is_shown_by_its_quality() -> None:
    def first(*values: float, **changes: Any) -> str:
        rows = trials(*({"validation_accuracy": value, "front": True} for value in values), {})
        return first_scale(sweep(**changes), rows)

    assert first(0.98, 0.99) == "near", "all would stand on one line"
    assert first(0.98, 0.97) == first() == "lost"
    assert first(0.98, 0.99, metrics={}) == "lost", "without a teacher it is the quality itself"


def test_the_page_begins_with_the_quality_where_nothing_is_lost(blank: Path, tmp_path: Path) -> None:
    folder = copy_blank(blank, tmp_path / "lossless")
    made = tracker(folder, "lossless")
    made.open({}, {"rayduce.metric": "accuracy"})
    made.annotate(SWEEP, {"teacher_validation_accuracy": 0.9, "teacher_packed_bytes": 9_000}, {})
    add_trial(made, "00000", final(0.9, 1_000), tags={"front": "true"})
    made.finish_sweep("finished", {}, {}, {})
    made.close()
    live = Live(open_store(folder))
    live.read()
    for wanted, scale in (({}, "near"), ({"scale": "lost"}, "lost")):
        page = Div(front.layout(live, live.sweep(None), "/", wanted))
        assert page["scale"].value == scale


def test_with_three_objectives_the_front_of_those_shown_is_drawn() -> None:
    frame = trials(
        {"packed_bytes": 1_000, "validation_accuracy": 0.95, "front": True, "latency_ms": 0.9},
        {"packed_bytes": 2_000, "validation_accuracy": 0.90, "front": True, "latency_ms": 0.1},
    )
    three = sweep(params={"minimized": "latency_ms"})
    assert front_view([(three, frame)]).data["front"].tolist() == [True, False]
    assert front_view([(sweep(), frame)]).data["front"].tolist() == [True, True], "as the sweep marked them"


def test_an_address_asks_for_a_sweep_and_limits() -> None:
    values = asked("?sweep=digits-1&max-bytes=16&max-drop=nan&x=packed_bytes")
    assert values["sweep"] == "digits-1" and number_in(values, "max-bytes") == 16.0
    assert number_in(values, "max-drop") is None and number_in(values, "max-ram") is None
    for odd in (None, "", "?" + "a" * 9000, "?" + "&".join(f"a{i}=1" for i in range(99))):
        assert asked(odd) == {}


def test_the_page_begins_with_what_its_address_asks_for(client: FlaskClient, app: Dash) -> None:
    search = "?sweep=digits-1&max-bytes=7&x=latency_ms&ended=hidden"
    text = json.dumps(ask(client, app, "view.children", url__search=search))
    assert '"value": 7.0' in text and '"value": "latency_ms"' in text


GROWN = pd.DataFrame({"trial": range(1, 101), "hypervolume": [1.0] * 100, "improved": [True] + [False] * 99})


def test_progress_says_whether_it_is_done() -> None:
    assert "It looks done. The 20 that are left will hardly change it." in verdict(
        GROWN, running=True, left=20
    )
    growing = GROWN.assign(hypervolume=[i / 10 for i in range(100)], improved=True)
    text = verdict(growing, running=True, left=5)
    assert "51 % more hypervolume in the last 50 trials" in text and "would add about" in text
    assert "Too few trials to say" in verdict(growing.iloc[:8], running=False, left=0)
    assert verdict(GROWN.iloc[:0], running=True, left=5) == "No trial has ended yet."


def test_the_time_left_has_what_comes_after_the_last_trial() -> None:
    start = pd.Timestamp("2026-01-02 03:04", tz="UTC")

    def after(seconds: float) -> pd.Timestamp:
        return start + pd.Timedelta(seconds=seconds)

    frame = trials({"end_time": after(10)}, {"end_time": after(20), "front": True})
    going = sweep(state="running", start_time=start, params={"trials": "4"})
    assert figures.seconds_left(frame, going, after(20)) == 20
    assert figures.seconds_left(frame, going, after(25), 30.0) == 45
    done = sweep(state="running", start_time=start, params={"trials": "2"})
    assert figures.seconds_left(frame, done, after(30), 30.0) == 20, "it is being measured"
    assert figures.seconds_left(frame, done, after(90), 30.0) == 0
    # An earlier sweep took from its last trial's end at 20 s to 200 s, of which 5 come once.
    assert seconds_each(frame, start, 200.0) == 175
    assert ending_seconds(3, 175.0) == 530 and ending_seconds(0) == 7.5
    assert seconds_each(frame.assign(front=False), start, 200.0) is None


def shaped(width: float, quality: float, size: int, run: str, **more: Any) -> dict[str, Any]:
    values = {"model": "resnet", "depth": 2.0, "width": width, "packed_bytes": size, "run_id": run}
    return {**values, "validation_accuracy": quality, **more}


def test_students_of_one_shape_are_paired_once_each() -> None:
    left = trials(
        shaped(0.5, 0.90, 10_000, "a"),
        shaped(0.51, 0.91, 10_000, "b"),
        shaped(1.0, 0.95, 40_000, "c"),
        shaped(0.25, 0.80, 4_000, "d", state="pruned"),
    )
    right = trials(
        shaped(0.5, 0.92, 5_000, "e"),
        shaped(1.2, 0.99, 20_000, "f"),
        shaped(1.0, 0.94, 20_000, "g"),
        shaped(0.25, 0.85, 2_000, "h"),
        shaped(1.0, 0.99, 20_000, "i", depth=3.0),
        shaped(1.0, 0.99, 20_000, "j", feasible=False, model="plain"),
    )
    found = figures.matched(left, right, sweep().quality, "packed_bytes")
    pairs = found.pairs[["run_id_left", "run_id_right"]].to_numpy().tolist()
    assert pairs == [["a", "e"], ["c", "g"]], "b is near e, too, and a nearer"
    assert found.pairs["gain"].tolist() == pytest.approx([2.0, -1.0]) and found.mean == pytest.approx(0.5)
    assert found.smaller == pytest.approx(0.5) and found.between is None, "two pairs say nothing of others"
    many = [shaped(1.1**i, 0.9, 1_000, f"l{i}") for i in range(8)]
    others = [shaped(1.1**i, 0.9 + i / 1000, 500, f"r{i}") for i in range(8)]
    sure = figures.matched(trials(*many), trials(*others), sweep().quality, "packed_bytes")
    assert sure.between is not None and 0 < sure.between.low < sure.mean < sure.between.high
    assert figures.matched(left.iloc[:0], right, sweep().quality, "packed_bytes").pairs.empty


def test_a_comparison_is_of_the_first_trials_or_of_all_and_within_the_limits() -> None:
    def at(second: int) -> pd.Timestamp:
        return pd.Timestamp("2026-01-02 03:05", tz="UTC") + pd.Timedelta(seconds=second)

    one = trials(shaped(1.0, 0.9, 9_000, "a", end_time=at(0)))
    two = trials(
        shaped(1.0, 0.8, 8_000, "b", end_time=at(1)),
        shaped(1.0, 0.99, 100, "c", end_time=at(2), feasible=False),
        shaped(1.0, 0.95, 7_000, "d", end_time=at(3)),
    )
    sides = [figures.Side("one", sweep(), one), figures.Side("two", sweep(), two)]
    assert figures.compare(sides).counts == (1, 1)
    every = figures.compare(sides, every=True)
    assert every.counts == (1, 3) and every.budget == 1
    assert every.points["within"].tolist() == [True, True, False, True]
    assert not every.points["front"][2] and every.qualities["two"].min() == 7.0
    assert every.sizes["two"].max() == 95.0, "0.99 is over the limits"
    grown = every.growth[every.growth["side"] == "two"]["hypervolume"].tolist()
    assert grown[0] == grown[1] < grown[2], "so it covers nothing"


def test_the_page_compares_pairs(client: FlaskClient, app: Dash) -> None:
    sides = {
        "left-side__value": "method in_place_distillation",
        "right-side__value": "method quantized_distillation",
    }
    told = ask(client, app, "fronts.figure", **sides, **{"how-many__value": "all"})
    assert "1 of In place distillation and 4 of Quantized distillation" in words(told["budget"]["children"])
    text = words(told["at"]["children"])
    assert "1 pair of one architecture" in text and "is better in 1 and worse in 0" in text
    assert "/pair?left=" in json.dumps(told["at"])
    first = ask(client, app, "fronts.figure", **sides, **{"how-many__value": "equal"})
    assert "Of each the first trial that ended" in words(first["budget"]["children"])


def test_reasons_of_one_kind_have_ranges() -> None:
    frame = trials(
        {"state": "pruned", "reason": "after epoch 2, it is number 4 of 9"},
        {"state": "pruned", "reason": "after epoch 5, it is number 4 of 12"},
    )
    [(state, reason, group)] = reasons_of(frame)
    assert (state, reason, len(group)) == (
        "pruned",
        "after epoch 2\N{EN DASH}5, it is number 4 of 9\N{EN DASH}12",
        2,
    )


def test_importance_has_a_spread_and_too_few_trials_say_nothing() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"matters": random.random(60), "noise": random.random(60)})
    found = importance_spread(frame, 10 * frame["matters"] + 0.1 * random.random(60), forests=3)
    assert list(found.index) == ["matters", "noise"] and found["share"].iloc[0] > 0.9
    assert (found["low"] <= found["share"]).all() and (found["share"] <= found["high"]).all()
    assert doubtful({"accuracy": found}) == ""
    pure = importance_spread(frame, pd.Series(random.random(60)), forests=3)
    assert "Too few trials to say which matters most to accuracy" in doubtful({"accuracy": pure})
    assert importance_spread(frame.iloc[:7], frame["matters"].iloc[:7]).empty
    bars = figures.importance_figure({"accuracy": found})
    assert max(bars.data[0].error_x.array) >= 0
    assert "Too few trials to say" in figures.importance_figure({}).layout.annotations[0].text
    assert sampled(1_000) == "" and "1,000 of 8,997 finished trials, drawn at random" in sampled(8_997)


def test_trials_stand_in_the_slots_that_they_ran_in() -> None:
    def at(minute: int) -> pd.Timestamp:
        return pd.Timestamp("2026-01-02 03:04", tz="UTC") + pd.Timedelta(minutes=minute)

    ran = ((0, 10), (1, 3), (4, 8), (9, None))
    frame = trials(
        *({"start_time": at(a), "end_time": None if b is None else at(b)} for a, b in ran),
        {"start_time": at(0), "trained_with": "t0"},
    )
    found = figures.slots_data(frame, sweep(), at(12))
    assert found["slot"].tolist() == [0, 1, 1, 1]
    assert found["end"].tolist() == [10.0, 3.0, 8.0, 12.0]
    assert figures.slots_figure(found).data and figures.slots_figure(found.iloc[:0]).layout.annotations
