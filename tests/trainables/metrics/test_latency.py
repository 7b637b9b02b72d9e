"""Latency: measured once per architecture and machine, one measurement at a time."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Mapping
from pathlib import Path

import pytest
from torch import nn

from trainables.exporting.export import to_onnx
from trainables.interfaces import Classifier, EncoderDecoder, Interface
from trainables.metrics import latency
from trainables.metrics.latency import (
    Latency,
    architecture_key,
    damaged_tables,
    fingerprint,
    known_latencies,
    latencies_of,
    machine_id,
    measure_latencies,
)
from trainables.models import LSTM, ConvNet
from trainables.sealed import sealed

ONE = Classifier((1, 4, 4))


def tiny() -> dict[str, bytes]:
    return to_onnx(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), ONE, {})


def test_a_measurement() -> None:
    found = measure_latencies(tiny(), ONE, runs=100)["latency_ms"]
    assert 0 < found.p10_ms <= found.median_ms <= found.p90_ms
    assert (found.runs, found.machine) == (100, machine_id())
    with pytest.raises(ValueError, match="runs must be at least 100, got runs=99"):
        measure_latencies(tiny(), ONE, runs=99)


def test_the_machine_is_named() -> None:
    facts = fingerprint()
    assert all(facts[key] for key in ("processor", "cores", "architecture", "onnxruntime", "python"))
    assert json.loads(json.dumps(facts)) == facts
    assert len(machine_id()) == 12


def test_keys_tell_architectures_apart() -> None:
    keys = {
        architecture_key(ConvNet(), Classifier((1, 8, 8)), 10, ""),
        architecture_key(ConvNet(width=0.5), Classifier((1, 8, 8)), 10, ""),
        architecture_key(ConvNet(), Classifier((3, 8, 8)), 10, ""),
        architecture_key(ConvNet(), Classifier((1, 8, 8)), 100, ""),
        architecture_key(ConvNet(), EncoderDecoder(8), 10, ""),
    }
    keys.add(architecture_key(ConvNet(), Classifier((1, 8, 8)), 10, "edited"))
    assert len(keys) == 6
    assert (
        architecture_key(ConvNet(depth=2), Classifier((1, 8, 8)), 10, "") in keys
    )  # equal fields, equal key


def test_measured_once_then_looked_up(tmp_path: Path) -> None:
    table = tmp_path / "store" / "latency"
    first = latencies_of("a", tiny, ONE, table)

    def never() -> dict[str, bytes]:
        raise AssertionError("measured again")

    assert latencies_of("a", never, ONE, table) == first
    latencies_of("b", tiny, ONE, table)
    assert latencies_of("a", never, ONE, table) == first
    (path,) = table.iterdir()
    assert path.name == f"{machine_id()}.json"
    content = json.loads(path.read_text())
    assert content["machine"] == fingerprint()
    assert content["latencies"].keys() == {"a latency_ms", "b latency_ms"}


def test_another_machine_measures_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latencies_of("a", tiny, ONE, tmp_path / "table")
    monkeypatch.setattr(latency, "machine_id", lambda: "0" * 12)
    assert latencies_of("a", tiny, ONE, tmp_path / "table")["latency_ms"].machine == "0" * 12
    assert len(list((tmp_path / "table").iterdir())) == 2


def test_what_another_process_measured_meanwhile_is_taken(tmp_path: Path) -> None:
    """The table is read again under the lock."""
    table = tmp_path / "table"
    theirs = Latency(1.0, 2.0, 3.0, 100, machine_id())

    def slow_export() -> dict[str, bytes]:
        latency._write(table / f"{machine_id()}.json", {"a latency_ms": theirs})
        return tiny()

    assert latencies_of("a", slow_export, ONE, table) == {"latency_ms": theirs}


def _measure(table: Path, log: Path, key: str) -> None:
    real = latency.measure_latencies

    def logged(exported: Mapping[str, bytes], interface: Interface) -> dict[str, Latency]:
        with open(log, "a") as file:
            file.write("begin\n")
        found = real(exported, interface)
        with open(log, "a") as file:
            file.write("end\n")
        return found

    latency.measure_latencies = logged  # type: ignore[assignment]
    latencies_of(key, tiny, ONE, table)


def test_processes_take_turns(tmp_path: Path) -> None:
    """Four processes, two architectures: each measured once, never two at a time."""
    table, log = tmp_path / "table", tmp_path / "log"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_measure, args=(table, log, key)) for key in "abab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert log.read_text().split() == ["begin", "end"] * 2


def _table(**changes: object) -> bytes:
    entry = {"p10_ms": 0.1, "median_ms": 0.2, "p90_ms": 0.3, "runs": 100, "machine": machine_id(), **changes}
    return sealed({"latencies": {"a latency_ms": entry}})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b"\xff\x00",
        sealed({"latencies": 1}),
        sealed({"latencies": {"a": {}}}),
        sealed({"latencies": {"a": []}}),
        _table().replace(b"0.1", b"0.2"),
        _table(p10_ms=0.25),
        _table(p10_ms=-0.1),
        _table(p90_ms=10**400),
        _table(p10_ms=True),
        _table(runs=100.0),
        _table(runs=0),
        _table(machine="0" * 12),
    ],
)
def test_a_damaged_table_is_set_aside_and_measured_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / f"{machine_id()}.json"
    path.write_bytes(content)
    (told,) = damaged_tables(tmp_path)
    assert told.startswith(f"{path} is no table of latencies (") and told.endswith("measured again")
    assert known_latencies("a", ONE, tmp_path) == {} and path.read_bytes() == content
    found = latencies_of("a", tiny, ONE, tmp_path)
    assert found["latency_ms"].machine == machine_id()
    assert path.with_name(path.name + ".damaged").read_bytes() == content
    assert damaged_tables(tmp_path) == [] and known_latencies("a", ONE, tmp_path) == found


def test_a_whole_table_is_no_damaged_one(tmp_path: Path) -> None:
    (tmp_path / f"{machine_id()}.json").write_bytes(_table())
    assert damaged_tables(tmp_path) == []
    assert known_latencies("a", ONE, tmp_path)["latency_ms"].p10_ms == 0.1


def test_a_translator_has_two_latencies(tmp_path: Path) -> None:
    interface, network = EncoderDecoder(30), LSTM(depth=1, units=4, embedding=4).build((30,), 30)
    found = latencies_of("a", lambda: to_onnx(network, interface, {}), interface, tmp_path)
    assert found.keys() == {"latency_ms", "latency_beam_ms"}
    assert all(0 < one.p10_ms <= one.median_ms and one.runs >= 100 for one in found.values())
    assert latencies_of("a", dict, interface, tmp_path) == found  # nothing is exported again
