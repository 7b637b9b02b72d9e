"""Stores that hold what Rayduce never writes: pages say so, and show the rest."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dash import Dash
from flask.testing import FlaskClient

from dashboards.app import create_app
from dashboards.live import Live
from search.store.store import StoreError, open_store
from search.tracking.delivery import SWEEP
from tests.dashboards.test_app import ask, words
from tests.dashboards.test_hostile import names, right, sent
from tests.stores import add_trial, copy_blank, final, kept, tracker

BIDI, CURSOR = "evil\u202egnp.exe", "red\x1b[31m\x07"
DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "cut": b'[{"name": "stem.weight", "sha',
    "binary": b"\x80\x02}q\x00.",
    "a number": b"7",
    "text": b'"tensors"',
    "an object": b'{"name": 1}',
    "rows of text": b'["a"]',
    "rows without fields": b'[{"name": "w"}]',
    "deep": b"[" * 100_000,
    "not JSON": b'[{"name": NaN}]',
}


def tensor(**changes: Any) -> bytes:
    """A file of one tensor; each change is a value that no tensor has."""
    row: dict[str, Any] = {"name": "w", "shape": [2, 2], "codec": "huffman", "bits": 4.0, "sparsity": 0.1}
    row |= {"bytes": 10, "entropy_bytes": 9.5, "share": 0.4, "levels": [[0.5, 3], [1.5, 1]]}
    return json.dumps([{**row, **changes}]).replace('"INFINITE"', "1e999").encode()


ODD: dict[str, bytes] = {
    "infinite bytes": tensor(bytes="INFINITE"),
    "negative bytes": tensor(bytes=-1e308, share=-1e308),
    "huge bytes": tensor(bytes=10**400),
    "text for numbers": tensor(bits="four", bytes="ten", share="x", sparsity=[]),
    "infinite count": tensor(levels=[["INFINITE", "INFINITE"]]),
    "huge level": tensor(levels=[[10**400, 1]]),
    "text levels": tensor(levels="abc"),
    "no levels": tensor(levels=None),
    "odd name": tensor(name=BIDI + "\ud800" + "x" * 10_000, codec=CURSOR),
    "name of another type": tensor(name={"a": []}, shape={"b": 1}, codec=None),
    "none": tensor(bits=None, sparsity=None, bytes=None, entropy_bytes=None, share=None),
}


@pytest.fixture(scope="module")
def folder(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of trials with odd files, and with odd tags and metrics as only a hand could write them."""
    folder = copy_blank(blank, tmp_path_factory.mktemp("odd"))
    made = tracker(folder)
    made.open({"trials": "many"}, {"rayduce.metric": "accuracy"})
    made.annotate(SWEEP, {"teacher_validation_accuracy": 0.98, "teacher_packed_bytes": 100_000}, {})
    for i, (name, content) in enumerate({**DAMAGED, **ODD}.items()):
        trial = f"t{i}"
        made.start_trial(trial, name, {}, {"method": "x", "bits": 4})
        files = {"student.rdz": b"x", "tensors.json": content}
        made.log_epoch(trial, 1, {"loss": 0.5})
        made.finish_trial(trial, "finished", final(0.9, 1_000 + i), {}, kept(made, trial, files))
    for i, name in enumerate(("nan", "infinite", "huge", "negative", "named", "failed")):
        add_trial(made, f"odd{i}", final(0.9, 2_000), name=name)
    made.finish_sweep("finished", {}, {}, {})
    made.close()
    opened = open_store(folder)
    for row in opened.trials().to_dict("records"):
        if row["name"] in DAMAGED:
            Path(opened.artifact_location(row["run_id"], "recipe.json")).write_bytes(DAMAGED[row["name"]])
    with sqlite3.connect(folder / "mlflow.db") as database:
        for run, value, is_nan in (
            ("nan", 0, 1),
            ("infinite", 1.7976931348623157e308, 0),
            ("huge", 1e308, 0),
            ("negative", -1e308, 0),
        ):
            for table in ("latest_metrics", "metrics"):
                database.execute(
                    f"UPDATE {table} SET value = ?, is_nan = ? WHERE run_uuid IN "
                    "(SELECT run_uuid FROM runs WHERE name = ?)",
                    (value, is_nan, run),
                )
        odd = "(SELECT run_uuid FROM runs WHERE name IN ('named', 'failed'))"
        for key in (
            "method",
            "model",
            "bits",
            "depth",
            "width",
            "reason",
            "continues",
            "copied_from",
            "trained_with",
        ):
            database.execute(f"DELETE FROM tags WHERE key = ? AND run_uuid IN {odd}", (key,))
            database.execute(f"INSERT INTO tags SELECT ?, ?, run_uuid FROM runs WHERE run_uuid IN {odd}",
                             (key, BIDI + CURSOR + "x" * 3_000))  # fmt: skip
        database.execute("UPDATE runs SET name = ? WHERE name = 'named'", (BIDI + CURSOR,))
        database.execute(
            f"UPDATE tags SET value = 'failed' WHERE key = 'state' AND run_uuid IN {odd} "
            "AND run_uuid IN (SELECT run_uuid FROM runs WHERE name = 'failed')"
        )
        database.execute("UPDATE runs SET status = 'FAILED' WHERE name = 'failed'")
        database.execute("UPDATE tags SET value = ? WHERE key = 'study'", (BIDI,))
    database.close()
    return folder


@pytest.fixture(scope="module")
def app(folder: Path) -> Dash:
    live = Live(open_store(folder))
    live.read()
    return create_app(live)


@pytest.fixture
def client(app: Dash, caplog: pytest.LogCaptureFixture) -> Iterator[FlaskClient]:
    with app.server.test_client() as client:
        yield client
    assert [record.message for record in caplog.records] == []


def asked(client: FlaskClient, app: Dash, name: str, **known: Any) -> str:
    """The answer of a callback to a page on which ``known`` is chosen."""
    body = right(app, name)
    for part in [*body["inputs"], *body["state"]]:
        if part["property"] != "options":
            part["value"] = known.get(part["id"], part["value"])
    assert sent(client, body) in (200, 204), (name, known)
    return client.post("/_dash-update-component", json=body).text


def test_every_view_answers_for_odd_numbers_and_names(client: FlaskClient, app: Dash, folder: Path) -> None:
    sweep = json.loads(asked(client, app, next(n for n in names(app) if "sweep.options" in n)))
    chosen = sweep["response"]["sweep"]["value"]
    sides = json.loads(asked(client, app, next(n for n in names(app) if "left-side.value" in n)))
    left, right_side = ("left-side", "right-side")
    compared = {
        left: "method x",
        right_side: next(
            option["value"] for option in sides["response"][left]["options"] if "\\u202e" in option["value"]
        ),
    }
    for name in names(app):
        for order in ("packed_bytes", "name", "accuracy", "bits"):
            for axis in ("packed_bytes", "latency_ms", "macs"):
                text = asked(
                    client, app, name, version=1, sweep=chosen, theme="light",
                    x=axis, y="validation_accuracy", z="sparsity", url="/", result=axis, save=1,
                    order={"key": order, "down": True, "page": 0, "front": False}, **compared,
                )  # fmt: skip
                told = json.dumps(json.loads(text), ensure_ascii=False) if text else ""
                assert "\u202e" not in told and "\x1b" not in told and "\\u001b" not in told, name
                assert "NaN" not in told and "Infinity" not in told, name


def test_every_trials_page_answers_and_names_the_damaged_file(client: FlaskClient, app: Dash) -> None:
    live_names = open_store_names(app)
    for label, run_id in live_names.items():
        path = f"/trial/{run_id}"
        head = words(ask(client, app, "trial-head.children", url__pathname=path)["trial-head"]["children"])
        assert "Take it away" in head, label
        told = ask(client, app, "bytes.children", url__pathname=path)
        ask(client, app, "curves.figure", url__pathname=path)
        assert told["bytes"]["children"] and told["recipe"]["children"], label
        if label in DAMAGED:
            assert "tensors.json" in words(told["bytes"]["children"]), label
            assert "damaged" in words(told["bytes"]["children"]), label
        if label in ("empty", "cut", "binary", "deep", "not JSON"):
            assert "recipe.json" in words(told["recipe"]["children"]), label
        text = json.dumps(told, ensure_ascii=False)
        assert "\u202e" not in text and "\ud800" not in text and "\x1b" not in text, label
        for option in told["tensor"]["options"]:
            ask(client, app, "levels.figure", tensor__value=option["value"], tensors__data=run_id)


def open_store_names(app: Dash) -> dict[str, str]:
    """Run ids of the trials by their names, as the page's table has them."""
    with app.server.test_client() as client:
        saved = ask(client, app, "csv.data", save__n_clicks=1,
                    order__data={"key": "", "down": False, "page": 0, "front": False})  # fmt: skip
    rows = [line.split(",") for line in saved["csv"]["data"]["content"].splitlines()[1:]]
    return {row[2]: row[0] for row in rows}


def test_a_student_that_the_store_does_not_give_is_not_there(
    client: FlaskClient, app: Dash, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = open_store_names(app)["cut"]
    assert client.get(f"/student/{run_id}.rdz").data == b"x"

    def refused(*_: Any) -> bytes:
        raise StoreError("The files of the run are said to be elsewhere.")

    monkeypatch.setattr("search.store.store.Store.download", refused)
    answer = client.get(f"/student/{run_id}.rdz")
    assert answer.status_code == 404 and "elsewhere" not in answer.text
