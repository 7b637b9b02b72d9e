"""How networks are given their inputs: a tensor, a tuple or a dict of tensors, or what else a task knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def main_output(output: Any) -> Any:
    """The network's own answer among what it returns in training mode: the first of several.

    Args:
        output: a tensor; or a tuple, a named tuple, a list or a dict whose first is the answer and whose
            others are for training alone, such as those of auxiliary heads.
    """
    if isinstance(output, Mapping):
        return next(iter(output.values()), output)
    if isinstance(output, tuple | list) and output:
        return output[0]
    return output


def with_main_output(output: Any, answer: Tensor) -> Any:
    """``output`` with ``answer`` in place of :func:`main_output`; what is for training alone stays."""
    if isinstance(output, Mapping):
        return {**output, next(iter(output)): answer}
    if isinstance(output, tuple) and hasattr(output, "_replace"):
        return type(output)(answer, *output[1:])
    if isinstance(output, tuple | list) and output:
        return type(output)([answer, *output[1:]])
    return answer


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
