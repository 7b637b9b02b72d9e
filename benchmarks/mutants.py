"""Damaged copies of a file, for those who must read it without harm: bytes, blocks, lines and JSON values.

``mutants`` makes them, ``attempts`` lets a reader meet them. Both are functions of the seed alone.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLACE = "rayduce-mutant-was-here"
"""Stands where raw text goes into JSON; no file of ours contains it."""
_LENGTH = 8  # bytes at the start of a safetensors file that say how long its header is

VALUES = (
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1",
    "0.5",
    "-0.0",
    "1e308",
    "-1e308",
    "1e-320",
    "1e999",
    "NaN",
    "Infinity",
    "-Infinity",
    str(2**31),
    str(2**63),
    str(-(2**63) - 1),
    str(10**400),
    "9" * 5000,
    '""',
    '"0"',
    '"nan"',
    '"\\ud800"',
    '"\\u202e\\u001b[2J"',
    '"../../../etc/passwd"',
    '"\\u0000"',
    json.dumps("A" * 20_000),
    "[]",
    "{}",
    "[0]",
    '{"a": 0}',
    "[null, null]",
    "[" * 70 + "]" * 70,
    '{"a":' * 70 + "0" + "}" * 70,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 100_000 + "0" + "}" * 100_000,
    "[" * 100_000,
)
"""JSON, or nearly, that replaces a value: other types, extremes, text that does harm, nesting."""


@dataclass(frozen=True)
class Mutant:
    """A damaged copy of a file.

    Attributes:
        what: what was done, in a few words.
        data: the bytes.
    """

    what: str
    data: bytes


@dataclass(frozen=True)
class Attempt:
    """How a reader took a mutant.

    Attributes:
        mutant: what it met.
        error: what it raised, or None.
        seconds: how long it took.
    """

    mutant: Mutant
    error: BaseException | None
    seconds: float


def mutants(data: bytes, count: int, seed: int = 0) -> Iterator[Mutant]:
    """``count`` damaged copies of ``data``, all other than it; the same ones for the same seed.

    Half are damaged as bytes, as a disk or a cut transfer does it. Where there is JSON in ``data`` (the
    whole, lines of it, or the header of a safetensors file), the other half are JSON with one value, key
    or line changed.

    Args:
        data: a whole file.
        count: how many.
        seed: of the choices.
    """
    rng = random.Random(seed)
    documents = _documents(data)
    made = 0
    for what, damage in _WHOLE:
        damaged = damage(data)
        if made < count and damaged != data:
            yield Mutant(what, damaged)
            made += 1
    while made < count:
        if documents and rng.random() < 0.5:
            mutant = _json_mutant(data, documents, rng)
        else:
            what, change = rng.choice(_LINES if documents and rng.random() < 0.3 else _BYTES)
            mutant = Mutant(what, change(data, rng))
        if mutant.data != data:
            yield mutant
            made += 1


def attempts(
    folder: Path,
    path: Path,
    use: Callable[[Path], None],
    count: int,
    seed: int = 0,
) -> Iterator[Attempt]:
    """Let ``use`` read ``folder`` once with each mutant of one of its files.

    Before each, the folder is what it was: a reader may set things aside, write and delete there.

    Args:
        folder: what a reader gets.
        path: the file that is damaged, within it.
        use: reads; raises what it cannot take.
        count: how many mutants.
        seed: of the mutants.
    """
    whole = folder.with_name(folder.name + ".whole")
    shutil.copytree(folder, whole, symlinks=True)
    try:
        for mutant in mutants(path.read_bytes(), count, seed):
            shutil.rmtree(folder)
            shutil.copytree(whole, folder, symlinks=True)
            path.write_bytes(mutant.data)
            begun = time.perf_counter()
            error: BaseException | None = None
            try:
                use(folder)
            except Exception as raised:  # whatever it is, the caller judges it
                error = raised
            yield Attempt(mutant, error, time.perf_counter() - begun)
    finally:
        shutil.rmtree(folder)
        whole.rename(folder)


@dataclass(frozen=True)
class _Document:
    """JSON within a file: from ``start`` to ``end``; ``sized`` if a length of 8 bytes stands before it."""

    start: int
    end: int
    sized: bool = False

    def replaced(self, data: bytes, text: bytes) -> bytes:
        if self.sized:
            return len(text).to_bytes(_LENGTH, "little") + text + data[self.end :]
        return data[: self.start] + text + data[self.end :]


def _documents(data: bytes) -> list[_Document]:
    """Where ``data`` has JSON with something in it."""
    found = _Document(0, len(data))
    if _is_json(data):
        return [found]
    header = _Document(_LENGTH, _LENGTH + int.from_bytes(data[:_LENGTH], "little"), sized=True)
    if header.end <= len(data) and _is_json(data[header.start : header.end]):
        return [header]
    lines, start = [], 0
    for line in data.split(b"\n"):
        if _is_json(line):
            lines.append(_Document(start, start + len(line)))
        start += len(line) + 1
    return lines


def _is_json(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), (dict, list))
    except (ValueError, RecursionError):
        return False


def _json_mutant(data: bytes, documents: list[_Document], rng: random.Random) -> Mutant:
    document = rng.choice(documents)
    content = json.loads(data[document.start : document.end])
    places = list(_places(content))
    what, raw = "an empty document", rng.choice(VALUES)
    if not places:
        return Mutant(what, document.replaced(data, raw.encode("utf-8", "surrogatepass")))
    holder, key = rng.choice(places)
    if isinstance(holder, dict) and (inner := _as_json(holder[key])) is not None and rng.random() < 0.5:
        # JSON within a text of JSON, as facts stand in a checkpoint's header
        deeper = list(_places(inner))
        below, name = rng.choice(deeper)
        below[name] = PLACE
        holder[key] = json.dumps(inner).replace(json.dumps(PLACE), raw)
        what, text = f"{name!r} within {key!r} became {raw[:20]}", json.dumps(content)
    elif isinstance(holder, dict) and rng.random() < 0.15:
        del holder[key]
        what, text = f"without {key!r}", json.dumps(content)
    elif isinstance(holder, dict) and rng.random() < 0.15:
        holder[PLACE] = rng.choice([holder[key], None, 0, "x", holder])
        if holder[PLACE] is holder:
            holder[PLACE] = dict(holder, **{PLACE: 0})
        text = json.dumps(content).replace(json.dumps(PLACE), json.dumps(key))
        what = f"{key!r} twice"
    elif isinstance(holder, dict) and rng.random() < 0.1:
        holder[rng.choice(["x", "", "__class__", "../x", "\ud800"])] = holder.pop(key)
        what, text = f"{key!r} has another name", json.dumps(content)
    else:
        raw = _raw(holder[key], rng)
        holder[key] = PLACE
        what = f"{key!r} became {raw[:20]}"
        text = json.dumps(content).replace(json.dumps(PLACE), raw)
    return Mutant(what, document.replaced(data, text.encode("utf-8", "surrogatepass")))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each object or list within ``value`` with each of its keys."""
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _as_json(value: Any) -> Any:
    """What a text of JSON holds, if that has something in it; else None."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            found = json.loads(value)
        except ValueError:
            return None
        return found or None
    return None


def _raw(value: Any, rng: random.Random) -> str:
    """Other JSON for ``value``: any of :data:`VALUES`, or one near to it."""
    plain = json.dumps(value)
    near = [f"[{plain}]", json.dumps(plain), f'{{"x": {plain}}}']
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        near += [f"-{plain}".replace("--", ""), json.dumps(value + 1), json.dumps(value * 1000), f"{plain}e9"]
    if isinstance(value, str):
        near += [json.dumps(value + "x"), json.dumps(value[1:]), json.dumps(value.upper())]
    if isinstance(value, list) and value:
        near += [json.dumps(value[:-1]), json.dumps([*value, value[0]]), json.dumps(value[::-1])]
    return rng.choice(near) if rng.random() < 0.3 else rng.choice(VALUES)


def _flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 8, 64])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwritten(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    size = rng.choice([1, 1, 4, 16, 512])
    fill = rng.choice([b"\x00", b"\xff", b" ", b"{", b"9", b'"', b"\n"])
    return data[:start] + fill * min(size, len(data) - start) + data[start + size :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _without_block(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.choice([1, 2, 16, 512]) :]


def _inserted(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.randbytes(rng.choice([1, 2, 8, 512])) + data[start:]


def _doubled(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    end = start + rng.choice([1, 8, 64, 512])
    return data[:end] + data[start:end] + data[end:]


def _swapped(data: bytes, rng: random.Random) -> bytes:
    size = rng.choice([1, 8, 64])
    first, second = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    if first + size > second:
        return data[::-1]
    one, other = data[first : first + size], data[second : second + size]
    return data[:first] + other + data[first + size : second] + one + data[second + size :]


def _zero_tail(data: bytes, rng: random.Random) -> bytes:
    """What a power cut leaves of a file whose length was written before its content."""
    start = rng.randrange(len(data))
    return data[:start] + bytes(len(data) - start + rng.choice([0, 0, 1, 4096]))


def _line_dropped(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def _line_doubled(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return b"".join(lines)


def _lines_swapped(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def _line_cut(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    index = rng.randrange(len(lines))
    lines[index] = lines[index][: rng.randrange(len(lines[index]))] + rng.choice([b"", b"\n"])
    return b"".join(lines)


def _lines_joined(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    index = rng.randrange(len(lines))
    lines[index] = lines[index].rstrip(b"\r\n")
    return b"".join(lines)


_BYTES: tuple[tuple[str, Callable[[bytes, random.Random], bytes]], ...] = (
    ("bits flipped", _flipped),
    ("bytes overwritten", _overwritten),
    ("cut", _cut),
    ("a block removed", _without_block),
    ("bytes inserted", _inserted),
    ("a block doubled", _doubled),
    ("blocks swapped", _swapped),
    ("a tail of zeros", _zero_tail),
)
_LINES: tuple[tuple[str, Callable[[bytes, random.Random], bytes]], ...] = (
    ("a line dropped", _line_dropped),
    ("a line doubled", _line_doubled),
    ("lines swapped", _lines_swapped),
    ("a line cut", _line_cut),
    ("lines joined", _lines_joined),
)
_WHOLE: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("empty", lambda data: b""),
    ("zeros only", lambda data: bytes(len(data))),
    ("twice", lambda data: data * 2),
    ("half", lambda data: data[: len(data) // 2]),
    ("zeros appended", lambda data: data + bytes(4096)),
    ("a newline appended", lambda data: data + b"\n"),
    ("without its last byte", lambda data: data[:-1]),
    ("a byte order mark before it", lambda data: b"\xef\xbb\xbf" + data),
    ("lines end as in Windows", lambda data: data.replace(b"\n", b"\r\n")),
    ("in UTF-16", lambda data: data.decode("latin-1").encode("utf-16")),
    ("nested 100,000 deep", lambda data: b"[" * 100_000 + b"]" * 100_000),
    ("a huge header", lambda data: (2**62).to_bytes(_LENGTH, "little") + data[_LENGTH:]),
    ("a number of 5,000 digits", lambda data: b"9" * 5000),
    ("null", lambda data: b"null"),
    ("an empty list", lambda data: b"[]\n"),
    ("an empty object", lambda data: b"{}\n"),
    ("a text", lambda data: b'"text"\n'),
)
