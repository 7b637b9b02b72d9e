"""Bits and bytes against big integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayduce_reader.binary import Reader, packed_size, unpack_bits
from trainables.codecs.binary import pack_bits, varint


@given(bits=st.integers(1, 8), count=st.integers(0, 70), seed=st.integers(0, 2**32))
def test_packed_bits_are_one_long_number(bits: int, count: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2**bits, count, dtype=np.uint8)
    number = sum(int(value) << (bits * place) for place, value in enumerate(values))
    packed = pack_bits(values, bits)
    assert packed == number.to_bytes(packed_size(count, bits), "little")
    assert np.array_equal(unpack_bits(packed, count, bits), values)


@given(st.integers(0, 2**63 - 1))
def test_varint(value: int) -> None:
    reader = Reader(varint(value) + b"x")
    assert reader.varint() == value
    assert bytes(reader.rest()) == b"x"


def test_varint_takes_seven_bits_a_byte() -> None:
    assert [len(varint(value)) for value in (0, 127, 128, 2**14 - 1, 2**14, 2**63 - 1)] == [1, 1, 2, 2, 3, 9]


@pytest.mark.parametrize("value", [-1, 2**63])
def test_varint_out_of_range(value: int) -> None:
    with pytest.raises(ValueError, match=str(value)):
        varint(value)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 10])
def test_unfinished_varint(data: bytes) -> None:
    with pytest.raises(ValueError):
        Reader(data).varint()


def test_reader_ends() -> None:
    reader = Reader(b"abc")
    assert (reader.peek(), bytes(reader.take(2))) == (97, b"ab")
    with pytest.raises(ValueError, match="1 bytes follow"):
        reader.finish()
    with pytest.raises(ValueError, match="2 bytes are announced where 1 are left"):
        reader.take(2)
