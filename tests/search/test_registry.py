"""Which students get a name in the model registry."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from search.objectives.aliases import DROPS, Candidate, aliases
from trainables.metrics import quality_of

ACCURACY = quality_of("accuracy")
STUDENTS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 100)), max_size=8)


def front(students: list[tuple[int, int]]) -> dict[str, Candidate]:
    rows = ((str(i), size, percent) for i, (size, percent) in enumerate(students))
    return {i: Candidate(i, 1000.0 * size, percent / 100) for i, size, percent in rows}


@given(STUDENTS, st.integers(0, 100))
def test_each_alias_is_the_smallest_that_earns_it(students: list[tuple[int, int]], teacher: int) -> None:
    candidates = front(students)
    found = aliases(candidates, ACCURACY, teacher / 100)
    for words, drop in DROPS:
        enough = [
            c
            for c, (_, percent) in zip(candidates.values(), students, strict=True)
            if teacher - percent <= drop
        ]
        alias = f"measured-within-{words}"
        assert (alias in found) == bool(enough)
        if enough:
            chosen = candidates[found[alias]]
            assert chosen in enough and chosen.size == min(c.size for c in enough)
            rivals = [c for c in enough if c.size == chosen.size]
            assert chosen.quality == max(c.quality for c in rivals)
    if candidates:
        assert candidates[found["best"]].quality == max(c.quality for c in candidates.values())
        assert candidates[found["smallest"]].size == min(c.size for c in candidates.values())
    else:
        assert found == {}


def test_a_drop_is_met_exactly_whatever_floats_say() -> None:
    candidates = {"a": Candidate("a", 10.0, 0.56), "b": Candidate("b", 20.0, 0.57)}
    found = aliases(candidates, ACCURACY, 0.57)
    assert found["measured-within-1-point"] == "a" and found["measured-within-half-a-point"] == "b"


def test_without_a_teacher_nothing_is_within_a_drop_of_it() -> None:
    assert set(aliases(front([(1, 50)]), ACCURACY, math.nan)) == {"smallest", "best"}
