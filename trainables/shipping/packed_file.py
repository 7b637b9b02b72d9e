"""One file per student: the recipe and every tensor of the network; ``docs/packed_file.md`` is its format."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rayduce_reader.dictionary import DICTIONARY
from rayduce_reader.packed_file import (
    DEFAULT_LIMITS,
    MAGIC,
    MAX_FILE_BYTES,
    VERSION,
    Contents,
    Limits,
    PackedFileError,
    check_finite,
    checksum,
    damaged,
    open_packed,
    read_file,
    read_forms,
    read_records,
)
from trainables.codecs.base import Stored
from trainables.codecs.binary import varint
from trainables.codecs.frequencies import count_symbols
from trainables.codecs.layout import affine_size
from trainables.codecs.smallest import Smallest
from trainables.models.base import Model
from trainables.part import part_from_dict
from trainables.quantizers.base import Codes, Dense, MixedCodes, from_numpy
from trainables.recipe import MEMBERS, Recipe, canonical_json, recipe_from_dict

__all__ = [
    "DEFAULT_LIMITS",
    "HEADER_ROW",
    "SUFFIX",
    "Limits",
    "Packed",
    "PackedFileError",
    "describe",
    "dropped_elements",
    "dropped_share",
    "entropy_bytes",
    "pack",
    "read_file",
    "read_header",
    "unpack",
]

SUFFIX = ".rdz"
HEADER_ROW = "(header)"


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
        check_finite(name, tensor.numpy())
        data = codec.encode(tensor)
        records.append(varint(len(data)) + data)
    elements = sum(math.prod(tensor.shape) for tensor in tensors.values())
    shipped = "null" if model in (None, recipe.model) else canonical_json(model)
    names = json.dumps(list(tensors), separators=(",", ":"))
    header = f"[{canonical_json(recipe)},{shipped},{names}]".encode("ascii")
    squeezed = _deflate(header)
    start = MAGIC + bytes([VERSION]) + varint(elements) + varint(len(squeezed)) + squeezed
    body = start + b"".join(records)
    file = body + checksum(body)
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
    contents, reader = open_packed(data, limits)
    recipe, model = _parts(contents)
    tensors = {name: from_numpy(form) for name, form in read_forms(contents, reader, limits).items()}
    return Packed(recipe, tensors, model)


def read_header(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Recipe:
    """The recipe alone, without decoding a tensor; the checksum is verified all the same.

    Raises:
        PackedFileError: as :func:`unpack`.
    """
    return _parts(open_packed(data, limits)[0])[0]


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
    contents, reader = open_packed(data, limits)
    recipe, _ = _parts(contents)
    rows: list[dict[str, Any]] = []
    for name, form, record in read_records(contents, reader, limits):
        tensor = from_numpy(form)
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


def _parts(contents: Contents) -> tuple[Recipe, Model]:
    """The recipe in a header, and the architecture that ships."""
    try:
        recipe, model = recipe_from_dict(contents.recipe), part_from_dict(contents.architecture, MEMBERS)
        if model is not None and not isinstance(model, Model):
            raise ValueError(f"what ships is a {type(model).__name__}, and no architecture")
    except (ValueError, OverflowError) as error:  # overflow: a whole number too large to be a float
        raise damaged(error) from error
    return recipe, model or recipe.model


def _deflate(header: bytes) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return squeezer.compress(header) + squeezer.flush()


def _spell(tensor: Stored) -> str:
    kind = f"dense {tensor.values.dtype}" if isinstance(tensor, Dense) else "quantized"
    return f"a {kind} tensor {'without' if tensor.keep is None else 'with'} a mask"
