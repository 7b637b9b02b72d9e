"""How networks are given their inputs: a tensor, a tuple or a dict of tensors, or what else a task knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

Inputs = Any
"""What one network takes; the first axis of every tensor counts the samples."""


def call(network: Callable[..., Any], inputs: Inputs) -> Any:
    """What ``network`` answers: a plain tuple is its positional arguments, a dict its named ones.

    Args:
        network: a module, or anything else that is called.
        inputs: of a batch; whatever is neither, such as
            :class:`~trainables.translation.sentences.Sentences`, is given as it is.
    """
    if isinstance(inputs, dict):
        return network(**inputs)
    if type(inputs) is tuple:
        return network(*inputs)
    return network(inputs)


def tensors_of(inputs: Inputs) -> tuple[Tensor, ...]:
    """The tensors of a batch, in order."""
    if isinstance(inputs, dict):
        return tuple(inputs.values())
    return tuple(inputs) if isinstance(inputs, tuple) else (inputs,)


def mapped(function: Callable[[Tensor], Any], inputs: Inputs) -> Any:
    """``inputs`` with ``function`` applied to each of their tensors."""
    if isinstance(inputs, dict):
        return {name: function(value) for name, value in inputs.items()}
    if type(inputs) is tuple:
        return tuple(function(value) for value in inputs)
    if isinstance(inputs, tuple):  # a named one
        return type(inputs)(*(function(value) for value in inputs))
    return function(inputs)


def samples_of(inputs: Inputs) -> int:
    """How many samples a batch has."""
    return len(tensors_of(inputs)[0])


def main_output(output: Any) -> Tensor:
    """The answer that counts: the first of several, as of a network with auxiliary heads while it trains."""
    if isinstance(output, dict):
        output = next(iter(output.values()), None)
    elif isinstance(output, (tuple, list)):
        output = output[0] if output else None
    if not isinstance(output, Tensor):
        raise ValueError(f"a network must answer a tensor, or a tensor first, got {type(output).__name__}")
    return output
