"""What comes from files, stores, servers and browsers: text made fit to show, JSON that cannot do harm."""

from __future__ import annotations

import json
import math
from typing import Any

LONGEST = 200
"""Letters of foreign text that are shown unless a caller says otherwise."""
DEEPEST = 64
"""Levels of lists and objects within one another; what Rayduce writes has fewer than 12."""


def shown(text: str, longest: int = LONGEST) -> str:
    r"""``text`` as it may be written to a terminal, a log, a page or MLflow.

    Characters that move the cursor, change the reading direction or cannot be encoded appear as escapes,
    such as ``\x1b`` and ``\u202e``. A byte of a file name that is not UTF-8 appears as that byte:
    ``caf\xe9``. Text without such characters and within the length stays as it is.

    Args:
        text: from anywhere.
        longest: letters of the result, at least 8; a longer text ends in ``...``.
    """
    parts: list[str] = []
    length = 0
    for letter in text[: longest + 1]:
        part = _visible(letter)
        parts.append(part)
        length += len(part)
        if length > longest:
            break
    if length <= longest:
        return "".join(parts)
    while length > longest - 3:
        length -= len(parts.pop())
    return "".join(parts) + "..."


def _visible(letter: str) -> str:
    if letter.isprintable():
        return letter
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_json(text: str | bytes, deepest: int = DEEPEST) -> Any:
    """``json.loads`` for text from outside: whatever is wrong is a ``ValueError``.

    Args:
        text: UTF-8 if bytes.
        deepest: how many lists and objects may stand within one another.

    Raises:
        ValueError: not UTF-8, not JSON, a key twice in one object, NaN or infinity, a whole number of more
            digits than Python reads, or nested too deeply.
    """
    try:
        found = json.loads(
            text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_without_doubles
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _depth_exceeds(found, deepest):
        raise ValueError("it is nested too deeply")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # such as 1e999
        _refuse(shown(text, 20))
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _depth_exceeds(value: Any, deepest: int) -> bool:
    level = [value]
    for _ in range(deepest):
        level = [
            inner
            for each in level
            if isinstance(each, (list, dict))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
