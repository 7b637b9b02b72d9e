"""Damaged and hostile packed files by the hundred thousand: each is refused in one sentence, or read.

Each mutant is a valid file (of every codec, with masks, codebooks, buckets, vocabularies, many tensors, a
large header) changed in one of the ways of ``MUTATIONS``: bytes at random, or what somebody would do who
knows the format, to announced sizes, records, recipe and names. One in eight has a checksum that does not
fit. A mutant is read three times: as a student (header, tensors, their values in float32, the vocabulary, the
network), for the rows of ``rayduce inspect`` and by the light reader; the bars are for each.

Anything but a `PackedFileError` (of one line, without control characters, of at most ``LONGEST_MESSAGE``
letters) or a student is a failure. So is more than ``SECONDS`` of processor time or more than ``MEMORY``
bytes: the address space of a worker is limited to what it had before, and that much.

    python -m benchmarks.fuzz_packed_file [--mutants 100000] [--seed 0] [--chunk 2000] [--state FILE]

With ``--state`` what is done is kept in FILE, a line per chunk; a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import collections
import copy
import functools
import json
import math
import platform
import random
import re
import resource
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from rayduce_reader import read, read_header
from rayduce_reader.binary import Reader
from rayduce_reader.dictionary import DICTIONARY
from rayduce_reader.layout import IS_DENSE, read_shape
from rayduce_reader.packed_file import CHECKSUM_BYTES, MAGIC, VERSION, checksum
from trainables.codecs import Smallest
from trainables.codecs.base import Stored
from trainables.codecs.binary import varint
from trainables.codecs.layout import write_shape
from trainables.compression.compressed_weight import compress
from trainables.methods import Setting, full_precision, quantized_distillation
from trainables.metrics.latency import fingerprint
from trainables.models import LSTM, ConvNet
from trainables.origins import Fresh
from trainables.pruners import Magnitude
from trainables.quantizers.base import Codes, Dense, MixedCodes
from trainables.recipe import Recipe
from trainables.shipping.evaluation import assets_of, rebuild, ship
from trainables.shipping.packed_file import (
    PackedFileError,
    describe,
    pack,
    unpack,
)
from trainables.tasks import Digits, Phrases
from trainables.tasks.vocabulary import Vocabulary, VocabularyError, learn

MEMORY = 500 * 2**20
SECONDS = 2.0
LONGEST_MESSAGE = 500
NEAR = (800_000, 3_000_000, 12_000_000)
"""Elements that a small file may just announce, or just not."""
SIZES = (0, 1, 2, 3, 127, 128, *(2**power for power in (14, 20, 22, 24, 28, 31, 48)), 2**63 - 1, *NEAR)
VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 7, 255, 2**16, 2**31, 2**53, 2**64, 10**400, 0.5, -0.0, 1e-300, 1e308, True, None),
    *("", "x", "\x1b]0;title\x07", "\ud800", "\u202e", "[bold]x[/bold]", "x" * 800_000),
    *([], {}, [[]], {"type": "Recipe"}),
)
NAMES = (
    *("", "\x1b[31mred", "a\nb", "\ud800", "[link=http://x]y[/link]", "n" * 300_000),
    *("task:vocabulary", "task:", "\0"),
)
ODD_JSON = (
    *("NaN", "-Infinity", "1e999", "\x00", "]", "}", ",", '"', "null", '{"type":"Recipe"}', '"a":1,"a":1,'),
    *("[" * 100, "[" * 100_000, '{"type":' * 10_000, "9" * 10_000, " " * 2**21, '"\\ud800"', "[]," * 300_000),
)


class TooSlow(BaseException):
    """A mutant took more than ``SECONDS``; no reader may catch it."""


@dataclass(frozen=True)
class Parts:
    """A packed file taken apart."""

    elements: int
    recipe: Any
    names: list[Any]
    records: list[bytes]
    text: str | None = None  # instead of recipe and names

    def whole(self) -> bytes:
        """The file, with a checksum that fits."""
        text = self.text
        if text is None:
            text = json.dumps([self.recipe, None, self.names], sort_keys=True, separators=(",", ":"))
        squeezer = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
        squeezed = squeezer.compress(text.encode("ascii", "replace")) + squeezer.flush()
        records = b"".join(varint(len(record)) + record for record in self.records)
        return mended(
            MAGIC + bytes([VERSION]) + varint(self.elements) + varint(len(squeezed)) + squeezed + records
        )


def mended(body: bytes) -> bytes:
    """``body`` with the checksum it should have."""
    return body + checksum(body)


def taken_apart(data: bytes) -> Parts:
    """The parts of a valid file."""
    reader = Reader(data[:-CHECKSUM_BYTES])
    reader.take(len(MAGIC) + 1)
    elements = reader.varint()
    recipe, _, names = json.loads(
        zlib.decompressobj(-15, DICTIONARY).decompress(reader.take(reader.varint()))
    )
    return Parts(elements, recipe, names, [bytes(reader.take(reader.varint())) for _ in names])


def files() -> list[bytes]:
    """Valid files in which every codec, grid, model, form of scales and kind of asset is at work."""
    origin = Fresh(ConvNet(depth=1, width=0.25))
    recipe = quantized_distillation(
        Setting(Digits(), origin, epochs=4, teacher="0" * 16, pruner=Magnitude(0.5))
    )
    wide = np.repeat(np.random.default_rng(0).choice([0.5, 3.0], 40), 60)
    index = torch.from_numpy(
        np.clip(np.random.default_rng(1).normal(size=2400) * wide + 8, 0, 15).astype(np.uint8)
    )
    scale = torch.rand(40, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.1
    keep = torch.from_numpy(np.outer(np.arange(40) % 4 == 0, np.arange(60) % 2 == 0))
    rare = torch.zeros(40, 60, dtype=torch.bool)
    rare.view(-1)[::170] = True
    kept = index[keep.reshape(-1)]
    half = scale[: -(-kept.numel() // 60)].half()
    tensors: dict[str, Stored] = {
        "centred": Codes(index, (40, 60), 4, 60, None, scale, zero=8),
        "even": Codes(index, (40, 60), 4, 60, -scale.half() / 2, scale.half()),
        "book": Codes(index, (40, 60), 4, 60, -scale, scale, torch.linspace(0, 1, 16)),
        "kernels": Codes(index, (20, 12, 10), 4, None, torch.zeros(1), torch.ones(1)),
        "masked": Codes(kept, (40, 60), 4, 60, -half / 2, half, None, keep),
        "rare": Codes(index[:15], (40, 60), 4, None, torch.zeros(1).half(), torch.ones(1).half(), None, rare),
        "pruned": Dense(torch.where(keep, torch.ones(40, 60).half(), 0.0), keep),
        "few": Codes(index[:9] // 4, (3, 3), 2, 2, torch.zeros(5).half(), torch.ones(5).half()),
        "mixed": mixed(index),
        "mixed, masked": mixed(kept, keep),
        "counter": Dense(torch.tensor(7)),
        "flags": Dense(torch.tensor([True, False])),
        "bias": Dense(torch.zeros(8)),
        **idle_tensors(),
    }
    text = "der alte Koffer steht im Flur und zwei junge Katzen schlafen neben dem warmen Ofen"
    words = text.split()
    lines = [" ".join(words[start:] + words[:start]) for start in range(len(words))] * 5
    lstm = full_precision(Setting(Phrases(vocabulary_size=40), Fresh(LSTM()), epochs=2))
    vocabularies = {
        f"task:{kind}": Dense(torch.from_numpy(learn(lines, 40, kind).copy())) for kind in ("bpe", "unigram")
    }
    large = torch.randint(0, 16, (500_000,), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    phases = tuple(replace(phase, epochs=number) for number in range(20) for phase in recipe.phases)
    plain = full_precision(Setting(Digits(), origin, epochs=2))
    return [
        *map(_untrained, (plain, recipe)),
        pack(recipe, tensors),
        *(pack(recipe, {name: tensor, "bias": Dense(torch.zeros(3))}) for name, tensor in tensors.items()),
        pack(lstm, {"task:vocabulary": vocabularies["task:bpe"], "embedding": tensors["even"]}),
        pack(lstm, {"task:vocabulary": vocabularies["task:unigram"], **tensors}),
        pack(recipe, {f"layers.{number}.bias": Dense(torch.ones(2)) for number in range(300)}),
        pack(replace(recipe, phases=phases), {"n" * 2000: tensors["few"]}),
        pack(recipe, {"large": Codes(large, (1000, 500), 4, None, torch.zeros(1), torch.ones(1))}),
    ]


def mixed(index: torch.Tensor, keep: torch.Tensor | None = None) -> MixedCodes:
    """``index`` of 4 bits as levels of 4, 5 and 10 bits of a tensor of 40 rows of 60."""
    bits = torch.tensor([4, 5, 4, 10, 4], dtype=torch.uint8).repeat(60)
    fine = torch.repeat_interleave(bits == 10, 8)[: 40 * 60]
    fine = fine if keep is None else fine[keep.reshape(-1)]
    levels = index.to(torch.int16) * torch.where(fine, 61, 1).to(torch.int16)
    return MixedCodes(levels, (40, 60), bits, 8, -torch.ones(1), torch.ones(1), keep)


def _untrained(recipe: Recipe) -> bytes:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ship(recipe, compress(recipe.build(), recipe))


def idle_tensors() -> dict[str, Stored]:
    """Tensors of one value, which take no more bytes if they are announced larger."""
    index, ones = torch.zeros(4096, dtype=torch.uint8), torch.ones(64).half()
    none, every = torch.zeros(64, 64, dtype=torch.bool), torch.ones(64, 64, dtype=torch.bool)
    every[0, 0] = False
    return {
        "idle": Codes(index, (4096, 1), 1, None, ones[:1], ones[:1]),
        "idle buckets": Codes(index, (64, 64), 8, 64, ones, ones),
        "idle centre": Codes(index, (64, 8, 8), 8, 1, None, torch.ones(4096), zero=0),
        "all dropped": Codes(index[:0], (64, 64), 2, None, ones[:0], ones[:0], None, none),
        "all but one": Codes(index[1:], (64, 64), 2, None, ones[:1], ones[:1], None, every),
        "idle bits": MixedCodes(
            index.short(), (64, 64), torch.ones(512, dtype=torch.uint8), 8, torch.zeros(1), torch.ones(1)
        ),
        "dense dropped": Dense(torch.zeros(64, 64, dtype=torch.float64), none),
    }


def at_random(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A few bytes flipped, changed, cut out, put in, cut off or taken from ``other``."""
    broken = bytearray(data[:-CHECKSUM_BYTES])
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        place = chance.randrange(max(len(broken), 1))
        what = chance.randrange(6)
        if what == 0 and broken:
            broken[place] ^= 1 << chance.randrange(8)
        elif what == 1 and broken:
            broken[place] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        elif what == 2:
            del broken[place:]
        elif what == 3:
            del broken[place : place + chance.randint(1, 9)]
        elif what == 4:
            broken[place:place] = chance.randbytes(chance.randint(1, 9))
        else:
            cut = chance.randrange(len(other))
            broken[place : place + chance.randint(0, 60)] = other[cut : cut + chance.randint(1, 60)]
    return mended(bytes(broken))


def in_a_record(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """The same within one record, mostly at its front; the rest of the file fits."""
    parts = taken_apart(data)
    number = chance.randrange(len(parts.records))
    record = bytearray(parts.records[number])
    for _ in range(chance.choice([1, 1, 2, 3])):
        place = chance.randrange(min(len(record), chance.choice([4, 12, 40, len(record)])) or 1)
        if chance.random() < 0.3:
            record[place : place + chance.randint(0, 3)] = varint(chance.choice(SIZES))
        else:
            record[place : place + 1] = bytes([chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])])
    records = [*parts.records[:number], bytes(record), *parts.records[number + 1 :]]
    return replace(parts, records=records).whole()


def of_sizes(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A tensor that announces another shape, and a header that announces as many elements."""
    parts = taken_apart(data)
    number = chance.randrange(len(parts.records))
    record = parts.records[number]
    start = 1 if record[0] == 0 else 2  # behind the codec's number and, but for Raw, the flags or the form
    reader = Reader(record[start:])
    shape, low = read_shape(reader)
    if record[0] == 3 and record[1] & IS_DENSE and chance.random() < 0.3:
        low = chance.randrange(10)
    sizes = list(shape) or [1]
    for _ in range(chance.choice([1, 1, 2])):
        sizes[chance.randrange(len(sizes))] = chance.choice(SIZES)
    if chance.random() < 0.3:
        chance.shuffle(sizes)
    tail = bytes(reader.rest())
    if chance.random() < 0.5:  # behind the shape stand the bucket size, or how many are kept
        tail = (
            varint(chance.choice([*SIZES, sizes[0], sizes[0] - 1 if sizes[0] else 0]))
            + tail[chance.randint(0, 3) :]
        )
    flags = record[:start] if chance.random() < 0.7 else bytes([*record[: start - 1], chance.randrange(256)])
    try:
        grown = flags + write_shape(tuple(sizes), low) + tail
        elements = parts.elements + int(np.prod([float(s) for s in sizes])) - int(np.prod(shape))
        announced = max(0, min(elements, 2**62))
    except (ValueError, OverflowError):
        return at_random(data, other, chance)
    records = [*parts.records[:number], grown, *parts.records[number + 1 :]]
    return replace(parts, records=records, elements=announced).whole()


def of_idle_tensors(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Tensors of one value, in sizes that a small file may just announce or just not; all else fits."""
    parts = taken_apart(data)
    records, names, elements = list(parts.records), list(parts.names), parts.elements
    for number in range(chance.choice([1, 1, 2, 30])):
        kind, record = chance.choice(list(_idle_records().items()))
        start = 1 if record[0] == 0 else 2
        reader = Reader(record[start:])
        shape, low = read_shape(reader)
        sizes = [*shape[:-1], max(1, int(2 ** chance.uniform(12, 26)) // max(1, math.prod(shape[:-1])))]
        if chance.random() < 0.2:
            sizes.reverse()
        records.append(record[:start] + write_shape(tuple(sizes), low) + bytes(reader.rest()))
        names.append(f"{kind} {number}")
        elements += math.prod(sizes)
    return replace(parts, records=records, names=names, elements=elements).whole()


@functools.cache
def _idle_records() -> dict[str, bytes]:
    codec = Smallest()
    return {name: codec.encode(tensor) for name, tensor in idle_tensors().items()}


def of_records(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Records twice, in another order, left out, empty, or another file's."""
    parts, others = taken_apart(data), taken_apart(other)
    records, names = list(parts.records), list(parts.names)
    place = chance.randrange(len(records))
    what = chance.randrange(6)
    if what == 0:
        times = chance.choice([1, 2, 20, 50] * 5 + [3000])
        records += [records[place]] * times
        names += [f"again.{number}" for number in range(times)]
        tensors = unpack(data)[1]
        again = int(np.prod(tensors[names[place]].shape)) * times
        return replace(parts, records=records, names=names, elements=parts.elements + again).whole()
    if what == 1:
        chance.shuffle(records)
    elif what == 2:
        del records[place]
    elif what == 3:
        records[place] = b""
    elif what == 4:
        records[place] = chance.choice(others.records)
    else:
        records[place] = bytes([chance.randrange(6)]) + records[place][1:]
    return replace(parts, records=records).whole()


def of_the_recipe(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A value of the recipe that is extreme, of another kind or missing, or a field that is not known."""
    parts = taken_apart(data)
    recipe = copy.deepcopy(parts.recipe)
    for _ in range(chance.choice([1, 1, 2])):
        holder, key = chance.choice(list(places(recipe)))
        what = chance.random()
        if what < 0.7:
            holder[key] = copy.deepcopy(chance.choice(VALUES))
        elif what < 0.8:
            del holder[key]
        elif what < 0.9 and isinstance(holder, list):
            holder.extend([holder[key]] * chance.choice([1, 300, 3000]))
        elif isinstance(holder, dict):
            holder[chance.choice(NAMES)] = chance.choice(VALUES)
        if not recipe:
            break
    return replace(parts, recipe=recipe).whole()


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in JSON data, as what holds it and where in there."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(inside):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from places(inner)


def of_names(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Names that are odd, twice, no strings, too many or too few."""
    parts = taken_apart(data)
    names: list[Any] = list(parts.names)
    what = chance.randrange(4)
    if what == 0:
        names[chance.randrange(len(names))] = chance.choice(NAMES)
    elif what == 1:
        names[chance.randrange(len(names))] = chance.choice(VALUES)
    elif what == 2:
        names += [f"{number}" for number in range(chance.choice([1, 20_000, 100_000]))]
    else:
        names.append(names[0]) if chance.random() < 0.5 else names.pop()
    broken = replace(parts, names=names)
    if chance.random() < 0.3 and parts.records:  # and something that has to be said of it
        number = chance.randrange(len(parts.records))
        broken = replace(broken, records=[*parts.records[:number], b"\xff", *parts.records[number + 1 :]])
    return broken.whole()


def of_the_header(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """JSON that is deep, cut, doubled, or no JSON; and announced elements at will."""
    parts = taken_apart(data)
    text = json.dumps([parts.recipe, None, parts.names], separators=(",", ":"))
    place = chance.randrange(len(text))
    if chance.random() < 0.3:
        return replace(parts, elements=chance.choice(SIZES)).whole()
    return replace(
        parts, text=text[:place] + chance.choice(ODD_JSON) + text[place + chance.choice([0, 0, 1, 9]) :]
    ).whole()


def of_a_vocabulary(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A vocabulary that is damaged, or unpacks to far more than it should."""
    recipe, tensors, _ = unpack(data)
    if "task:vocabulary" not in tensors:
        return in_a_record(data, other, chance)
    whole = tensors["task:vocabulary"].decode().numpy().tobytes()
    pieces = bytearray(zlib.decompress(whole[6:]))
    what = chance.randrange(5)
    if what == 0:
        squeezed = _bomb(chance.choice([10, 2**24, 2**25, 2**26]))
    elif what == 1:
        squeezed = _numbers(chance.choice([60, 65_532, 2**20]))
    else:
        for _ in range(chance.randint(1, 3)):
            pieces[chance.randrange(len(pieces))] = chance.randrange(256)
        squeezed = zlib.compress(bytes(pieces), 9)
    head = (
        whole[:6]
        if what > 1
        else bytes([1, chance.randrange(2)]) + chance.choice([40, 65_536]).to_bytes(4, "little")
    )
    made = head + squeezed
    if what == 4:
        made = made[: chance.randrange(len(made))]
    values = torch.from_numpy(np.frombuffer(made, dtype=np.uint8).copy())
    return pack(recipe, tensors | {"task:vocabulary": Dense(values)})


@functools.cache
def _bomb(size: int) -> bytes:
    return zlib.compress(b"a" * size, 9)


@functools.cache
def _numbers(count: int) -> bytes:
    return zlib.compress(b"\n".join(b"%d" % number for number in range(count)), 9)


MUTATIONS: tuple[tuple[int, Callable[[bytes, bytes, random.Random], bytes]], ...] = (
    (20, at_random),
    (25, in_a_record),
    (19, of_sizes),
    (4, of_idle_tensors),
    (6, of_records),
    (12, of_the_recipe),
    (4, of_names),
    (4, of_the_header),
    (4, of_a_vocabulary),
)


def mutant(number: int, seed: int, sound: list[bytes]) -> tuple[str, bytes]:
    """The name of a mutation and what it made: the same for the same arguments."""
    chance = random.Random(f"{seed}/{number}")
    weights = [weight for weight, _ in MUTATIONS]
    [(_, mutate)] = chance.choices(MUTATIONS, weights)
    candidates = [data for data in sound if len(data) < 10_000 or chance.random() < 0.1]
    if mutate is of_a_vocabulary:
        candidates = [
            data for data in sound if b"task:vocabulary" in json.dumps(taken_apart(data).names).encode()
        ]
    data, other = chance.choice(candidates), chance.choice(sound)
    broken = mutate(data, other, chance)
    if number % 8 == 7:  # with a checksum that does not fit
        return "checksum", broken[:-CHECKSUM_BYTES] + data[-CHECKSUM_BYTES:]
    return mutate.__name__, broken


def outcome(read: Callable[[], str]) -> str:
    """What reading gives, or why it is refused, without figures and names; or ``FAILURE: ...``."""
    try:
        return read()
    except PackedFileError as error:
        message = str(error)
        if not message.isprintable() or len(message) > LONGEST_MESSAGE:
            return f"FAILURE: the message {message[:200]!r}"
        return re.sub(r"'.*?'|\".*?\"|\d+", "_", message)[:70]
    except TooSlow:
        raise
    except BaseException as error:  # whatever it is, the worker has to go on and report it
        return f"FAILURE: {type(error).__name__}: {str(error)[:200]!r}"


def student(data: bytes) -> str:
    """Read all tensors, their values, the vocabulary and the network."""
    recipe, tensors, _ = unpack(data)
    refused = _values(tensors)
    if not refused:
        rebuild(recipe, tensors)
    return refused or "read, with its network"


def values(data: bytes) -> str:
    """The same without the network, whose shapes take longer than all else."""
    return _values(unpack(data)[1]) or "read"


def rows(data: bytes) -> str:
    """What ``rayduce inspect`` reads."""
    describe(data)
    return "described"


def arrays(data: bytes) -> str:
    """What the light reader gives, who knows no recipe, and its header."""
    read(data)
    found = read_header(data)
    told = (found.recipe_id, found.method, found.task, found.class_names, found.preprocessing)
    return f"read, with {len(told)} fields"


def _values(tensors: dict[str, Stored]) -> str:
    """Decode all tensors; why the vocabulary among them is refused, if it is."""
    for tensor in tensors.values():
        tensor.decode()
    vocabulary = assets_of(tensors).get("vocabulary")
    if vocabulary is not None and vocabulary.dtype == torch.uint8:
        try:
            Vocabulary(vocabulary.numpy())
        except VocabularyError as error:
            return f"vocabulary refused: {re.sub(chr(39) + '.*|[0-9]+', '_', str(error))[:50]}"
    return ""


@dataclass
class Tally:
    """Outcomes of a run, and the worst of it."""

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    kinds: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)
    seconds: tuple[float, str] = (0.0, "")
    memory: tuple[int, str] = (0, "")

    def add(self, other: Tally) -> None:
        """Take over what ``other`` counted."""
        self.outcomes += other.outcomes
        self.kinds += other.kinds
        self.failures += other.failures
        self.seconds, self.memory = max(self.seconds, other.seconds), max(self.memory, other.memory)


def run(numbers: range, seed: int, networks: bool = True) -> Tally:
    """Read the mutants of these ``numbers`` in this process, whose address space is limited meanwhile."""
    readers = (student if networks else values, rows, arrays)
    torch.set_num_threads(1)
    sound = files()
    for data in sound:  # so that what libraries load at first use is loaded
        for look in readers:
            found = outcome(functools.partial(look, data))
            if found.startswith("FAILURE"):
                raise AssertionError(found)
    tally = Tally()
    signal.signal(signal.SIGPROF, _too_slow)
    for number in numbers:
        kind, data = mutant(number, seed, sound)
        where = f"mutant {number}, {kind}, {len(data)} bytes"
        tally.kinds[kind] += 1
        for look in readers:
            seconds, memory, found = _measured(functools.partial(look, data))
            tally.seconds = max(tally.seconds, (seconds, f"{where}, {look.__name__}"))
            tally.memory = max(tally.memory, (memory, f"{where}, {look.__name__}"))
            if look is readers[0]:
                tally.outcomes[found] += 1
            if found.startswith("FAILURE") or seconds > SECONDS or memory > MEMORY:
                tally.failures.append(f"{where}: {found} in {seconds:.2f} s and {memory} bytes")
    return tally


def _measured(read: Callable[[], str]) -> tuple[float, int, str]:
    """Processor seconds, growth of the process in bytes and outcome of reading."""
    Path("/proc/self/clear_refs").write_text("5")  # begin a new peak
    before = _memory()
    resource.setrlimit(resource.RLIMIT_AS, (before["VmSize"] + MEMORY, resource.RLIM_INFINITY))
    started = time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        found = outcome(read)
        signal.setitimer(signal.ITIMER_PROF, 0)
    except TooSlow:
        found = "FAILURE: too slow"
    seconds = time.process_time() - started
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return seconds, _memory()["VmHWM"] - before["VmRSS"], found


def _memory() -> dict[str, int]:
    found = re.findall(r"(Vm\w+):\s+(\d+) kB", Path("/proc/self/status").read_text())
    return {name: 1024 * int(size) for name, size in found}


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow


def in_a_worker(numbers: range, seed: int, networks: bool = True) -> Tally:
    """:func:`run` in a process of its own."""
    asked = [
        sys.executable,
        "-m",
        "benchmarks.fuzz_packed_file",
        *([] if networks else ["--without-networks"]),
        "--worker",
        json.dumps([numbers.start, numbers.stop, seed]),
    ]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=3600)
    if done.returncode:
        return Tally(
            failures=[f"the worker of mutants {numbers} ended with {done.returncode}: {done.stderr[-500:]}"]
        )
    return tally_of(json.loads(done.stdout.splitlines()[-1]))


def as_json(tally: Tally) -> dict[str, Any]:
    """For :func:`tally_of`."""
    return vars(tally)


def tally_of(found: dict[str, Any]) -> Tally:
    """What :func:`as_json` wrote."""
    return Tally(
        collections.Counter(found["outcomes"]),
        collections.Counter(found["kinds"]),
        found["failures"],
        tuple(found["seconds"]),
        tuple(found["memory"]),
    )


def report(tally: Tally) -> str:
    """Machine, versions, outcomes and the worst, as lines."""
    versions = f"constriction {version('constriction')}, numpy {np.__version__}, torch {torch.__version__}"
    lines = [
        ", ".join(f"{name} {value}" for name, value in fingerprint().items() if name != "onnxruntime"),
        f"{versions}, {platform.platform()}",
        "",
        *(f"{count:>8,}  {name}" for name, count in sorted(tally.kinds.items())),
        "",
        *(f"{count:>8,}  {name}" for name, count in tally.outcomes.most_common()),
        "",
        f"longest: {tally.seconds[0]:.2f} s of processor time ({tally.seconds[1]})",
        f"largest: {tally.memory[0] / 2**20:.0f} MiB ({tally.memory[1]})",
        f"failures: {len(tally.failures)}",
        *tally.failures[:50],
    ]
    return "\n".join(lines)


def main() -> None:
    """Run all chunks that are not done yet, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chunk", type=int, default=2000)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--without-networks", action="store_true")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        first, last, seed = asked.worker
        print(json.dumps(as_json(run(range(first, last), seed, not asked.without_networks))))
        return
    done: dict[str, Any] = {}
    if asked.state and asked.state.exists():
        done = dict(json.loads(line) for line in asked.state.read_text().splitlines())
    total = Tally()
    for first in range(0, asked.mutants, asked.chunk):
        numbers = range(first, min(first + asked.chunk, asked.mutants))
        key = f"{asked.seed}/{numbers.start}-{numbers.stop}"
        if key not in done:
            done[key] = as_json(in_a_worker(numbers, asked.seed, not asked.without_networks))
            if asked.state:
                with asked.state.open("a") as file:
                    file.write(json.dumps([key, done[key]]) + "\n")
        total.add(tally_of(done[key]))
    print(report(total))
    sys.exit(bool(total.failures))


if __name__ == "__main__":
    main()
