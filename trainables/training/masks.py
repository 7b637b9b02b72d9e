"""The masks of one student: what they are shown, what they decide together, what of the network ships."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainables.batch import Batch
from trainables.compression.compressed_weight import CompressedWeight
from trainables.pruners.base import Pruner
from trainables.pruners.together import channels_of
from trainables.slicing.unread import Left, Unread
from trainables.training.gates import GateRecorder


class Masks:
    """The masks of a network's compressed weights.

    Args:
        network: the student.
        weights: of :func:`trainables.compression.compressed_weight.compressed_weights`.
        pruner: that built the masks.
        unread: finds channels that need not ship; None where all do.

    Attributes:
        batches: at how many batches they look before the first pruning phase.
    """

    def __init__(
        self,
        network: nn.Module,
        weights: Sequence[tuple[str, CompressedWeight, nn.Parameter]],
        pruner: Pruner,
        unread: Unread | None,
    ) -> None:
        self._network, self._weights, self._pruner, self._unread = network, weights, pruner, unread
        self.batches = max((compressed.mask.batches for _, compressed, _ in weights), default=0)
        asking = {name: compressed for name, compressed, _ in weights if compressed.mask.needs_gates}
        self._gates = GateRecorder(network, asking)
        self._steps = any(each.mask.needs_gradient for each in asking.values())

    def recorded(self) -> list[AbstractContextManager[None]]:
        """Contexts of a step's forward pass in which is recorded what masks look at; none if they do not."""
        return [self._gates.recorded()] if self._steps else []

    def update(self, progress: float) -> None:
        """Renew them after a step, whose gradients are still there, at ``progress`` of all pruning phases."""
        for name, compressed, original in self._weights:
            self._gates.tell(name, compressed.mask)
            compressed.mask.update(
                original, original.grad if compressed.mask.needs_gradient else None, progress
            )
        self._decide(progress)

    def look(self, batches: Iterable[Batch], loss: Callable[[Batch], Tensor]) -> None:
        """Show them batches as steps of training would; nothing moves, and nothing else stays of it.

        Args:
            batches: as many as they want, in their order.
            loss: of a batch, a scalar.
        """
        own = {id(buffer) for _, compressed, _ in self._weights for buffer in compressed.mask.buffers()}
        before = [(each, each.clone()) for each in self._network.buffers() if id(each) not in own]
        flags = [(original, original.requires_grad) for _, _, original in self._weights]
        for original, _ in flags:
            original.requires_grad_(True)
        for number, batch in enumerate(batches):
            with parametrize.cached(), self._gates.recorded():
                value = loss(batch)
            value.backward()
            for name, compressed, original in self._weights:
                if number < compressed.mask.batches:
                    self._gates.tell(name, compressed.mask)
                    compressed.mask.update(original, original.grad, 0.0)
            self._network.zero_grad(set_to_none=True)
        for original, flag in flags:
            original.requires_grad_(flag)
        for buffer, values in before:
            buffer.copy_(values)
        self._decide(0.0)

    @torch.no_grad()
    def left(self) -> dict[str, Left]:
        """What ships of tensors with channels that no layer reads under the final masks."""
        if self._unread is None:
            return {}
        masks = {name: compressed.mask.shipped(original) for name, compressed, original in self._weights}
        return self._unread.left(
            {name: channels_of(mask).cpu() for name, mask in masks.items() if mask is not None}
        )

    def _decide(self, progress: float) -> None:
        self._pruner.decide({name: compressed.mask for name, compressed, _ in self._weights}, progress)
