"""Fronts as the command line prints them."""

import io

import pytest
from rich.console import Console

from rayduce.commands.results import front_table
from trainables.metrics import COSTS, quality_of

ROW = {
    "run_id": "a36cb5ba9e384cc09e9152a210a6a620",
    "name": "qd-4bit-b256-d2-w0.35-s50",
    "accuracy": 0.9889,
    "validation_accuracy": 0.9861,
    "packed_bytes": 14_833,
    "compression_ratio": 1088.1,
    "onnx_bytes": 21_904,
    "ram_bytes": 196_608,
    "latency_ms": 0.037,
}


@pytest.mark.parametrize("name", [ROW["name"], "a-name-that-somebody-gave-it-in-mlflow" * 20], ids=len)
def test_no_number_of_a_front_is_cut_on_a_narrow_terminal(name: str) -> None:
    text = io.StringIO()
    table = front_table([{**ROW, "name": name}], quality_of("accuracy"), "Front", 80)
    Console(file=text, width=80).print(table)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) <= 9
    for shown in ("a36cb5ba", "98.89 %", "98.61 %", "14.8 kB", "1088.1x", "21.9 kB", "197 kB"):
        assert shown in lines[2]
    if name == ROW["name"]:
        assert len(lines) == 5
    assert lines[-1].rstrip() == "No room for latency: see all in 84 columns, or by | cat."


def test_what_a_sweep_was_asked_to_keep_low_has_a_column() -> None:
    text = io.StringIO()
    costs = [each for each in COSTS if each.name in ("packed_bytes", "ram_bytes", "macs", "mean_bits")]
    rows = [{**ROW, "macs": 12_345_678, "mean_bits": None}]
    Console(file=text, width=140).print(front_table(rows, quality_of("accuracy"), "Front", 140, costs))
    lines = text.getvalue().splitlines()
    assert "memory" in text.getvalue() and "multiply-" in text.getvalue()
    assert lines[-1].split()[-4:] == ["0.037", "ms", "12,300,000", "-"] and "197 kB" in lines[-1]
    assert lines[-1].count("14.8 kB") == 1


def test_a_wide_terminal_has_room_for_the_memory_of_activations() -> None:
    text = io.StringIO()
    rows = [ROW, {**ROW, "onnx_bytes": None, "ram_bytes": None}]
    Console(file=text, width=100).print(front_table(rows, quality_of("accuracy"), "Front", 100))
    _, heads, known, unknown = text.getvalue().splitlines()
    assert heads.split()[-4:] == ["ratio", "ONNX", "memory", "latency"]
    assert known.split()[-7:] == ["1088.1x", "21.9", "kB", "197", "kB", "0.037", "ms"]
    assert unknown.split()[-5:] == ["1088.1x", "-", "-", "0.037", "ms"]
