"""Bytes of one stored tensor as papers count them, for :mod:`trainables.shipping.accounting`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from trainables.codecs.base import Stored
from trainables.huffman import code_bits, code_lengths
from trainables.quantizers.base import Codes, MixedCodes

WORD_BITS = 32
"""Of a machine word and a weight in HAM's formulas."""

MATRIX_RANK = 2
"""Tensors of at least this many dimensions are matrices; published codes leave biases in fp32."""

CONV_GAP_BITS, FC_GAP_BITS = 8, 5
"""Fields of the gaps between nonzeros in the text of Deep Compression (its AlexNet table has 4 for fc)."""

MAX_CODEBOOK = 256
"""Entries that Deep Compression's widest index, 8 bits, can name."""

DROPPED_LEVEL = 256
"""Of weights that a mask drops: the first number that is no level of 8 bits."""

NOT_A_MATRIX = "not a matrix: kept in fp32, as the published code keeps it"
NOT_A_WEIGHT = "integers, no weights: as they are"
FULL_PRECISION = f"not quantized, more than {MAX_CODEBOOK} values: no codebook, kept in fp32"
BUCKETED = "its buckets share levels, not values: its levels are coded, and its scales are added as stored"
MIXED = "its groups have bits of their own, so its levels are not those of other tensors: bit-packed"
DROPPED = "pruned, which the paper is not: dropped weights are counted as one more level"


@dataclass(frozen=True)
class Size:
    """Bytes of one tensor; a ``note`` where the accounting does not define them by itself."""

    bytes: float
    note: str | None = None


def bit_packed_bytes(tensor: Stored) -> int:
    """``b`` bits per kept level with scales, offsets and codebook as stored; one bit per element of a mask.

    Where groups have bits of their own, those of each, and of each an index into the range of bits. Of a
    full-precision tensor the kept elements as they are. Each stream in whole bytes.
    """
    elements = math.prod(tensor.shape)
    mask = 0 if tensor.keep is None else whole_bytes(elements)
    if isinstance(tensor, Codes):
        return mask + whole_bytes(tensor.bits * tensor.index.numel()) + scale_bytes(tensor)
    if isinstance(tensor, MixedCodes):
        index = int(tensor.bits.max() - tensor.bits.min()).bit_length() if elements else 0
        levels = int(tensor.widths().long().sum())
        return mask + whole_bytes(levels) + whole_bytes(index * tensor.bits.numel()) + scale_bytes(tensor)
    kept = elements if tensor.keep is None else int(tensor.keep.count_nonzero())
    return mask + kept * tensor.values.itemsize


def scale_bytes(codes: Codes | MixedCodes) -> int:
    """Bytes of scales, offsets and codebook as stored."""
    return sum(part.nbytes for part in codes.arrays())


def shared_code(tensors: Mapping[str, Stored]) -> np.ndarray:
    """Codeword bits of each level in one Huffman code for all quantized tensors; int64, shape (257,).

    Level ``i`` is the same symbol in every tensor, whatever it is worth there, and a dropped weight is
    symbol :data:`DROPPED_LEVEL`. Symbols that do not occur have 0.
    """
    counts = np.zeros(DROPPED_LEVEL + 1, dtype=np.int64)
    for tensor in tensors.values():
        if isinstance(tensor, Codes):
            counts += _level_counts(tensor)
    lengths = np.zeros_like(counts)
    lengths[counts > 0] = code_lengths(counts[counts > 0])
    return lengths


def quantized_distillation(tensor: Stored, lengths: np.ndarray) -> Size:
    """``N L / 8 + 8 N / k`` bytes in buckets of ``k``: sizes in the tables of quantized distillation.

    Polino, Pascanu and Alistarh (2018) and their code: ``L`` is the mean length under a code shared by all
    tensors, two fp32 numbers are paid per bucket whatever dtype they are stored in, ``N / k`` is not rounded
    up, one bucket per tensor is not paid for at all, and other tensors take 4 bytes per element. Their code
    gives a network with a single level a size of nothing for it; here that level has one bit.

    Args:
        tensor: any; pruned ones are outside the paper, see :data:`DROPPED`.
        lengths: of :func:`shared_code`.
    """
    if isinstance(tensor, MixedCodes):
        return Size(bit_packed_bytes(tensor), MIXED)
    if not isinstance(tensor, Codes):
        return Size(4 * math.prod(tensor.shape))
    counts = _level_counts(tensor)
    buckets = 0.0 if tensor.bucket_size is None else tensor.index.numel() / tensor.bucket_size
    return Size(int(counts @ lengths) / 8 + 8 * buckets, DROPPED if counts[DROPPED_LEVEL] else None)


def _level_counts(codes: Codes) -> np.ndarray:
    counts = np.bincount(codes.index.numpy(), minlength=DROPPED_LEVEL + 1)
    counts[DROPPED_LEVEL] = math.prod(codes.shape) - codes.index.numel()
    return counts


def deep_compression(tensor: Stored) -> Size:
    """Huffman-coded gaps and values, an fp32 codebook, and the number of nonzeros in 4 bytes.

    Han, Mao and Dally (2016), sections 2, 3 and 5. The codebook holds the values that occur, and zero if
    there are fillers. A tensor without zeros pays one bit per weight for its gaps. Where a tensor has no
    codebook, see :data:`FULL_PRECISION` and :data:`BUCKETED`.
    """
    values = tensor.decode().reshape(-1).float().numpy()
    nonzero = values != 0
    symbols, scales, note = values[nonzero], 0, None
    if isinstance(tensor, Codes) and tensor.scale.numel() > 1:
        levels = np.zeros(values.size, dtype=np.uint8)
        levels[... if tensor.keep is None else tensor.keep.reshape(-1).numpy()] = tensor.index.numpy()
        symbols, scales, note = levels[nonzero], scale_bytes(replace(tensor, codebook=None)), BUCKETED
    _, counts = np.unique(symbols, return_counts=True)
    if not isinstance(tensor, Codes) and counts.size > MAX_CODEBOOK:
        return Size(4 * values.size, FULL_PRECISION)
    gaps, fillers = relative_index(np.flatnonzero(nonzero), gap_bits(tensor.shape))
    entries = np.append(counts, fillers) if fillers else counts
    coded = whole_bytes(code_bits(entries)) + whole_bytes(code_bits(np.bincount(gaps)))
    return Size(coded + 4 * entries.size + 4 + scales, note)


def deep_compression_code_counts(tensor: Stored) -> dict[str, np.ndarray]:
    """How often each symbol of each stream occurs in the code mightydeveloper/Deep-Compression-PyTorch.

    It has no gaps and no fillers: nonzero values (``data``), their plain column numbers (``indices``) and how
    many there are per row (``indptr_diff``), of the matrix with a row per output, filters flattened; of one
    with at least as many rows as columns, row numbers and counts per column.

    Returns:
        Counts above zero, int64, by the name of the stream; :func:`trainables.huffman.code_bits` counts bits.
    """
    values = tensor.decode().float().numpy()
    matrix = values.reshape(len(values), -1) if values.size else values.reshape(len(values), 0)
    matrix = matrix if matrix.shape[0] < matrix.shape[1] else matrix.T
    number, index = np.nonzero(matrix)
    streams = {"data": matrix[number, index], "indices": index}
    streams["indptr_diff"] = np.bincount(number, minlength=len(matrix))
    return {name: np.unique(stream, return_counts=True)[1] for name, stream in streams.items()}


def deep_compression_code(tensor: Stored) -> Size:
    """Bytes of the files that this code writes for one weight: of each stream its codewords and its tree.

    Codewords take a byte and their bits, a tree a byte, 33 bits per leaf and one per inner node. A single
    symbol has one bit here, where the code gives it none and cannot read it back.
    """
    total = 0
    for counts in deep_compression_code_counts(tensor).values():
        total += 1 + whole_bytes(code_bits(counts))
        total += 1 + whole_bytes(33 * counts.size + max(counts.size - 1, 0))
    return Size(total)


def gap_bits(shape: tuple[int, ...]) -> int:
    """The published field: of convolutions (at least three dimensions), and of fully connected matrices."""
    return CONV_GAP_BITS if len(shape) > MATRIX_RANK else FC_GAP_BITS


def relative_index(positions: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """Gaps from nonzero to nonzero, with fillers where one does not fit the field, and how many fillers.

    A gap is the number of zeros in between; a filler is a zero that is coded as if it were a value, behind
    the ``2^bits - 1`` zeros that the field can say.

    Args:
        positions: of the nonzeros, ascending, shape (a,).
        bits: of the field.

    Returns:
        gaps, int64, shape (a + fillers,), each below ``2^bits``; the number of fillers.
    """
    zeros = np.diff(positions, prepend=-1) - 1
    before, rest = np.divmod(zeros, 2**bits)
    gaps = np.full(positions.size + int(before.sum()), 2**bits - 1, dtype=np.int64)
    gaps[np.cumsum(before + 1) - 1] = rest
    return gaps, gaps.size - positions.size


@dataclass(frozen=True)
class Matrix:
    """What HAM's formulas need of a matrix of ``rows`` inputs and ``columns`` outputs.

    Attributes:
        rows: ``n``.
        columns: ``m``.
        counts: how often each nonzero value occurs, int64.
        zeros: how many elements are zero.
    """

    rows: int
    columns: int
    counts: np.ndarray
    zeros: int

    @property
    def all_counts(self) -> np.ndarray:
        """With zero as one more value if it occurs."""
        return np.append(self.counts, self.zeros) if self.zeros else self.counts


def matrix_of(tensor: Stored) -> Matrix:
    """A weight as the matrix that is multiplied with inputs: one column per output, filters flattened."""
    values = tensor.decode().reshape(-1).float().numpy()
    _, counts = np.unique(values[values != 0], return_counts=True)
    columns, *others = tensor.shape
    return Matrix(math.prod(others), columns, counts, values.size - int(counts.sum()))


def ham_printed_bits(matrix: Matrix) -> float:
    """``nm (1 + log2 k) + 6 k B``: at least any Huffman code, and two search trees of three words per value.

    Marinò, Ghidoli, Frasca and Malchiodi (ICPR 2020), who print it as a fraction of ``nm B``.
    """
    return _bound_bits(matrix.all_counts)


def sham_printed_bits(matrix: Matrix) -> float:
    """``q (1 + log2 k) + 6 k B + (n + m + 1) B`` with ``q`` nonzeros of ``k`` values, as printed."""
    return _bound_bits(matrix.counts) + WORD_BITS * (matrix.rows + matrix.columns + 1)


def sham_corrected_bits(matrix: Matrix) -> float:
    """As printed, with a row number for each of the ``q`` nonzeros: ``q + m + 1`` words of structure."""
    return _bound_bits(matrix.counts) + WORD_BITS * (int(matrix.counts.sum()) + matrix.columns + 1)


def ham_code_bits(matrix: Matrix) -> int:
    """What the authors' later code counts (AnacletoLAB/sHAM, utils.py, 2021), here with one code per matrix.

    Their count for a network shares one code between its matrices. They give a single value a codeword of
    no bits; here it has one.
    """
    return _stream_bits(matrix.all_counts) + _table_bits(matrix.all_counts)


def sham_code_bits(matrix: Matrix) -> int:
    """As :func:`ham_code_bits` for the nonzeros, with row numbers and counts per column.

    Counts per column are given the width of row numbers, as there.
    """
    structure = (int(matrix.counts.sum()) + matrix.columns) * required_bits(matrix.rows)
    return _stream_bits(matrix.counts) + structure + _table_bits(matrix.counts)


def required_bits(largest: int) -> int:
    """8, 16, 32, ...: the first integer type above ``largest``."""
    bits = 8
    while largest >= 2**bits:
        bits *= 2
    return bits


def whole_bytes(bits: int) -> int:
    """Bytes that hold ``bits``."""
    return -(-bits // 8)


def _bound_bits(counts: np.ndarray) -> float:
    if not counts.size:
        return 0.0
    return float(counts.sum() * (1 + math.log2(counts.size)) + 6 * counts.size * WORD_BITS)


def _stream_bits(counts: np.ndarray) -> int:
    return -(-code_bits(counts) // WORD_BITS) * WORD_BITS


def _table_bits(counts: np.ndarray) -> int:
    """Values, and per codeword length the first symbol and first code, and a table for ``t`` leading bits."""
    if not counts.size:
        return 0
    longest = int(code_lengths(counts).max())
    first_symbols = (longest + 1) * required_bits(counts.size)
    first_codes = (longest + 2) * required_bits(2**longest)
    leading = math.ceil(math.log2(longest))  # t of the code; without leading bits it makes no table
    table = 2**leading * required_bits(longest) if leading else 0
    return counts.size * WORD_BITS + first_symbols + first_codes + table
