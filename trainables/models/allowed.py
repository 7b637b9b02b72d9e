"""Code of a user's own, let into a process that the user did not type a command in."""

from __future__ import annotations

from collections.abc import Iterable

from trainables.models.custom import allow
from trainables.own_code import OwnCode

Allowed = str | OwnCode
"""What a user named: ``module:Class``, or a file."""


def allow_all(codes: Iterable[Allowed]) -> None:
    """Let recipes in this process use what the user named in another.

    Raises:
        ValueError: it cannot be used here.
    """
    for code in codes:
        if isinstance(code, OwnCode):
            code.allow()
        else:
            allow(code)
