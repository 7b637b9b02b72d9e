"""What a range accepts, and what it says of what it does not."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from trainables.part import Part, ranges
from trainables.ranges import Range
from trainables.schedules import Constant, Linear, Schedule


@dataclass(frozen=True)
class Base(Part):
    level: Annotated[int, Range(1, 8, (2, 4), name="level")]


@dataclass(frozen=True)
class Example(Base):
    level: int = 3
    rate: Annotated[float | None, Range(0, 1, excluded="low")] = None
    share: Annotated[Schedule, Range(0.0, 2.0)] = Constant(1.0)


def test_a_field_is_checked_when_the_part_is_made():
    assert Example(1, 1.0, Linear(0.0, 2.0)).to_dict()["level"] == 1
    for arguments, text in (
        ({"level": 0}, r"level must be in \[1, 8\], got level=0"),
        ({"level": 9}, "level=9"),
        ({"level": True}, "Example.level must be int, got True"),
        ({"rate": 0.0}, r"rate must be in \(0, 1\], got rate=0.0"),
        ({"rate": float("nan")}, "rate must be"),
        ({"share": Linear(0.0, 2.5)}, r"share must stay in \[0, 2\], got share=Linear"),
    ):
        with pytest.raises(ValueError, match=text):
            Example(**arguments)


def test_a_base_declares_for_its_members():
    assert list(ranges(Example)) == ["level", "rate", "share"]
    assert ranges(Example)["level"] == Range(1, 8, (2, 4), name="level")


def test_excluded_ends():
    assert [Range(0, 1).accepts(x) for x in (0, 1)] == [True, True]
    assert [Range(0, 1, excluded="low").accepts(x) for x in (0, 1)] == [False, True]
    assert [Range(0, 1, excluded="high").accepts(x) for x in (0, 1)] == [True, False]
    assert str(Range(0, 1, excluded="high")) == "[0, 1)" and str(Range(1, 8)) == "[1, 8]"


def test_ranges_that_are_equal_read_alike():
    """``typing`` keeps one of them for all fields: which one must not change a page or a message."""
    whole, real = Range(0, 1000), Range(0.0, 1000.0)
    assert Annotated[float, whole] is Annotated[float, real]  # why this matters
    assert str(whole) == str(real) == "[0, 1000]"
    assert str(Range(-0.5, float("inf"))) == "[-0.5, inf]"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"low": 2, "high": 1}, "low=2 and high=1"),
        ({"low": -1, "high": 1, "log": True}, "low=-1"),
        ({"low": 1, "high": 8, "search": (0, 4)}, r"ascending numbers in \[1, 8\], got search=0:4"),
        ({"low": 1, "high": 8, "search": (4, 2)}, "search=4:2"),
        ({"low": 0, "high": 8, "log": True, "search": (0, 4)}, "above 0, got 0:4"),
        ({"low": 1, "high": 64, "doubling": True, "search": (4, 48)}, "powers of two, got search=4:48"),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        Range(**arguments)
