"""The one object that joins a mask and a quantizer on a parameter."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainables.compression.ahead import Norm, factor, left_over, norm_at
from trainables.compression.left import picked, picked_codes
from trainables.compression.places import Layout, layout
from trainables.compression.quantized_inputs import attach, quantizes
from trainables.folding import folded, is_foldable
from trainables.modes import evaluating
from trainables.pruners.base import Mask
from trainables.quantizers.base import Dense, Grouped, Stored, WeightQuantizer, scatter_kept
from trainables.recipe import FIRST_AND_LAST_PARAMETER, Recipe
from trainables.slicing.unread import Left
from trainables.ties import aliases

LARGEST_FLOAT16 = 65504.0


class NotFinite(ValueError):
    """A tensor that is to be stored holds NaN or infinity; the message names it."""


class CompressedWeight(nn.Module):
    """A parametrization: ``layer.weight`` is the masked and quantized weight while it is attached.

    Mask and quantizer are one object because, chained, the quantizer would move masked zeros off zero.
    The survivors alone are quantized, so pruned weights take no part in a bucket's range, and are put
    back among exact zeros; a quantizer with an exact zero is given the whole masked tensor.

    Attributes:
        quantizing: whether the forward pass quantizes; the mask is always in force.
        quantizer: the recipe's.
        norm: the batch normalisation behind the layer, where the folded weight is what is quantized.
        phase_quantizer: a phase's own quantizer, in force instead while it is there.
        dense_gradient: whether masked elements, which are zero in the forward pass, get that zero's gradient.
    """

    def __init__(self, mask: Mask, quantizer: WeightQuantizer) -> None:
        super().__init__()
        self.mask = mask
        self.quantizer = quantizer
        self.phase_quantizer: WeightQuantizer | None = None
        self.norm: Norm | None = None
        self.quantizing = False
        self.dense_gradient = False

    @property
    def active(self) -> WeightQuantizer:
        """The quantizer in force while ``quantizing``."""
        return self.quantizer if self.phase_quantizer is None else self.phase_quantizer

    def forward(self, weight: Tensor) -> Tensor:
        keep = self.mask.current()
        if self.quantizing:
            used = self._used(self.active, weight, keep)
        else:
            used = weight if keep is None else weight * keep
        if keep is None or not self.dense_gradient:
            return used
        return used + (weight - weight.detach()) * ~keep  # adds nothing but a gradient

    def unmasked(self, weight: Tensor) -> Tensor:
        """What the forward pass would use in place of ``weight`` if nothing of it were pruned."""
        return self._used(self.active, weight, None) if self.quantizing else weight

    def _used(self, quantizer: WeightQuantizer, weight: Tensor, keep: Tensor | None) -> Tensor:
        """What the layer multiplies by: normalisation multiplies by its factor behind it."""
        by = factor(self.norm, weight) if quantizer.folds else None
        if by is None:
            return _quantized(quantizer, weight, keep)
        return _quantized(quantizer, weight * by, keep) / by

    def _folded(self, quantizer: WeightQuantizer, weight: Tensor) -> Tensor:
        by = factor(self.norm, weight) if quantizer.folds else None
        return weight if by is None else weight * by

    def start_quantizing(self, weight: Tensor) -> None:
        """Quantize from now on; learned state starts from the current ``weight``."""
        if not self.quantizing:
            given = self._folded(self.active, weight.detach())
            self.active.initialize(_given(self.active, given, self.mask.current()))
        self.quantizing = True

    @torch.no_grad()
    def end_phase_quantizer(self, weight: nn.Parameter, *, keep: bool = False) -> None:
        """Drop the phase's own quantizer, if it had one; kept elements of ``weight`` become what it made.

        Args:
            weight: the full-precision original.
            keep: whether it stays as it is instead, as a weight does that the network has frozen.
        """
        if self.phase_quantizer is None:
            return
        if not keep:
            mask = self.mask.current()
            made = self._settled(self.phase_quantizer, weight, mask)
            weight.copy_(made if mask is None else torch.where(mask, made, weight))
        self.phase_quantizer, self.quantizing = None, False

    @torch.no_grad()
    def encode(self, weight: Tensor, left: Left | None = None) -> Stored | Grouped:
        """``weight`` as it would be shipped now: at its final sparsity and quantized by the recipe's own.

        Args:
            weight: the full-precision original.
            left: what of it ships; None is all.
        """
        keep = self.mask.shipped(weight)
        if self.phase_quantizer is not None:
            weight = self._settled(self.phase_quantizer, weight, keep)
        weight = self._folded(self.quantizer, weight)
        if left is not None and not self.quantizer.exact_zero:
            weight, keep = picked(weight, left), None if keep is None else picked(keep, left)
            keep = None if keep is None or bool(keep.all()) else keep
            left = None
        mask = None if self.quantizer.exact_zero else keep
        whole = self.quantizer.encode(_given(self.quantizer, weight, keep), tuple(weight.shape), mask)
        return whole if left is None else picked_codes(whole, left)

    def _settled(self, quantizer: WeightQuantizer, weight: Tensor, keep: Tensor | None) -> Tensor:
        """What stays of ``weight``: no noise and no chance of training is left in it."""
        with evaluating(quantizer):
            return self._used(quantizer, weight, keep)


def _given(quantizer: WeightQuantizer, weight: Tensor, keep: Tensor | None) -> Tensor:
    """What ``quantizer`` is given: the whole masked tensor, or the kept values alone."""
    if quantizer.exact_zero:
        return weight if keep is None else weight * keep
    quantizer.locate(keep)
    return survivors(weight, keep)


def _quantized(quantizer: WeightQuantizer, weight: Tensor, keep: Tensor | None) -> Tensor:
    made = quantizer(_given(quantizer, weight, keep))
    return made if quantizer.exact_zero else scatter_kept(made, keep, tuple(weight.shape))


def survivors(weight: Tensor, keep: Tensor | None) -> Tensor:
    """The kept elements in row-major order, shape (n,)."""
    return weight.reshape(-1) if keep is None else weight[keep]


def compress(student: nn.Module, recipe: Recipe) -> nn.Module:
    """Attach a :class:`CompressedWeight` to each parameter that :func:`compressible` names, in place.

    The inputs of the layers they belong to get quantizers, which do not quantize yet.

    Raises:
        ValueError: see :func:`compressible` and :func:`check_patterns`; or the network has
            parametrizations of its own, such as weight normalisation; or the quantizer's budget is too small.

    A parameter in several places, as tied weights are, has one mask and one quantizer, under its first name.
    """
    for name, module in student.named_modules():
        if parametrize.is_parametrized(module):
            raise ValueError(
                f"the network's {name or 'root'} is parametrized already, as by weight_norm; remove that"
            )
    chosen = compressible(student, recipe)
    layers = {name.rpartition(".")[0] for name in chosen}
    tied = aliases(student)
    stored = {name for name in chosen if name not in tied}
    found = layout(student, chosen) if quantizes(student, recipe, chosen) else Layout()
    layers |= {place.where for place in found.places}
    for role, part, names in (
        ("quantizer", recipe.quantizer, stored),
        ("pruner", recipe.pruner, stored),
        ("activations", recipe.activations, layers),
    ):
        check_patterns(role, part.patterns(), names)
    quantizers = recipe.quantizer.over(
        {name: tuple(weight.shape) for name, weight in student.named_parameters() if name in stored}
    )
    attach(student, recipe.activations, found)
    made: dict[str, CompressedWeight] = {}
    for prefix, module in list(student.named_modules()):
        for child, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            name = f"{prefix}.{child}" if prefix else child
            if name not in chosen:
                continue
            first = tied.get(name, name)
            if first not in made:
                mask, quantizer = (
                    recipe.pruner.build(parameter, first),
                    quantizers[first].build(parameter, first),
                )
                if recipe.pruner.cuts and not quantizer.divisible:
                    raise ValueError(
                        f"{type(recipe.pruner).__name__} takes channels out of what ships, and cannot where "
                        f"rows or groups of a weight have bits of their own, got {recipe.quantizer}"
                    )
                made[first] = CompressedWeight(mask, quantizer)
                alone = name not in tied and name not in tied.values()
                if quantizer.folds and alone and child == "weight" and prefix in found.norms:
                    made[first].norm = norm_at(student, found.norms[prefix])
            parametrize.register_parametrization(module, child, made[first])
        if isinstance(module, nn.RNNBase) and parametrize.is_parametrized(module):
            module.register_forward_pre_hook(_hand_weights)
            module.register_forward_hook(_take_weights, always_call=True)
    return student


def _hand_weights(module: nn.Module, inputs: Any) -> None:
    """Let PyTorch's recurrent layers, which keep a list of their weights, use the compressed ones."""
    assert isinstance(module, nn.RNNBase)
    module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]


def _take_weights(module: nn.Module, inputs: Any, output: Any) -> None:
    """Keep nothing of a forward pass: its tensors belong to its graph, and cannot be copied."""
    assert isinstance(module, nn.RNNBase)
    module._flat_weights = []


def compressible(network: nn.Module, recipe: Recipe) -> set[str]:
    """Names of the parameters of a plain ``network`` that are compressed.

    Those of two or more dimensions that ``recipe.exempt`` does not name, under all of their names; a tied
    parameter is exempt where one of its names is.

    Raises:
        ValueError: a pattern in ``recipe.exempt`` matches no parameter.
    """
    found = dict(network.named_parameters(remove_duplicate=False))
    names, once = list(found), [name for name, _ in network.named_parameters()]
    exempt: set[int] = set()
    for pattern in recipe.exempt:
        named = (
            [*once[:1], *once[-1:]] if pattern == FIRST_AND_LAST_PARAMETER else fnmatch.filter(names, pattern)
        )
        if not named:
            raise ValueError(f"exempt pattern {pattern!r} matches none of the parameters {', '.join(names)}")
        exempt.update(id(found[name]) for name in named)
    return {name for name in names if found[name].dim() >= 2 and id(found[name]) not in exempt}


def check_patterns(role: str, patterns: Iterable[str], names: Iterable[str]) -> None:
    """Raise ``ValueError`` unless each pattern is the first to match one of ``names``."""
    left = names = sorted(names)
    for pattern in patterns:
        matched = fnmatch.filter(left, pattern)
        left = [name for name in left if name not in matched]
        if not matched and fnmatch.filter(names, pattern):
            raise ValueError(f"the {role}'s pattern {pattern!r} never acts: earlier ones match the same")
        if not matched:
            raise ValueError(
                f"the {role}'s pattern {pattern!r} matches none of what is compressed: {', '.join(names)}"
            )


def compressed_weights(student: nn.Module) -> Iterator[tuple[str, CompressedWeight, nn.Parameter]]:
    """Every compressed parameter: its name, the object that compresses it, its full-precision original.

    Each once, whatever the number of places that it is in.
    """
    seen: set[nn.Module] = set()
    for prefix, module in student.named_modules():
        for child, chain in getattr(module, "parametrizations", {}).items():
            if chain[0] not in seen:
                seen.add(chain[0])
                yield (f"{prefix}.{child}" if prefix else child), chain[0], chain.original


@torch.no_grad()
def stored_tensors(
    student: nn.Module, recipe: Recipe, left: Mapping[str, Left] | None = None
) -> dict[str, Stored]:
    """All tensors of ``student`` as they would be shipped now, on the CPU, batch normalisation folded.

    Of those that ``left`` names, what it says is shipped (:class:`trainables.slicing.unread.Unread`).

    Names are those of the network that :func:`trainables.shipping.evaluation.rebuild` builds; a tensor in
    groups of rows has several, see :func:`trainables.quantizers.base.joined`.

    Raises:
        NotFinite: a tensor, a scale or a learned point is not finite.
        ValueError: a batch normalisation keeps no running statistics.
    """
    left = left or {}
    tensors: dict[str, Stored] = {}
    for name, compressed, original in compressed_weights(student):
        check_finite(name, original)
        encoded = compressed.encode(original, left.get(name))
        made = encoded.named(name) if isinstance(encoded, Grouped) else {name: encoded}
        for stored in made.values():
            for part in stored.arrays():
                check_finite(f"the quantized {name}", part)
        tensors |= made
    ahead = {
        compressed.norm.module: compressed.norm
        for _, compressed, _ in compressed_weights(student)
        if compressed.norm is not None
    }
    seen: set[Tensor] = set()
    for prefix, module in student.named_modules():
        if "parametrizations" in prefix.split("."):
            continue
        if is_foldable(module):
            scale, shift = folded(module)
            scale = left_over(ahead.get(module), scale)
            plain = {"scale": scale, "shift": shift}
        else:
            plain = dict(module.named_parameters(recurse=False))
            transient = module._non_persistent_buffers_set
            plain |= {k: b for k, b in module.named_buffers(recurse=False) if k not in transient}
        for child, tensor in plain.items():
            if tensor in seen:
                continue
            seen.add(tensor)
            name = f"{prefix}.{child}" if prefix else child
            check_finite(name, tensor)
            tensor = picked(tensor.detach().cpu(), left.get(name, {}))
            tensors[name] = Dense(narrowed(tensor, recipe.exempt_dtype))
    return tensors


def check_finite(name: str, tensor: Tensor) -> None:
    if not bool(torch.isfinite(tensor).all()):
        raise NotFinite(f"{name} holds a value that is not finite")


def narrowed(tensor: Tensor, dtype: str) -> Tensor:
    """float32 as float16 where asked for and in its range; other tensors as they are."""
    if dtype == "float16" and tensor.dtype == torch.float32:
        fits = tensor.numel() == 0 or float(tensor.abs().max()) <= LARGEST_FLOAT16
        return tensor.half() if fits else tensor.clone()
    return tensor.clone()
