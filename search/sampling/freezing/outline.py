"""What is known of a recipe's size before anything is built: how many weights, and in how many bits."""

from __future__ import annotations

import fnmatch
import functools
import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from search.sampling.freezing.entropy import coded, mask_bits
from trainables.models.base import Model
from trainables.part import Part
from trainables.quantizers import Graded, LearnedPoints, LearnedStep, Symmetric
from trainables.recipe import FIRST_AND_LAST_PARAMETER, Recipe
from trainables.slicing.cut import Cut

FLOAT = 32.0
"""Bits of a weight that is not quantized."""

BUCKET = 20.0
"""Bits of a bucket's offset and scale after coding, on the recorded digits, as the next ones."""

POINT, LEVEL, RARE_LEVEL = 27.0, 0.5, 8.0
"""Bits of a learned point, and of a level that occurs, in the table of each tensor; where most weights are at
the zero among the levels, it says more of the others."""

SCALE = 16.0
"""Bits of the scale of a channel or tensor."""

HEADER, RECORD, MASKS = 100.0, 9.0, 30.0
"""Bytes of a packed file beside its tensors, of each tensor beside its values, and of a file with masks."""

EXEMPT = {"float16": 16.0, "float32": 32.0}


class Count(NamedTuple):
    """Elements of a network.

    Attributes:
        weights: that may be compressed.
        others: all other parameters.
        compressed: tensors of weights.
        tensors: of all parameters.
        channels: of all tensors of weights.
        shapes: of the tensors of weights.
    """

    weights: int
    others: int
    compressed: int
    tensors: int
    channels: int
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Outline:
    """A recipe's size as far as its parts tell it.

    Attributes:
        log2_weights: of the elements that may be compressed.
        kept: share of them that stay, in (0, 1].
        bits: of each that stays.
        log2_bytes: what the packed file of the trained student is expected to take;
            :class:`search.sampling.freezing.sizes.Cost` corrects it.
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
    cut = recipe.origin.sizes if recipe.origin.cuts else None
    count = _count(_tensors(recipe.model, recipe.task.input_shape, recipe.task.outputs), recipe.exempt, cut)
    kept = max(1.0 - float(getattr(recipe.pruner, "sparsity", 0.0)), 2.0**-6)
    quantizer = recipe.quantizer
    bits = float(getattr(quantizer, "bits", 0) or getattr(quantizer, "initial_bits", FLOAT))
    if not recipe.quantizes:
        bits = FLOAT
    stored, beside = kept * bits + mask_bits(kept), 0.0
    if recipe.quantizes and count.weights:
        stored, beside = _quantized(recipe, count, kept)
    bytes_ = HEADER + RECORD * count.tensors + MASKS * (kept < 1)
    bytes_ += (count.weights * stored + beside + count.others * EXEMPT[recipe.exempt_dtype]) / 8
    return Outline(math.log2(max(count.weights, 1)), kept, bits, math.log2(bytes_))


def _quantized(recipe: Recipe, count: Count, kept: float) -> tuple[float, float]:
    """Bits of each weight, scales of buckets included, and of all that a tensor or channel has once."""
    quantizer = recipe.quantizer
    row, tensor = (max(count.weights // max(each, 1), 1) for each in (count.channels, count.compressed))
    if isinstance(quantizer, Graded):
        return _graded(quantizer, count, kept), SCALE * count.channels
    code = coded(quantizer, round(kept, 6), row, tensor)
    bucket = getattr(quantizer, "bucket_size", None)
    stored = code.bits + (kept * BUCKET / bucket if bucket else 0.0)
    if isinstance(quantizer, LearnedPoints):
        return stored, count.compressed * code.levels * POINT
    scales = count.channels if getattr(quantizer, "per_channel", False) else count.compressed
    level = RARE_LEVEL if kept < 1 and isinstance(quantizer, LearnedStep | Symmetric) else LEVEL
    tables = count.compressed * min(code.levels, kept * tensor) * level
    return stored, tables + (0.0 if bucket else SCALE * scales)


def _graded(quantizer: Graded, count: Count, kept: float) -> float:
    """Bits of each weight where rows of tensors have their own."""
    grades = quantizer.grades({str(number): shape for number, shape in enumerate(count.shapes)})
    found = 0.0
    for shape, bits in zip(count.shapes, grades.values(), strict=True):
        row = math.prod(shape[1:])
        for each, rows in Counter(bits).items():
            if each:
                found += rows * row * coded(Symmetric(each), round(kept, 6), row, row).bits
    return found / count.weights


class Tensor(NamedTuple):
    """A parameter of a network.

    Attributes:
        name: of it.
        shape: of it.
        rows: whether its first dimension counts channels, as but of an embedding's.
    """

    name: str
    shape: tuple[int, ...]
    rows: bool


def _count(tensors: tuple[Tensor, ...], exempt: tuple[str, ...], cut: Part | None) -> Count:
    names = [each.name for each in tensors]
    left_out = {name for pattern in exempt for name in fnmatch.filter(names, pattern)}
    if FIRST_AND_LAST_PARAMETER in exempt:
        left_out |= {*names[:1], *names[-1:]}
    shapes = [each.shape for each in tensors] if not isinstance(cut, Cut) else _cut(tensors, cut)
    chosen = [
        shape for name, shape in zip(names, shapes, strict=True) if len(shape) > 1 and name not in left_out
    ]
    weights = sum(map(math.prod, chosen))
    whole = sum(map(math.prod, shapes))
    channels = sum(shape[0] for shape in chosen)
    return Count(weights, whole - weights, len(chosen), len(tensors), channels, tuple(chosen))


def _cut(tensors: tuple[Tensor, ...], cut: Cut) -> list[tuple[int, ...]]:
    """What channels that go leave of the shapes, about: inputs and outputs of the network stay.

    Which layers must go together and which blocks can be dropped is not looked at: to find out would take as
    long as cutting. So it is exact where all layers can be cut alike, and tells too few where some cannot,
    such as those that share a skip connection without weights between different widths.
    """
    weights = [number for number, each in enumerate(tensors) if len(each.shape) > 1]
    first, last = min(weights, default=-1), max(weights, default=-1)
    names = [each.name for each in tensors]
    whole = {name for pattern in cut.keep for name in fnmatch.filter(names, f"{pattern}*")}
    found = []
    for number, (name, shape, rows) in enumerate(tensors):
        share = cut.share(number / max(len(tensors) - 1, 1))
        kept = list(shape)
        if shape and rows and number < last and name not in whole:  # a scale alone has no channels
            kept[0] = cut.kept(shape[0], share)
        if len(shape) > 1 and shape[1] > 1 and (number > first or not rows):
            kept[1] = cut.kept(shape[1], share)
        found.append(tuple(kept))
    return found


@functools.lru_cache(maxsize=4096)
def _tensors(model: Model, input_shape: tuple[int, ...], outputs: int) -> tuple[Tensor, ...]:
    network = _shapes(model, input_shape, outputs)
    tables = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    return tuple(
        Tensor(name, tuple(each.shape), id(each) not in tables) for name, each in network.named_parameters()
    )


def _shapes(model: Model, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """A network of which only the shapes count."""
    try:
        with torch.device("meta"):  # no values are drawn or held
            return model.build(input_shape, outputs)
    except Exception:  # anybody's code, which may look at values while it builds; on the CPU it is theirs
        with torch.random.fork_rng(devices=[]):
            return model.build(input_shape, outputs)
