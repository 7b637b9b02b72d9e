"""Lines in groups: all of them, in order, at once when they are there, without waiting when not."""

import io
import os

from hypothesis import given
from hypothesis import strategies as st

from rayduce.commands.lines import groups


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))), st.integers(1, 9)
)
def test_all_lines_come_in_order_in_groups_of_at_most_that_many(lines, most):
    stream = io.BytesIO("".join(line + "\n" for line in lines).encode())
    found = list(groups(stream, most))
    expected = [line if number else line.removeprefix("\ufeff") for number, line in enumerate(lines)]
    assert [line for group in found for line in group] == expected
    assert all(1 <= len(group) <= most for group in found)


def test_a_last_line_without_end_windows_ends_and_broken_bytes():
    found = groups(io.BytesIO(b"a\r\n\xff\nb"), 8)
    assert [line for group in found for line in group] == ["a", "\ufffd", "b"]


def test_a_byte_order_mark_is_none_of_the_first_line():
    found = groups(io.BytesIO("\ufeffa\r\n\ufeffb\r\n".encode()), 8)
    assert [line for group in found for line in group] == ["a", "\ufeffb"]


def test_a_line_is_given_before_the_next_one_is_there():
    source, sink = os.pipe()
    with os.fdopen(source, "rb", buffering=0) as stream, os.fdopen(sink, "wb", buffering=0) as writer:
        found = groups(stream, 8)
        for text in ("one", "two"):
            writer.write(f"{text}\n".encode())
            assert next(found) == [text]


def test_lines_end_by_cr_lf_or_both_and_by_nothing_else():
    text = "a\rb\nc\r\nd\u2028e\x0bf\x0cg\x85h\r"
    found = [line for group in groups(io.BytesIO(text.encode()), 8) for line in group]
    assert found == ["a", "b", "c", "d\u2028e\x0bf\x0cg\x85h"]


def test_the_stream_stays_open():
    stream = io.BytesIO(b"a\n")
    assert list(groups(stream, 8)) == [["a"]]
    assert not stream.closed
