"""What translation tasks and sequence networks say to each other: batches of token numbers."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3
"""The first token numbers of every vocabulary."""


class Sentences(NamedTuple):
    """The inputs of one step of a sequence network: sources, and targets shifted right (teacher forcing).

    ``source`` is int64 of shape (n, s), each row ended by ``END`` and filled up with ``PAD``;
    ``lengths`` (int64, shape (n,)) counts its tokens, ``END`` included; ``target`` is int64 of shape (n, t),
    begun by ``BEGIN`` and filled up with ``PAD``. A network returns logits of shape (n, t, vocabulary).
    """

    source: Tensor
    lengths: Tensor
    target: Tensor
