"""How the tensors of a student are stored, as far as an export of them shows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from trainables.quantizers.base import Codes, Dense, MixedCodes, Stored


def stored_kind(tensors: Mapping[str, Stored]) -> str:
    """First 12 hex digits of the SHA-256 of how ``tensors`` are stored, whatever their values are.

    Equal are students of one architecture whose weights have the same types: bits, buckets, codebooks. A
    student has the same kind before and after training unless it learns its bits. Which weights are pruned
    does not count, and no export is needed: what pieces it stores numbers in may depend on the numbers.

    Args:
        tensors: of a packed file, by name.
    """
    facts = [[name, list(stored.shape), *_facts(stored)] for name, stored in sorted(tensors.items())]
    return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()[:12]


def _facts(stored: Stored) -> list[Any]:
    match stored:
        case Codes():
            kinds = [None if each is None else str(each.dtype) for each in (stored.offset, stored.scale)]
            levels = None if stored.codebook is None else len(stored.codebook)
            return ["codes", stored.bits, stored.bucket_size, *kinds, levels, stored.zero is not None]
        case MixedCodes():
            widths = np.bincount(stored.bits.numpy(), minlength=16)  # groups of each number of bits
            return ["mixed", stored.group_size, *widths.tolist()]
        case Dense():
            return ["dense", str(stored.values.dtype)]
