"""One file per student: the recipe and every tensor of the network; ``docs/packed_file.md`` is its format."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trainables.codecs.base import Codec, Stored
from trainables.codecs.binary import Reader, varint
from trainables.codecs.layout import affine_bytes
from trainables.codecs.smallest import Smallest
from trainables.files import write_file
from trainables.packed_dictionary import DICTIONARY
from trainables.quantizers.base import Codes
from trainables.recipe import Recipe, canonical_json, recipe_from_dict

__all__ = [
    "MAGIC",
    "SUFFIX",
    "VERSION",
    "PackedFileError",
    "describe",
    "pack",
    "read_file",
    "read_header",
    "unpack",
    "write_file",
]

SUFFIX = ".rdz"
MAGIC = b"\x8bRDZ"
VERSION = 2

CHECKSUM_BYTES = 8
MAX_HEADER_BYTES = 2**20  # decompressed
MAX_FILE_BYTES = 2**31
MAX_ELEMENTS = 2**31
HEADER_ROW = "(header)"


class PackedFileError(ValueError):
    """Not a packed file, a damaged one, or one of another version; the message is one sentence."""


def pack(recipe: Recipe, tensors: Mapping[str, Stored]) -> bytes:
    """The file's bytes; each tensor is stored by ``recipe.codec``, in the order given.

    Raises:
        ValueError: a tensor that the codec does not store or that breaks the promises of its class, a
            recipe too large for a header, or tensors larger than any reader would accept.
    """
    codec = recipe.codec
    records = []
    for name, tensor in tensors.items():
        if not codec.accepts(tensor):
            raise ValueError(f"{codec} does not store {name}, {_spell(tensor)}; Smallest() stores everything")
        data = codec.encode(tensor)
        records.append(varint(len(data)) + data)
    elements = sum(math.prod(tensor.shape) for tensor in tensors.values())
    header = f"[{canonical_json(recipe)},{json.dumps(list(tensors), separators=(',', ':'))}]".encode("ascii")
    if len(header) > MAX_HEADER_BYTES:
        raise ValueError(f"recipe and names take {len(header)} bytes, at most {MAX_HEADER_BYTES} are allowed")
    squeezed = _deflate(header)
    start = MAGIC + bytes([VERSION]) + varint(elements) + varint(len(squeezed)) + squeezed
    body = start + b"".join(records)
    size = len(body) + CHECKSUM_BYTES
    if size > MAX_FILE_BYTES or elements > _plausible_elements(size):
        raise ValueError(f"{elements} elements in {size} bytes are more than a reader accepts")
    return body + _checksum(body)


def unpack(data: bytes) -> tuple[Recipe, dict[str, Stored]]:
    """Inverse of :func:`pack`.

    Raises:
        PackedFileError: ``data`` is no packed file, is damaged, or holds a recipe that this version of the
            code does not know. Nothing beyond the announced and plausible number of elements is allocated.
    """
    recipe, names, elements, reader = _open(data)
    tensors: dict[str, Stored] = {}
    left = elements
    for name, record in _records(names, reader):
        tensors[name] = _decode(recipe.codec, name, record, left)
        left -= math.prod(tensors[name].shape)
    if left:
        raise PackedFileError(f"damaged packed file: it holds {elements - left} of {elements} elements")
    return recipe, tensors


def read_header(data: bytes) -> Recipe:
    """The recipe alone, without decoding a tensor; the checksum is verified all the same.

    Raises:
        PackedFileError: as :func:`unpack`.
    """
    return _open(data)[0]


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


def describe(data: bytes) -> list[dict[str, Any]]:
    """What is in a packed file: one row for the header, one per tensor; ``bytes`` add up to the file.

    Keys of a row: ``name``, ``shape`` (a list), ``codec`` (class name), ``bits`` (per index, or of a
    dense element), ``sparsity`` (share of elements that the mask drops, or that are zero on a centred
    grid), ``bytes`` (as stored, with the record's length field), ``entropy_bytes`` (order-0 entropy of the
    levels, with scales, offsets and codebook as they are in memory; of dense tensors their kept elements;
    with the order-0 entropy of the mask; codecs that know more than frequencies can be below it), and
    ``share`` (of the file). The header's row, with the checksum and all names, has neither shape nor bits
    nor sparsity (None), and its bytes as entropy.

    Raises:
        PackedFileError: as :func:`unpack`.
    """
    recipe, tensors = unpack(data)
    _, names, _, reader = _open(data)
    rows: list[dict[str, Any]] = []
    for name, record in _records(names, reader):
        tensor = tensors[name]
        writer = recipe.codec.writer(record) if isinstance(recipe.codec, Smallest) else recipe.codec
        rows.append(
            {
                "name": name,
                "shape": list(tensor.shape),
                "codec": type(writer).__name__,
                "bits": tensor.bits if isinstance(tensor, Codes) else 8 * tensor.values.itemsize,
                "sparsity": dropped_share(tensor),
                "bytes": len(varint(len(record))) + len(record),
                "entropy_bytes": entropy_bytes(tensor),
            }
        )
    size = len(data) - sum(row["bytes"] for row in rows)
    header: dict[str, Any] = {
        "name": HEADER_ROW,
        "shape": None,
        "codec": "Deflate",
        "bits": None,
        "sparsity": None,
    }
    header |= {"bytes": size, "entropy_bytes": float(size)}
    return [row | {"share": row["bytes"] / len(data)} for row in (header, *rows)]


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
        return mask + _entropy_bytes(tensor.index) + len(affine_bytes(tensor))
    kept = tensor.values.numel() if tensor.keep is None else int(tensor.keep.count_nonzero())
    return mask + float(kept * tensor.values.itemsize)


def _entropy_bytes(symbols: Tensor) -> float:
    counts = np.bincount(symbols.reshape(-1).numpy().view(np.uint8))
    counts = counts[counts > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum()) / 8


def _open(data: bytes) -> tuple[Recipe, list[str], int, Reader]:
    """Recipe, names, announced elements, and a reader that stands before the first record."""
    if not data.startswith(MAGIC):
        raise PackedFileError("not a packed file: it does not begin as one")
    body, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if len(data) <= len(MAGIC) + CHECKSUM_BYTES or _checksum(body) != checksum:
        raise PackedFileError("damaged packed file: the checksum does not match; it may be cut short")
    version = body[len(MAGIC)]
    if version != VERSION:
        raise PackedFileError(f"packed file of version {version}: only version {VERSION} can be read here")
    reader = Reader(body)
    try:
        reader.take(len(MAGIC) + 1)
        elements = reader.varint()
        if elements > _plausible_elements(len(data)):
            raise ValueError(f"{elements} elements in {len(data)} bytes are not plausible")
        header = json.loads(_inflate(reader.take(reader.varint())).decode("ascii"))
        if not isinstance(header, list) or len(header) != 2:
            raise ValueError("the header is not a recipe and a list of names")
        recipe, names = recipe_from_dict(header[0]), header[1]
    except (ValueError, OverflowError) as error:  # overflow: a whole number too large to be a float
        raise _damaged(error) from error
    except RecursionError as error:
        raise PackedFileError("damaged packed file: the header is nested too deeply") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PackedFileError("damaged packed file: the names of its tensors are no list of strings")
    if len(set(names)) != len(names):
        raise PackedFileError("damaged packed file: two tensors have the same name")
    return recipe, names, elements, reader


def _records(names: list[str], reader: Reader) -> Iterator[tuple[str, bytes]]:
    try:
        for name in names:
            yield name, reader.take(reader.varint())
        reader.finish()
    except ValueError as error:
        raise _damaged(error) from error


def _decode(codec: Codec, name: str, record: bytes, limit: int) -> Stored:
    try:
        return codec.decode(record, limit)
    except ValueError as error:
        raise _damaged(error, f"{name!r:.80}: ") from error


def _damaged(error: Exception, where: str = "") -> PackedFileError:
    """One line of bounded length: what it quotes comes out of the file."""
    words = " ".join(str(error).split())
    return PackedFileError(f"damaged packed file: {where}{words[:200]}{'...' if len(words) > 200 else ''}")


def _plausible_elements(file_bytes: int) -> int:
    """No student shrinks by more than this; a hostile file must not make a reader fill its memory."""
    return min(MAX_ELEMENTS, 2**24 + 1024 * file_bytes)


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECKSUM_BYTES).digest()


def _deflate(header: bytes) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return squeezer.compress(header) + squeezer.flush()


def _inflate(squeezed: bytes) -> bytes:
    inflater = zlib.decompressobj(-15, DICTIONARY)
    try:
        header = inflater.decompress(squeezed, MAX_HEADER_BYTES)
    except zlib.error as error:
        raise ValueError(f"the header cannot be decompressed ({error})") from error
    if not inflater.eof or inflater.unused_data:
        raise ValueError("the header does not end where it should")
    return header


def _spell(tensor: Stored) -> str:
    kind = "quantized" if isinstance(tensor, Codes) else f"dense {tensor.values.dtype}"
    return f"a {kind} tensor {'without' if tensor.keep is None else 'with'} a mask"
