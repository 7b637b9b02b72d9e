"""A second reader of records, from docs/packed_file.md alone: plain Python, slow, trusting its input.

Nothing of the package is used, so that page, writer and reader cannot be wrong in the same way.
"""

from __future__ import annotations

import bisect
import itertools
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

WIDTHS = (2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 10, 12)
MANTISSAS = (0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 6, 8)
DTYPES = ("<f4", "<f2", "bfloat16", "<f8", "?", "u1", "i1", "<i2", "<i4", "<i8")


class Bytes:
    """Reads from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.at += count
        assert self.at <= len(self.data)
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        value = shift = 0
        while (group := self.byte()) > 127:
            value |= (group & 127) << shift
            shift += 7
        return value | group << shift

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)


def packed(data: bytes, count: int, bits: int) -> list[int]:
    number = int.from_bytes(data, "little")
    return [number >> bits * i & (1 << bits) - 1 for i in range(count)]


def packed_bytes(count: int, bits: int) -> int:
    return -(-count * bits // 8)


class Stream:
    """The entropy coder."""

    def __init__(self, data: bytes) -> None:
        assert not data.endswith(b"\0")
        data += bytes(-len(data) % 4)
        self.words = list(struct.unpack(f"<{len(data) // 4}I", data))
        self.state = 0
        while self.words and self.state < 2**32:
            self._refill()

    def _refill(self) -> None:
        self.state = self.state << 32 | self.words.pop()

    def pop(self, weights: list[int], count: int) -> list[int]:
        symbols = len(weights)
        scale = (2**24 - symbols) / sum(weights)
        sums = [0, *itertools.accumulate(weights)]
        lower = [math.floor(sums[s] * scale) + s for s in range(symbols)] + [2**24]
        out = []
        for _ in range(count):
            quantile = self.state % 2**24
            symbol = bisect.bisect_right(lower, quantile) - 1
            out.append(symbol)
            self.state = (self.state >> 24) * (lower[symbol + 1] - lower[symbol]) + quantile - lower[symbol]
            if self.state < 2**32 and self.words:
                self._refill()
        return out

    def seed(self, count: int) -> bytes:
        assert not self.words
        assert self.state >> 8 * count == (1 if count else 0)
        return self.state.to_bytes(8, "little")[:count]


def table(reader: Bytes, symbols: int) -> list[int]:
    form = reader.byte()
    shift, form = form >> 4, form & 15
    groups = -(-symbols >> shift)
    weights = []
    for entry in packed(reader.take(packed_bytes(groups, WIDTHS[form])), groups, WIDTHS[form]):
        exponent, fraction = divmod(entry - 1, 2 ** MANTISSAS[form])
        weights.append((2 ** MANTISSAS[form] + fraction) << exponent if entry else 0)
    return [weights[symbol >> shift] for symbol in range(symbols)]


def class_tables(reader: Bytes, count: int, symbols: int) -> list[list[int] | None]:
    tables: list[list[int] | None] = []
    for _ in range(count):
        if reader.data[reader.at] == 255:
            reader.byte()
            tables.append(None)
        else:
            tables.append(table(reader, symbols))
    return tables


def model(
    reader: Bytes, count: int, symbols: int, shape: tuple[int, ...], bucket_size: int | None
) -> Callable[[Stream], list[int]]:
    """The result pops the ``count`` symbols."""
    kind = reader.byte()
    if kind == 0:
        weights = table(reader, symbols)
        return lambda stream: stream.pop(weights, count)
    r = shape[0]
    c = shape[1] if len(shape) > 1 else 1
    k = math.prod(shape[2:])
    segment = {
        1: (lambda i: i // (bucket_size or 1), -(-count // (bucket_size or 1))),
        2: (lambda i: i // (c * k), r),
        3: (lambda i: i % (c * k), c * k),
        4: (lambda i: i // k, r * c),
        5: (lambda i: i % k, k),
        6: (lambda i: i // k % c, c),
    }
    kinds = [2, 3] if kind == 15 else [kind]
    classes = []
    for _ in kinds:
        number = reader.byte()
        classes.append((number, table(reader, number)))
    tables = class_tables(reader, math.prod(number for number, _ in classes), symbols)

    def pop(stream: Stream) -> list[int]:
        chosen = [stream.pop(weights, segment[k][1]) for k, (_, weights) in zip(kinds, classes, strict=True)]
        contexts = [0] * count
        for i in range(count):
            for one, (number, _), of in zip(kinds, classes, chosen, strict=True):
                contexts[i] = contexts[i] * number + of[segment[one][0](i)]
        out = [0] * count
        for context, weights in enumerate(tables):
            places = [i for i in range(count) if contexts[i] == context]
            if weights is not None:
                for i, symbol in zip(places, stream.pop(weights, len(places)), strict=True):
                    out[i] = symbol
        return out

    return pop


def read_shape(reader: Bytes) -> tuple[tuple[int, ...], int]:
    first = reader.byte()
    return tuple(reader.varint() for _ in range(first >> 4)), first & 15


def read_positions(
    reader: Bytes, shape: tuple[int, ...], kept: int, gaps: bool
) -> Callable[[Stream], list[bool]]:
    elements = math.prod(shape)
    if gaps:
        tokens = reader.byte() + 1
        weights = table(reader, tokens)
        return lambda stream: pop_gaps(stream, weights, elements, kept)
    if kept in (0, elements):
        return lambda stream: [kept > 0] * elements
    pop = model(reader, elements, 2, shape, None)
    return lambda stream: [bool(symbol) for symbol in pop(stream)]


def pop_gaps(stream: Stream, weights: list[int], elements: int, kept: int) -> list[bool]:
    tokens = stream.pop(weights, kept)
    widths = [(token - 16) // 4 + 4 - 2 if token >= 16 else 0 for token in tokens]
    lower = int.from_bytes(bytes(stream.pop([1] * 256, packed_bytes(sum(widths), 1))), "little")
    keep, at = [False] * elements, -1
    for token, width in zip(tokens, widths, strict=True):
        gap = token if token < 16 else (4 + token % 4 << width) + (lower & (1 << width) - 1)
        lower >>= width
        at += gap + 1
        keep[at] = True
    return keep


def read_quantized(data: bytes, codec: str) -> dict[str, Any]:
    reader = Bytes(data)
    flags = reader.byte()
    bits = (flags & 7) + 1
    shape, low = read_shape(reader)
    elements = math.prod(shape)
    bucket_size = reader.varint() if flags & 8 else None
    levels = zero = None
    if flags & 16:
        levels = reader.byte() + 1
        if levels == 1:
            levels, zero = None, reader.byte()
    symbols = levels or 2**bits
    width = 4 if flags & 32 else 2
    keep: list[bool] | None = None
    kept = reader.varint() if codec == "Sparse" else elements
    aligned = coded = False
    if codec == "BitPacked":
        if flags & 64:
            keep = [bool(bit) for bit in packed(reader.take(packed_bytes(elements, 1)), elements, 1)]
            kept = sum(keep)
    elif codec == "Sparse":
        pop_keep = read_positions(reader, shape, kept, bool(low & 1))
        coded, aligned = bool(low & 2), bool(low & 4)
    else:
        coded, aligned = bool(low & 1), bool(low & 2)
    buckets = min(kept, 1) if bucket_size is None else -(-kept // bucket_size)
    arrays = [] if zero is not None else [(buckets, width)]
    arrays += [(buckets, width)] + ([(levels, 4)] if levels else [])
    if codec == "BitPacked":
        values = [reader.take(count * size) for count, size in arrays]
        index = packed(reader.take(packed_bytes(kept, bits)), kept, bits)
    else:
        pop_levels = model(reader, kept, symbols, shape, bucket_size) if kept else lambda stream: []
        forms = [affine_form(reader, size) if coded else None for _, size in arrays]
        sizes = [
            count * size if form is None else packed_bytes(count * form["low"], 1)
            for (count, size), form in zip(arrays, forms, strict=True)
        ]
        seeded = min(3, sum(sizes))
        plain = reader.take(sum(sizes) - seeded)
        stream = Stream(reader.rest())
        if codec == "Sparse":
            keep = pop_keep(stream)
        index = pop_levels(stream)
        uppers = [
            stream.pop(form["weights"], count) if form else []
            for (count, _), form in zip(arrays, forms, strict=True)
        ]
        plain_reader = Bytes(plain + stream.seed(seeded))
        values = join_affine(arrays, forms, uppers, [plain_reader.take(size) for size in sizes])
    if aligned:
        index = turn_back(index, symbols, bits, bucket_size, values, width, levels)
    offset = values.pop(0) if zero is None else None
    return {
        "index": index,
        "shape": shape,
        "bits": bits,
        "bucket_size": bucket_size,
        "offset": offset,
        "scale": values[0],
        "codebook": values[1] if levels else None,
        "keep": keep if flags & 64 else None,
        "zero": zero,
    }


def affine_form(reader: Bytes, size: int) -> dict[str, Any] | None:
    form = reader.byte()
    if form == 255:
        return None
    base = int.from_bytes(reader.take(size), "little")
    return {"low": form % 64, "difference": form >= 64, "base": base, "weights": table(reader, reader.byte())}


def join_affine(
    arrays: list[tuple[int, int]],
    forms: list[dict[str, Any] | None],
    uppers: list[list[int]],
    plain: list[bytes],
) -> list[bytes]:
    found: list[list[int]] = []
    for (count, size), form, upper, raw in zip(arrays, forms, uppers, plain, strict=True):
        if form is None:
            found.append([int.from_bytes(raw[i * size : i * size + size], "little") for i in range(count)])
            continue
        top, modulus = 1 << 8 * size - 1, 1 << 8 * size
        number = int.from_bytes(raw, "little")
        patterns = []
        for i in range(count):
            lower = number >> form["low"] * i & (1 << form["low"]) - 1
            pattern = (form["base"] + (upper[i] << form["low"]) + lower) % modulus
            if not form["difference"]:
                pattern = pattern - top if pattern >= top else modulus - 1 - pattern
            patterns.append(pattern)
        found.append(patterns)
    if forms[0] is not None and forms[0]["difference"]:
        modulus = 1 << 8 * arrays[0][1]
        found[0] = [(one + other) % modulus for one, other in zip(found[0], found[1], strict=True)]
    return [
        b"".join(pattern.to_bytes(size, "little") for pattern in patterns)
        for (_, size), patterns in zip(arrays, found, strict=True)
    ]


def turn_back(
    symbols: list[int],
    count: int,
    bits: int,
    bucket_size: int | None,
    values: list[bytes],
    width: int,
    levels: int | None,
) -> list[int]:
    kind = "e" if width == 2 else "f"
    offsets, scales = (struct.unpack(f"<{len(v) // width}{kind}", v) for v in values[:2])
    book = struct.unpack(f"<{levels}f", values[2]) if levels else None
    zeros = []
    for offset, scale in zip(offsets, scales, strict=True):
        with np.errstate(all="ignore"):  # NumPy's division knows infinity
            place = float(-np.float64(offset) / np.float64(scale))
        place = 0.0 if math.isnan(place) else place
        if book is None:
            zeros.append(round(min(max(place * (2**bits - 1), 0.0), 2.0**bits - 1)))
        else:
            zeros.append(sum((a + b) / 2 < place for a, b in itertools.pairwise(book)))
    buckets = [i // bucket_size if bucket_size else 0 for i in range(len(symbols))]
    return [(s - count // 2 + zeros[j]) % count for s, j in zip(symbols, buckets, strict=True)]


def read_record(data: bytes) -> dict[str, Any]:
    """A record of ``Smallest`` with its default members, as plain values; arrays of floats as their bytes."""
    codec, data = ("Raw", "BitPacked", "EntropyCoded", "Sparse")[data[0]], data[1:]
    if codec == "Sparse" and data[0] & 128:
        return read_sparse_dense(Bytes(data))
    if codec == "EntropyCoded" and data[0] & 128:
        return read_mixed(Bytes(data))
    if codec != "Raw":
        return read_quantized(data, codec)
    reader = Bytes(data)
    shape, number = read_shape(reader)
    return {"dtype": DTYPES[number], "shape": shape, "values": reader.rest(), "keep": None}


def read_mixed(reader: Bytes) -> dict[str, Any]:
    flags = reader.byte()
    shape, _ = read_shape(reader)
    elements = math.prod(shape)
    group_size = reader.varint() if flags & 4 else None
    size = elements if group_size is None else group_size
    groups = -(-elements // size) if elements else 0
    kept = reader.varint() if flags & 1 else elements
    pop_keep = read_positions(reader, shape, kept, bool(flags & 2)) if flags & 1 else None
    known = int.from_bytes(reader.take(2), "little")
    widths = [bits for bits in range(1, 16) if known >> bits - 1 & 1]
    pop_bits = lambda stream: [width - 1 for width in widths] * groups  # noqa: E731
    if len(widths) > 1:
        row = math.prod(shape[1:])
        rows = (shape[0], row // size) if group_size and shape and row % size == 0 else ()
        pop_bits = model(reader, groups, 15, rows or (groups,), None)
    tables: list[list[int] | None] = []
    for bits in widths:
        tables += class_tables(reader, 1, 2 ** min(bits, 8))
    plain = reader.take(reader.varint() - 3)
    stream = Stream(reader.rest())
    keep = None if pop_keep is None else pop_keep(stream)
    of_group = [symbol + 1 for symbol in pop_bits(stream)]
    of_element = [of_group[i // size] for i in range(elements) if keep is None or keep[i]]
    counts = [of_element.count(bits) for bits in widths]
    uppers = [
        None if weights is None else stream.pop(weights, count)
        for weights, count in zip(tables, counts, strict=True)
    ]
    rest = Bytes(plain + stream.seed(3))
    offset, scale = rest.take(4), rest.take(4)
    levels: dict[int, list[int]] = {}
    for bits, count, upper in zip(widths, counts, uppers, strict=True):
        top, low = min(bits, 8), max(bits - 8, 0)
        if upper is None:
            upper = packed(rest.take(packed_bytes(count, top)), count, top)
        lower = packed(rest.take(packed_bytes(count, low)), count, low)
        levels[bits] = [(one << low) + other for one, other in zip(upper, lower, strict=True)][::-1]
    return {
        "index": [levels[bits].pop() for bits in of_element],
        "shape": shape,
        "bits": of_group,
        "group_size": group_size,
        "offset": offset,
        "scale": scale,
        "keep": keep,
    }


def read_sparse_dense(reader: Bytes) -> dict[str, Any]:
    gaps = reader.byte() == 129
    shape, number = read_shape(reader)
    kept = reader.varint()
    pop_keep = read_positions(reader, shape, kept, gaps)
    size = 2 if number == 2 else np.dtype(DTYPES[number]).itemsize
    seeded = min(3, kept * size)
    plain = reader.take(kept * size - seeded)
    stream = Stream(reader.rest())
    keep = pop_keep(stream)
    values = Bytes(plain + stream.seed(seeded))
    whole = b"".join(values.take(size) if kept_here else bytes(size) for kept_here in keep)
    return {"dtype": DTYPES[number], "shape": shape, "values": whole, "keep": keep}
