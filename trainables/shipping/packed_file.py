"""One file per student: the recipe and every tensor of the network; ``docs/packed_file.md`` is its format."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainables.codecs.base import Stored
from trainables.codecs.binary import Memory, Reader, TooMuch, varint
from trainables.codecs.frequencies import count_symbols
from trainables.codecs.layout import affine_size
from trainables.codecs.smallest import Smallest
from trainables.foreign import parse_json, shown
from trainables.models.base import Model
from trainables.part import part_from_dict
from trainables.quantizers.base import Codes, Dense, MixedCodes, removed_elements
from trainables.recipe import MEMBERS, Recipe, canonical_json, recipe_from_dict
from trainables.shipping.packed_dictionary import DICTIONARY

SUFFIX = ".rdz"
MAGIC = b"\x8bRDZ"
VERSION = 5

CHECKSUM_BYTES = 8
MAX_FILE_BYTES = 2**31
HEADER_ROW = "(header)"
FLOAT32_BYTES = 4
TENSOR_BYTES = 2**14
"""What a tensor counts for beside its elements: for its objects, and for the time that it takes."""


@dataclass(frozen=True)
class Limits:
    """What reading a packed file may cost; whatever costs more is refused before it is allocated.

    Attributes:
        memory_bytes: for everything that is allocated on the way, float32 in the end included, as if
            nothing were freed, and ``TENSOR_BYTES`` for each tensor. None (default) is 128 MiB and 512
            times the file's bytes, at most 16 GiB.
        tensors: how many; default 8,192.
        header_bytes: of the recipe and all names, decompressed; default 1 MiB.
    """

    memory_bytes: int | None = None
    tensors: int = 2**13
    header_bytes: int = 2**20

    def memory(self, file_bytes: int) -> int:
        """Bytes of memory that a file of ``file_bytes`` bytes may take."""
        if self.memory_bytes is not None:
            return self.memory_bytes
        return min(2**34, 2**27 + 512 * file_bytes)


DEFAULT_LIMITS = Limits()


class PackedFileError(ValueError):
    """Not a packed file, a damaged one, or one of another version; the message is one sentence."""


def pack(
    recipe: Recipe,
    tensors: Mapping[str, Stored],
    limits: Limits = DEFAULT_LIMITS,
    *,
    model: Model | None = None,
) -> bytes:
    """The file's bytes; each tensor is stored by ``recipe.codec``, in the order given.

    Args:
        recipe: of the student.
        tensors: by name.
        limits: of whoever is going to read the file.
        model: the architecture that ships, where it is another than the recipe's.

    Raises:
        ValueError: a tensor that the codec does not store, that breaks the promises of its class or holds a
            value that is not finite; or a file that a reader with these ``limits`` would refuse.
    """
    codec = recipe.codec
    records = []
    for name, tensor in tensors.items():
        if not codec.accepts(tensor):
            raise ValueError(f"{codec} does not store {name}, {_spell(tensor)}; Smallest() stores everything")
        _check_finite(name, tensor)
        data = codec.encode(tensor)
        records.append(varint(len(data)) + data)
    elements = sum(math.prod(tensor.shape) for tensor in tensors.values())
    shipped = "null" if model in (None, recipe.model) else canonical_json(model)
    names = json.dumps(list(tensors), separators=(",", ":"))
    header = f"[{canonical_json(recipe)},{shipped},{names}]".encode("ascii")
    squeezed = _deflate(header)
    start = MAGIC + bytes([VERSION]) + varint(elements) + varint(len(squeezed)) + squeezed
    body = start + b"".join(records)
    file = body + _checksum(body)
    if len(header) > limits.header_bytes:
        raise ValueError(
            f"recipe and names take {len(header)} bytes, at most {limits.header_bytes} are allowed"
        )
    if len(file) > MAX_FILE_BYTES:
        raise ValueError(f"the packed file has {len(file)} bytes, at most {MAX_FILE_BYTES} are allowed")
    if not _surely_readable(elements, len(tensors), len(file), limits):
        try:
            unpack(file, limits)
        except PackedFileError as error:
            raise ValueError(f"a reader would refuse the packed file: {error}") from error
    return file


def _surely_readable(elements: int, tensors: int, file_bytes: int, limits: Limits) -> bool:
    """Whether reading stays within ``limits`` whatever the codec: no need to try it."""
    return tensors <= limits.tensors and 256 * elements + 2**19 * tensors <= limits.memory(file_bytes)


class Packed(NamedTuple):
    """What is in a packed file.

    Attributes:
        recipe: what was asked for.
        tensors: by name, in the order of the file.
        model: the architecture that ships; that of the recipe unless the student's origin made another of it.
    """

    recipe: Recipe
    tensors: dict[str, Stored]
    model: Model


def unpack(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Packed:
    """Inverse of :func:`pack`.

    Args:
        data: of a packed file.
        limits: what reading may cost.

    Raises:
        PackedFileError: ``data`` is no packed file, is damaged, holds a recipe that this version of the
            code does not know or a value that is not finite, or costs more than ``limits``.
    """
    header, reader = _open(data, limits)
    tensors = {name: tensor for name, tensor, _ in _tensors(header, reader, limits)}
    zeros, allowed = FLOAT32_BYTES * removed_elements(tensors), limits.memory(len(data))
    if zeros > allowed:
        raise PackedFileError(
            f"the packed file takes too much to read: its removed rows would take {zeros} bytes of memory "
            f"where {allowed} are allowed (Limits.memory_bytes)"
        )
    return Packed(header.recipe, tensors, header.model)


def read_header(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Recipe:
    """The recipe alone, without decoding a tensor; the checksum is verified all the same.

    Raises:
        PackedFileError: as :func:`unpack`.
    """
    return _open(data, limits)[0].recipe


def read_file(path: Path) -> bytes:
    """The bytes of a packed file.

    Raises:
        PackedFileError: it is missing, no file, unreadable, or too large to be one.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a device has no end, and opening a pipe waits for its writer
            raise PackedFileError(f"cannot read {path}: it is no regular file")
        if status.st_size > MAX_FILE_BYTES:
            size = status.st_size
            raise PackedFileError(f"{path} has {size} bytes; a packed file has at most {MAX_FILE_BYTES}")
        return Path(path).read_bytes()
    except OSError as error:
        raise PackedFileError(f"cannot read {path}: {error.strerror or error}") from error


def describe(data: bytes, limits: Limits = DEFAULT_LIMITS) -> list[dict[str, Any]]:
    """What is in a packed file: one row for the header, one per tensor; ``bytes`` add up to the file.

    Keys of a row: ``name``, ``shape`` (a list), ``codec`` (class name), ``bits`` (per index, on
    average where groups have bits of their own, or of a
    dense element), ``sparsity`` (share of elements that the mask drops, or that are zero on a centred
    grid), ``bytes`` (as stored, with the record's length field), ``entropy_bytes`` (order-0 entropy of the
    levels, with scales, offsets and codebook as they are in memory; of dense tensors their kept elements;
    with the order-0 entropy of the mask; codecs that know more than frequencies can be below it), and
    ``share`` (of the file). The header's row, with the checksum and all names, has neither shape nor bits
    nor sparsity (None), and its bytes as entropy.

    Raises:
        PackedFileError: as :func:`unpack`.
    """
    header, reader = _open(data, limits)
    recipe = header.recipe
    rows: list[dict[str, Any]] = []
    for name, tensor, record in _tensors(header, reader, limits):
        writer = recipe.codec.writer(record) if isinstance(recipe.codec, Smallest) else recipe.codec
        rows.append(
            {
                "name": name,
                "shape": list(tensor.shape),
                "codec": type(writer).__name__,
                "bits": _element_bits(tensor),
                "sparsity": dropped_share(tensor),
                "bytes": len(varint(len(record))) + len(record),
                "entropy_bytes": entropy_bytes(tensor),
            }
        )
    size = len(data) - sum(row["bytes"] for row in rows)
    own: dict[str, Any] = {
        "name": HEADER_ROW,
        "shape": None,
        "codec": "Deflate",
        "bits": None,
        "sparsity": None,
    }
    own |= {"bytes": size, "entropy_bytes": float(size)}
    return [row | {"share": row["bytes"] / len(data)} for row in (own, *rows)]


def dropped_share(tensor: Stored) -> float:
    """Dropped elements over all elements, in [0, 1]; 0 without elements. See :func:`dropped_elements`."""
    elements = math.prod(tensor.shape)
    return dropped_elements(tensor) / elements if elements else 0.0


def dropped_elements(tensor: Stored) -> int:
    """Elements that the mask drops; on a centred grid, where pruned elements are levels, its zeros too."""
    dropped = 0 if tensor.keep is None else tensor.keep.numel() - int(tensor.keep.count_nonzero())
    if isinstance(tensor, Codes) and tensor.zero is not None:
        dropped += tensor.index.numel() - int((tensor.index - tensor.zero).count_nonzero())
    return dropped


def entropy_bytes(tensor: Stored) -> float:
    """What an ideal order-0 coder that knows all frequencies would need; see :func:`describe`."""
    mask = 0.0 if tensor.keep is None else _entropy_bytes(tensor.keep)
    if isinstance(tensor, Codes):
        return mask + _entropy_bytes(tensor.index) + affine_size(tensor)
    if isinstance(tensor, MixedCodes):
        levels = sum(_entropy_bytes(index) for _, index in tensor.by_width())
        return mask + _entropy_bytes(tensor.bits) + levels + sum(part.nbytes for part in tensor.arrays())
    kept = tensor.values.numel() if tensor.keep is None else int(tensor.keep.count_nonzero())
    return mask + float(kept * tensor.values.itemsize)


def _element_bits(tensor: Stored) -> float:
    if isinstance(tensor, MixedCodes):
        return round(float(tensor.widths().float().mean()), 3) if tensor.index.numel() else 0
    return tensor.bits if isinstance(tensor, Codes) else 8 * tensor.values.itemsize


def _entropy_bytes(symbols: Tensor) -> float:
    if symbols.dtype == torch.int16:
        counts = np.bincount(symbols.numpy())
    else:
        counts = count_symbols(symbols.reshape(-1).view(torch.uint8).numpy(), 256)
    counts = counts[counts > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum()) / 8


class _Header(NamedTuple):
    recipe: Recipe
    model: Model
    names: list[str]
    elements: int


def _open(data: bytes, limits: Limits) -> tuple[_Header, Reader]:
    """The header, and a reader that stands before the first record."""
    if not data.startswith(MAGIC):
        raise PackedFileError("not a packed file: it does not begin as one")
    body, checksum = memoryview(data)[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if len(data) <= len(MAGIC) + CHECKSUM_BYTES or _checksum(body) != checksum:
        raise PackedFileError("damaged packed file: the checksum does not match; it may be cut short")
    version = body[len(MAGIC)]
    if version != VERSION:
        raise PackedFileError(f"packed file of version {version}: only version {VERSION} can be read here")
    reader = Reader(body)
    try:
        reader.take(len(MAGIC) + 1)
        elements = reader.varint()
        if elements > limits.memory(len(data)):
            raise ValueError(f"{elements} elements in {len(data)} bytes are not plausible")
        header = parse_json(_inflate(reader.take(reader.varint()), limits.header_bytes).decode("ascii"))
        if not isinstance(header, list) or len(header) != 3:
            raise ValueError("the header is not a recipe, an architecture and a list of names")
        recipe, model, names = recipe_from_dict(header[0]), part_from_dict(header[1], MEMBERS), header[2]
        if model is not None and not isinstance(model, Model):
            raise ValueError(f"what ships is a {type(model).__name__}, and no architecture")
    except (ValueError, OverflowError) as error:  # overflow: a whole number too large to be a float
        raise _damaged(error) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PackedFileError("damaged packed file: the names of its tensors are no list of strings")
    if len(set(names)) != len(names):
        raise PackedFileError("damaged packed file: two tensors have the same name")
    if len(names) > limits.tensors:
        raise PackedFileError(
            f"the packed file holds {len(names)} tensors; a reader accepts at most {limits.tensors}"
        )
    return _Header(recipe, model or recipe.model, names, elements), reader


def _tensors(header: _Header, reader: Reader, limits: Limits) -> Iterator[tuple[str, Stored, memoryview]]:
    """Name, tensor and record of each, while they cost no more than ``limits``."""
    found = 0
    memory = Memory(limits.memory(reader.size + CHECKSUM_BYTES))
    for name in header.names:
        try:
            record = reader.take(reader.varint())
            memory.spend(TENSOR_BYTES, "one tensor more")
            tensor = header.recipe.codec.decode(record, memory)
            _check_finite("it", tensor)
        except TooMuch as error:
            where = f"'{shown(name, 80)}': {error} (Limits.memory_bytes)"
            raise PackedFileError(f"the packed file takes too much to read: {where}") from error
        except ValueError as error:
            raise _damaged(error, f"'{shown(name, 80)}': ") from error
        found += math.prod(tensor.shape)
        if found > header.elements:
            break
        yield name, tensor, record
    if found != header.elements:
        raise PackedFileError(
            f"damaged packed file: it holds {'more than' if found > header.elements else f'{found} of'} "
            f"{header.elements} elements"
        )
    try:
        reader.finish()
    except ValueError as error:
        raise _damaged(error) from error


def _check_finite(name: str, tensor: Stored) -> None:
    """Refuse a tensor with a value that is not finite in float32: no student that is of use has one."""
    if isinstance(tensor, Codes):
        scale = _largest(tensor.scale)
        offset = 0.0 if tensor.offset is None else _largest(tensor.offset)
        book = 0.0 if tensor.codebook is None else _largest(tensor.codebook)
        steps = 1.0 if tensor.zero is None else 2.0**tensor.bits
        found = scale * max(book, steps) + offset + book
    elif isinstance(tensor, MixedCodes):
        found = _largest(tensor.scale) + _largest(tensor.offset)
    else:
        found = _largest(tensor.values) if tensor.values.is_floating_point() else 0.0
    if not found <= torch.finfo(torch.float32).max:  # which NaN is not
        raise ValueError(f"{name} holds a value that is not finite")


def _largest(values: Tensor) -> float:
    """The largest magnitude among ``values``: NaN if one is NaN, 0 of none."""
    if not values.numel():
        return 0.0
    low, high = values.aminmax()
    return max(abs(float(low)), abs(float(high)))


def _damaged(error: Exception, where: str = "") -> PackedFileError:
    """One line of bounded length, fit to show: what it quotes comes out of the file."""
    return PackedFileError(f"damaged packed file: {where}{shown(' '.join(str(error).split()))}")


def _checksum(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECKSUM_BYTES).digest()


def _deflate(header: bytes) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return squeezer.compress(header) + squeezer.flush()


def _inflate(squeezed: memoryview, most: int) -> bytes:
    inflater = zlib.decompressobj(-15, DICTIONARY)
    try:
        header = inflater.decompress(squeezed, most)
    except zlib.error as error:
        raise ValueError(f"the header cannot be decompressed ({error})") from error
    if not inflater.eof or inflater.unused_data:
        raise ValueError("the header does not end where it should")
    return header


def _spell(tensor: Stored) -> str:
    kind = f"dense {tensor.values.dtype}" if isinstance(tensor, Dense) else "quantized"
    return f"a {kind} tensor {'without' if tensor.keep is None else 'with'} a mask"
