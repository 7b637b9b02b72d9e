"""What an address asks for: the sweep on show and how a view was set, so that a link shows what was seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote

LONGEST = 4_000
"""Letters of what stands behind the question mark; what is longer asks for nothing."""

Asked = Mapping[str, str]
"""Name -> text, from anywhere: whoever uses one checks it."""


def asked(search: str | None) -> dict[str, str]:
    """The names and texts behind an address; of several of one name the last."""
    text = (search or "").removeprefix("?")
    if len(text) > LONGEST:
        return {}
    try:
        return dict(parse_qsl(text, max_num_fields=40))
    except ValueError:  # more fields than any page has
        return {}


def link(path: str, sweep: str | None) -> str:
    """The address of a view of a sweep."""
    return path if sweep is None else f"{path}?sweep={quote(sweep, safe='')}"


def number_in(values: Asked, name: str) -> float | None:
    """A number of at least 0 that an address asks for; None if it does not."""
    try:
        found = float(values.get(name, ""))
    except ValueError:
        return None
    return found if math.isfinite(found) and 0 <= found <= 1e15 else None


def one_of(values: Asked, name: str, known: Mapping[str, object], default: str | None) -> str | None:
    """What an address asks for of what there is; ``default`` if it does not."""
    wanted = values.get(name)
    return wanted if wanted in known else default
