import re
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from dash import Dash
from flask.testing import FlaskClient

from dashboards.access import is_loopback, new_token
from dashboards.app import PortInUse, bind, create_app, serve
from dashboards.live import Live
from dashboards.pages.progress import reasons_of
from search.store.store import Store, open_store
from search.tracking.delivery import SWEEP
from tests.stores import RECIPE, add_trial, copy_blank, final, tracker

HOSTILE = "<script>alert(1)</script>"
TOKEN = "correct horse battery staple"


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
    running.open({"trials": 4}, {"rayduce.metric": "accuracy"})
    running.start_trial("t1", "first", RECIPE, {})
    running.flush()
    return open_store(folder)


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


def ask(client: FlaskClient, app: Dash, output: str, **inputs: Any) -> dict[str, Any]:
    """Call the callback that sets ``output`` as a page would; the new properties by component."""
    name = next(key for key in app.callback_map if output in key.strip(".").split("..."))
    known: dict[str, Any] = {
        "version.data": 1,
        "theme.data": "light",
        "url.pathname": "/",
        "sweep.value": "digits-1",
    }
    known |= {"order.data": {"key": "packed_bytes", "down": False, "page": 0, "front": True}}
    known |= {key.replace("__", "."): value for key, value in inputs.items()}

    def state(parts: list[dict[str, str]]) -> list[dict[str, Any]]:
        return [{**part, "value": known.get(f"{part['id']}.{part['property']}")} for part in parts]

    callback = app.callback_map[name]
    parts = [part.rpartition(".") for part in name.strip(".").split("...")]
    outputs = [{"id": part, "property": prop} for part, _, prop in parts]
    body = {
        "output": name,
        "outputs": outputs if name.startswith("..") else outputs[0],
        "inputs": state(callback["inputs"]),
        "state": state(callback["state"]),
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
        assert part.startswith(("/", "data:,")), part[:80]
    assert '"disable_version_check":true' in page.text.replace(" ", "")


def test_what_the_page_asks_for_ahead_is_what_it_needs(client: FlaskClient) -> None:
    [address] = re.findall(r'rel="preload" href="([^"]+)"', client.get("/").text)
    assert b"plotly.js" in client.get(address).data[:200]


def test_another_hosts_name_is_refused(client: FlaskClient) -> None:
    for host in (
        "evil.example:8050",
        "",
        "192.168.1.7:8050",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
    ):
        assert client.get("/", headers={"Host": host}).status_code == 403, host
    for host in ("127.0.0.1:8050", "localhost:8050", "localhost", "[::1]:8050"):
        assert client.get("/", headers={"Host": host}).status_code == 200


def test_the_selector_offers_the_sweeps_newest_first(client: FlaskClient, app: Dash) -> None:
    new = ask(client, app, "sweep.options", sweep__value=None)["sweep"]
    assert [option["value"] for option in new["options"]] == ["digits-2", "digits-1"]
    assert new["value"] == "digits-2"
    known = {"sweep__options": new["options"]}
    assert ask(client, app, "sweep.options", **known) == {}, "nothing new, nothing redrawn"
    assert ask(client, app, "sweep.options", sweep__value="gone", **known)["sweep"] == {"value": "digits-2"}


def test_a_page_hears_only_of_what_is_new(client: FlaskClient, app: Dash, live: Live) -> None:
    assert ask(client, app, "version.data", version__data=None)["version"] == {"data": live.version}
    assert ask(client, app, "version.data", version__data=live.version) == {}


def test_the_front_view_shows_figure_cards_and_table(client: FlaskClient, app: Dash) -> None:
    figure = ask(client, app, "front.figure")["front"]["figure"]
    assert "&lt;script&gt;" in str(figure) and "<script" not in str(figure)
    told = ask(client, app, "cards.children")
    assert "2 students" in words(told["cards"]["children"])
    assert "2 finished, 1 failed" in words(told["cards"]["children"])
    assert "ValueError: no" in words(told["failures"]["children"])
    table = ask(client, app, "listing.data")
    assert "2 trials" in table["listed"]["children"]
    listing = table["listing"]["data"]
    assert [column["title"] for column in listing["columns"]][:3] == ["Trial", "Method", "Bits"]
    small, large = listing["rows"]
    assert "1 kB" in small["cells"] and "4 kB" in large["cells"]
    assert listing["place"] == "1 to 2 of 2" and listing["pages"] == 1


def test_the_table_turns_to_the_page_that_there_is(client: FlaskClient, app: Dash) -> None:
    order = {"key": "nothing", "down": True, "page": 7, "front": False}
    listing = ask(client, app, "listing.data", order__data=order)["listing"]["data"]
    assert listing["page"] == 0 and len(listing["rows"]) == 2


def test_a_selection_limits_table_and_csv(client: FlaskClient, app: Dash, live: Live) -> None:
    trials = live.store.trials("digits-1")
    chosen = [trials["run_id"][0], "f" * 32, "../../etc/passwd"]
    table = ask(client, app, "listing.data", chosen__data=chosen)
    assert table["listed"]["children"] == "Selected: 1 trial"
    saved = ask(client, app, "csv.data", chosen__data=chosen, save__n_clicks=1)["csv"]["data"]
    head, row = saved["content"].splitlines()
    assert head.split(",")[:3] == ["run_id", "trial_id", "name"]
    assert row.startswith(f"{chosen[0]},t1,{HOSTILE}")
    assert saved["filename"] == "digits-1.csv"


def test_a_trial_tells_its_recipe_neighbours_and_commands(client: FlaskClient, app: Dash, live: Live) -> None:
    run_id = str(live.store.trials("digits-1")["run_id"][0])
    told = ask(client, app, "trial-head.children", url__pathname=f"/trial/{run_id}")
    text = words(told["trial-head"]["children"])
    for part in (
        HOSTILE,
        "Quantized distillation",
        "95.00 %",
        f"rayduce export {run_id} student.rdz",
        "this one",
    ):
        assert part in text
    recipe = ask(client, app, "recipe.children", url__pathname=f"/trial/{run_id}")
    assert "SoftTargets" in words(recipe["recipe"]["children"])
    curves = ask(client, app, "curves.figure", url__pathname=f"/trial/{run_id}")
    assert "Training loss" in str(curves["curves"]["figure"])
    # Written without tensors.json, as by an earlier version.
    bytes_of = ask(client, app, "bytes.children", url__pathname=f"/trial/{run_id}")
    assert "has no file 'tensors.json'" in words(bytes_of["bytes"]["children"])


@pytest.mark.parametrize("path", ["/trial/" + "0" * 32, "/trial/..%2f..", "/trial/x"])
def test_an_unknown_trial_is_told(client: FlaskClient, app: Dash, path: str) -> None:
    text = words(ask(client, app, "trial-head.children", url__pathname=path)["trial-head"]["children"])
    assert "no such trial" in text or "Nothing is on show" in text


def test_an_address_names_a_trial_of_its_sweep(client: FlaskClient, app: Dash, live: Live) -> None:
    def head(search: str) -> str:
        told = ask(client, app, "trial-head.children", url__pathname="/trial", url__search=search)
        return words(told["trial-head"]["children"])

    for trial in ("t1", "t2"):
        assert f"Trial {trial} of" in head(f"?sweep=digits-1&trial={trial}")
    assert head("?sweep=digits-1&trial=zzz") == "There is no trial zzz in the sweep digits-1."
    search = "?sweep=digits-1&trial=zzz"
    shown = ask(client, app, "view.children", url__pathname="/trial", url__search=search)
    assert "There is no trial zzz" in str(shown["view"]["children"])
    curves = ask(client, app, "curves.figure", url__pathname="/trial", url__search=search)
    assert curves == {}, "of no other trial"
    run_id = live.store.trials("digits-1")["run_id"].iloc[0]
    for pair in (f"?left={run_id}&right={'0' * 32}", "?left=zzz&right=zzz"):
        told = ask(client, app, "pair.children", url__pathname="/pair", url__search=pair)
        assert "names no two trials of this store" in words(told["pair"]["children"])


def test_progress_tells_states_reasons_and_what_runs(client: FlaskClient, app: Dash) -> None:
    told = ask(client, app, "states.figure")
    assert "ValueError: no" in words(told["reasons"]["children"])
    assert "2 finished" in str(told["states"]["figure"])
    running = ask(client, app, "states.figure", sweep__value="digits-2")
    assert "first" in words(running["running"]["children"])
    assert "0 of 4 trials ended" in words(running["left"]["children"])
    assert "3 to come" in str(running["states"]["figure"])
    assert "Hypervolume" in str(ask(client, app, "growth.figure", against__value="trials"))


def test_reasons_that_differ_in_numbers_are_one() -> None:
    reasons = [
        "after epoch 4, it is number 2 of 2",
        "after epoch 16, it is number 1,024 of 2.5",
        "its chance is 7 %: none of 12",
        "its chance is 7 %: 3 of 12",
        "loss became nan in epoch 3",
        None,
        "left out",
    ]
    states = ["pruned"] * 4 + ["failed", "stopped", "finished"]
    found = reasons_of(pd.DataFrame({"state": states, "reason": reasons}))
    assert [(state, reason, len(group)) for state, reason, group in found] == [
        ("pruned", "after epoch 4\N{EN DASH}16, it is number 2\N{EN DASH}1,024 of 2\N{EN DASH}2.5", 2),
        ("pruned", "its chance is 7 %: 0\N{EN DASH}3 of 12", 2),
        ("failed", "loss became nan in epoch 3", 1),
        ("stopped", "no reason was recorded", 1),
    ]
    assert reasons_of(pd.DataFrame({"state": ["finished"], "reason": [None]})) == []


def test_parameters_and_compare_say_what_they_lack(client: FlaskClient, app: Dash) -> None:
    figure = str(ask(client, app, "importance.figure")["importance"]["figure"])
    assert "Too few trials to say" in figure
    assert "No finished trial" in str(ask(client, app, "slice.figure")["slice"]["figure"])
    told = ask(client, app, "fronts.figure")
    assert "Choose two sweeps" in str(told["fronts"]["figure"])


def test_who_has_no_trial_that_ended_is_not_compared(client: FlaskClient, app: Dash) -> None:
    sides = {"left-side__value": "sweep digits-1", "right-side__value": "sweep digits-2"}
    told = ask(client, app, "fronts.figure", **sides)
    assert "no trial of digits-2 has ended" in str(told["fronts"]["figure"])
    assert told["budget"]["children"] == "" and not told["at"]["children"]


def test_a_page_opens_on_a_sweep_that_has_something_to_show(folder: Path) -> None:
    for name, state in (("whole", "finished"), ("broken", "stopped")):
        made = tracker(folder, name)
        made.open(params={}, tags={"rayduce.metric": "accuracy"})
        made.finish_sweep(state, {}, {}, {})
        made.close()
    live = Live(open_store(folder))
    live.read()
    assert [sweep.name for sweep in live.sweeps] == ["broken", "whole"]
    opened, asked = live.sweep(None), live.sweep("broken")
    assert opened is not None and asked is not None and (opened.name, asked.name) == ("whole", "broken")


def test_an_empty_store_says_what_to_do(folder: Path) -> None:
    found = Live(open_store(folder))
    found.read()
    app = create_app(found)
    with app.server.test_client() as client:
        text = words(ask(client, app, "headline.children", sweep__value=None)["headline"]["children"])
        assert "rayduce sweep digits" in text
        for output in (
            "front.figure",
            "states.figure",
            "importance.figure",
            "fronts.figure",
            "listing.data",
        ):
            ask(client, app, output, sweep__value=None)


def test_only_a_trials_packed_file_leaves_the_store(client: FlaskClient, live: Live) -> None:
    run_id = str(live.store.trials("digits-1")["run_id"][0])
    answer = client.get(f"/student/{run_id}.rdz")
    assert answer.data == b"t1"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="student-{run_id[:8]}.rdz"'
    parent = live.store.sweep("digits-1").run_id
    for path in (
        f"{parent}.rdz",
        "0" * 32 + ".rdz",
        "..%2f..%2fmlflow.db",
        f"{run_id}.rdz/../x",
        f"{run_id[:-1]}.rdz",
    ):
        answer = client.get(f"/student/{path}")
        # What is no address of a file is the page, which then says that there is no such view.
        assert answer.status_code == 404 or answer.mimetype == "text/html", path


def test_a_taken_port_is_told_before_anything_starts(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"^Cannot listen on 127\.0\.0\.1:{port}: .*--host\.$"):
            serve(store, port=port, listening=lambda: pytest.fail("said to be listening"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])
def test_other_machines_are_never_let_in_without_a_token(store: Store, host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ValueError, match="loopback"):
        serve(store, host=host)
    with pytest.raises(ValueError, match="at least 16 characters, got 5"):
        serve(store, host=host, token="short")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2"])
def test_with_the_token_and_only_with_it_a_browser_is_let_in(live: Live, host: str) -> None:
    with create_app(live, host, TOKEN).server.test_client(use_cookies=False) as client:
        at = {"Host": "192.168.1.2:8050"}
        for path in (
            "/",
            "/_dash-layout",
            "/_dash-dependencies",
            f"/student/{'0' * 32}.rdz",
            "/assets/style.css",
        ):
            answer = client.get(path, headers=at)
            assert answer.status_code == 401 and "token" in answer.text, path
            assert "Rayduce</h1>" in answer.text and "digits" not in answer.text
        assert client.post("/_dash-update-component", json={}, headers=at).status_code == 401
        wrong = client.get(f"/?token={TOKEN}x", headers=at)
        assert wrong.status_code == 401 and "Set-Cookie" not in wrong.headers
        right = client.post("/", data={"token": TOKEN}, headers=at)
        assert right.status_code == 303 and right.headers["Location"] == "/"
        cookie = right.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
        pair = cookie.partition(";")[0]
        assert client.get("/", headers={**at, "Cookie": pair}).status_code == 200
        assert client.get("/", headers={**at, "Cookie": pair[:-1]}).status_code == 401
        assert client.get("/", headers={"Host": "evil.example", "Cookie": pair}).status_code == 403
    assert len(new_token()) >= 43 and new_token() != new_token()


def test_a_token_counts_on_loopback_too(live: Live) -> None:
    with create_app(live, "127.0.0.1", TOKEN).server.test_client() as client:
        assert client.get("/").status_code == 401
        assert client.get("/", headers={"Host": "192.168.1.2"}).status_code == 403


def test_the_server_answers(live: Live) -> None:
    server = bind(live, port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert answer.status == 200
        assert b"Rayduce" in answer.read()
        connection.close()
    finally:
        server.stop()
        server.close()
        thread.join(30)
