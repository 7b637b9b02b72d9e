"""Quantizers in front of the layers whose weights are compressed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils import parametrize

from trainables.activations.base import InputQuantizer
from trainables.calibration import CALIBRATION_INPUTS, InputBatches
from trainables.calling import Inputs, call, mapped, samples_of
from trainables.models.summand import Summand
from trainables.modes import evaluating
from trainables.recipe import Recipe

INPUT_QUANTIZER = "input_quantizer"
"""The attribute of a layer under which the quantizer of its inputs is."""


def quantize_inputs(
    network: nn.Module, recipe: Recipe, compressed: Collection[str], *, quantizing: bool = False
) -> nn.Module:
    """Put ``recipe.activations`` in front of layers of ``network``, in place, as ``input_quantizer``.

    Those layers are the convolutions (also transposed ones) and linear layers whose ``weight`` is
    compressed, and, if there is one, every :class:`~trainables.models.summand.Summand`. The output projection
    of PyTorch's attention is none of them: attention reads its weights and never calls it.

    Args:
        network: without quantizers of inputs.
        recipe: says which.
        compressed: names of compressed parameters, see
            :func:`trainables.compression.compressed_weight.compressible`.
        quantizing: whether they quantize from now on.

    Raises:
        ValueError: a layer has something else named ``input_quantizer``.
    """
    modules = list(network.named_modules())
    layers = [
        (prefix, module)
        for prefix, module in modules
        if isinstance(module, _ConvNd | nn.Linear)
        and not isinstance(module, NonDynamicallyQuantizableLinear)
        and f"{prefix}.weight".removeprefix(".") in compressed
    ]
    sums = [(prefix, module) for prefix, module in modules if layers and isinstance(module, Summand)]
    for part, places in ((recipe.activations, layers), (recipe.activations.for_sums(), sums)):
        for prefix, module in places:
            quantizer = part.build(prefix)
            if quantizer is None:
                continue
            if hasattr(module, INPUT_QUANTIZER):
                raise ValueError(f"{prefix} has an attribute input_quantizer already; rename it")
            module.input_quantizer = quantizer.to(next(network.parameters()).device)
            quantizer.quantizing = quantizing
            module.register_forward_pre_hook(_quantize_input, with_kwargs=True)
    return network


def _quantize_input(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    # Looked up at every call, and no closure: a copied network quantizes with its own.
    quantizer = module.get_submodule(INPUT_QUANTIZER)
    if args:
        return (quantizer(args[0]), *args[1:]), kwargs
    return args, {**kwargs, "input": quantizer(kwargs["input"])}


def input_quantizers(network: nn.Module) -> Iterator[tuple[str, InputQuantizer]]:
    """Every input quantizer and its name, such as ``0.0.input_quantizer``."""
    for name, module in network.named_modules():
        if isinstance(module, InputQuantizer):
            yield name, module


@torch.no_grad()
def calibrate(network: nn.Module, batches: InputBatches) -> None:
    """Take the ranges of all input quantizers anew from the first 512 inputs of ``batches``.

    Weights are as they are in force, no input is quantized meanwhile, and batch normalisation in training
    mode takes the statistics of each batch, as in training, but keeps none. Nothing else of the network
    changes, and no random number is drawn. A quantizer that no input reaches keeps the range [0, 0].
    """
    quantizers = [quantizer for _, quantizer in input_quantizers(network)]
    before = [(quantizer, quantizer.quantizing) for quantizer in quantizers]
    for quantizer in quantizers:
        quantizer.begin()
        quantizer.quantizing, quantizer.observing = False, True
    try:
        with _observed(network), parametrize.cached():
            for inputs in _first(batches(), CALIBRATION_INPUTS):
                call(network, inputs)
    finally:
        for quantizer, quantizing in before:
            quantizer.quantizing, quantizer.observing = quantizing, False


@contextmanager
def _observed(network: nn.Module) -> Iterator[None]:
    """Eval mode but for batch normalisation that trains; modes and its statistics are put back."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.training]
    statistics = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    try:
        with evaluating(network):
            for norm in norms:
                norm.train()
            yield
    finally:
        for buffer, value in statistics:
            buffer.copy_(value)


def _first(batches: Iterable[Inputs], left: int) -> Iterator[Inputs]:
    for inputs in batches:
        yield mapped(lambda tensor: tensor[:left], inputs)  # noqa: B023  # used before it changes
        left -= samples_of(inputs)
        if left <= 1:  # batch normalisation cannot use one input alone
            return
