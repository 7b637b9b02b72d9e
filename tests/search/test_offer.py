"""What is printed to be typed next: it runs as it is printed, and is about the student to ship."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from rayduce.commands import choose, offer
from rayduce.commands.app import app
from rayduce.commands.running import say_front
from search.store.store import Store, open_store
from tests.dashboards.frames import sweep, trials
from tests.dashboards.recorded import recorded


@pytest.fixture(scope="module")
def store(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(recorded(blank, tmp_path_factory.mktemp("offer") / "a store"))


def printed(*command: str) -> str:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(app, list(command))
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("command", [("front",), ("choose", "--max-drop", "1")])
def test_the_student_to_ship_is_offered_and_the_command_finds_it(
    store: Store, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [line] = re.findall("^  rayduce (.*)$", printed(*command, "--store", str(store.folder)), re.MULTILINE)
    frame = store.trials("digits-1")
    largest = frame[frame["front"]].sort_values("packed_bytes").iloc[-1]
    shipped = frame.set_index("trial_id").loc["00002"]
    assert line.split()[:3] == ["export", shipped["run_id"][:8], "student.rdz"]
    assert largest["trial_id"] != "00002", "else it would be offered anyhow"
    # The recorded student's file is its number, which is no packed file: it was found, and read.
    result = CliRunner().invoke(app, shlex.split(line))
    assert result.exit_code == 2 and result.stderr.startswith(f"Error: {shipped['run_id'][:8]}: ")


def test_why_this_one_is_said_in_a_clause(store: Store) -> None:
    text = printed("front", "--store", str(store.folder))
    assert ", the smallest of at most 1 point lost, chosen on validation, 95 % sure" in text


def test_where_none_is_within_the_limits_the_best_of_the_front_is_offered() -> None:
    frame = trials(
        {"validation_accuracy": 0.90, "packed_bytes": 3_000, "front": True},
        {"validation_accuracy": 0.80, "packed_bytes": 9_000, "front": True},
    )

    class Opened:
        def trials_of(self, _: object) -> tuple[int, pd.DataFrame]:
            return 0, frame

    student, why = offer.offered(Opened(), sweep(), frame.to_dict("records"))  # type: ignore[arg-type]
    assert student["packed_bytes"] == 3_000
    assert why == "the best on validation; none is within at most 1 point lost"


def test_the_end_of_a_sweep_offers_it_but_to_who_takes_it_away_at_once(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for offer_it in (True, False):
        say_front(store, store.sweep("digits-1"), " --store here", offer=offer_it)
        said.append(capsys.readouterr().out)
    assert re.search(
        r"Take away [0-9a-f]{8}, the smallest .*\n  rayduce export \w+ student.rdz --store here", said[0]
    )
    assert "Take" not in said[1] and "export" not in said[1] and "rayduce choose digits-1" in said[1]


def test_a_front_of_several_architectures_says_which_is_on_it(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> list[str]:
        say_front(store, store.sweep("digits-1"), " --store here")
        texts = (capsys.readouterr().out, printed("front", "--store", str(store.folder)))
        return [" ".join(text.split()) for text in texts]

    assert not any("Along the front" in text for text in told())
    front = Store.front
    models = lambda frame: ["GhostNet", *["ResNet"] * (len(frame) - 1)]  # noqa: E731
    several = lambda self, name: front(self, name).assign(model=models)  # noqa: E731
    monkeypatch.setattr(Store, "front", several)
    assert all(re.search(r"Along the front: GhostNet up to \S+ k?B, then ResNet up to", t) for t in told())


def test_no_terminal_breaks_a_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offer, "out", Console(width=40))
    offer.say_offer({"run_id": "1" * 32}, "why", " --store '/a place or another/b'")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "  rayduce export 11111111 student.rdz --store '/a place or another/b'"


def test_what_is_said_of_a_choice_breaks_between_words(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "out", Console(width=50))
    choose.choose(
        store=store.folder, max_drop=1.0, max_bytes=None, max_latency_ms=None, max_ram=None, max_costs=None
    )
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    told, command = " ".join(" ".join(lines[:-1]).split()), lines[-1]
    assert max(map(len, lines[:-1])) <= 50 < len(command) and command.startswith("  rayduce export ")
    assert "The smallest of at most 1 point lost, chosen on validation, 95 % sure" in told
    assert "loses" not in told and re.search(r"points (below|above) the teacher's \(95 % sure: ", told)
    figures = lines[1 : next(i for i, line in enumerate(lines) if line.startswith("The smallest"))]
    assert len(figures) > 3 and all(line.startswith("  ") for line in figures), "broken lines stay set in"
