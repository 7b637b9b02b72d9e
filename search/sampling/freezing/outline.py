"""What is known of a recipe's size before anything is built: how many weights, and in how many bits."""

from __future__ import annotations

import fnmatch
import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from trainables.models.base import Model
from trainables.quantizers import LearnedPoints
from trainables.recipe import FIRST_AND_LAST_PARAMETER, Recipe

FLOAT = 32.0
"""Bits of a weight that is not quantized."""

GRID = 0.92
"""Of the bits of a quantized weight what is left after coding, on the recorded digits."""

BUCKET = 32.0
"""Bits of a bucket's offset and scale."""

POINT = 16.0
"""Bits of a learned point; each tensor has its own."""

HEADER, RECORD = 300.0, 24.0
"""Bytes of a packed file beside its tensors, and of each tensor beside its values."""

EXEMPT = {"float16": 16.0, "float32": 32.0}


class Count(NamedTuple):
    """Elements of a network: those that may be compressed, the others; and how many tensors hold them."""

    weights: int
    others: int
    compressed: int
    tensors: int


@dataclass(frozen=True)
class Outline:
    """A recipe's size as far as its parts tell it.

    Attributes:
        log2_weights: of the elements that may be compressed.
        kept: share of them that stay, in (0, 1].
        bits: of each that stays.
        log2_bytes: what a packed file would take by a rule of thumb; :class:`Sizes` corrects it.
    """

    log2_weights: float
    kept: float
    bits: float
    log2_bytes: float

    def coordinates(self) -> tuple[float, ...]:
        """How coarse the weights are, how many bits and how few of them: each about in [0, 1]."""
        coarse = 1 / math.sqrt(2**self.bits - 1)
        return (coarse, math.log2(self.bits) / math.log2(FLOAT), -math.log2(self.kept) / 4)


def outline_of(recipe: Recipe) -> Outline:
    """The outline of a recipe; only the shapes of its network are made.

    Raises:
        ValueError: its network cannot be built.
    """
    count = _count(recipe.model, recipe.task.input_shape, recipe.task.outputs, recipe.exempt)
    kept = max(1.0 - float(getattr(recipe.pruner, "sparsity", 0.0)), 2.0**-6)
    quantizer = recipe.quantizer
    bits = float(getattr(quantizer, "bits", 0) or getattr(quantizer, "initial_bits", FLOAT))
    if not recipe.quantizes:
        bits = FLOAT
    stored = kept * (GRID * bits if recipe.quantizes else bits)
    centred = recipe.quantizes and getattr(quantizer, "bucket_size", None) is None
    if kept < 1:
        mask = -(kept * math.log2(kept) + (1 - kept) * math.log2(1 - kept))
        stored += mask * (0.8 if centred else 1.0)
    if recipe.quantizes and not centred:
        stored += kept * BUCKET / quantizer.bucket_size  # type: ignore[attr-defined]  # as asked above
    bytes_ = HEADER + RECORD * count.tensors
    if isinstance(quantizer, LearnedPoints):
        bytes_ += count.compressed * 2**bits * POINT / 8
    bytes_ += (count.weights * stored + count.others * EXEMPT[recipe.exempt_dtype]) / 8
    return Outline(math.log2(max(count.weights, 1)), kept, bits, math.log2(bytes_))


@functools.lru_cache(maxsize=4096)
def _count(model: Model, input_shape: tuple[int, ...], outputs: int, exempt: tuple[str, ...]) -> Count:
    found = dict(_shapes(model, input_shape, outputs).named_parameters())
    names = list(found)
    left_out = {name for pattern in exempt for name in fnmatch.filter(names, pattern)}
    if FIRST_AND_LAST_PARAMETER in exempt:
        left_out |= {*names[:1], *names[-1:]}
    chosen = [found[name] for name in names if found[name].dim() > 1 and name not in left_out]
    weights = sum(parameter.numel() for parameter in chosen)
    whole = sum(parameter.numel() for parameter in found.values())
    return Count(weights, whole - weights, len(chosen), len(found))


def _shapes(model: Model, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """A network of which only the shapes count."""
    try:
        with torch.device("meta"):  # no values are drawn or held
            return model.build(input_shape, outputs)
    except Exception:  # anybody's code, which may look at values while it builds; on the CPU it is theirs
        with torch.random.fork_rng(devices=[]):
            return model.build(input_shape, outputs)
