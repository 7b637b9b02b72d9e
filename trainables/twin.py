"""A second forward pass through a network, with other weights and with statistics of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

Weigh = Callable[[nn.Module, Tensor], Tensor]
"""From what compresses a parameter, and its full-precision original, to what the pass uses in its place."""


class Twin(nn.Module):
    """Computes what a network would compute with other weights in place of its compressed ones.

    The weights of the pass are made of the network's own parameters each time, so gradients reach these. All
    buffers, such as the running statistics of normalisation, are the twin's: neither pass moves what the
    other divides by. Modules are in the mode in which the network's are. Inputs of layers are not quantized.

    Args:
        network: whose weights may be compressed; it is not registered here and gets no hooks.
        weigh: what is used in place of a compressed weight.
    """

    def __init__(self, network: nn.Module, weigh: Weigh) -> None:
        super().__init__()
        self._weigh = weigh
        self.body = _emptied(network)
        # In tuples, which hide modules: what is registered here would be trained and stored twice.
        self._pairs = [(each, network.get_submodule(name)) for name, each in self.body.named_modules()]
        self._places = list(_places(self.body, network))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network would answer to these inputs."""
        for ours, theirs in self._pairs:
            ours.training = theirs.training
        made: dict[Tensor, Tensor] = {}
        weights: dict[str, Tensor] = {}
        for name, owner, child in self._places:
            if not parametrize.is_parametrized(owner, child):
                weights[name] = getattr(owner, child)
                continue
            assert isinstance(owner.parametrizations, nn.ModuleDict)
            chain = owner.parametrizations[child]
            assert isinstance(chain, parametrize.ParametrizationList)
            original = chain.original
            if original not in made:  # tied weights are made once
                made[original] = self._weigh(chain[0], original)
            weights[name] = made[original]
        return functional_call(self.body, weights, args, kwargs, tie_weights=False)


def _emptied(network: nn.Module) -> nn.Module:
    """A copy of ``network`` without parametrizations, whose parameters are all None."""
    body = copy.deepcopy(network)
    for module in list(body.modules()):
        children = [name for name, _ in module.named_parameters(recurse=False)]
        if parametrize.is_parametrized(module):
            assert isinstance(module.parametrizations, nn.ModuleDict)
            children += list(module.parametrizations)
            # Not remove_parametrizations: the copy's class is the original's, which that would change.
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
        for child in children:
            module.register_parameter(child, None)
        if isinstance(module, nn.RNNBase):  # they keep a list of their weights
            module.register_forward_pre_hook(_hand_weights)
            module.register_forward_hook(_take_weights, always_call=True)
    return body


def _places(body: nn.Module, network: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Each parameter of ``body``: its name, the module of ``network`` that has it, its name there."""
    for prefix, module in body.named_modules():  # one of them in two places has its weights once
        owner = network.get_submodule(prefix)
        for child in module._parameters:
            if getattr(owner, child) is not None:
                yield (f"{prefix}.{child}" if prefix else child), owner, child


def _hand_weights(module: nn.Module, inputs: Any) -> None:
    assert isinstance(module, nn.RNNBase)
    module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]


def _take_weights(module: nn.Module, inputs: Any, output: Any) -> None:
    assert isinstance(module, nn.RNNBase)
    module._flat_weights = []
