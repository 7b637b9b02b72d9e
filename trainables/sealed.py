"""JSON files that know whether they are whole: a flipped digit is damage, and no other number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from trainables.foreign import parse_json

SEAL = "sha256"


def sealed(content: Mapping[str, Any]) -> bytes:
    """``content`` as JSON with a checksum under ``sha256``, one key a line.

    Raises:
        ValueError: it holds what JSON has not, such as NaN.
    """
    whole = {**content, SEAL: _checksum(content)}
    return (json.dumps(whole, indent=1, allow_nan=False) + "\n").encode()


def unsealed(data: bytes) -> dict[str, Any]:
    """What :func:`sealed` was given.

    Raises:
        ValueError: anything else; the message says in which way.
    """
    content = parse_json(data)
    if not isinstance(content, dict) or SEAL not in content:
        raise ValueError("it has no checksum")
    expected = content.pop(SEAL)
    if _checksum(content) != expected:
        raise ValueError("its checksum is not that of its content")
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
