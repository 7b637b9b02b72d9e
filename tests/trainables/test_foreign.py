"""Foreign text and JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.foreign import DEEPEST, LONGEST, parse_json, shown

ANY_TEXT = st.text(st.characters())  # surrogates too


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain, with Größe and 大", "plain, with Größe and 大"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\nb\tc", r"a\x0ab\x09c"),
        ("ab\u202ecd", r"ab\u202ecd"),
        ("caf\udce9", r"caf\xe9"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("", ""),
    ],
)
def test_what_cannot_be_seen_is_escaped(text, seen):
    assert shown(text) == seen


@given(ANY_TEXT, st.integers(8, 300))
def test_the_result_can_be_printed_and_is_bounded(text, longest):
    seen = shown(text, longest)
    assert len(seen) <= longest
    assert seen.isprintable()
    seen.encode()
    assert shown(seen, longest) == seen


def test_long_text_ends_in_dots():
    assert shown("x" * 10**7) == "x" * (LONGEST - 3) + "..."
    assert shown("\x1b" * 100, 10) == r"\x1b..."


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_comes_back(value):
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        "[-Infinity]",
        "[1e999]",
        '{"a": 1, "a": 2}',
        "[" * 10**6,
        "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
        "9" * 10_000,
        b"\xff",
        b'"\xe9"',
    ],
)
def test_bad_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_the_allowed_depth_is_read():
    assert parse_json("[" * DEEPEST + "]" * DEEPEST)
