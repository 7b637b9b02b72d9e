import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from dashboards.app import PortInUse, bind, create_app, is_loopback, serve
from dashboards.pages.front import IDLE_MS, RUNNING_MS
from search.delivery import SWEEP
from search.store import Store, open_store
from tests.stores import RECIPE, add_trial, copy_blank, final, tracker

HEADLINE = (
    "..headline.children...content.children...plot.hidden...front.figure...table.children...timer.interval.."
)
SELECTOR = "..sweep.options...sweep.value.."
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def store(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One sweep that ended and one that runs."""
    folder = copy_blank(blank, tmp_path_factory.mktemp("app"))
    ended = tracker(folder)
    ended.open({}, {"rayduce.metric": "accuracy"})
    ended.annotate(SWEEP, {"teacher_validation_accuracy": 0.98, "teacher_packed_bytes": 100_000}, {})
    add_trial(ended, "t1", final(0.95, 4_000), name=HOSTILE)
    add_trial(ended, "t2", final(0.90, 1_000))
    add_trial(ended, "t3", {}, state="failed", tags={"reason": "ValueError: no"})
    ended.finish_sweep("finished", {}, {}, {})
    ended.close()
    running = tracker(folder, "digits-2")
    running.open({}, {"rayduce.metric": "accuracy"})
    running.start_trial("t1", "first", RECIPE, {})
    running.flush()
    return open_store(folder)


@pytest.fixture
def client(store: Store) -> Iterator[FlaskClient]:
    with create_app(store).server.test_client() as client:
        yield client


def ask(client: FlaskClient, output: str, sweep: str | None, options: Any = None) -> dict[str, Any]:
    """Call a callback as the page would; the new properties by component."""
    timer, value = ({"id": "timer", "property": "n_intervals", "value": 0}, ("sweep", "value", sweep))
    selected = dict(zip(("id", "property", "value"), value, strict=True))
    parts = [part.rpartition(".") for part in output.strip(".").split("...")]
    body: dict[str, Any] = {
        "output": output,
        "outputs": [{"id": name, "property": prop} for name, _, prop in parts],
        "inputs": [timer] if output == SELECTOR else [timer, selected],
        "state": [selected, {"id": "sweep", "property": "options", "value": options}]
        if output == SELECTOR
        else [],
        "changedPropIds": [],
    }
    answer = client.post("/_dash-update-component", json=body)
    assert answer.status_code in (200, 204), answer.text
    response: dict[str, Any] = answer.get_json()["response"] if answer.status_code == 200 else {}
    return response


def words(component: Any) -> str:
    """All text in a component's JSON."""
    if isinstance(component, dict):
        return words(component.get("props", {}).get("children"))
    if isinstance(component, list):
        return " ".join(words(part) for part in component)
    return "" if component is None else str(component)


def test_the_page_comes_from_this_machine_only(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "style.css" in page.text
    for part in page.text.split('src="')[1:] + page.text.split('href="')[1:]:
        assert part.startswith("/"), part[:80]
    assert '"disable_version_check":true' in page.text.replace(" ", "")
    graph = client.get("/_dash-layout").text
    assert '"showSendToCloud":false' in graph.replace(" ", "")


def test_another_hosts_name_is_refused(client: FlaskClient) -> None:
    assert client.get("/", headers={"Host": "evil.example:8050"}).status_code == 403
    for host in ("127.0.0.1:8050", "localhost:8050", "localhost", "[::1]:8050"):
        assert client.get("/", headers={"Host": host}).status_code == 200


def test_the_selector_offers_the_sweeps_newest_first(client: FlaskClient) -> None:
    new = ask(client, SELECTOR, None)["sweep"]
    assert [option["value"] for option in new["options"]] == ["digits-2", "digits-1"]
    assert new["value"] == "digits-2"
    assert ask(client, SELECTOR, "digits-1", new["options"]) == {}, "nothing new, nothing redrawn"
    assert ask(client, SELECTOR, "gone", new["options"])["sweep"] == {"value": "digits-2"}


def test_an_ended_sweep_is_shown_and_asked_for_rarely(client: FlaskClient) -> None:
    new = ask(client, HEADLINE, "digits-1")
    assert "digits-1" in words(new["headline"]["children"])
    assert "2 students" in words(new["content"]["children"])
    assert "2 finished, 1 failed" in words(new["content"]["children"])
    table = words(new["table"]["children"])
    assert HOSTILE in table, "React shows a string as text"
    assert table.count("rayduce export") == 2
    assert "ValueError: no" in table
    assert "<script" not in str(new["front"]["figure"])
    assert new["plot"]["hidden"] is False
    assert new["timer"]["interval"] == IDLE_MS


def test_a_running_sweep_is_asked_for_often(client: FlaskClient) -> None:
    new = ask(client, HEADLINE, "digits-2")
    assert new["timer"]["interval"] == RUNNING_MS
    assert "1 running" in words(new["content"]["children"])
    assert "No trial has finished yet" in words(new["table"]["children"])


def test_an_unknown_sweep_is_told_on_the_page(client: FlaskClient) -> None:
    assert "no sweep named 'gone'" in words(ask(client, HEADLINE, "gone")["content"]["children"])


def test_an_empty_store_says_what_to_do(folder: Path) -> None:
    with create_app(open_store(folder)).server.test_client() as client:
        new = ask(client, HEADLINE, None)
        assert "rayduce sweep digits" in words(new["content"]["children"])
        assert new["plot"]["hidden"] is True
        assert ask(client, SELECTOR, None)["sweep"] == {"options": []}


def test_a_taken_port_is_told_before_anything_starts(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"^Cannot listen on 127\.0\.0\.1:{port}: .*--port\.$"):
            serve(store, port=port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])
def test_other_machines_are_never_let_in(store: Store, host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ValueError, match="loopback"):
        serve(store, host=host)


def test_the_server_answers(store: Store) -> None:
    server = bind(store, port=0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert answer.status == 200
        assert b"Rayduce" in answer.read()
        connection.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
