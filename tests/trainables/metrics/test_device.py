"""What a device said: kept, asked for once, one at a time, tried again where it failed."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainables.metrics import QUALITIES
from trainables.metrics.asking import NoAnswer
from trainables.metrics.device import (
    Device,
    begin,
    damaged_answers,
    device_metrics,
    known_numbers,
    mean_numbers,
    numbers_of,
    with_device,
)
from trainables.sealed import sealed, unsealed


def device(tmp_path: Path, script: str, name: str = "pi", numbers: tuple[str, ...] = ()) -> Device:
    """One that is asked by a script of ``sh``, and notes each time that it is."""
    path = tmp_path / f"{hashlib.sha256(script.encode()).hexdigest()[:8]}.sh"
    path.write_text(f'echo "$@" >> {tmp_path}/log; {script}')
    words = ("sh", str(path), "{onnx}")
    return Device(name, words, tmp_path, tmp_path / "store" / "devices", 60.0, numbers)


def graphs() -> dict[str, bytes]:
    return {"network": b"an ONNX file"}


def times(tmp_path: Path) -> int:
    log = tmp_path / "log"
    return len(log.read_text().splitlines()) if log.exists() else 0


ANSWER = """echo '{"latency_ms": 3.5, "energy_mj": 11}'"""
NUMBERS = {"latency_ms": 3.5, "energy_mj": 11.0}


def test_asked_once_then_looked_up(tmp_path: Path) -> None:
    pi = device(tmp_path, ANSWER)
    assert known_numbers(pi, "a") is None
    assert numbers_of(pi, "a", graphs) == numbers_of(pi, "a", graphs) == known_numbers(pi, "a") == NUMBERS
    assert times(tmp_path) == 1
    numbers_of(pi, "b", graphs)
    assert numbers_of(pi, "a", graphs) == NUMBERS
    assert times(tmp_path) == 2
    assert known_numbers(replace(pi, name="pi5"), "a") is None  # another device


def test_it_gets_the_file_in_a_folder_that_is_gone_afterwards(tmp_path: Path) -> None:
    script = f"""cat "$1" > {tmp_path}/got; stat -c %a "$(dirname "$1")" > {tmp_path}/mode; {ANSWER}"""
    numbers_of(device(tmp_path, script), "a", graphs)
    assert (tmp_path / "got").read_bytes() == b"an ONNX file"
    assert (tmp_path / "mode").read_text().strip() == "700"
    path = Path((tmp_path / "log").read_text().strip())
    assert path.name == "network.onnx" and not path.parent.exists()


def test_several_graphs_are_several_words(tmp_path: Path) -> None:
    several = {"encoder": b"1", "step": b"2"}
    numbers_of(device(tmp_path, ANSWER), "a", lambda: several)
    words = (tmp_path / "log").read_text().split()
    assert [Path(word).name for word in words] == ["encoder.onnx", "step.onnx"]


def test_nothing_of_the_command_is_kept_or_shown(tmp_path: Path) -> None:
    pi = device(tmp_path, "echo hunter2 on board.lan >&2; exit 1")
    pi = replace(pi, words=(*pi.words, "me@board.lan", "hunter2"))
    with pytest.raises(NoAnswer, match=r"its command ended with exit code 1: \*\*\* on \*\*\*"):
        numbers_of(pi, "a", graphs)
    kept = pi.file.read_text()
    assert "board" not in kept and "hunter2" not in kept and ".sh" not in kept
    assert "hunter2" not in repr(pi)


def test_a_failure_is_tried_again_and_not_for_ever(tmp_path: Path) -> None:
    pi = device(tmp_path, "echo no route >&2; exit 255")
    for number in (1, 2, 3):
        with pytest.raises(NoAnswer, match=r"exit code 255: no route$"):
            numbers_of(pi, "a", graphs)
        assert times(tmp_path) == number
    with pytest.raises(NoAnswer, match=r"exit code 255: no route \(asked 3 times\)"):
        numbers_of(pi, "a", graphs)
    assert times(tmp_path) == 3
    begin(pi)  # a sweep begins or goes on: somebody may have plugged it in
    with pytest.raises(NoAnswer):
        numbers_of(pi, "a", graphs)
    assert times(tmp_path) == 4


def test_a_success_after_a_failure_is_kept(tmp_path: Path) -> None:
    pi = device(tmp_path, f"test -e {tmp_path}/on || exit 1; {ANSWER}")
    with pytest.raises(NoAnswer):
        numbers_of(pi, "a", graphs)
    (tmp_path / "on").touch()
    assert numbers_of(pi, "a", graphs) == NUMBERS
    assert unsealed(pi.file.read_bytes())["failed"] == {}


def test_the_numbers_are_those_it_gave_at_first(tmp_path: Path) -> None:
    pi = device(tmp_path, """echo '{"latency_ms": 3}'""", numbers=("latency_ms", "energy_mj"))
    with pytest.raises(NoAnswer, match="gave latency_ms, and energy_mj, latency_ms before"):
        numbers_of(pi, "a", graphs)
    other = device(tmp_path, """echo '{"latency_ms": 3, "heat_j": 1}'""", numbers=("latency_ms",))
    with pytest.raises(NoAnswer, match="gave heat_j, latency_ms, and latency_ms before"):
        numbers_of(other, "b", graphs)


def test_an_answer_that_lacks_a_number_is_asked_for_again(tmp_path: Path) -> None:
    assert numbers_of(device(tmp_path, """echo '{"latency_ms": 3}'"""), "a", graphs) == {"latency_ms": 3.0}
    more = device(tmp_path, ANSWER, numbers=tuple(NUMBERS))
    assert known_numbers(more, "a") is None
    assert numbers_of(more, "a", graphs) == NUMBERS
    fewer = device(tmp_path, ANSWER, numbers=("energy_mj",))
    assert known_numbers(fewer, "a") == NUMBERS


def test_another_command_of_a_device_without_a_name_is_refused(tmp_path: Path) -> None:
    unnamed = device(tmp_path, ANSWER, name="device")
    assert begin(unnamed) == ""
    numbers_of(unnamed, "a", graphs)
    assert begin(unnamed) == ""
    with pytest.raises(ValueError, match="has answers to another command"):
        begin(device(tmp_path, f"true; {ANSWER}", name="device"))
    numbers_of(device(tmp_path, ANSWER), "a", graphs)
    edited = device(tmp_path, f"true; {ANSWER}")
    assert "pi was asked by another command before: 1 of its answers are kept" in begin(edited)
    assert begin(edited) == ""  # it is told once
    assert known_numbers(edited, "a") == NUMBERS


def _ask(pi: Device, key: str) -> None:
    assert numbers_of(pi, key, graphs) == NUMBERS


def test_processes_ask_one_at_a_time(tmp_path: Path) -> None:
    """Six processes, three students, two stores: each store asks three times, and nobody while another does.

    A folder can be made by one only: a second command that runs meanwhile fails.
    """
    held = tmp_path / "held"
    script = f"mkdir {held} || exit 9; sleep 0.05; rmdir {held}; {ANSWER}"
    here = device(tmp_path, script)
    there = replace(here, table=tmp_path / "another store" / "devices")
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_ask, args=(each, key)) for each in (here, there) for key in ("a", "b", "a")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert times(tmp_path) == 4


def test_damaged_answers_are_told_set_aside_and_asked_for_again(tmp_path: Path) -> None:
    pi = device(tmp_path, ANSWER)
    numbers_of(pi, "a", graphs)
    assert damaged_answers(pi.table) == []
    content = unsealed(pi.file.read_bytes())
    for wrong in (
        pi.file.read_bytes().replace(b"3.5", b"3.6"),
        b"[]",
        sealed({**content, "device": "pi5"}),
        sealed({**content, "numbers": {"a": {}}}),
        sealed({**content, "numbers": {"a": {"latency_ms": "3"}}}),
        sealed({**content, "numbers": {"a": {"<b>": 3.0}}}),
        sealed({**content, "failed": {"a": 3}}),
        sealed({**content, "failed": {"a": {"tries": -1, "why": ""}}}),
        sealed({"device": "pi"}),
    ):
        pi.file.write_bytes(wrong)
        (told,) = damaged_answers(pi.table)
        assert "pi.json holds no answers of a device" in told
        assert known_numbers(pi, "a") is None
        assert numbers_of(pi, "a", graphs) == NUMBERS
        assert damaged_answers(pi.table) == []
    assert len(list(pi.table.glob("*.damaged*"))) == 9
    assert json.loads(pi.file.read_bytes())["numbers"] == {"a": NUMBERS}


def test_metrics_have_units_and_names_of_their_own() -> None:
    numbers = ("latency_ms", "energy_mj", "ram_bytes", "flash_kb", "power_mw", "cycles", "ms", "clock_mhz")
    metrics = device_metrics("pi", numbers)
    assert [metric.unit for metric in metrics] == ["ms", "mJ", "B", "kB", "mW", "", "ms", "MHz"]
    assert [metric.name for metric in metrics] == [f"device_{name}" for name in numbers]
    assert metrics[0].label == "latency on pi" and metrics[5].label == "cycles on pi"
    assert metrics[2].label == "ram on pi" and metrics[6].label == "ms on pi"
    assert {metric.goal for metric in metrics} == {"down"}
    quality = with_device(QUALITIES[0], "pi", numbers)
    assert quality.costs[-8:] == metrics and quality.name == QUALITIES[0].name


def test_routes_share_time_and_energy_and_the_largest_memory_counts() -> None:
    short = {"latency_ms": 1.0, "energy_mj": 2.0, "ram_bytes": 100.0, "power_mw": 5.0}
    whole = {"latency_ms": 3.0, "energy_mj": 6.0, "ram_bytes": 300.0, "power_mw": 4.0}
    found = mean_numbers([(0.75, short), (0.25, whole)])
    assert found == {"latency_ms": 1.5, "energy_mj": 3.0, "ram_bytes": 300.0, "power_mw": 5.0}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"name": "../pi"}, "the name of a device must be .* got '../pi'"),
        ({"name": ""}, "the name of a device"),
        ({"name": 41 * "a"}, "the name of a device"),
        ({"seconds": 0.0}, "must be above 0 s and finite, got 0.0"),
        ({"seconds": math.inf}, "got inf"),
        ({"numbers": ("a", "a")}, "none of them twice"),
        ({"numbers": ("<b>",)}, "got '<b>'"),
    ],
)
def test_devices_that_cannot_be(changed: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        replace(device(tmp_path, ANSWER), **changed)
