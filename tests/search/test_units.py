"""Sizes and times, read and written."""

import pytest

from search.problem import Problem
from search.units import parse_bytes, show_bytes, show_seconds


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


def test_sizes_and_times_are_written():
    sizes = [show_bytes(s) for s in (7, 999, 1000, 12_345, 1_310_000, 2_500_000_000)]
    assert sizes == ["7 B", "999 B", "1 kB", "12.3 kB", "1.31 MB", "2.5 GB"]
    assert [show_seconds(s) for s in (0.4, 59, 61, 3725)] == ["0 s", "59 s", "1 min 01 s", "1 h 02 min"]
