"""What a name that there is not was meant to be. Loads nothing large."""

from collections.abc import Iterable
from difflib import get_close_matches


def meant(name: str, names: Iterable[str]) -> str:
    """`` (did you mean digits?)``: the nearest of ``names``, to follow ``name``; empty if none is near."""
    near = get_close_matches(name, list(names))
    return f" (did you mean {' or '.join(near)}?)" if near else ""
