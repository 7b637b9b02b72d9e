"""The nine questions that people come with: each is answered on a page that is at most two clicks away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dash import Dash
from flask.testing import FlaskClient

from dashboards.app import create_app
from dashboards.live import Live
from search.store.store import Store, open_store
from search.tracking.delivery import SWEEP
from tests.dashboards.recorded import recorded
from tests.dashboards.test_app import ask, words
from tests.stores import RECIPE, add_trial, copy_blank, final, tracker


@pytest.fixture(scope="module")
def store(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(recorded(blank, tmp_path_factory.mktemp("questions") / "store"))


@pytest.fixture(scope="module")
def app(store: Store) -> Dash:
    live = Live(store)
    live.read()
    return create_app(live)


@pytest.fixture
def client(app: Dash) -> Iterator[FlaskClient]:
    with app.server.test_client() as client:
        yield client


def run_of(store: Store, trial: str) -> str:
    frame = store.trials("digits-1")
    return str(frame.loc[frame["trial_id"] == trial, "run_id"].iloc[0])


def test_1_which_is_the_smallest_within_limits(client: FlaskClient, app: Dash, store: Store) -> None:
    told = ask(client, app, "ship.children", **{"ship-bytes__value": 16.0})["ship"]["children"]
    assert "15 kB" in words(told) and "97.90 %" in words(told)
    assert f"/student/{run_of(store, '00002')}.rdz" in json.dumps(told)


def test_2_which_method_is_better(client: FlaskClient, app: Dash) -> None:
    sides = ("in_place_distillation", "quantized_distillation")
    values = {
        f"{side}-side__value": f"method {name}" for side, name in zip(("left", "right"), sides, strict=True)
    }
    told = ask(client, app, "fronts.figure", **values, **{"how-many__value": "all"})
    assert "Quantized distillation is better in 1 and worse in 0" in words(told["at"]["children"])
    assert "Best accuracy at a given size" in words(told["at"]["children"])


def test_3_what_matters(blank: Path, tmp_path: Path) -> None:
    folder = copy_blank(blank, tmp_path / "store")
    sweep = tracker(folder)
    sweep.open({"trials": 24}, {"rayduce.metric": "accuracy"})
    sweep.annotate(SWEEP, {"teacher_validation_accuracy": 0.98, "teacher_packed_bytes": 100_000}, {})
    for number in range(24):
        bits, temperature = 1 + number % 8, 1.0 + (5 * number) % 7
        quantizer = {"type": "Uniform", "bits": bits, "bucket_size": None}
        losses = [{"type": "SoftTargets", "temperature": temperature}]
        recipe = {**RECIPE, "quantizer": quantizer, "losses": losses}
        add_trial(sweep, f"{number:05d}", final(0.5 + bits / 20, 1_000 * bits), recipe=recipe)
    sweep.finish_sweep("finished", {}, {}, {})
    sweep.close()
    live = Live(open_store(folder))
    live.read()
    app = create_app(live)
    with app.server.test_client() as client:
        figure = ask(client, app, "importance.figure")["importance"]["figure"]
    bars = {bar["name"]: dict(zip(bar["y"], bar["x"], strict=True)) for bar in figure["data"]}
    for shares in bars.values():
        most = max(shares, key=lambda name: shares[name])
        assert "bits" in most and shares[most] > 0.8, shares


def test_4_is_it_done(client: FlaskClient, app: Dash) -> None:
    assert "Too few trials to say" in words(ask(client, app, "growth.figure")["unit"]["children"])
    assert "The sweep is over: finished" in words(ask(client, app, "states.figure")["left"]["children"])


def test_5_why_did_trials_end_or_fail(client: FlaskClient, app: Dash, store: Store) -> None:
    reasons = ask(client, app, "states.figure")["reasons"]["children"]
    assert "it is number 4 of 4" in words(reasons) and "ValueError: no room" in words(reasons)
    failed = f"/trial/{run_of(store, '00005')}"
    assert failed in json.dumps(reasons), "one click from the traceback"
    told = ask(client, app, "trial-head.children", url__pathname=failed)["trial-head"]["children"]
    assert 'File "net.py", line 3, in forward' in words(told)


def test_6_how_sure_is_that(client: FlaskClient, app: Dash) -> None:
    listing = ask(client, app, "listing.data")["listing"]["data"]
    assert any("95 %" in column["title"] for column in listing["columns"])
    cards = words(ask(client, app, "cards.children")["cards"]["children"])
    assert "95 % sure within 1 point" in cards and "95 %: 96.93 to 98.70" in cards


def test_7_which_layer_is_the_largest(client: FlaskClient, app: Dash, store: Store) -> None:
    at = {"url__pathname": f"/trial/{run_of(store, '00002')}"}
    told = ask(client, app, "layers.children", **at)
    rows = words(told["layers"]["children"])
    assert "head" in rows and "11.2 kB" in rows and "3.75 kB" in rows
    assert "head.weight" in json.dumps(told["bytes"]["children"])


def test_8_which_mistakes_does_it_make(client: FlaskClient, app: Dash, store: Store) -> None:
    at = {"url__pathname": f"/trial/{run_of(store, '00002')}", "url__search": ""}
    told = ask(client, app, "gallery.hidden", **at)
    assert "Of 1,000 test samples trial 00002 gets 2 wrong" in words(told["mistaken"]["children"])
    assert f"/sample/{store.sweep('digits-1').run_id}/test/20.png" in json.dumps(told["samples"])


def test_9_how_do_two_students_differ(client: FlaskClient, app: Dash, store: Store) -> None:
    search = f"?left={run_of(store, '00001')}&right={run_of(store, '00002')}"
    told = ask(client, app, "pair.children", url__search=search, url__pathname="/pair")
    assert "+67 %" in words(told["pair"]["children"])
    assert "is better on these 1,000 samples" in words(told["mistakes"]["children"])
