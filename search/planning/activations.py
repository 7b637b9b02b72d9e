"""What a step of training keeps of a network's layers until the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainables.calling import call


def activation_bytes(network: nn.Module, inputs: Any) -> int:
    """Bytes that autograd keeps of one forward pass in training mode, beside the network's own tensors.

    Args:
        network: on the device of ``inputs``; its buffers, such as running means, change.
        inputs: of a batch.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    training = network.training
    network.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = call(network, inputs)  # held until all is counted: what is freed would be counted twice
    network.train(training)
    del output
    return sum(kept.values())
