"""What gates on the channels that layers read would do to the loss, recorded while a network is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from trainables.compression.compressed_weight import CompressedWeight
from trainables.pruners.base import Gates, Mask


class GateRecorder:
    """Records :class:`~trainables.pruners.base.Gates` of chosen weights over one step.

    A gate multiplies a channel of one sample where a layer reads it. The loss changes with it by the sum
    over the channel's places of the input times its gradient, so no gate has to be there. The loss is taken
    to be a mean over samples, which the first axis of a layer's input counts; the gradient of each sample's
    own loss is that of the mean times their number.

    Args:
        network: with its compressed weights.
        weights: those to be looked at, by name; of a linear layer, or of a convolution without groups.
    """

    def __init__(self, network: nn.Module, weights: Mapping[str, CompressedWeight]) -> None:
        names = {compressed: name for name, compressed in weights.items()}
        self._layers: list[tuple[str, nn.Module]] = []
        for module in network.modules():
            chain = getattr(module, "parametrizations", {})
            name = names.get(chain["weight"][0]) if "weight" in chain else None
            if name is not None and _reads_channels(module):
                self._layers.append((name, module))
        self._found: dict[str, Gates] = {}

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Within it, forward passes are recorded; their gates are there after the backward pass."""
        self._found.clear()
        with ExitStack() as hooks:
            for name, layer in self._layers:
                hooks.enter_context(layer.register_forward_pre_hook(_apart))
                hooks.enter_context(layer.register_forward_hook(partial(self._read, name)))
            yield

    def tell(self, name: str, mask: Mask) -> None:
        """Show a weight's gates to its mask; there are none where its layer read nothing with a gradient."""
        if (gates := self._found.pop(name, None)) is not None:
            mask.see(gates)

    def _read(self, name: str, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        (given, *_) = inputs
        if given.requires_grad:
            channels = given.shape[1 if isinstance(layer, _ConvNd) else -1]
            per_place = output.numel() // (len(given) * output.shape[1 if isinstance(layer, _ConvNd) else -1])
            macs = per_place * layer.weight.numel() / channels
            given.register_hook(partial(self._learn, name, given.detach(), macs, isinstance(layer, _ConvNd)))

    def _learn(self, name: str, given: Tensor, macs: float, first: bool, gradient: Tensor) -> None:
        samples = len(given)
        if first:  # the channels are the second dimension
            slopes = torch.linalg.vecdot(given.flatten(2).float(), gradient.flatten(2).float())
        else:
            shape = (samples, -1, given.shape[-1])
            slopes = torch.linalg.vecdot(given.reshape(shape).float(), gradient.reshape(shape).float(), dim=1)
        slopes, before = slopes * samples, self._found.get(name)
        if before is None:
            self._found[name] = Gates(slopes, macs)
        elif before.slopes.shape == slopes.shape:  # the layer reads several times: one gate for all
            self._found[name] = Gates(before.slopes + slopes, before.macs + macs)
        else:
            raise ValueError(
                f"the layer of {name} reads {len(before.slopes)} samples and then {len(slopes)} in one step: "
                "its channels cannot be judged sample by sample; prune by weights"
            )


def _reads_channels(layer: nn.Module) -> bool:
    if isinstance(layer, _ConvNd):
        return layer.groups == 1 and not isinstance(layer, _ConvTransposeNd)
    return isinstance(layer, nn.Linear)


def _apart(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """What the layer reads, as a tensor of its own: others that read the same have gradients of their own."""
    return tuple(each.view_as(each) if isinstance(each, Tensor) else each for each in inputs)
