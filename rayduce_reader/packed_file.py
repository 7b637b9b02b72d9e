"""The packed file, read: what it says of its student, and its tensors one by one."""

from __future__ import annotations

import hashlib
import math
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rayduce_reader.binary import Memory, Reader, TooMuch
from rayduce_reader.dictionary import DICTIONARY
from rayduce_reader.foreign import parse_json, shown
from rayduce_reader.forms import Form, largest, removed_elements
from rayduce_reader.records import Decode, decoder

MAGIC = b"\x8bRDZ"
VERSION = 5

CHECKSUM_BYTES = 8
MAX_FILE_BYTES = 2**31
FLOAT32_BYTES = 4
LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127
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


class Contents(NamedTuple):
    """The header of a file, as JSON has it, and what reads its records.

    Attributes:
        recipe: what was asked for.
        architecture: what ships, where it is another than the recipe's; else None.
        names: of the tensors, in the order of their records.
        elements: of all tensors together, as announced.
        decode: a record -> its tensor.
    """

    recipe: dict[str, Any]
    architecture: dict[str, Any] | None
    names: list[str]
    elements: int
    decode: Decode


def read_file(path: str | os.PathLike[str]) -> bytes:
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


def open_packed(data: bytes, limits: Limits) -> tuple[Contents, Reader]:
    """The header, and a reader that stands before the first record.

    Raises:
        PackedFileError: ``data`` is no packed file, is damaged or costs more than ``limits``.
    """
    if not data.startswith(MAGIC):
        raise PackedFileError("not a packed file: it does not begin as one")
    body, found = memoryview(data)[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if len(data) <= len(MAGIC) + CHECKSUM_BYTES or checksum(body) != found:
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
        recipe, architecture, names = header
        if not isinstance(recipe, dict) or not isinstance(architecture, dict | None):
            raise ValueError("recipe and architecture are no objects")
        decode = decoder(recipe.get("codec"))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("the names of its tensors are no list of strings")
        if len(set(names)) != len(names):
            raise ValueError("two tensors have the same name")
    except ValueError as error:
        raise damaged(error) from error
    if len(names) > limits.tensors:
        raise PackedFileError(
            f"the packed file holds {len(names)} tensors; a reader accepts at most {limits.tensors}"
        )
    return Contents(recipe, architecture, names, elements, decode), reader


def read_records(
    contents: Contents, reader: Reader, limits: Limits
) -> Iterator[tuple[str, Form, memoryview]]:
    """Name, tensor and record of each, while they cost no more than ``limits``.

    Raises:
        PackedFileError: a record is damaged, or they hold other than what the header announces.
    """
    found = 0
    memory = Memory(limits.memory(reader.size + CHECKSUM_BYTES))
    for name in contents.names:
        try:
            record = reader.take(reader.varint())
            memory.spend(TENSOR_BYTES, "one tensor more")
            tensor = contents.decode(record, memory)
            check_finite("it", tensor)
        except TooMuch as error:
            where = f"'{shown(name, 80)}': {error} (Limits.memory_bytes)"
            raise PackedFileError(f"the packed file takes too much to read: {where}") from error
        except ValueError as error:
            raise damaged(error, f"'{shown(name, 80)}': ") from error
        found += math.prod(tensor.shape)
        if found > contents.elements:
            break
        yield name, tensor, record
    if found != contents.elements:
        raise PackedFileError(
            f"damaged packed file: it holds {'more than' if found > contents.elements else f'{found} of'} "
            f"{contents.elements} elements"
        )
    try:
        reader.finish()
    except ValueError as error:
        raise damaged(error) from error


def read_forms(contents: Contents, reader: Reader, limits: Limits) -> dict[str, Form]:
    """All tensors as they are stored, by name.

    Raises:
        PackedFileError: see :func:`read_records`; or rows that are not stored would take too much.
    """
    tensors = {name: tensor for name, tensor, _ in read_records(contents, reader, limits)}
    zeros, allowed = FLOAT32_BYTES * removed_elements(tensors), limits.memory(reader.size + CHECKSUM_BYTES)
    if zeros > allowed:
        raise PackedFileError(
            f"the packed file takes too much to read: its removed rows would take {zeros} bytes of memory "
            f"where {allowed} are allowed (Limits.memory_bytes)"
        )
    return tensors


def check_finite(name: str, tensor: Form) -> None:
    """Refuse a tensor with a value that is not finite in float32: no student that is of use has one."""
    if not largest(tensor) <= LARGEST_FLOAT32:  # which NaN is not
        raise ValueError(f"{name} holds a value that is not finite")


def damaged(error: Exception, where: str = "") -> PackedFileError:
    """One line of bounded length, fit to show: what it quotes comes out of the file."""
    return PackedFileError(f"damaged packed file: {where}{shown(' '.join(str(error).split()))}")


def checksum(body: bytes | memoryview) -> bytes:
    """What ends a file whose other bytes are ``body``."""
    return hashlib.blake2b(body, digest_size=CHECKSUM_BYTES).digest()


def _inflate(squeezed: memoryview, most: int) -> bytes:
    inflater = zlib.decompressobj(-15, DICTIONARY)
    try:
        header = inflater.decompress(squeezed, most)
    except zlib.error as error:
        raise ValueError(f"the header cannot be decompressed ({error})") from error
    if not inflater.eof or inflater.unused_data:
        raise ValueError("the header does not end where it should")
    return header
