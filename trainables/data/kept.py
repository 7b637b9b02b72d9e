"""Arrays in files of the store, mapped by every process that reads them."""

from __future__ import annotations

import hashlib
import io
import math
import mmap
import os
import random
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.errors import DataError
from trainables.files import open_inside, read_inside
from trainables.foreign import shown
from trainables.sealed import sealed, unsealed

FOLDER = "data"
"""Of a store, in which each data set has a folder of its own."""
MANIFEST = "manifest.json"
VERSION = 1
BLOCK = 64 * 2**20
"""Bytes of an array that have a checksum of their own."""
PIECE = 2**20
"""Bytes that are read at a time to be hashed; a block is a whole number of them."""
MOST_CHECKED = 2 * 2**30
"""Bytes that are read when a sweep begins; of larger data other blocks are each time, drawn at random."""
MOST_TOUCHED = 128 * 2**20
"""Bytes of pages that a process has of larger data before it lets go of them."""
PAGES = 64 * 2**10
"""Bytes that Linux maps around each that is read (``fault_around_bytes``)."""
KEY = re.compile("[0-9a-f]{16,64}")
_FILE = re.compile(r"\d{1,4}\.npy")
_DTYPES = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)


@dataclass(frozen=True)
class KeptFile:
    """What the manifest says of one array.

    Attributes:
        name: of the array.
        file: its file, beside the manifest.
        dtype: numpy's name of it.
        shape: rows first.
        sha256: of its values, 64 hex digits.
        blocks: the same of each :data:`BLOCK` bytes of them.
    """

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str
    blocks: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Of its values."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def header(self) -> bytes:
        """What its file begins with."""
        return npy_header(self.dtype, self.shape)


class KeptArrays(Mapping[str, np.ndarray]):
    """Arrays in a folder of a store; each is mapped when it is first asked for, and read-only.

    It is pickled as its path, and opened where it arrives when it is first used: so it costs a sweep's trials
    nothing but the pages that they touch, and these are one copy for all of a machine.

    Args:
        store: folder of the sweeps' files.
        key: of the data; their folder is ``<store>/data/<key>``.
        seal: SHA-256 of the manifest, in hex; None takes what is there.
    """

    def __init__(self, store: Path, key: str, seal: str | None = None) -> None:
        self._store, self._key, self._seal = Path(store).absolute(), key, seal
        self._files: dict[str, KeptFile] | None = None
        self._maps: dict[str, mmap.mmap] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._touched = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptArrays, (self._store, self._key, self._seal)

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self._store / FOLDER / self._key

    def open(self) -> None:
        """Read the manifest, and map every array.

        Raises:
            ValueError, OSError: it is damaged, or not there.
        """
        if self._files is None:
            name = f"{FOLDER}/{self._key}/{MANIFEST}"
            data = read_inside(self._store, name)
            content, seal = unsealed(data), hashlib.sha256(data).hexdigest()
            if self._seal not in (None, seal):
                raise ValueError("it was made again with other content")
            files = read_manifest(content)
            for kept in files.values():
                self._map(kept)
            self._files, self._seal = files, seal

    @property
    def files(self) -> Mapping[str, KeptFile]:
        """What the manifest says, by the arrays' names.

        Raises:
            DataError: the data are damaged, or gone.
        """
        if self._files is None:
            try:
                self.open()
            except (ValueError, OSError) as error:
                raise DataError(
                    f"the kept data in {shown(str(self.folder), 300)} cannot be used "
                    f"({reason_of(error)}); go on with the sweep, which makes them again"
                ) from error
        assert self._files is not None
        return self._files

    def __getitem__(self, name: str) -> np.ndarray:
        self.files[name]  # opened, or unknown
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __contains__(self, name: object) -> bool:
        return name in self.files

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return sum(kept.nbytes for kept in self.files.values())

    def sha256(self, name: str) -> str:
        """64 hex digits of the SHA-256 of an array's values, as the manifest has it."""
        return self.files[name].sha256

    def touched(self, count: int, pieces: int) -> None:
        """So many bytes were read, in so many places; from time to time all pages are let go of.

        What is let go of stays in the kernel's cache as long as there is memory, and is mapped again where
        it is read; so a process is never much larger than what it works on.
        """
        self._touched += max(count, pieces * PAGES)
        if self._touched >= MOST_TOUCHED:
            self._touched = 0
            if self.nbytes > MOST_TOUCHED:
                for each in self._maps.values():
                    each.madvise(mmap.MADV_DONTNEED)

    def damaged(self) -> str:
        """The name of an array whose content has changed; empty if none was found.

        All blocks are read up to :data:`MOST_CHECKED` bytes; beyond these some that are drawn at random, so
        that damage is met by some sweep, if not by this one.
        """
        blocks = [(kept, number) for kept in self.files.values() for number in range(len(kept.blocks))]
        most = MOST_CHECKED // BLOCK
        if len(blocks) > most:
            blocks = random.SystemRandom().sample(blocks, most)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(lambda block: self._is_whole(*block), blocks)
            return next((kept.name for (kept, _), whole in zip(blocks, found, strict=True) if not whole), "")

    def _is_whole(self, kept: KeptFile, number: int) -> bool:
        handle = open_inside(self._store, f"{FOLDER}/{self._key}/{kept.file}")
        digest = hashlib.sha256()
        try:
            for start in range(number * BLOCK, min((number + 1) * BLOCK, kept.nbytes), PIECE):
                length = min(PIECE, BLOCK, kept.nbytes - start)
                digest.update(os.pread(handle, length, len(kept.header) + start))
        finally:
            os.close(handle)
        return digest.hexdigest() == kept.blocks[number]

    def _map(self, kept: KeptFile) -> None:
        handle = open_inside(self._store, f"{FOLDER}/{self._key}/{kept.file}")
        try:
            header = kept.header
            if os.fstat(handle).st_size != len(header) + kept.nbytes:
                raise ValueError(f"{kept.file} has another length")
            if os.pread(handle, len(header), 0) != header:
                raise ValueError(f"{kept.file} is of another type or shape")
            mapped = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(handle)
        values = np.frombuffer(mapped, kept.dtype, math.prod(kept.shape), len(header))
        self._maps[kept.name], self._arrays[kept.name] = mapped, values.reshape(kept.shape)


class Joined(Mapping[str, np.ndarray]):
    """Arrays of several mappings, of which the first that has a name counts; kept ones stay where they are.

    Args:
        parts: of which the arrays are.
    """

    def __init__(self, *parts: Mapping[str, np.ndarray]) -> None:
        self.parts = parts

    def holder_of(self, name: str) -> Mapping[str, np.ndarray]:
        """The first part that has an array of that name.

        Raises:
            KeyError: none has.
        """
        for part in self.parts:
            if name in part:
                return part
        raise KeyError(name)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.holder_of(name)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for part in self.parts for name in part))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """What an ``.npy`` file of such an array begins with."""
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def manifest(files: list[KeptFile]) -> bytes:
    """The file that says what the others hold, sealed."""
    rows = [
        {
            "name": kept.name,
            "file": kept.file,
            "dtype": kept.dtype,
            "shape": list(kept.shape),
            "sha256": kept.sha256,
            "blocks": list(kept.blocks),
        }
        for kept in files
    ]
    return sealed({"version": VERSION, "arrays": rows})


def read_manifest(content: Mapping[str, Any]) -> dict[str, KeptFile]:
    """The arrays of a manifest that may be anybody's.

    Raises:
        ValueError: it is none of ours, or of a later version.
    """
    if content.get("version") != VERSION or not isinstance(content.get("arrays"), list):
        raise ValueError(f"its manifest is not of version {VERSION}")
    files = [_kept_file(row) for row in content["arrays"]]
    found = {kept.name: kept for kept in files}
    if len(found) != len(files) or len({kept.file for kept in files}) != len(files):
        raise ValueError("its manifest names an array or a file twice")
    return found


def _kept_file(row: Any) -> KeptFile:
    try:
        kept = KeptFile(
            row["name"], row["file"], row["dtype"], tuple(row["shape"]), row["sha256"], tuple(row["blocks"])
        )
        texts = (kept.name, kept.file, kept.dtype, kept.sha256, *kept.blocks)
        good = (
            all(isinstance(text, str) for text in texts)
            and _FILE.fullmatch(kept.file) is not None
            and kept.dtype in _DTYPES
            and len(kept.shape) <= 32
            and all(type(side) is int and 0 <= side < 2**48 for side in kept.shape)
            and len(kept.blocks) == -(-kept.nbytes // BLOCK)
        )
    except (KeyError, TypeError) as error:
        raise ValueError("its manifest lacks something") from error
    if not good:
        raise ValueError(f"its manifest says something else of {shown(str(row['name']), 60)}")
    return kept


def sha256_of(arrays: Mapping[str, np.ndarray], name: str) -> str:
    """64 hex digits of the SHA-256 of an array's values: of kept ones known, of others computed."""
    if isinstance(arrays, Joined):
        arrays = arrays.holder_of(name)
    if isinstance(arrays, KeptArrays):
        return arrays.sha256(name)
    return hashlib.sha256(np.ascontiguousarray(arrays[name]).data).hexdigest()


def checksum_of(arrays: Mapping[str, np.ndarray]) -> bytes:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(repr((name, arrays[name].dtype.str, arrays[name].shape)).encode())
        digest.update(bytes.fromhex(sha256_of(arrays, name)))
    return digest.digest()


def touched(arrays: Mapping[str, np.ndarray], count: int, pieces: int) -> None:
    """So many bytes of ``arrays`` were read, in so many places; see :meth:`KeptArrays.touched`."""
    for each in arrays.parts if isinstance(arrays, Joined) else [arrays]:
        if isinstance(each, KeptArrays):
            each.touched(count, pieces)


def reason_of(error: Exception) -> str:
    """Why, in a few words."""
    if isinstance(error, OSError):
        return shown(error.strerror or str(error))
    return shown(str(error))
