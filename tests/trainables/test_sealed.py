"""JSON files with a checksum: every changed value is damage."""

import json

import pytest

from trainables.sealed import sealed, unsealed

CONTENT = {"latencies": {"a": 0.1, "b": [1, 2.5e-7, None, True, "ü"]}, "machine": {}}


def test_what_is_sealed_comes_back():
    assert unsealed(sealed(CONTENT)) == CONTENT
    assert json.loads(sealed(CONTENT)).keys() == {*CONTENT, "sha256"}  # and anybody can read it
    assert unsealed(json.dumps(json.loads(sealed(CONTENT))).encode()) == CONTENT, "its layout does not matter"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (sealed(CONTENT).replace(b"0.1", b"0.2"), "its checksum is not"),
        (sealed(CONTENT).replace(b'"a"', b'"c"'), "its checksum is not"),
        (json.dumps(CONTENT).encode(), "it has no checksum"),
        (b"[]", "it has no checksum"),
        (b'{"sha256": null}', "its checksum is not"),
        (b"", "Expecting value"),
        (b"\xff", "utf-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_anything_else_is_refused(data, text):
    with pytest.raises(ValueError, match=text):
        unsealed(data)


def test_what_is_no_number_is_not_written():
    with pytest.raises(ValueError, match="Out of range"):
        sealed({"p10_ms": float("nan")})
