"""The entropy decoder: constriction's asymmetric numeral system, a stack whose streams share one state.

docs/packed_file.md says how, under "The entropy coder".
"""

from __future__ import annotations

import constriction
import numpy as np

AnsCoder = constriction.stream.stack.AnsCoder
Categorical = constriction.stream.model.Categorical
SEED_BYTES = 3
CHUNK = 2**18  # symbols: int32 copies of this many stay in the processor's cache
UNIFORM_BYTES = np.ones(256)


class AnsError(ValueError):
    """The bytes are no stream of this coder."""


class AnsDecoder:
    """Pops the symbols of streams, in their order."""

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
