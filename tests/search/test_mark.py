"""ONNX Runtime's own int8 of a teacher: made once, told once, measured as the front is, and shown."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ray.exceptions import RayError
from rich.console import Console
from typer.testing import CliRunner

from rayduce import Front
from rayduce.commands.app import app
from rayduce.commands.results import mark_line
from search.log.events import SWEEP, check_event
from search.objectives.mark import MARK_TAG, NO_MARK, RuntimeMark
from search.store.store import open_store
from search.sweeps import marking
from search.sweeps.marking import Marking
from search.sweeps.measuring import latencies_of_all
from search.teaching.mark import keep_mark, kept_mark, make_mark, mark_path
from tests.recipes import STUDENT
from tests.search.small_sweep import ACCURACY, small_sweep
from trainables import methods
from trainables.exporting.static_int8 import NotQuantized, RuntimeInt8
from trainables.metrics import quality_of
from trainables.origins import Fresh
from trainables.shipping.evaluation import ship
from trainables.tasks import Digits
from trainables.training.trial_metrics import TrialSettings

RECIPE = methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=1))
SETTINGS = TrialSettings(latency_table=None, teacher_bytes=1)
FOUND = RuntimeMark(
    "static",
    values={"onnx_bytes": 41_234.0, "validation_accuracy": 0.99, "accuracy": 0.991, "latency_ms": 0.0512},
)
NONE = RuntimeMark(reason="ONNX Runtime cannot quantize it: Unsupported operator <b>Foo</b> [red]")


@pytest.fixture(scope="module")
def arrays() -> Any:
    return Digits().load(None)


@pytest.fixture(scope="module")
def file() -> bytes:
    torch.manual_seed(0)
    return ship(RECIPE, RECIPE.build())


class Told:
    """A tracker and a reporter that remember."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.remarks: list[str] = []

    def annotate(self, run: str, metrics: Any, tags: Any, files: Any = None) -> None:
        event = {"kind": "note", "run": run, "time": len(self.events), "step": 0, "files": {}}
        event |= {"metrics": dict(metrics), "tags": dict(tags)}
        self.events.append(check_event(json.loads(json.dumps(event))))

    def remark(self, text: str) -> None:
        self.remarks.append(text)

    say = remark


class AtOnce:
    """What Ray would do in another process, done where it is asked for."""

    def __init__(self, function: Any) -> None:
        self.calls = 0
        self._function = function

    def remote(self, *arguments: Any) -> Any:
        self.calls += 1
        return lambda: self._function(*arguments)


@pytest.fixture
def ray_here(monkeypatch: pytest.MonkeyPatch) -> dict[str, AtOnce]:
    jobs = {name: AtOnce(getattr(marking, name)._function) for name in ("_make", "_evaluate")}
    for name, job in jobs.items():
        monkeypatch.setattr(marking, name, job)
    here = SimpleNamespace(wait=lambda jobs, timeout: (jobs, []), get=lambda job: job())
    monkeypatch.setattr(marking, "ray", here)
    return jobs


def marking_in(store: Path, arrays: Any, told: Told, before: Any = ()) -> Marking:
    jobs: Any = SimpleNamespace(store=store, recipe=RECIPE, fingerprint="00", data=arrays)
    heard: Any = told
    return Marking(jobs, ACCURACY, heard, heard, before)


def test_it_is_made_once_and_told_as_an_event(
    ray_here: Any, tmp_path: Path, arrays: Any, file: bytes
) -> None:
    told = Told()
    first = marking_in(tmp_path, arrays, told)
    first.begin(file, Digits(), SETTINGS)
    assert first.mark == NO_MARK and first.made is None
    first.look()
    made = first.finish()
    assert made is not None and first.mark.way == "static"
    assert first.mark.values.keys() == {"onnx_bytes", "validation_accuracy"}
    assert first.mark.values["onnx_bytes"] == sum(map(len, made.graphs.values()))
    [event] = told.events
    assert event["run"] == SWEEP and event["tags"] == {MARK_TAG: "static"}
    assert event["metrics"] == first.mark.metrics
    [remark] = told.remarks
    assert remark.startswith("ONNX Runtime's own int8 of the teacher: ")

    first.add({"latency_ms": 0.5})
    first.measure(file, arrays, Digits(), SETTINGS)
    assert first.mark.values.keys() == {"onnx_bytes", "validation_accuracy", "accuracy", "latency_ms"}

    # A sweep that goes on has it from its log and the store; another one of the store makes no second file.
    again = marking_in(tmp_path, arrays, told, told.events)
    again.begin(file, Digits(), SETTINGS)
    assert ray_here["_make"].calls == 1 and again.mark.way == "static"
    assert again.mark.values == {
        name: first.mark.values[name] for name in ("onnx_bytes", "validation_accuracy")
    }
    found = again.finish()
    assert found is not None and found.graphs == made.graphs and len(told.events) == 1
    other = marking_in(tmp_path, arrays, Told())
    other.begin(file, Digits(), SETTINGS)
    other.look()
    assert other.made is not None and other.made.graphs == made.graphs
    assert len(list((tmp_path / "teachers").iterdir())) == 1


def test_a_log_of_before_the_mark_lets_it_be_made(
    ray_here: Any, tmp_path: Path, arrays: Any, file: bytes
) -> None:
    before = [{"kind": "note", "run": SWEEP, "time": 1, "step": 0, "metrics": {}, "tags": {}, "files": {}}]
    found = marking_in(tmp_path, arrays, Told(), before)
    found.begin(file, Digits(), SETTINGS)
    assert found.finish() is not None


@pytest.mark.parametrize("error", [NotQuantized("Foo is not known"), RayError("killed\nby the kernel")])
def test_what_fails_is_a_reason_and_no_end(
    error: Exception, ray_here: Any, tmp_path: Path, arrays: Any, file: bytes, monkeypatch: Any
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    place = "search.teaching.mark.runtime_int8" if isinstance(error, NotQuantized) else None
    if place:
        monkeypatch.setattr(place, fail)
    else:
        monkeypatch.setattr(marking, "_make", AtOnce(fail))
    told = Told()
    found = marking_in(tmp_path, arrays, told)
    found.begin(file, Digits(), SETTINGS)
    assert found.finish() is None
    reason = "Foo is not known" if place else "RayError: killed"
    assert found.mark == RuntimeMark(reason=reason)
    assert told.events[0]["tags"] == {MARK_TAG: f"none: {reason}"} and told.events[0]["metrics"] == {}
    found.measure(file, arrays, Digits(), SETTINGS)  # there is nothing to measure
    assert not (tmp_path / "teachers").exists()


def test_a_damaged_file_is_made_again(tmp_path: Path, arrays: Any, file: bytes) -> None:
    path = mark_path(tmp_path, RECIPE, file, "00")
    assert kept_mark(path) is None
    made = RuntimeInt8({"network": b"\x00\x01", "step": b"\x02"}, "dynamic")
    keep_mark(path, made)
    assert kept_mark(path) == made
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert kept_mark(path) is None
    assert mark_path(tmp_path, RECIPE, file + b"0", "00") != path != mark_path(tmp_path, RECIPE, file, "01")


def test_its_latency_is_measured_behind_those_of_the_front(arrays: Any, file: bytes) -> None:
    made = make_mark(file, arrays, Digits(), None).quantized
    assert made is not None
    measure: Any = latencies_of_all
    found, _ = measure._function([file], SETTINGS, (Digits().interface, made.graphs))
    assert [each.keys() for each in found] == [{"latency_ms"}, {"latency_ms"}]
    assert all(each["latency_ms"] > 0 for each in found)


@pytest.mark.parametrize("mark", [FOUND, NONE, NO_MARK])
def test_what_is_told_is_read_again(mark: RuntimeMark) -> None:
    others = {"teacher_accuracy": 0.9, "front_size": 3.0}
    assert RuntimeMark.read(mark.tag or None, {**mark.metrics, **others}) == mark


def test_words() -> None:
    assert FOUND.text(ACCURACY) == "41.2 kB ONNX, 99.10 % accuracy, 0.051 ms"
    begun = RuntimeMark("dynamic", values={"onnx_bytes": 1e6, "validation_bleu": 34.2})
    assert begun.text(quality_of("bleu")) == "1 MB ONNX, 34.20 validation BLEU, dynamic"
    assert NO_MARK.text(ACCURACY) == "" and mark_line(NO_MARK, ACCURACY) == ""
    read = RuntimeMark.read("static", {"onnxruntime_int8_latency_ms": np.nan})
    assert read.values == {}


@pytest.mark.parametrize("mark", [FOUND, NONE], ids=["found", "none"])
def test_a_front_is_printed_with_it_in_80_columns(folder: Path, mark: RuntimeMark) -> None:
    small_sweep(f"sqlite:///{folder}/mlflow.db", folder, mark=mark)
    where = ["--store", str(folder)]
    done = CliRunner().invoke(app, ["front", *where])
    assert done.exit_code == 0, done.output
    lines = [line.rstrip() for line in done.output.splitlines()]
    told = f"ONNX Runtime's own int8 of the teacher: {mark.text(ACCURACY)}"
    assert told in " ".join(lines)
    text = io.StringIO()
    Console(file=text, width=80).print(mark_line(mark, ACCURACY))
    assert max(len(line.rstrip()) for line in text.getvalue().splitlines()) <= 80
    assert len(text.getvalue().splitlines()) == (1 if mark is FOUND else 2)
    rows = json.loads(CliRunner().invoke(app, ["front", *where, "--json"]).stdout)
    for row in rows:
        assert {key: row[key] for key in mark.metrics} == mark.metrics
    found = open_store(folder).sweep()
    assert found.mark == mark
    content = open_store(folder).download(found.run_id, "front.csv").decode()
    for line in csv.DictReader(io.StringIO(content)):
        assert {key: float(line[key]) for key in mark.metrics} == mark.metrics
    assert Front.read(store=folder).runtime_int8 == mark.values


def test_a_line_holds_no_markup_of_others() -> None:
    text = io.StringIO()
    Console(file=text, width=200).print(mark_line(NONE, ACCURACY))
    assert "[red]" in text.getvalue()
