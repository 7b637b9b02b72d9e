"""The levels of a quantized tensor as symbols for the entropy coder.

With an offset per bucket, zero lies at another level in each bucket, and so does the peak of the levels'
histogram. Levels may therefore be *aligned*: counted from the bucket's own level of zero, which offset, scale
and codebook say.
"""

from __future__ import annotations

from rayduce_reader.levels import segments_of, turned_by, zero_levels
from trainables.codecs.contexts import Model, fit_model
from trainables.quantizers.base import Codes


def code_levels(codes: Codes) -> tuple[bool, Model]:
    """Whether the indices of ``codes``, of which there is one at least, are aligned; and their model."""
    index = codes.index.numpy()
    size = codes.symbols
    segments = segments_of(codes.shape, index.size, codes.bucket_size)
    candidates = [index]
    zeros = zero_levels(codes.numpy())
    if zeros is not None:
        candidates.append(turned_by(index, size // 2 - zeros, size, codes.bucket_size))
    number, model = fit_model(candidates, size, segments)
    return number == 1, model
