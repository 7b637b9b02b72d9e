"""What can happen in a sweep, as its log has it: every event is checked where it is read.

A log may come from somebody else, or from a disk that is failing. What it names becomes folders, files,
runs and addresses; nobody behind :func:`check_event` and :class:`History` sees a name that leads elsewhere.
Imports neither torch nor ray.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict, cast
from urllib.parse import urlparse

from search.objectives.aliases import ALIASES
from search.store.mlflow_client import (
    KIND_TAG,
    METRIC_TAG,
    NOTE_TAG,
    SCHEMES,
    STUDY_TAG,
    SWEEP_TAG,
    TRAINED_WITH_TAG,
    TRIAL_TAG,
)
from trainables.foreign import shown
from trainables.metrics import quality_of

SWEEP = ""
"""The parent run's place among the trial ids."""
STATUSES = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "pruned": "KILLED"}
"""States in which a run ends, and what MLflow calls them."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Of a study, a sweep, a trial: it names folders, experiments and runs."""
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
"""Of an artifact, and of each part of the path that it is read from."""
LATEST = 253_402_300_799_999
"""The last millisecond that a date can say: the end of the year 9999."""
LONGEST_TEXT = 1_000_000
_LARGEST = 2**53
_CONTINUES = "continues"  # search.sampling.samplers.CONTINUES, whose module loads Optuna
_WHO = frozenset({KIND_TAG, SWEEP_TAG, STUDY_TAG, TRIAL_TAG, METRIC_TAG})
"""Tags by which runs are found: they say what the event says, or are not there."""


class Event(TypedDict):
    """One thing that happened. Which of the further fields are there depends on ``kind``: :data:`FIELDS`.

    Attributes:
        kind: a key of :data:`FIELDS`.
        run: a trial id, or :data:`SWEEP`.
        time: milliseconds since 1970, later than that of the event before.
    """

    kind: str
    run: str
    time: int
    name: NotRequired[str]
    study: NotRequired[str]
    settings: NotRequired[dict[str, Any]]
    params: NotRequired[dict[str, str]]
    tags: NotRequired[dict[str, str]]
    recipe: NotRequired[dict[str, Any]]
    step: NotRequired[int]
    metrics: NotRequired[dict[str, float | str]]
    files: NotRequired[dict[str, str]]
    state: NotRequired[str]
    aliases: NotRequired[dict[str, str]]
    descriptions: NotRequired[dict[str, str]]


FIELDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    kind: (frozenset(needed.split()), frozenset(optional.split()))
    for kind, needed, optional in (
        ("open", "name study params tags settings", ""),
        ("start", "name params tags recipe", ""),
        ("again", "", "tags"),
        ("epoch", "step metrics", ""),
        ("note", "step metrics tags files", ""),
        ("end", "state step metrics tags files", "aliases descriptions"),
    )
}
"""By kind, which fields an event has beside its kind, run and time, and which it may have."""


def check_event(data: Any) -> Event:
    """``data`` as an event, if each of its fields is what such a field can be.

    Raises:
        ValueError: it is not; the message says which field.
    """
    if not isinstance(data, dict):
        raise ValueError("it is no event")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in FIELDS:
        raise ValueError(f"there is no event of the kind {_said(kind)}")
    needed, optional = FIELDS[kind]
    found = data.keys() - {"kind", "run", "time"}
    if not needed <= found <= needed | optional or not {"run", "time"} <= data.keys():
        raise ValueError(f"an event of the kind {kind} has other fields")
    if (kind == "open") != (data["run"] == SWEEP) and kind in ("open", "start"):
        raise ValueError(f"{_said(data['run'])} cannot have an event of the kind {kind}")
    for name in data.keys() - {"kind"}:
        _CHECKS[name](data[name])
    if not data.get("tags", {}).keys().isdisjoint(_WHO) and kind not in ("open", "start"):
        raise ValueError("tags by which runs are found cannot change")
    if ("aliases" in data) != ("descriptions" in data) or ("aliases" in data and data["run"] != SWEEP):
        raise ValueError("registered names belong to the end of a sweep, each with a description")
    return cast(Event, data)


class History:
    """What the events of one sweep say together, one after the other.

    Args:
        sweep: its name, as its folder has it.
    """

    def __init__(self, sweep: str) -> None:
        self._sweep = sweep
        self._time = -1
        self._runs: set[str] = set()

    def add(self, event: Event) -> None:
        """The next event.

        Raises:
            ValueError: it cannot follow those before, or is another sweep's.
        """
        kind, run = event["kind"], event["run"]
        if event["time"] <= self._time:
            raise ValueError("its time is not later than that of the event before")
        if (kind == "open") != (not self._runs):
            raise ValueError("a log begins with how the sweep was asked for, and has that once")
        if kind in ("open", "start"):
            if run in self._runs:
                raise ValueError(f"the trial {run} has started already")
            self._check_names(event)
        elif run not in self._runs:
            raise ValueError(f"the trial {run} has not started")
        if event.get("aliases"):
            named = set(event["aliases"].values())
            if not named <= self._runs - {SWEEP} or not named <= event["descriptions"].keys():
                raise ValueError("a registered name is of a trial that has not started, or is not described")
        self._runs.add(run)
        self._time = event["time"]

    def _check_names(self, event: Event) -> None:
        tags = event["tags"]
        if event["kind"] == "open":
            asked = event["settings"].get("options", {}).get("name", self._sweep)
            study = event["settings"].get("study", {}).get("name", event["study"])
            if {event["name"], asked} != {self._sweep}:
                raise ValueError(f"it is the log of the sweep {_said(event['name'])}")
            if study != event["study"]:
                raise ValueError(f"its study is {_said(event['study'])}, and {_said(study)}")
            expected = {KIND_TAG: "sweep", SWEEP_TAG: self._sweep, STUDY_TAG: study}
            quality_of(tags.get(METRIC_TAG, ""))
        else:
            expected = {KIND_TAG: "trial", SWEEP_TAG: self._sweep, TRIAL_TAG: event["run"]}
            if tags.get(_CONTINUES, event["run"]) not in self._runs | {event["run"]}:
                raise ValueError(f"{_said(tags[_CONTINUES])}, which it continues, has not started")
            own = tags.get(TRAINED_WITH_TAG)
            if own is not None and (own not in self._runs - {SWEEP} or not _is_beside(event["run"], own)):
                raise ValueError(f"it cannot have been trained with {_said(own)}")
        for name in _WHO - {METRIC_TAG}:
            if tags.get(name) != expected.get(name):
                raise ValueError(f"its tag {name} is {_said(tags.get(name))}")


def _is_beside(run: str, own: str) -> bool:
    """Whether ``run`` is named as the second student of the trial ``own`` is, or a later one."""
    number = run.removeprefix(f"{own}.")
    return run != number and number.isascii() and number.isdecimal() and int(number) >= 2


def check_files(files: Mapping[str, str], sweep: str) -> None:
    """Raise ``ValueError`` unless each file is the sweep's own: of ``sweeps/NAME`` or ``trials/NAME``."""
    for path in files.values():
        if tuple(path.split("/")[:2]) not in (("sweeps", sweep), ("trials", sweep)):
            raise ValueError(f"the file {_said(path)} is not one of the sweep's own")


def check_address(uri: Any) -> None:
    """Raise ``ValueError`` unless ``uri`` can be the address of an MLflow store."""
    _text(uri, "an address", longest=2000)
    if urlparse(uri).scheme.split("+")[0] not in SCHEMES:
        raise ValueError(f"{_said(uri)} is no address of an MLflow store")


def _said(value: Any) -> str:
    return shown(repr(value), 60)


def _text(value: Any, what: str = "a text", longest: int = LONGEST_TEXT) -> None:
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"{_said(value)} cannot be {what}")


def _whole(what: str, lowest: int, highest: int) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if type(value) is not int or not lowest <= value <= highest:
            raise ValueError(f"{_said(value)} cannot be {what}")

    return check


def _matching(what: str, pattern: re.Pattern[str]) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"{_said(value)} cannot be {what}")

    return check


def _mapping(of: str, check_key: Callable[[Any], None], check_value: Callable[[Any], None]) -> Any:
    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"its {of} are {_said(value)}")
        for key, item in value.items():
            check_key(key)
            check_value(item)

    return check


def _metric(value: Any) -> None:
    if value == "nan":
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
        raise ValueError(f"{_said(value)} cannot be a metric's value")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False


def _run(value: Any) -> None:
    if value != SWEEP:
        _matching("a run", NAME)(value)


def _state(value: Any) -> None:
    if not isinstance(value, str) or value not in STATUSES:
        raise ValueError(f"{_said(value)} cannot be a state")


def _tag_key(value: Any) -> None:
    _text(value, "a tag")
    if value.startswith("mlflow.") and value != NOTE_TAG:
        raise ValueError(f"{_said(value)} is MLflow's own tag")


def _source(value: Any) -> None:
    parts = value.split("/") if isinstance(value, str) else []
    if len(parts) < 3 or not all(FILE_NAME.fullmatch(part) for part in parts):
        raise ValueError(f"{_said(value)} is no file of the sweep's own")


def _alias(value: Any) -> None:
    if not isinstance(value, str) or value not in ALIASES:
        raise ValueError(f"{_said(value)} is no name that a student gets")


def _settings(value: Any) -> None:
    """How the sweep was asked for; a tracker that nobody will go on with has none."""
    if not isinstance(value, dict):
        raise ValueError(f"its settings are {_said(value)}")
    if not value:
        return
    if value.keys() != {"options", "study", "data", "teacher", "code"}:
        raise ValueError("its settings have other fields")
    if not isinstance(value["options"], dict) or "tracking_uri" not in value["options"]:
        raise ValueError(f"its options are {_said(value['options'])}")
    if value["options"]["tracking_uri"] is not None:
        check_address(value["options"]["tracking_uri"])
    study = value["study"]
    if not isinstance(study, dict) or study.keys() != {"name", "epochs"}:
        raise ValueError(f"its study is {_said(study)}")
    _matching("a study", NAME)(study["name"])
    _whole("a number of epochs", 1, _LARGEST)(study["epochs"])
    fingerprint = re.compile(r"[0-9a-f]{1,128}")
    for name in ("data", "teacher"):
        _matching(f"the fingerprint of its {name}", fingerprint)(value[name])
    _mapping("versions", _text, _text)(value["code"])


def _recipe(value: Any) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"its recipe is {_said(value)}")


_CHECKS: Mapping[str, Callable[[Any], None]] = {
    "run": _run,
    "time": _whole("a time", 0, LATEST),
    "name": _text,
    "study": _matching("a study", NAME),
    "settings": _settings,
    "params": _mapping("params", _text, _text),
    "tags": _mapping("tags", _tag_key, _text),
    "recipe": _recipe,
    "step": _whole("a step", 0, _LARGEST),
    "metrics": _mapping("metrics", _text, _metric),
    "files": _mapping("files", _matching("a file's name", FILE_NAME), _source),
    "state": _state,
    "aliases": _mapping("registered names", _alias, _matching("a trial", NAME)),
    "descriptions": _mapping("descriptions", _matching("a trial", NAME), _text),
}
