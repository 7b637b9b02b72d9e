"""Published ways to count the bytes of a compressed network, each applied to the same stored tensors.

A published size is hard to compare with the length of a file: what one paper counts another leaves out.
Here the tensors of one packed file are counted in each way, so that the differences are those of the
accountings alone. None but :data:`FILE` is the length of anything that exists: they name no tensor, hold no
recipe and cannot all be decoded. A weight that decodes to zero is a zero, whether a mask dropped it or a
level is worth zero. What an accounting does not define for a tensor is counted as its note says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainables.codecs.base import Stored
from trainables.quantizers.base import Dense
from trainables.shipping.packed_file import entropy_bytes
from trainables.shipping.published_sizes import (
    CONV_GAP_BITS,
    FC_GAP_BITS,
    MATRIX_RANK,
    NOT_A_MATRIX,
    NOT_A_WEIGHT,
    Size,
    bit_packed_bytes,
    deep_compression,
    deep_compression_code,
    ham_code_bits,
    ham_printed_bits,
    matrix_of,
    quantized_distillation,
    sham_code_bits,
    sham_corrected_bits,
    sham_printed_bits,
    shared_code,
)


@dataclass(frozen=True)
class Accounting:
    """A way to count: ``key`` for programs, ``title`` for people, and what is and what is not counted."""

    key: str
    title: str
    counts: str
    leaves_out: str


@dataclass(frozen=True)
class Account:
    """One accounting of all tensors, in the order of the file; ``header`` is 0 where none is counted."""

    accounting: Accounting
    sizes: dict[str, Size]
    header: int = 0

    @property
    def total(self) -> float:
        """Bytes of all tensors and the header."""
        return self.header + sum(size.bytes for size in self.sizes.values())


FP32 = Accounting("fp32", "fp32", "4 bytes for each weight", "names and shapes")
FILE = Accounting("file", "this file", "all there is: records, names, shapes, recipe and checksum", "nothing")
BIT_PACKED = Accounting(
    "bit_packed",
    "bit-packed",
    "b bits for each kept weight; scales, codebooks and full precision as stored; masks at 1 bit",
    "names and shapes",
)
ENTROPY = Accounting(
    "entropy",
    "entropy",
    "order-0 entropy of the levels and masks of each tensor, the rest as bit-packed: a bound",
    "frequency tables, names and shapes",
)
QUANTIZED_DISTILLATION = Accounting(
    "quantized_distillation",
    "quantized distillation",
    "one Huffman code for the levels of all tensors, 8 bytes for each bucket, the rest in fp32; its MB are "
    "10^6 bytes (Polino et al. 2018)",
    "Huffman table, codebooks, rounding up to whole buckets, scales of unbucketed tensors, names and shapes",
)
DEEP_COMPRESSION = Accounting(
    "deep_compression",
    "Deep Compression",
    f"Huffman-coded gaps between nonzeros (fields of {CONV_GAP_BITS} bits in convolutions, {FC_GAP_BITS} in "
    "matrices, with filler zeros), Huffman-coded values, fp32 codebooks, 4 bytes for the number of nonzeros "
    "(Han et al. 2016)",
    "Huffman tables, names and shapes",
)
DEEP_COMPRESSION_CODE = Accounting(
    "deep_compression_code",
    "Deep Compression, code",
    "Huffman-coded values, plain indices and counts per row or column, with their trees of 33 bits for each "
    "symbol (mightydeveloper/Deep-Compression-PyTorch)",
    "names and shapes",
)
HAM_PRINTED = Accounting(
    "ham_printed",
    "HAM, printed",
    "a bound: 1 + log2 k bits for each weight, 24 bytes for each of the k values; every bucket has its own "
    "(Marinò et al. 2020)",
    "names and shapes",
)
HAM_CODE = Accounting(
    "ham_code",
    "HAM, 2021 code",
    "Huffman-coded weights in whole words, the k values in fp32, the tables of each tensor's code",
    "the columns' places in the stream, names and shapes",
)
SHAM_PRINTED = Accounting(
    "sham_printed",
    "sHAM, printed",
    "as HAM's bound for the q nonzeros of an n x m matrix, and n + m + 1 numbers of 4 bytes for their places",
    "q - n of the q row numbers, names and shapes",
)
SHAM_CORRECTED = Accounting(
    "sham_corrected", "sHAM, corrected", "the same with q + m + 1 numbers", "names and shapes"
)
SHAM_CODE = Accounting(
    "sham_code",
    "sHAM, 2021 code",
    "as HAM's code for the nonzeros, and q + m numbers of 8, 16 or 32 bits",
    "the columns' places in the stream, names and shapes",
)
ACCOUNTINGS = (
    FP32,
    FILE,
    BIT_PACKED,
    ENTROPY,
    QUANTIZED_DISTILLATION,
    DEEP_COMPRESSION,
    DEEP_COMPRESSION_CODE,
    HAM_PRINTED,
    HAM_CODE,
    SHAM_PRINTED,
    SHAM_CORRECTED,
    SHAM_CODE,
)


def account(tensors: Mapping[str, Stored], rows: Sequence[Mapping[str, Any]]) -> list[Account]:
    """Every accounting of the tensors of one packed file, in the order of :data:`ACCOUNTINGS`.

    Args:
        tensors: of :func:`trainables.shipping.packed_file.unpack`.
        rows: of :func:`trainables.shipping.packed_file.describe` of the same file: the header, then each
            tensor.
    """
    header, *records = rows
    lengths = shared_code(tensors)
    per_tensor = {
        name: _sizes(tensor, lengths) | {FILE: Size(row["bytes"])}
        for (name, tensor), row in zip(tensors.items(), records, strict=True)
    }
    return [
        Account(
            way,
            {name: sizes[way] for name, sizes in per_tensor.items()},
            header["bytes"] if way is FILE else 0,
        )
        for way in ACCOUNTINGS
    ]


def _sizes(tensor: Stored, lengths: np.ndarray) -> dict[Accounting, Size]:
    if isinstance(tensor, Dense) and not tensor.values.is_floating_point():
        # A vocabulary or a counter, which none of them mentions and the network needs.
        return dict.fromkeys(ACCOUNTINGS, Size(float(tensor.values.nbytes), NOT_A_WEIGHT))
    sizes = {
        FP32: Size(4 * math.prod(tensor.shape)),
        BIT_PACKED: Size(bit_packed_bytes(tensor)),
        ENTROPY: Size(entropy_bytes(tensor)),
        QUANTIZED_DISTILLATION: quantized_distillation(tensor, lengths),
    }
    if len(tensor.shape) < MATRIX_RANK:
        whole = Size(4 * math.prod(tensor.shape), NOT_A_MATRIX)
        return sizes | dict.fromkeys(ACCOUNTINGS[ACCOUNTINGS.index(DEEP_COMPRESSION) :], whole)
    matrix = matrix_of(tensor)
    return sizes | {
        DEEP_COMPRESSION: deep_compression(tensor),
        DEEP_COMPRESSION_CODE: deep_compression_code(tensor),
        HAM_PRINTED: Size(ham_printed_bits(matrix) / 8),
        HAM_CODE: Size(ham_code_bits(matrix) // 8),
        SHAM_PRINTED: Size(sham_printed_bits(matrix) / 8),
        SHAM_CORRECTED: Size(sham_corrected_bits(matrix) / 8),
        SHAM_CODE: Size(sham_code_bits(matrix) // 8),
    }
