"""The whole traceback of a failed trial as it is kept: without secrets, and safe to show."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from trainables.foreign import shown

TRACEBACK = "traceback"
"""Under which the last result of a failed trial has it."""
TRACEBACK_FILE = "traceback.txt"
"""Artifact of a failed trial."""
LONGEST = 64_000
"""Characters that are kept: of a longer one the beginning and the end."""
LONGEST_LINE = 1_000
_SECRET_NAME = re.compile(r"token|passw|secret|credential|api_?key|access_?key|private_?key|auth", re.I)
_SAID = re.compile(
    r"""(?ix) \b ([\w.-]* (?: token | passw(?:or)?d | passwd | secret | api_?key | access_?key ) [\w-]*
    ['"]? \s* [=:] \s* ) (?: "[^"]*" | '[^']*' | [\w/+.~!$%^&*-]{4,} (?= $ | [\s,;'")}\]] ) )""",
    re.M,
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_USER = re.compile(r"(?<=://)[^/@\s]*@")
SHORTEST_SECRET = 6
"""Letters of a variable's value that is masked; shorter ones would blank out words that are none."""
MASK = "***"


def without_secrets(text: str, environment: Mapping[str, str] | None = None) -> str:
    """``text`` with ``***`` in place of what should be nobody else's.

    That is: users and passwords in addresses, what is called a token, a password, a secret or a key, and the
    values of environment variables that are called so.

    Args:
        text: of any length.
        environment: default this process's own.
    """
    variables = os.environ if environment is None else environment
    values = {value for name, value in variables.items() if _SECRET_NAME.search(name)}
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= SHORTEST_SECRET:
            text = text.replace(value, MASK)
    text = _USER.sub(f"{MASK}@", text)
    return _BEARER.sub(rf"\1 {MASK}", _SAID.sub(rf"\1{MASK}", text))


def traceback_text(text: str, environment: Mapping[str, str] | None = None) -> str:
    """What is kept of an error's text: without secrets and control characters, at most :data:`LONGEST`.

    Args:
        text: as Python or Ray has it.
        environment: see :func:`without_secrets`.
    """
    plain = _COLOUR.sub("", without_secrets(text, environment))
    whole = "\n".join(shown(line.expandtabs(4), LONGEST_LINE) for line in plain.splitlines())
    if len(whole) > LONGEST:
        half = LONGEST // 2 - 50
        left_out = len(whole) - 2 * half
        whole = f"{whole[:half]}\n... {left_out:,} characters are left out ...\n{whole[-half:]}"
    return whole
