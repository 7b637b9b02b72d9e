"""Students out of packed files, as arrays."""

from __future__ import annotations

import os

import numpy as np

from rayduce_reader.forms import Form, joined
from rayduce_reader.header import Header, header_of
from rayduce_reader.packed_file import (
    DEFAULT_LIMITS,
    Limits,
    damaged,
    open_packed,
    read_file,
    read_forms,
)


def read(source: str | os.PathLike[str] | bytes, limits: Limits = DEFAULT_LIMITS) -> dict[str, np.ndarray]:
    """The weights of a student, decoded, by the names that its network gives them.

    They are the weights that the network computes with, bit for bit: batch normalisation is folded into a
    ``scale`` and a ``shift``; a tensor that the network has under several names stands under the first.

    Args:
        source: path of a packed file, or its bytes.
        limits: what reading may cost; by default what students need.

    Returns:
        Arrays of their own shapes: float32 of quantized tensors; of others their own dtype, such as float16,
        and float32 in place of bfloat16, which NumPy has not. Names that begin with ``task:`` are no weights:
        ``task:vocabulary``, uint8, are the bytes of a translator's vocabulary.

    Raises:
        PackedFileError: it is no packed file, is damaged, of another version or another codec, holds a value
            that is not finite, or costs more than ``limits``; one sentence.
    """
    forms = read_codes(source, limits)
    try:
        return {name: form.decode() for name, form in joined(forms).items()}
    except ValueError as error:
        raise damaged(error) from error


def read_codes(source: str | os.PathLike[str] | bytes, limits: Limits = DEFAULT_LIMITS) -> dict[str, Form]:
    """The tensors of a student as they are stored: integers with scales, offsets, codebooks and masks.

    For whoever computes with the integers. ``decode()`` of each is what they stand for.

    Args:
        source: path of a packed file, or its bytes.
        limits: what reading may cost; by default what students need.

    Returns:
        :class:`rayduce_reader.Codes`, ``MixedCodes`` or ``Dense`` by name, in the order of the file. A tensor
        whose rows are in groups is in parts: ``NAME[rows]`` says which group each row is in, ``NAME[0]``,
        ``NAME[1]``, ... hold the rows of each; :func:`read` puts them together.

    Raises:
        PackedFileError: see :func:`read`.
    """
    contents, reader = open_packed(_bytes(source), limits)
    return read_forms(contents, reader, limits)


def read_header(source: str | os.PathLike[str] | bytes, limits: Limits = DEFAULT_LIMITS) -> Header:
    """What a packed file says of its student: recipe, task, class names, preprocessing; no tensor is decoded.

    Args:
        source: path of a packed file, or its bytes.
        limits: what reading may cost; by default what students need.

    Raises:
        PackedFileError: see :func:`read`; the records of the tensors are not looked at, but for the checksum.
    """
    return header_of(open_packed(_bytes(source), limits)[0])


def _bytes(source: str | os.PathLike[str] | bytes) -> bytes:
    return source if isinstance(source, bytes) else read_file(source)
