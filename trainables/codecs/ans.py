"""The entropy coder: constriction's asymmetric numeral system, with what it needs around it.

The coder is a stack. Streams that follow one another in a file therefore share one, and the last
bytes of what precedes them go under it as its initial state (the "bits-back" view of Duda's coder):
an empty stack would spend about three bytes per tensor on getting started.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rayduce_reader.ans import CHUNK, AnsCoder, Categorical


def ans_encode(streams: Sequence[tuple[np.ndarray, np.ndarray]], seed: bytes) -> bytes:
    """Code ``streams``, in the order in which they will be popped, on top of ``seed``.

    Args:
        streams: pairs of uint8 symbols (n,) and float64 weights (symbols,), whole numbers of which
            those of occurring symbols are positive.
        seed: at most ``SEED_BYTES`` bytes.
    """
    start = [] if not seed else [int.from_bytes(seed + b"\x01", "little")]
    coder = AnsCoder(np.array(start, dtype=np.uint32))
    for symbols, weights in reversed(streams):
        model = Categorical(weights, perfect=False)
        for begin in reversed(range(0, symbols.size, CHUNK)):
            coder.encode_reverse(symbols[begin : begin + CHUNK].astype(np.int32), model)
    return coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")
