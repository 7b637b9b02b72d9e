"""Sizes and times, read and written."""

import pytest

from search.problem import Problem
from search.units import count, parse_bytes, show_bytes, show_number, show_seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64kB", 64_000),
        ("64KiB", 65_536),
        ("1.5MB", 1_500_000),
        ("4096", 4096),
        (" 2 mib ", 2**21),
        ("1gb", 10**9),
    ],
)
def test_sizes_are_read(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "-1", "64 potatoes", "kB", "0", "1e3", "0.1B"])
def test_other_text_is_refused(text):
    with pytest.raises(Problem, match="size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (7, "7 B"),
        (999, "999 B"),
        (999.6, "1 kB"),
        (12_345, "12.3 kB"),
        (999_600, "1 MB"),
        (1_246_380, "1.25 MB"),
        (5e9, "5 GB"),
        (2.5e12, "2,500 GB"),
    ],
)
def test_sizes_are_written(size, text):
    assert show_bytes(size) == text


def test_times_and_counts_are_written():
    shown = [show_seconds(s) for s in (0.4, 47.6, 59, 61, 200, 3600, 3725, 7500)]
    assert shown == [
        "0 s", "48 s", "59 s", "1 min 01 s", "3 min 20 s", "1 h 00 min", "1 h 02 min", "2 h 05 min"
    ]  # fmt: skip
    assert [show_number(x) for x in (0.5, 1, 20, 12_345)] == ["0.5", "1", "20", "12,300"]
    assert [count(n, "trial") for n in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]
