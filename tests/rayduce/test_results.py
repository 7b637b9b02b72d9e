"""What commands print of results, in a narrow terminal."""

import re
from io import StringIO

import pytest
from rich.console import Console

from rayduce.commands.contents_table import contents_table
from rayduce.commands.narrow import folded
from rayduce.commands.results import ALIKE, families_line, front_table
from trainables.metrics import quality_of


def test_a_long_name_is_folded_and_numbers_stay_whole_in_80_columns() -> None:
    name = "pact-6bit-channel-a8-d0.756-w0.167-s29-slice"
    row = {
        "run_id": "1187d709aa", "name": name, "accuracy": 0.5265, "validation_accuracy": 0.5181,
        "packed_bytes": 1710, "compression_ratio": 175.9, "onnx_bytes": 3210,
        "ram_bytes": 512, "latency_ms": 0.025,
    }  # fmt: skip
    written = StringIO()
    Console(width=80, file=written).print(front_table([row], quality_of("accuracy"), "Front"))
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in written.getvalue()
    assert lines[1].split() == [
        "run",
        "student",
        "accuracy",
        "validation",
        "packed",
        "ratio",
        "ONNX",
        "memory",
    ]
    first = lines[2].split()
    assert first[0] == "1187d709"
    assert first[2:] == ["52.65", "%", "51.81", "%", "1.71", "kB", "175.9x", "3.21", "kB", "512", "B"]
    assert lines[-1].startswith("No room for latency: ")
    assert "".join(line.split()[-1] if index else first[1] for index, line in enumerate(lines[2:-1])) == name


ROW = {
    "run_id": "1187d709aa", "name": "qd-4bit-b256-d2-w0.35-s50", "accuracy": 0.9694,
    "validation_accuracy": 0.9639, "packed_bytes": 14_780, "compression_ratio": 88.4, "onnx_bytes": 23_582,
    "ram_bytes": 11_264, "latency_ms": 0.048, "lost_answers": 9, "gained_answers": 0,
}  # fmt: skip
TEACHER = {"accuracy": 0.9944, "samples": 360.0}


def shown(width: int, **changes: object) -> str:
    written = StringIO()
    table = front_table([{**ROW, **changes}], quality_of("accuracy"), "Front", width, (), TEACHER)
    Console(width=width, file=written).print(table)
    return written.getvalue()


@pytest.mark.parametrize("width", [60, 72, 80, 100, 140])
def test_ids_sizes_and_qualities_are_never_cut(width: int) -> None:
    text = shown(width)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    for part in ("1187d709", "96.94 %", "96.39 %", "14.8 kB"):
        assert part in text


def test_latency_and_ratio_go_first_and_a_wide_terminal_has_both_ends_of_what_is_lost() -> None:
    assert "ms" not in shown(80).split() and "88.4x" not in shown(80)
    assert "4.26" in shown(80) and "11.3 kB" in shown(80)
    assert "2.50 (0.71 to 4.26)" in shown(120) and "0.048 ms" in shown(120) and "88.4x" in shown(120)


def test_columns_without_room_are_told_with_the_width_that_has_it() -> None:
    for width in range(72, 105):
        told = re.search("No room for (.*): see all in ([0-9]+) columns", " ".join(shown(width).split()))
        heads = shown(width).partition("1187")[0]
        gone = {head for head in ("ratio", "ONNX", "memory", "latency") if head not in heads}
        assert gone <= set(told[1].split(", ") if told else ()), width
        if told:
            assert width < int(told[2]) and "No room" not in shown(int(told[2]))
            assert "No room" in shown(int(told[2]) - 1)


def test_who_cannot_be_told_from_the_next_smaller_one_is_marked() -> None:
    assert ALIKE in shown(120, told_from_smaller=False) and ALIKE not in shown(120, told_from_smaller=True)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("qd-4bit-b256-d2-w0.35-s50", ["qd-4bit-b256-", "d2-w0.35-s50"]),
        ("features.block.weight", ["features.block", ".weight"]),
        ("a" * 30, ["a" * 14, "a" * 14, "aa"]),
    ],
)
def test_names_fold_where_a_reader_would(name: str, lines: list[str]) -> None:
    assert folded(name, 14).split("\n") == lines


def test_no_name_of_a_tensor_is_cut_in_80_columns() -> None:
    row = {
        "name": "0.10.weight", "shape": [45, 45, 3, 3], "codec": "EntropyCoded", "bits": 4, "sparsity": 0.0,
        "bytes": 8453, "entropy_bytes": 8568.0, "share": 0.428,
    }  # fmt: skip
    long = {**row, "name": "model.encoder.layers.0.self_attn.out_proj.parametrizations.weight.original0"}
    written = StringIO()
    Console(width=80, file=written).print(contents_table("f", [row, long], 80))
    text = written.getvalue()
    assert "0.10.weight" in text and "…" not in text and "8,453" in text and "EntropyCoded" in text
    assert "".join(line.split(" ")[0] for line in text.splitlines()[3:-1]) == long["name"]


def test_which_architecture_is_on_the_front_is_said_where_there_are_several():
    rows = [
        {**ROW, "model": model, "packed_bytes": size}
        for model, size in (("GhostNet", 900), (None, 1000), ("[b]ResNet", 4000))
    ]
    told = "Along the front: GhostNet up to 900 B, then \\[b]ResNet up to 4 kB."
    assert families_line(rows, "packed_bytes") == told
    assert families_line(rows[:2], "packed_bytes") == families_line([], "packed_bytes") == ""
