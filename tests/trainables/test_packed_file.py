"""The packed file: exact, small, and refusing everything else in one sentence."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import stat
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rayduce_reader import packed_file as reading
from rayduce_reader.binary import Reader
from rayduce_reader.dictionary import DICTIONARY
from rayduce_reader.packed_file import CHECKSUM_BYTES, MAGIC, VERSION, checksum
from tests.recipes import IMAGE_METHODS
from trainables.codecs import BitPacked, Raw, Smallest
from trainables.codecs.base import Stored
from trainables.codecs.binary import varint
from trainables.files import write_file
from trainables.methods import Setting, full_precision, quantized_distillation
from trainables.models import ConvNet, ResNet
from trainables.models.base import Model
from trainables.origins import Fresh
from trainables.pruners import Magnitude
from trainables.quantizers.base import Codes, Dense, MixedCodes
from trainables.recipe import Recipe, canonical_json
from trainables.shipping import packed_file
from trainables.shipping.packed_file import (
    Limits,
    Packed,
    PackedFileError,
    _entropy_bytes,
    describe,
    pack,
    read_file,
    read_header,
    unpack,
)
from trainables.tasks import Digits

RECIPE = quantized_distillation(
    Setting(Digits(), Fresh(ConvNet(depth=1, width=0.25)), epochs=4, teacher="0" * 16, pruner=Magnitude(0.5))
)


def random_tensors(seed: int) -> dict[str, Stored]:
    """Up to a dozen tensors of every kind, with masks, codebooks and odd shapes."""
    generator = np.random.default_rng(seed)
    tensors: dict[str, Stored] = {}
    for number in range(generator.integers(0, 12)):
        shape = tuple(int(size) for size in generator.integers(0, 9, generator.integers(0, 5)))
        keep = None
        if generator.random() < 0.5:
            keep = torch.from_numpy(np.asarray(generator.random(shape) < generator.random(), dtype=np.bool_))
        count = int(np.prod(shape)) if keep is None else int(keep.sum())
        if generator.random() < 0.4:
            values = torch.from_numpy(np.asarray(generator.normal(size=shape))).to(
                [torch.float16, torch.float32, torch.int64, torch.bfloat16][generator.integers(4)]
            )
            tensors[f"dense.{number}"] = Dense(values if keep is None else values * keep, keep)
            continue
        if keep is None and generator.random() < 0.3:
            group_size = [None, 1, 4, 7][generator.integers(4)]
            groups = min(count, 1) if group_size is None else -(-count // group_size)
            widths = generator.integers(1, 16, groups).astype(np.uint8)
            of_element = widths[np.arange(count) // (group_size or max(count, 1))]
            tensors[f"mixed.{number}"] = MixedCodes(
                torch.from_numpy(np.asarray(generator.random(count) * 2**of_element, dtype=np.int16)),
                shape,
                torch.from_numpy(widths),
                group_size,
                -torch.rand(1),
                torch.rand(1),
            )
            continue
        bits = int(generator.integers(1, 9))
        bucket_size = [None, 1, 5, 64][generator.integers(4)]
        buckets = min(count, 1) if bucket_size is None else -(-count // bucket_size)
        codebook = torch.rand(2**bits) if generator.random() < 0.3 else None
        tensors[f"codes.{number}"] = Codes(
            index=torch.from_numpy(generator.binomial(2**bits - 1, 0.4, count).astype(np.uint8)),
            shape=shape,
            bits=bits,
            bucket_size=bucket_size,
            offset=torch.rand(buckets).half(),
            scale=torch.rand(buckets).half(),
            codebook=codebook,
            keep=keep,
        )
    return tensors


def same(left: Stored, right: Stored) -> bool:
    def equal(a: object, b: object) -> bool:
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
            return a.dtype == b.dtype and torch.equal(a, b)
        return a == b

    return type(left) is type(right) and all(equal(v, vars(right)[k]) for k, v in vars(left).items())


def fixed(body: bytes) -> bytes:
    """``body`` with the checksum it should have."""
    return body + checksum(body)


def with_header(text: bytes, elements: int = 0, records: bytes = b"") -> bytes:
    squeezed = packed_file._deflate(text)
    return fixed(MAGIC + bytes([VERSION]) + varint(elements) + varint(len(squeezed)) + squeezed + records)


def header_text(recipe: Recipe = RECIPE, names: object = (), model: str = "null") -> bytes:
    return f"[{canonical_json(recipe)},{model},{json.dumps(names)}]".encode()


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_round_trip_and_rows(seed: int) -> None:
    tensors = random_tensors(seed)
    data = pack(RECIPE, tensors)
    recipe, again, _ = unpack(data)
    assert recipe == RECIPE == read_header(data)
    assert list(again) == list(tensors)
    assert all(same(tensors[name], again[name]) for name in tensors)
    assert pack(recipe, again) == data
    rows = describe(data)
    assert sum(row["bytes"] for row in rows) == len(data)
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)
    assert [row["name"] for row in rows[1:]] == list(tensors)
    json.dumps(rows, allow_nan=False)


@pytest.mark.parametrize("method", IMAGE_METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("model", [ConvNet(), ResNet()], ids=lambda model: type(model).__name__)
def test_headers_are_small_whatever_the_method(method: Callable[..., Recipe], model: Model) -> None:
    recipe = method(Setting(Digits(), Fresh(model), epochs=20, teacher="5" * 16, seed=7))
    data = pack(recipe, {"0.0.weight": Dense(torch.zeros(2)), "3.bias": Dense(torch.zeros(2))})
    assert read_header(data) == recipe
    limit = 100 + 12 * len(recipe.phases) + 20 * len(recipe.peers)  # every phase has a learning rate
    assert describe(data)[0]["bytes"] < limit


def test_rows_say_what_is_stored() -> None:
    keep = torch.arange(400).reshape(20, 20) % 4 == 0
    index = torch.arange(100, dtype=torch.uint8) % 2
    tensors: dict[str, Stored] = {
        "even": Codes(index, (20, 20), 4, 32, torch.zeros(4).half(), torch.ones(4).half(), None, keep),
        "plain": Dense(torch.zeros(3, 5).half()),
        "scalar": Dense(torch.tensor(1.5)),
    }
    header, even, plain, scalar = describe(pack(RECIPE, tensors))
    assert header["name"] == "(header)"
    assert header["shape"] is None
    mask = 400 * (0.25 * 2 + 0.75 * np.log2(4 / 3)) / 8
    assert even["entropy_bytes"] == pytest.approx(100 / 8 + mask + 4 * 2 * 2)
    assert {k: even[k] for k in ("shape", "codec", "bits", "sparsity")} == {
        "shape": [20, 20],
        "codec": "Sparse",
        "bits": 4,
        "sparsity": 0.75,
    }
    assert (plain["codec"], plain["bits"], plain["entropy_bytes"], plain["sparsity"]) == (
        "Raw",
        16,
        30.0,
        0.0,
    )
    assert plain["bytes"] == 30 + 1 + 1 + 1 + 2  # length, codec, dtype with rank, two dimensions
    assert (scalar["shape"], scalar["bits"], scalar["entropy_bytes"]) == ([], 32, 4.0)


def test_the_file_is_near_its_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    index = (torch.randn(60_000, generator=generator) * 2 + 8).clamp(0, 15).to(torch.uint8)
    tensor = Codes(index, (100, 600), 4, 256, torch.rand(235).half(), torch.rand(235).half())
    data = pack(RECIPE, {"weight": tensor})
    header, row = describe(data)
    assert row["bytes"] < row["entropy_bytes"]  # scales are coded too, and save more than the table takes
    assert _entropy_bytes(tensor.index) < row["bytes"]
    assert header["bytes"] < 100


def test_the_codec_is_the_recipes() -> None:
    recipe = full_precision(Setting(Digits(), Fresh(ConvNet()), epochs=1))
    packed = Recipe(**(vars(recipe) | {"codec": Smallest((Raw(), BitPacked()))}))
    codes = Codes(torch.zeros(1000, dtype=torch.uint8), (1000,), 2, None, torch.zeros(1), torch.ones(1))
    _, weight, bias = describe(pack(packed, {"weight": codes, "bias": Dense(torch.zeros(4))}))
    assert (weight["codec"], bias["codec"]) == ("BitPacked", "Raw")
    raw = Recipe(**(vars(recipe) | {"codec": Raw()}))
    assert describe(pack(raw, {"bias": Dense(torch.zeros(4))}))[1]["codec"] == "Raw"
    with pytest.raises(ValueError, match=r"Raw\(\) does not store weight, a quantized tensor without a mask"):
        pack(raw, {"weight": codes})


def test_every_byte_is_covered_and_every_cut_is_seen() -> None:
    data = pack(RECIPE, random_tensors(3))
    assert len(unpack(data)[1]) > 3
    for place in range(len(data)):
        for broken in (data[:place], data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]):
            with pytest.raises(PackedFileError):
                unpack(broken)
    with pytest.raises(PackedFileError):
        unpack(data + b"\0")


def small_files() -> list[bytes]:
    """Files of a few tensors each, in which every codec, grid, model and form of scales is at work."""
    wide = np.repeat(np.random.default_rng(0).choice([0.5, 3.0], 40), 60)
    index = torch.from_numpy(
        np.clip(np.random.default_rng(1).normal(size=2400) * wide + 8, 0, 15).astype(np.uint8)
    )
    scale = torch.rand(40, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.1
    keep = torch.from_numpy(np.outer(np.arange(40) % 4 == 0, np.arange(60) % 2 == 0))
    keep[0] = True
    kept = index[keep.reshape(-1)]
    half = scale[: -(-kept.numel() // 60)].half()
    book = torch.linspace(0, 1, 16)
    large: dict[str, Stored] = {
        "centred": Codes(index, (40, 60), 4, 60, None, scale, zero=8),
        "even": Codes(index, (40, 60), 4, 60, -scale.half() / 2, scale.half()),
        "book": Codes(index, (40, 60), 4, 60, -scale, scale, book),
        "kernels": Codes(index, (20, 12, 10), 4, None, torch.zeros(1), torch.ones(1)),
        "masked": Codes(kept, (40, 60), 4, 60, -half / 2, half, None, keep),
        "pruned": Dense(torch.where(keep, torch.ones(40, 60).half(), 0.0), keep),
        "mixed": mixed_codes(index),
        "mixed and masked": mixed_codes(kept, keep),
    }
    return [
        *(pack(RECIPE, random_tensors(seed)) for seed in (101, 103, 106)),
        *(pack(RECIPE, {name: tensor, "bias": Dense(torch.zeros(3))}) for name, tensor in large.items()),
    ]


def mixed_codes(index: torch.Tensor, keep: torch.Tensor | None = None) -> MixedCodes:
    """``index`` of 4 bits as levels of 4, 5 and 10 bits of a tensor of 40 rows of 60."""
    bits = torch.tensor([4, 5, 4, 10, 4], dtype=torch.uint8).repeat(60)
    fine = torch.repeat_interleave(bits == 10, 8)[: 40 * 60]
    fine = fine if keep is None else fine[keep.reshape(-1)]
    levels = index.to(torch.int16) * torch.where(fine, 61, 1).to(torch.int16)
    return MixedCodes(levels, (40, 60), bits, 8, -torch.ones(1), torch.ones(1), keep)


def corrupted(data: bytes, other: bytes, start: int, chance: random.Random) -> bytes:
    """``data`` with bits flipped, bytes changed, cut out or put in, its end cut off, or ``other`` spliced in.

    Mostly behind ``start``, the end of the header, whose compression would catch what is deeper.
    """
    broken = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        if not broken:
            break
        first = 0 if chance.random() < 0.15 else min(start, len(broken) - 1)
        last = len(broken) if chance.random() < 0.5 else min(len(broken), first + 40)
        place = chance.randrange(first, max(last, first + 1))
        what = chance.randrange(6)
        if what == 0:
            broken[place] ^= 1 << chance.randrange(8)
        elif what == 1:
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
    return bytes(broken)


def test_ten_thousand_corruptions_are_refused_or_harmless() -> None:
    """One half under the old checksum, one half under a right one, so that the decoder itself is tried.

    None hangs, for each is read in time proportional to what it announces; none announces more elements
    than its header does.
    """
    chance = random.Random(0)
    files = small_files()
    originals = {data: unpack(data) for data in files}
    starts = {
        data: len(data) - sum(row["bytes"] for row in describe(data)[1:]) - CHECKSUM_BYTES for data in files
    }
    refused = harmless = 0
    for number in range(10_000):
        data = files[number % len(files)]
        other = chance.choice(files)
        if number % 2:
            broken = corrupted(data, other, starts[data], chance)
            if broken == data:
                continue
            with pytest.raises(PackedFileError):
                unpack(broken)
            continue
        broken = fixed(corrupted(data[:-CHECKSUM_BYTES], other, starts[data], chance))
        try:
            recipe, tensors, _ = unpack(broken)
        except PackedFileError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 400
            refused += 1
            continue
        harmless += 1
        elements = sum(math.prod(tensor.shape) for tensor in tensors.values())
        assert elements == announced(broken)
        for tensor in tensors.values():
            assert tuple(tensor.decode().shape) == tuple(tensor.shape)
        if harmless % 10 == 0:
            again = unpack(pack(recipe, tensors))[1]
            assert list(again) == list(tensors)
    assert refused > 1000
    assert harmless > 100
    assert all(unpack(data)[0] == originals[data][0] for data in files)


def announced(data: bytes) -> int:
    reader = Reader(data)
    reader.take(len(MAGIC) + 1)
    return reader.varint()


def test_damaged_files_take_no_more_memory_than_allowed() -> None:
    chance = random.Random(1)
    for data in small_files():
        start = len(data) - sum(row["bytes"] for row in describe(data)[1:]) - CHECKSUM_BYTES
        for _ in range(30):
            broken = fixed(corrupted(data[:-CHECKSUM_BYTES], data, start, chance))
            tracemalloc.start()
            with contextlib.suppress(PackedFileError):
                unpack(broken, Limits(memory_bytes=2**21))
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 2**21 + 2**22  # a header takes what it takes, and the coder's tables are constant


GENEROUS = Limits(memory_bytes=2**34)


def constant(elements: int, **fields: Any) -> Codes:
    """Codes of level 0 throughout, which take next to no bytes in a file."""
    scale = torch.ones(min(elements, 1) if fields.get("bucket_size") is None else elements)
    whole: dict[str, Any] = {"shape": (elements,), "bits": 1, "bucket_size": None}
    index = torch.zeros(elements, dtype=torch.uint8)
    return Codes(index, **(whole | {"offset": scale, "scale": scale} | fields))


def bombs() -> dict[str, Stored]:
    """Tensors of which a few bytes announce much, in each of the ways that there are."""
    million = 2**20
    nothing = torch.zeros(32 * million, dtype=torch.bool)
    nearly = torch.ones(20 * million, dtype=torch.bool)
    nearly[0] = False
    return {
        "levels": constant(32 * million),
        "buckets": constant(million, bucket_size=1),
        "masked": constant(0, shape=(32 * million,), keep=nothing),
        "gaps": constant(20 * million - 1, shape=(20 * million,), keep=nearly),
        "pruned": Dense(torch.zeros(8 * million, dtype=torch.float64), nothing[: 8 * million]),
    }


@pytest.mark.parametrize("name", ["levels", "buckets", "masked", "gaps", "pruned"])
def test_what_a_few_bytes_may_announce_is_bounded(name: str) -> None:
    """By what reading takes, whichever way a file asks for it; and whoever wants more can have it."""
    tensor = bombs()[name]
    data = pack(RECIPE, {"a": tensor}, GENEROUS)
    assert len(data) < 500
    with pytest.raises(PackedFileError, match=r"would take \d+ bytes of memory where \d+ are allowed"):
        unpack(data)
    with pytest.raises(ValueError, match="a reader would refuse the packed file"):
        pack(RECIPE, {"a": tensor})
    assert same(unpack(data, GENEROUS)[1]["a"], tensor)


def test_the_tensors_of_a_file_share_its_memory() -> None:
    tensors: dict[str, Stored] = {str(number): constant(3 * 2**20) for number in range(6)}
    with pytest.raises(PackedFileError, match="'5': a quantized tensor of 3145728 elements would take"):
        unpack(pack(RECIPE, tensors, GENEROUS))
    del tensors["5"]
    assert len(unpack(pack(RECIPE, tensors))[1]) == 5


def test_the_number_of_tensors_is_limited_by_name() -> None:
    tensors: dict[str, Stored] = {f"{number:x}": Dense(torch.ones(1)) for number in range(40)}
    data = pack(RECIPE, tensors)
    for read in (unpack, describe, read_header):
        with pytest.raises(PackedFileError, match="holds 40 tensors; a reader accepts at most 39"):
            read(data, Limits(tensors=39))
    with pytest.raises(ValueError, match="a reader accepts at most 39"):
        pack(RECIPE, tensors, Limits(tensors=39))
    with pytest.raises(ValueError, match=r"recipe and names take .* at most 900 are allowed"):
        pack(RECIPE, tensors, Limits(header_bytes=900))
    with pytest.raises(PackedFileError, match="the header does not end where it should"):
        unpack(data, Limits(header_bytes=900))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["dense", "half", "offset", "scale", "codebook", "centred"])
def test_values_that_are_not_finite_are_neither_written_nor_read(place: str, value: float) -> None:
    spoilt = torch.tensor([0.5, value])
    index, ones = torch.tensor([0, 1, 1, 0], dtype=torch.uint8), torch.ones(2)
    kinds: dict[str, Stored] = {
        "dense": Dense(spoilt),
        "half": Dense(spoilt.half()),
        "offset": Codes(index, (4,), 1, 2, spoilt, ones),
        "scale": Codes(index, (4,), 1, 2, ones, spoilt),
        "codebook": Codes(index, (4,), 1, 2, ones, ones, spoilt),
        "centred": Codes(index, (4,), 1, 2, None, spoilt.half(), zero=1),
    }
    record = RECIPE.codec.encode(kinds[place])
    elements = math.prod(kinds[place].shape)
    with pytest.raises(ValueError, match="weight holds a value that is not finite"):
        pack(RECIPE, {"weight": kinds[place]})
    with pytest.raises(PackedFileError, match="'weight': it holds a value that is not finite"):
        unpack(with_header(header_text(names=["weight"]), elements, varint(len(record)) + record))


def test_values_that_become_infinite_when_decoded_are_refused() -> None:
    huge = Codes(torch.tensor([255], dtype=torch.uint8), (1,), 8, None, None, torch.tensor([3e38]), zero=0)
    assert huge.decode().isinf().all()
    with pytest.raises(ValueError, match="not finite"):
        pack(RECIPE, {"weight": huge})
    pack(RECIPE, {"weight": Dense(torch.tensor([-3e38, 3e38])), "steps": Dense(torch.tensor(2**62))})


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    for data in (noise, MAGIC + noise, fixed(MAGIC + bytes([VERSION]) + noise), with_header(noise)):
        with pytest.raises(PackedFileError):
            unpack(data)


def test_another_version_is_named() -> None:
    data = pack(RECIPE, {})
    with pytest.raises(PackedFileError, match=r"packed file of version 9: only version 5 can be read"):
        read_header(fixed(data[: len(MAGIC)] + b"\x09" + data[len(MAGIC) + 1 : -8]))


HOSTILE_HEADERS = {
    "bomb": b"[" + b" " * 2**22 + b"]",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep parts": b'[{"type":"Recipe","task":' * 5000,
    "no JSON": b"{",
    "not ASCII": '["é"]'.encode(),
    "no list": b"{}",
    "no recipe": b'[{"type":"Constant","value":1.0},[]]',
    "unknown part": header_text().replace(b'"Digits"', b'"os.system"'),
    "unknown part of many characters": header_text().replace(b'"Digits"', b'"' + b"x" * 100_000 + b'"'),
    "unknown field": header_text().replace(b'"seed":0', b'"seed":0,"more":1'),
    "infinite": header_text().replace(b'"value":0.7', b'"value":1e999'),
    "huge number": header_text().replace(b'"value":0.7', b'"value":1' + b"0" * 4000),
    "huger number": header_text().replace(b'"value":0.7', b'"value":1' + b"0" * 40_000),
    "range": header_text().replace(b'"bits":4', b'"bits":99'),
    "no architecture": header_text(model='{"bits":4,"type":"Where"}'),
    "another part than an architecture": header_text(model='{"type":"NoPruner"}'),
    "a number as architecture": header_text(model="5"),
    "names no list": header_text(names="weight"),
    "names no strings": header_text(names=[1]),
    "twice the same name": header_text(names=["a", "a"]),
    "names without records": header_text(names=["a"]),
}


@pytest.mark.parametrize("text", HOSTILE_HEADERS.values(), ids=HOSTILE_HEADERS.keys())
def test_hostile_headers(text: bytes) -> None:
    with pytest.raises(PackedFileError) as caught:
        unpack(with_header(text))
    assert 20 < len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_the_helper_makes_good_files_too() -> None:
    assert unpack(with_header(header_text())) == Packed(RECIPE, {}, RECIPE.model)


def test_announced_sizes_are_bounded() -> None:
    codes = Codes(torch.zeros(5000, dtype=torch.uint8), (5000,), 1, None, torch.zeros(1), torch.ones(1))
    record = RECIPE.codec.encode(codes)
    records = varint(len(record)) + record
    text = header_text(names=["a"])
    assert unpack(with_header(text, 5000, records))[1]["a"].shape == (5000,)
    for elements in (4999, 5001, 2**31, 2**40):
        with pytest.raises(PackedFileError, match="elements"):
            unpack(with_header(text, elements, records))
    with pytest.raises(PackedFileError, match="bytes follow"):
        unpack(with_header(text, 5000, records + b"\0"))


def test_a_tiny_file_cannot_announce_a_huge_tensor() -> None:
    """Two to the 30 zeros compress to a few bytes; a reader must not believe it."""
    record = bytes([2, 0, 1 << 4]) + varint(2**30) + bytes([0, 1, 0, 0, 0, 0])
    with pytest.raises(PackedFileError, match="plausible"):
        unpack(with_header(header_text(names=["a"]), 2**30, varint(len(record)) + record))


def test_what_no_reader_would_accept_is_not_written() -> None:
    nothing = torch.zeros(1, dtype=torch.uint8).expand(2**25)
    huge = Codes(nothing, (2**25,), 1, None, torch.zeros(1), torch.ones(1))
    with pytest.raises(ValueError, match=r"would refuse .* a quantized tensor of 33554432 elements"):
        pack(RECIPE, {"a": huge})


def test_names_of_any_characters() -> None:
    tensors: dict[str, Stored] = {
        name: Dense(torch.zeros(1)) for name in ("", "a\nb", 'q"', "ü", "\ud800", "\0")
    }
    assert list(unpack(pack(RECIPE, tensors))[1]) == list(tensors)


def test_the_dictionary_is_frozen() -> None:
    """It is part of version 5 of the format: change it and older files cannot be read."""
    assert (len(DICTIONARY), zlib.crc32(DICTIONARY)) == (9021, 2477392394)


def test_files(tmp_path: Path) -> None:
    data = pack(RECIPE, random_tensors(1))
    path = tmp_path / "student.rdz"
    write_file(path, b"old")
    write_file(path, data)
    assert read_file(path) == data
    assert [entry.name for entry in tmp_path.iterdir()] == ["student.rdz"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "student.rdz"
    write_file(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["student.rdz"]


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PackedFileError, match=r"cannot read .*missing\.rdz: No such file"):
        read_file(tmp_path / "missing.rdz")
    for other in (tmp_path, Path("/dev/zero")):
        with pytest.raises(PackedFileError, match="it is no regular file"):
            read_file(other)
    (tmp_path / "large").write_bytes(bytes(100))
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 99)
    with pytest.raises(PackedFileError, match="has 100 bytes; a packed file has at most 99"):
        read_file(tmp_path / "large")


def test_the_layout_is_the_documented_one() -> None:
    """docs/packed_file.md, "The file", read step by step."""
    data = pack(RECIPE, {"bias": Dense(torch.tensor([1.0, -2.0]).half())})
    reader = Reader(data)
    assert reader.take(4) == bytes([0x8B]) + b"RDZ"
    assert reader.byte() == VERSION
    assert reader.varint() == 2
    header = json.loads(zlib.decompressobj(-15, DICTIONARY).decompress(reader.take(reader.varint())))
    assert header == [RECIPE.to_dict(), None, ["bias"]]
    assert reader.varint() == 7
    assert reader.byte() == 0  # the first member of the recipe's codec, Raw
    assert reader.byte() == 1 << 4 | 1  # one dimension, float16
    assert reader.varint() == 2
    assert reader.take(4) == bytes.fromhex("003c00c0")
    assert reader.rest() == checksum(data[:-8])


def test_the_architecture_that_ships_is_in_the_file_where_it_is_another_one() -> None:
    """An origin may make another network than was asked for; the file alone says which."""
    asked, shipped = RECIPE.model, ConvNet(depth=2, width=0.25)
    tensors = {"a": Dense(torch.zeros(3))}
    plain, other = pack(RECIPE, tensors, model=asked), pack(RECIPE, tensors, model=shipped)
    assert plain == pack(RECIPE, tensors) and len(plain) < len(other)
    assert (unpack(plain).model, unpack(other).model) == (asked, shipped)
    assert unpack(other).recipe == RECIPE and read_header(other).recipe_id == RECIPE.recipe_id
