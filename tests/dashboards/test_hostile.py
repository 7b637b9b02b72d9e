"""Requests that no page of ours makes: refused, never a failure of the server."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dash import Dash, Input, Output
from flask.testing import FlaskClient

from dashboards.app import create_app
from dashboards.callbacks import ADDRESS, check_callbacks
from dashboards.live import Live
from dashboards.server import BODY_BYTES
from search.store.store import open_store
from search.tracking.delivery import SWEEP
from tests.stores import add_trial, copy_blank, final, tracker

HOSTILE: list[Any] = [
    None,
    True,
    0,
    -1,
    2**53,
    2**64,
    10**300,
    1e308,
    -0.5,
    "",
    "x",
    "\0",
    "\ud800",
    "\u202e",
    "../../etc/passwd",
    "/trial/" + "f" * 32,
    "x" * 9_999,
    "x" * 20_000,
    [],
    [[]],
    [None],
    ["x"],
    ["x"] * 5_000,
    {},
    {"": ""},
    {"key": "levels", "down": 1, "page": "7", "front": None},
    {"key": "packed_bytes", "down": False, "page": 0},
]
PLAUSIBLE: list[Any] = [
    "digits-1",
    "digits-2",
    "light",
    "dark",
    "/",
    "/trial",
    "method quantized_distillation",
    "sweep digits-2",
    "method ",
    "packed_bytes",
    "validation_accuracy",
    "latency_ms",
    "run_id",
    "start_time",
    "state",
    "front",
    "trials",
    "quantizer.bits",
    ["digits-2"],
    ["digits-1", "digits-1"],
    1,
    7,
]
ORDERS = [
    *(
        {"key": key, "down": down, "page": page, "front": front}
        for key in ("packed_bytes", "bits", "start_time", "front", "reason", "")
        for page in (-(2**53), 0, 10**9)
        for down, front in ((True, False), (False, True))
    ),
]


@pytest.fixture(scope="module")
def app(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Dash:
    """The pages over one sweep that ended and one that runs."""
    folder = copy_blank(blank, tmp_path_factory.mktemp("hostile"))
    for name in ("digits-1", "digits-2"):
        made = tracker(folder, name)
        made.open({"trials": "4"}, {"rayduce.metric": "accuracy"})
        made.annotate(SWEEP, {"teacher_validation_accuracy": 0.98, "teacher_packed_bytes": 100_000}, {})
        for i in range(9):
            add_trial(made, f"t{i}", final(0.9 + i / 100, 1_000 * (i + 1)))
        if name == "digits-1":
            made.finish_sweep("finished", {}, {}, {})
        made.close()
    live = Live(open_store(folder))
    live.read()
    return create_app(live)


@pytest.fixture
def client(app: Dash, caplog: pytest.LogCaptureFixture) -> Iterator[FlaskClient]:
    """Whatever a test asks, nothing is logged."""
    with app.server.test_client() as client:
        yield client
    assert [record.message for record in caplog.records] == []


def right(app: Dash, name: str) -> dict[str, Any]:
    """What a page would send for a callback, of arguments that are not there yet."""
    entry = app.callback_map[name]
    parts = [part.rpartition(".") for part in name.strip(".").split("...")]
    outputs = [{"id": part, "property": prop} for part, _, prop in parts]
    order = {"key": "packed_bytes", "down": False, "page": 0, "front": True}

    def filled(places: list[dict[str, str]]) -> list[dict[str, Any]]:
        return [{**place, "value": order if place["id"] == "order" else None} for place in places]

    return {
        "output": name,
        "outputs": outputs if name.startswith("..") else outputs[0],
        "inputs": filled(entry["inputs"]),
        "state": filled(entry["state"]),
        "changedPropIds": [],
    }


def names(app: Dash) -> list[str]:
    """The callbacks that the server runs."""
    return sorted(name for name, entry in app.callback_map.items() if "callback" in entry)


def sent(client: FlaskClient, body: Any) -> int:
    return client.post(ADDRESS, data=json.dumps(body), content_type="application/json").status_code


def test_every_callback_answers_what_a_page_sends(client: FlaskClient, app: Dash) -> None:
    assert len(names(app)) > 12
    for name in names(app):
        assert sent(client, right(app, name)) in (200, 204), name


def test_a_thousand_hostile_callbacks_get_an_answer(client: FlaskClient, app: Dash) -> None:
    chance, told = random.Random(0), {200: 0, 204: 0, 400: 0}
    for _ in range(1_000):
        body = right(app, chance.choice(names(app)))
        for argument in [*body["inputs"], *body["state"]]:
            kind = chance.random()
            if argument["id"] == "order" and kind < 0.9:
                argument["value"] = chance.choice(ORDERS)
            elif kind < 0.7:
                argument["value"] = chance.choice(PLAUSIBLE)
            elif kind < 0.8:
                argument["value"] = chance.choice(HOSTILE)
        told[sent(client, body)] += 1
    assert min(told[200], told[400]) > 100, "the requests are all alike"


def test_a_request_for_something_else_is_refused(client: FlaskClient, app: Dash) -> None:
    for body in HOSTILE:
        assert sent(client, body) == 400, body
    for name in names(app):
        good = right(app, name)
        for key in ("output", "outputs", "inputs", "state", "changedPropIds"):
            for value in (*HOSTILE, [{}], [{"id": "x", "property": "value", "value": 1}]):
                if value != good[key]:
                    assert sent(client, {**good, key: value}) == 400, (name, key, value)
        for key in ("output", "outputs", "inputs"):
            assert sent(client, {k: v for k, v in good.items() if k != key}) == 400, (name, key)
        longer = [*good["inputs"], good["inputs"][0]]
        assert sent(client, {**good, "inputs": longer}) == 400
    browser_side = next(name for name, entry in app.callback_map.items() if "callback" not in entry)
    assert sent(client, {"output": browser_side, "outputs": [], "inputs": [], "state": []}) == 400


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"NaN",
        b"[" * 100_000,
        b"[" * 100 + b"]" * 100,
        b'{"output": 1, "output": 2}',
        b"1" * 100_000,
        b'"\\ud800"',
    ],
)
def test_what_is_no_json_is_refused(client: FlaskClient, content: bytes) -> None:
    assert client.post(ADDRESS, data=content, content_type="application/json").status_code == 400


def test_other_content_types_and_larger_bodies_are_refused(client: FlaskClient) -> None:
    for kind in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "", "x/y; \xff"):
        assert client.post(ADDRESS, data=b"{}", content_type=kind).status_code == 415, kind
    large = b" " * (BODY_BYTES + 1)
    assert client.post(ADDRESS, data=large, content_type="application/json").status_code == 413


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/trial/x",
        "/%00",
        "/%ff%fe",
        "/" + "a" * 20_000,
        "/_dash-component-suites/dash/no.js",
        "/_dash-component-suites/<script>/x",
        "/_dash-component-suites/dash/../../x",
        "/_dash-component-suites/dash/%2e%2e/%00",
        "/assets/../app.py",
        "/assets/%2e%2e/app.py",
        "/assets/%00",
        "/student/x.rdz",
        "/student/%00.rdz",
        "/student/" + "0" * 32 + ".rdz",
        "/_mcp",
        "/_dash-update-component",
    ],
)
def test_there_is_nothing_at_other_addresses(client: FlaskClient, path: str, method: str) -> None:
    answer = client.open(path, method=method)
    if method != "OPTIONS":
        assert 400 <= answer.status_code < 500, answer.status_code
    assert "<script>/" not in answer.text and "Traceback" not in answer.text
    assert answer.status_code in (200, 400, 404, 405, 415)


def test_odd_hosts_are_refused(client: FlaskClient) -> None:
    for host in ("\0", "[", "[::1", "127.0.0.1:x", "a" * 5_000, "127.0.0.1, evil", "\xff", "127.0.0.1/x@y"):
        assert client.get("/", headers={"Host": host}).status_code in (400, 403), host


def test_a_callback_that_does_not_say_its_types_is_no_callback() -> None:
    app = Dash("untold")

    @app.callback(Output("a", "children"), Input("b", "value"))
    def untold(value: Any) -> Any:
        return value

    with pytest.raises(TypeError, match="must say the types of value"):
        check_callbacks(app)
