"""What a device of the user's says of a student: asked once for each architecture and kind of export."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainables.files import locked, set_aside, write_file
from trainables.foreign import shown
from trainables.metrics.asking import MOST_NUMBERS, NUMBER, NoAnswer, ask, hidden
from trainables.metrics.base import DEVICE, Metric, Quality
from trainables.metrics.turns import alone, device_turn
from trainables.sealed import sealed, unsealed

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
"""What a device may be called: its name names files, and stands in headings."""
DEFAULT_NAME = "device"
SECONDS = 120.0
"""For which a command may take unless the user says otherwise."""
TRIES = 3
"""Times that a device is asked about one student, from one start of a sweep to the next."""
UNITS = {
    "ns": "ns",
    "us": "µs",
    "ms": "ms",
    "s": "s",
    "uj": "µJ",
    "mj": "mJ",
    "j": "J",
    "wh": "Wh",
    "mw": "mW",
    "w": "W",
    "bytes": "B",
    "kb": "kB",
    "mb": "MB",
    "kib": "KiB",
    "mib": "MiB",
    "mhz": "MHz",
    "percent": "%",
}
"""How the name of a number ends -> its unit."""
_PER_USE = frozenset({"ns", "µs", "ms", "s", "µJ", "mJ", "J", "Wh"})
_LONGEST_SAID = 200


@dataclass(frozen=True)
class Device:
    """A device, and the command that asks it.

    Attributes:
        name: its name, of letters, digits, dots, dashes and underscores, at most 40.
        words: of the command, see :func:`trainables.metrics.asking.read_command`; never told to anybody.
        folder: to run it in.
        table: folder with one JSON file per device, of what they said; made if it is missing.
        seconds: for which the command may take, above 0; default 120.
        numbers: names of what it gives, as it calls them; empty (default) if that is not known yet.

    Raises:
        ValueError: a name or the time cannot be used.
    """

    name: str
    words: tuple[str, ...] = field(repr=False)
    folder: Path
    table: Path
    seconds: float = SECONDS
    numbers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_device_name(self.name)
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"the time of a measurement must be above 0 s and finite, got {self.seconds}")
        check_numbers(self.numbers)

    @property
    def file(self) -> Path:
        """Where its answers are kept."""
        return self.table / f"{self.name}.json"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What trials report of it."""
        return device_metrics(self.name, self.numbers)


def check_device_name(name: str) -> None:
    """Raise ``ValueError`` unless a device can be called that."""
    if not NAME.fullmatch(name):
        raise ValueError(
            "the name of a device must be a letter or digit and up to 39 letters, digits, dots, dashes and "
            f"underscores, got {shown(repr(name), 60)}"
        )


def check_numbers(numbers: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless a device can have given numbers of these names."""
    if len(numbers) > MOST_NUMBERS or len({*numbers}) < len(numbers):
        raise ValueError(f"the numbers of a device must be at most {MOST_NUMBERS}, none of them twice")
    for name in numbers:
        if not NUMBER.fullmatch(name):
            raise ValueError(
                f"a device's numbers have names of small letters, digits and underscores, got "
                f"{shown(repr(name), 60)}"
            )


def device_metrics(device: str, numbers: tuple[str, ...]) -> tuple[Metric, ...]:
    """The metrics that trials report of the ``numbers`` of a ``device``: ``device_latency_ms`` and so on.

    They begin with ``device_``, so that none is ever taken for one of Rayduce's own, whatever a command calls
    its numbers. Less of each is better; the unit is read off the end of the name, see :data:`UNITS`.

    Raises:
        ValueError: no device, or no number, can have such a name.
    """
    check_device_name(device)
    check_numbers(numbers)
    return tuple(_metric(device, name) for name in numbers)


def with_device(quality: Quality, device: str, numbers: tuple[str, ...]) -> Quality:
    """``quality`` with what a ``device`` says of students among the costs that its trials report.

    Raises:
        ValueError: as of :func:`device_metrics`.
    """
    return replace(quality, costs=(*quality.costs, *device_metrics(device, numbers)))


def mean_numbers(found: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """Of a student that takes several routes, what one use costs on average, and at most.

    Times and energy are means over the routes; of everything else, such as memory and power, the largest
    counts.

    Args:
        found: shares of inputs, which add up to 1, and the numbers by name; at least one.
    """
    means: dict[str, float] = {}
    for name in found[0][1]:
        values = [(share, numbers[name]) for share, numbers in found]
        if _unit(name) in _PER_USE:
            means[name] = sum(share * value for share, value in values)
        else:
            means[name] = max(value for _, value in values)
    return means


def known_numbers(device: Device, key: str) -> dict[str, float] | None:
    """What the ``device`` said of the student ``key``; None if it was not asked, or did not answer.

    Raises:
        OSError: the table cannot be read.
    """
    numbers = _read(device.file).numbers.get(key)
    return None if numbers is None or _unlike(device, numbers) else dict(numbers)


def numbers_of(device: Device, key: str, build_onnx: Callable[[], Mapping[str, bytes]]) -> dict[str, float]:
    """What the ``device`` says of a student: looked up, or asked for and kept.

    One process at a time asks it: on this machine whatever the store is, and on all machines that share the
    store. A device that did not answer is asked again by later calls, at most three times for a student.

    Args:
        device: to ask.
        key: what decides its answer: the architecture, and how weights are stored.
        build_onnx: exports the student; called only to ask.

    Returns:
        By name, as the device calls them.

    Raises:
        NoAnswer: it gave no numbers, now or three times before; the message holds nothing of the command.
        OSError: the table cannot be read or written.
    """
    if (known := known_numbers(device, key)) is not None:
        return known
    graphs = build_onnx()  # before the turn: others need not wait for it
    with _turn(device) as lock:
        table = _read(device.file)
        numbers = table.numbers.get(key)
        if numbers is not None and not _unlike(device, numbers):
            return dict(numbers)
        tries, why = table.failed.get(key, (0, ""))
        if tries >= TRIES:
            raise NoAnswer(f"{why} (asked {tries} times)")
        try:
            found = _asked(device, graphs, lock)
        except NoAnswer as error:
            failed = {**table.failed, key: (tries + 1, _told(error, device))}
            _write(device, replace(table, failed=failed))
            raise NoAnswer(failed[key][1]) from None
        failed = {name: each for name, each in table.failed.items() if name != key}
        _write(device, replace(table, numbers={**table.numbers, key: found}, failed=failed))
        return found


def begin(device: Device) -> str:
    """Let failures of earlier sweeps count no more, and compare the command with that of earlier answers.

    Returns:
        What is to be said of it; empty if nothing is.

    Raises:
        ValueError: the table has answers to another command, of a device that nobody has named.
        OSError: the table cannot be read or written.
    """
    if not device.file.exists():
        return ""
    with _turn(device):
        table = _read(device.file)
        other = bool(table.command) and table.command != _digest(device)
        if other and table.numbers and device.name == DEFAULT_NAME:
            raise ValueError(
                f"{shown(str(device.file), 300)} has answers to another command, and they may be of another "
                "device"
            )
        if table.failed or other:
            _write(device, replace(table, failed={}))
    if other and table.numbers:
        return (
            f"{device.name} was asked by another command before: {len(table.numbers)} of its answers are "
            "kept and not asked for again; another name of the device asks for all"
        )
    return ""


def damaged_answers(table: Path) -> list[str]:
    """One sentence for each file of the folder that holds no answers, or was changed by somebody else.

    Raises:
        OSError: a file cannot be read.
    """
    found = []
    for path in sorted(table.glob("*.json")):
        try:
            _entries(path)
        except ValueError as error:
            found.append(f"{shown(str(path), 400)} holds no answers of a device ({error}): it is asked again")
    return found


@dataclass(frozen=True)
class _Table:
    """What is kept of a device: its answers, how often it failed and why, and the command's digest."""

    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    failed: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    command: str = ""


def _metric(device: str, name: str) -> Metric:
    unit = _unit(name)
    words = name.rpartition("_")[0] if unit and "_" in name else name
    label = f"{words.replace('_', ' ')} on {device}"
    meaning = f"{name} that the command of --measure printed for the exported student on the device {device}."
    return Metric(DEVICE + name, label, "down", unit, meaning, trained_share=1.0)


def _unit(name: str) -> str:
    return UNITS.get(name.rpartition("_")[2], "")


def _unlike(device: Device, numbers: Mapping[str, float]) -> bool:
    """Whether an answer lacks a number that the device is known to give."""
    return not {*device.numbers} <= numbers.keys()


def _asked(device: Device, graphs: Mapping[str, bytes], lock: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="rayduce-") as folder:  # of mode 0700
        files = [Path(folder) / f"{name}.onnx" for name in graphs]
        for file, data in zip(files, graphs.values(), strict=True):
            file.write_bytes(data)
        try:
            found = ask(device.words, files, device.folder, device.seconds, (lock,))
        except NoAnswer as error:  # whose words may name the files
            raise NoAnswer(error.what, error.said.replace(f"{folder}/", "")) from None
    if device.numbers and found.keys() != {*device.numbers}:
        raise NoAnswer(
            f"its command gave {', '.join(sorted(found))}, and {', '.join(sorted(device.numbers))} before"
        )
    return found


def _told(error: NoAnswer, device: Device) -> str:
    """Why there is no answer, fit for a store that others read."""
    said = shown(hidden(error.said, device.words), _LONGEST_SAID)
    return str(NoAnswer(error.what, said))


@contextmanager
def _turn(device: Device) -> Iterator[int]:
    """Be the only one that asks the device; gives the open file of the lock."""
    device.table.mkdir(parents=True, exist_ok=True)
    with alone(device_turn(os.getuid(), device.name)):
        file = os.open(device.table / f"{device.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with locked(file, lambda: None):
            yield file


def _digest(device: Device) -> str:
    return hashlib.sha256("\0".join(device.words).encode(errors="surrogateescape")).hexdigest()


def _read(path: Path) -> _Table:
    """What the table at ``path`` has; nothing if there is none, or a damaged one."""
    try:
        return _entries(path)
    except ValueError:  # :func:`damaged_answers` tells of it, and :func:`_write` sets it aside
        return _Table()


def _entries(path: Path) -> _Table:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return _Table()
    content = unsealed(data)
    if content.get("device") != path.stem:
        raise ValueError("it is of another device")
    numbers, failed, command = (content.get(name) for name in ("numbers", "failed", "command"))
    if not (isinstance(numbers, dict) and isinstance(failed, dict) and isinstance(command, str)):
        raise ValueError("it has no answers")
    return _Table(
        {key: _numbers(entry) for key, entry in numbers.items()},
        {key: _failure(entry) for key, entry in failed.items()},
        command,
    )


def _numbers(entry: Any) -> dict[str, float]:
    if not isinstance(entry, dict) or not entry:
        raise ValueError("an answer has no numbers")
    check_numbers(tuple(entry))
    if not all(isinstance(value, float) for value in entry.values()):
        raise ValueError("an answer has what is no number")
    return entry


def _failure(entry: Any) -> tuple[int, str]:
    match entry:
        case {"tries": int(tries), "why": str(why), **others} if tries > 0 and not others:
            return tries, shown(why, 4 * _LONGEST_SAID)
    raise ValueError("a failure is none")


def _write(device: Device, table: _Table) -> None:
    try:
        _entries(device.file)
    except ValueError:
        set_aside(device.file)
    content = {
        "device": device.name,
        "command": _digest(device),
        "numbers": {key: dict(sorted(each.items())) for key, each in sorted(table.numbers.items())},
        "failed": {key: {"tries": n, "why": why} for key, (n, why) in sorted(table.failed.items())},
    }
    write_file(device.file, sealed(content))
