"""What commands print of results, in a narrow terminal."""

from io import StringIO

from rich.console import Console

from rayduce.commands.results import front_table
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
        "latency",
    ]
    first = lines[2].split()
    assert first[0] == "1187d709"
    assert first[2:] == ["52.65", "%", "51.81", "%", "1.71", "kB", "175.9x", "3.21", "kB", "0.025", "ms"]
    assert "".join(line.split()[-1] if index else first[1] for index, line in enumerate(lines[2:])) == name
