"""The benchmark of formats in miniature."""

from __future__ import annotations

import pytest

from benchmarks import formats
from benchmarks.formats import measure, table
from trainables.models import ResNet


def test_every_format_is_weighed_and_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "STUDENT", ResNet(depth=1, width=0.25))
    monkeypatch.setattr(formats, "FORMATS", {name: formats.FORMATS[name] for name in ("rdz", "onnx", "pt2")})
    rows = measure(rounds=2, runs=5)
    assert {(row.kind, row.format) for row in rows} == {
        (kind, name) for kind in ("float32", "4-bit", "int8") for name in ("rdz", "onnx", "pt2")
    }
    assert all(0 < row.p10_ms <= row.median_ms for row in rows if row.format != "rdz")
    sizes = {(row.kind, row.format): row.file_bytes for row in rows}
    assert sizes["4-bit", "rdz"] < sizes["4-bit", "onnx"] < sizes["float32", "onnx"]
    assert "speed-up" in table(rows) and len(table(rows).splitlines()) == 10
