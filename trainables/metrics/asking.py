"""A user's own command, run for its numbers: with an end, a limit of what it says, and nobody left behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from trainables.foreign import parse_json, shown

FILE = "{onnx}"
"""Stands in a command for the exported file, or the files of a student that has several."""
LONGEST_OUTPUT = 65_536
"""Bytes that a command may write to each of its two outputs."""
MOST_NUMBERS = 32
NUMBER = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""What a number of a device may be called."""

_LINES = 3  # of what a command said are told
_STEP_SECONDS = 0.05
_FEWEST_SECRET = 4  # letters; shorter words would be found everywhere
_SECRET = re.compile(r"TOKEN|SECRET|PASS|CREDENTIAL|KEY", re.IGNORECASE)
_GUARD = 'read group && [ "$group" != done ] && { read done || kill -s KILL -- "-$group"; }'
"""Run by ``sh``: told the command's process group, it kills that one if whoever holds the pipe has died."""


class NoAnswer(Exception):
    """A device gave no numbers.

    Attributes:
        what: happened, a clause.
        said: by the command, its first lines; empty if it said nothing.
    """

    def __init__(self, what: str, said: str = "") -> None:
        super().__init__(what, said)
        self.what = what
        self.said = said

    def __str__(self) -> str:
        return f"{self.what}: {self.said}" if self.said else self.what


def read_command(text: str) -> tuple[str, ...]:
    """The words of a command, as a shell would split it; no shell runs it.

    Raises:
        ValueError: a quote has no end, there is no command, or it does not say where the exported file goes.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"it cannot be split into words ({error})") from None
    if not words:
        raise ValueError("it is empty")
    if any("\0" in word for word in words):
        raise ValueError("it has a zero byte")
    if not any(FILE in word for word in words[1:]):
        raise ValueError(f"it does not say where the exported file goes: write {FILE} there")
    return words


def ask(
    words: Sequence[str], files: Sequence[Path], folder: Path, seconds: float, keep: tuple[int, ...] = ()
) -> dict[str, float]:
    """Run a command on exported ``files`` and read the numbers that it prints.

    It is run in the environment of this process, with an empty input, as the head of a process group that is
    killed when the time is over, when the command has ended, and when this process dies.

    Args:
        words: of the command. ``{onnx}`` as a word of its own becomes a word for each file; within a longer
            one the paths, separated by spaces.
        files: of one student, in the order of its graphs.
        folder: to run it in.
        seconds: after which it is killed.
        keep: open files that whoever kills the command when this process dies holds until it has.

    Returns:
        By name, finite numbers; at least one.

    Raises:
        NoAnswer: it cannot be started, took too long, said too much, had another exit code than 0, or did
            not print a JSON object of finite numbers, and nothing else.
    """
    output, errors, code = _run(_with_files(words, files), folder, seconds, keep)
    if code != 0:
        how = f"with exit code {code}" if code > 0 else f"by the signal {-code}"
        raise NoAnswer(f"its command ended {how}", _first_lines(errors) or _first_lines(output))
    try:
        return read_numbers(output)
    except ValueError as error:
        raise NoAnswer(f"its command printed {error}", _first_lines(output)) from None


def read_numbers(output: bytes) -> dict[str, float]:
    """The numbers of a command's ``output``.

    Raises:
        ValueError: it is no JSON object of 1 to 32 finite numbers with names that can be used; the message
            follows "printed".
    """
    try:
        found = parse_json(output)
    except ValueError as error:
        raise ValueError(f"no JSON ({shown(str(error), 80)})") from None
    if not isinstance(found, dict) or not 1 <= len(found) <= MOST_NUMBERS:
        raise ValueError(f"no JSON object of 1 to {MOST_NUMBERS} numbers")
    return {_name(name): _number(name, value) for name, value in found.items()}


def hidden(text: str, words: Sequence[str], environment: Mapping[str, str] = os.environ) -> str:
    """``text`` without what may be secret: it goes where others read.

    Args:
        text: that a command said.
        words: of the command: all but the first, and their parts, such as the host of ``me@host``, are
            hidden.
        environment: of which values are hidden whose names speak of tokens, passwords, keys and the like.
    """
    secrets = {value for name, value in environment.items() if _SECRET.search(name)}
    for word in words[1:]:
        parts = [word, *re.split(r"[\s@:/=,;'\"]+", word)]
        secrets |= {part for part in parts if FILE not in part and not part.startswith("-")}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _FEWEST_SECRET:
            text = text.replace(secret, "***")
    return re.sub(r"(?<=//)[^/@\s]*@", "***@", text)


def _name(name: str) -> str:
    if not NUMBER.fullmatch(name):
        raise ValueError(
            f"a number called {shown(repr(name), 60)}, and names are a small letter and up to 39 small "
            "letters, digits or underscores"
        )
    return name


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} as {shown(json.dumps(value), 40)}, which is no number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} as a number that is too large") from None


def _with_files(words: Sequence[str], files: Sequence[Path]) -> list[str]:
    paths = [str(file) for file in files]
    found: list[str] = []
    for word in words:
        found += paths if word == FILE else [word.replace(FILE, " ".join(paths))]
    return found


def _run(
    words: Sequence[str], folder: Path, seconds: float, keep: tuple[int, ...]
) -> tuple[bytes, bytes, int]:
    """What the command wrote to its output and to its errors, and its exit code."""
    with _guard(keep) as guarding:
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # which makes it the head of a group
            )
        except OSError as error:
            why = f"{error.strerror}: {error.filename}"
            raise NoAnswer(f"its command cannot be started ({shown(why, 120)})") from None
        try:
            guarding(process.pid)
            assert process.stdout is not None and process.stderr is not None
            with process.stdout as output, process.stderr as errors:
                return *_read(process, output, errors, seconds), process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left of the group
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def _guard(keep: tuple[int, ...]) -> Iterator[Callable[[int], None]]:
    """A process that kills a group, which it is to be told, should this one die: the killed cannot do it."""
    guard = subprocess.Popen(
        ["sh", "-c", _GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=keep,
    )
    assert guard.stdin is not None
    line = guard.stdin

    def tell(text: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # somebody has killed the guard
            line.write(f"{text}\n".encode())
            line.flush()

    try:
        yield tell
    finally:
        tell("done")
        with contextlib.suppress(BrokenPipeError):
            line.close()
        guard.wait()


def _read(
    process: subprocess.Popen[bytes], output: IO[bytes], errors: IO[bytes], seconds: float
) -> tuple[bytes, bytes]:
    """Both outputs of ``process``, which has ended by then.

    Its end counts, and not that of its outputs: what it leaves behind may hold them open, as an ssh that
    keeps its connection for the next one does.
    """
    found = {output.fileno(): bytearray(), errors.fileno(): bytearray()}
    until = time.monotonic() + seconds
    with selectors.DefaultSelector() as waiting:
        for handle in found:
            os.set_blocking(handle, False)
            waiting.register(handle, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None  # before reading: what it wrote is in the pipes by then
            ready = waiting.select(0 if ended else _STEP_SECONDS)
            for key, _ in ready:
                data = os.read(key.fd, LONGEST_OUTPUT)
                found[key.fd] += data
                if not data:
                    waiting.unregister(key.fd)
            wrong = ""
            if any(len(text) > LONGEST_OUTPUT for text in found.values()):
                wrong = f"its command wrote more than {LONGEST_OUTPUT:,} bytes"
            elif ended and not ready:
                break
            elif time.monotonic() > until:
                wrong = f"its command took longer than {seconds:g} s and was stopped"
            if wrong:
                said = _first_lines(found[errors.fileno()]) or _first_lines(found[output.fileno()])
                raise NoAnswer(wrong, said)
    return bytes(found[output.fileno()]), bytes(found[errors.fileno()])


def _first_lines(output: bytes | bytearray) -> str:
    """The first lines of what a command wrote, on one line; not yet fit to be shown."""
    text = output.decode(errors="backslashreplace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[:_LINES])
