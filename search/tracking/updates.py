"""What events come to, run by run, in the form that MLflow takes."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from search.log.events import STATUSES, Event
from search.store.mlflow_client import (
    STATE_TAG,
)
from trainables.foreign import shown

RECIPE_FILE = "recipe.json"


PARAM_LENGTH, TAG_LENGTH = 6000, 8000  # what MLflow stores


KEY_LENGTH, NAME_LENGTH, DESCRIPTION_LENGTH = 250, 200, 5000  # likewise


_REFUSED = re.compile(r"[^/\w.\- :]")
"""What cannot stand in the name of a param, metric or tag."""


@dataclass
class Creation:
    """What a run that is not there yet needs in order to exist."""

    name: str
    start: int
    tags: dict[str, str]


@dataclass
class Update:
    """Everything that is to be written to one run with the next batch."""

    creation: Creation | None = None
    params: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, tuple[float, int, int]]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    status: str | None = None
    end: int | None = None


def updates_of(events: Iterable[Event]) -> dict[str, Update]:
    """What ``events`` come to, run by run in the order of their first event."""
    updates: dict[str, Update] = {}
    for event in events:
        update = updates.setdefault(event["run"], Update())
        kind, time = event["kind"], event["time"]
        if kind in ("open", "start"):
            update.creation = Creation(event["name"], time, event["tags"])
            update.tags = {**event["tags"], **update.tags}
            update.params |= event["params"]
            if "recipe" in event:
                update.texts[RECIPE_FILE] = _json(event["recipe"])
        elif kind == "again":
            update.status, update.end = "RUNNING", None
            update.tags |= {**event.get("tags", {}), STATE_TAG: "running"}
        else:
            rows = event["metrics"].items()
            update.metrics += [(name, (float(value), time, event["step"])) for name, value in rows]
            update.tags |= event.get("tags", {})
            update.files |= event.get("files", {})
        if kind == "end":
            update.tags[STATE_TAG] = event["state"]
            update.status, update.end = STATUSES[event["state"]], time
    return updates


def mlflow_key(name: str) -> str:
    """``name`` as MLflow takes it for a param, metric or tag: others get another, always the same one."""
    usual = len(name) <= KEY_LENGTH and not _REFUSED.search(name)
    if usual and posixpath.normpath(name) == name and name != "." and not name.startswith(("..", "/")):
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{_REFUSED.sub('_', name).replace('/', '_')[: KEY_LENGTH - 10]}_{digest}"


def fitting(text: str, length: int) -> str:
    """``text`` so that every database takes it: without what cannot be encoded, and not too long."""
    if not text.isprintable():
        text = "\n".join(shown(line, 8 + 8 * len(line)) for line in text.split("\n"))
    return text if len(text) <= length else text[: length - 1] + "…"


def _json(recipe: Mapping[str, Any]) -> bytes:
    return (json.dumps(recipe, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()
