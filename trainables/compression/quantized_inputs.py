"""Quantizers where a network's tensors have to be on few levels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from trainables.activations.base import ActivationQuantizer, InputQuantizer
from trainables.calibration import CALIBRATION_INPUTS, InputBatches
from trainables.calling import Inputs, call, mapped, samples_of
from trainables.compression.operands import Slot, through, watch
from trainables.compression.places import Layout, Place, layers_of, layout
from trainables.foreign import shown
from trainables.modes import evaluating
from trainables.part import Part
from trainables.recipe import Recipe

INPUT_QUANTIZER = "input_quantizer"
"""The attribute of a layer under which the quantizer of its inputs is."""

OPERAND_QUANTIZERS = "operand_quantizers"
"""The attribute of the first layer under which those of functions' operands are.

Modules that call functions cannot hold them: some of them go through their children one after the other."""

_READS = "_rayduce_reads"
_UNFOLLOWED = "_rayduce_unfollowed"


def of_quantizer(name: str) -> bool:
    """Whether a tensor of this name is one of a quantizer of inputs."""
    return not {INPUT_QUANTIZER, OPERAND_QUANTIZERS}.isdisjoint(name.split("."))


def quantizes(network: nn.Module, recipe: Recipe, compressed: Collection[str]) -> bool:
    """Whether ``recipe`` quantizes what any layer of ``network`` reads."""
    return any(recipe.activations.build(name) is not None for name in layers_of(network, compressed))


def quantize_inputs(
    network: nn.Module, recipe: Recipe, compressed: Collection[str], *, quantizing: bool = False
) -> nn.Module:
    """Put ``recipe.activations`` where :func:`trainables.compression.places.layout` finds a place, in place.

    Args:
        network: without quantizers of inputs.
        recipe: says which.
        compressed: names of compressed parameters, see
            :func:`trainables.compression.compressed_weight.compressible`.
        quantizing: whether they quantize from now on.

    Raises:
        ValueError: a layer has something else named ``input_quantizer``.
    """
    if quantizes(network, recipe, compressed):
        attach(network, recipe.activations, layout(network, compressed), quantizing=quantizing)
    return network


def attach(
    network: nn.Module, activations: ActivationQuantizer, found: Layout, *, quantizing: bool = False
) -> None:
    """Put quantizers into the places of ``found``, in place.

    Places whose values are those of one tensor share a quantizer where equal parts build theirs. Where such a
    tensor is computed in integers and its readers want different ones, all read it through the one of most
    levels first: a runtime's kernel writes its output once.

    Raises:
        ValueError: see :func:`quantize_inputs`.
    """
    groups: dict[tuple[int, int], list[tuple[Place, InputQuantizer]]] = {}
    for number, place in enumerate(found.places):
        part = activations.for_sums() if place.beside else activations
        quantizer = part.build(place.where)
        if quantizer is not None:
            group = (0, place.source) if place.source is not None else (1, number)
            groups.setdefault(group, []).append((place, quantizer))
    network.__dict__[_UNFOLLOWED] = found.unfollowed
    writer = _Writer(network, found, quantizing)
    for members in groups.values():
        equal: dict[Part, list[tuple[Place, InputQuantizer]]] = {}
        for place, quantizer in members:
            equal.setdefault(quantizer.part, []).append((place, quantizer))
        first: Slot | None = None
        joint = any(place.joint for place, _ in members)
        for each in sorted(equal.values(), key=lambda each: -each[0][1].bits):
            owner, whole = _owner([place for place, _ in each])
            slot = writer.hold(owner, next(built for place, built in each if place is owner))
            for place, _ in each:
                own = slot if place is owner else replace(slot, again=True, part=not whole)
                writer.read(place, (own,) if first is None else (first, own))
            if joint and first is None:
                first = replace(slot, again=True)


def unfollowed(network: nn.Module) -> str:
    """A sentence's end about modules that could not be looked into, and why; empty if there are none.

    Only the inputs of the layers in them are quantized: their sums and poolings stay in floating point.
    """
    found: dict[str, str] = network.__dict__.get(_UNFOLLOWED, {})
    if not found:
        return ""
    name, reason = next(iter(found.items()))
    others = f" and {len(found) - 1} other modules" if len(found) > 1 else ""
    module = f"the module {shown(name)}" if name else "the network as a whole"
    return f"; sums and poolings of {module}{others} are in float32, for it cannot be traced: {shown(reason)}"


def _owner(places: list[Place]) -> tuple[Place, bool]:
    """Whose reading moves a range, and whether it reads all that any of them reads.

    Where none does, as where each reads a part of a tensor, it is the last one, which knows of the others.
    """
    if all(place.distance >= 0 for place in places):
        whole = [place for place in places if place.distance == 0]
        if whole or len(places) == 1:
            return min(whole or places, key=lambda place: place.key is not None), True
    return max(places, key=lambda place: place.last), False


class _Writer:
    """Puts quantizers, and who reads them, into a network."""

    def __init__(self, network: nn.Module, found: Layout, quantizing: bool) -> None:
        self._network = network
        self._found = found
        self._quantizing = quantizing
        self._device = next(network.parameters()).device
        layers = [place.where for place in found.places if place.key is None and not place.beside]
        names = [name for name, _ in network.named_modules()]
        self._first = network.get_submodule(min(layers, key=names.index)) if layers else network

    def hold(self, place: Place, quantizer: InputQuantizer) -> Slot:
        """Where ``quantizer``, the one of ``place``, is from now on."""
        quantizer.to(self._device).quantizing = self._quantizing
        if place.key is None:
            layer = self._network.get_submodule(place.where)
            if hasattr(layer, INPUT_QUANTIZER):
                raise ValueError(f"{place.where} has an attribute input_quantizer already; rename it")
            layer.add_module(INPUT_QUANTIZER, quantizer)
            return Slot(layer, INPUT_QUANTIZER)
        if OPERAND_QUANTIZERS not in self._first._modules:
            if hasattr(self._first, OPERAND_QUANTIZERS):
                raise ValueError(f"a layer has an attribute {OPERAND_QUANTIZERS} already; rename it")
            self._first.add_module(OPERAND_QUANTIZERS, nn.Module())
        name = f"{place.where.replace('.', '-')}-{place.operand}"
        holder = self._first.get_submodule(OPERAND_QUANTIZERS)
        holder.add_module(name, quantizer)
        return Slot(holder, name)

    def read(self, place: Place, slots: tuple[Slot, ...]) -> None:
        """Let what is read at ``place`` go through ``slots``."""
        if place.key is None:
            layer = self._network.get_submodule(place.where)
            layer.__dict__[_READS] = slots
            layer.register_forward_pre_hook(_quantize_input, with_kwargs=True)
            return
        path, kind, number = place.key
        calls = watch(self._network.get_submodule(path), self._found.calls[path])
        calls.slots.setdefault((kind, number), {})[place.operand] = slots


def _quantize_input(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    # Looked up at every call, and no closure: a copied network quantizes with its own.
    slots = module.__dict__[_READS]
    if args:
        return (through(slots, args[0]), *args[1:]), kwargs
    return args, {**kwargs, "input": through(slots, kwargs["input"])}


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
