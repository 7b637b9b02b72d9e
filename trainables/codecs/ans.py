"""The entropy coder: constriction's asymmetric numeral system, with what it needs around it.

The coder is a stack. Streams that follow one another in a file therefore share one, and the last
bytes of what precedes them go under it as its initial state (the "bits-back" view of Duda's coder):
an empty stack would spend about three bytes per tensor on getting started.
"""

from __future__ import annotations

from collections.abc import Sequence

import constriction
import numpy as np

AnsCoder = constriction.stream.stack.AnsCoder
Categorical = constriction.stream.model.Categorical

SEED_BYTES = 3
CHUNK = 2**18  # symbols: int32 copies of this many stay in the processor's cache
UNIFORM_BYTES = np.ones(256)


class AnsError(ValueError):
    """The bytes are no stream of this coder."""


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


class AnsDecoder:
    """Pops what :func:`ans_encode` pushed."""

    def __init__(self, data: bytes | memoryview) -> None:
        data = bytes(data)
        if data.endswith(b"\0"):
            raise AnsError("an entropy-coded stream ends in a zero")
        self.size = len(data)
        words = np.frombuffer(data + bytes(-len(data) % 4), dtype="<u4")
        self._coder = AnsCoder(words.astype(np.uint32))

    def pop(self, weights: np.ndarray, count: int) -> np.ndarray:
        """The next ``count`` symbols, uint8. A wrong stream gives wrong symbols, never a crash."""
        model = Categorical(weights, perfect=False)
        symbols = np.empty(count, dtype=np.uint8)
        for begin in range(0, count, CHUNK):
            end = min(begin + CHUNK, count)
            symbols[begin:end] = self._coder.decode(model, end - begin)
        return symbols

    def finish(self, seed_bytes: int) -> bytes:
        """The seed (``seed_bytes`` long) left at the bottom of the stack.

        Raises:
            AnsError: something else is left, so the symbols were not what was coded.
        """
        left = self._coder.get_compressed()
        if seed_bytes == 0 and left.size == 0:
            return b""
        if seed_bytes and left.size == 1 and left[0] >> 8 * seed_bytes == 1:
            return int(left[0]).to_bytes(4, "little")[:seed_bytes]
        raise AnsError("an entropy-coded stream does not end where it should")
