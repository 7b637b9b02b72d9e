"""What is asked of a user's file beside the contract of its functions; each answer is one sentence."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from trainables.calling import call, mapped, tensors_of
from trainables.exiting.exits import check_places
from trainables.foreign import shown
from trainables.metrics import own_quality
from trainables.own_code import CodeError
from trainables.signature import Signature
from trainables.slicing.cut import HEADS, IMPORTANCES, Cut

LISTED = 8
LONGEST_NAME = 32
"""Letters of a quality's name."""


def cut_of(module: ModuleType | None, network: nn.Module) -> Cut:
    """How slices are cut: what a user's file says by ``keep`` and ``slices``, if it says anything.

    Raises:
        CodeError: a pattern of ``keep`` names no layer, or ``slices`` holds what is no choice.
    """
    keep = getattr(module, "keep", ())
    patterns = (keep,) if isinstance(keep, str) else keep
    if not isinstance(patterns, tuple | list) or not all(isinstance(each, str) for each in patterns):
        raise CodeError(f"keep must be a list of names of layers, got {shown(repr(keep), 100)}")
    names = [name for name, _ in network.named_modules() if name]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            known = ", ".join(names[:LISTED])
            raise CodeError(
                f"keep names {shown(repr(pattern), 100)}, and no layer is called so: there are {known}"
            )
    said = getattr(module, "slices", {})
    ways = {"importance": IMPORTANCES, "heads": HEADS}
    if not isinstance(said, dict) or not all(name in ways and said[name] in ways[name] for name in said):
        known = ", ".join(f"{name!r} ({' or '.join(values)})" for name, values in ways.items())
        raise CodeError(f"slices must be a dict with {known}, got {shown(repr(said), 100)}")
    return Cut(keep=tuple(patterns), **said)


def exit_layers_of(module: ModuleType, network: nn.Module) -> tuple[str, ...]:
    """The file's ``exits``: names of layers of the network after which students may answer early.

    Raises:
        CodeError: they are no names of layers, or too many.
    """
    said = getattr(module, "exits", ())
    if not isinstance(said, tuple | list) or not all(isinstance(each, str) for each in said):
        raise CodeError(f"exits must be a list of names of layers, got {shown(repr(said), 100)}")
    names = [name for name, _ in network.named_modules() if name]
    for name in said:
        if name not in names:
            known = ", ".join(names[:LISTED])
            raise CodeError(
                f"exits names {shown(repr(name), 100)}, and no layer is called so: there are {known}"
            )
    try:
        check_places(tuple(said))
    except ValueError as error:
        raise CodeError(f"exits: {error}") from error
    return tuple(said)


def free_name(name: str) -> str:
    """``name``, or one like it where results have another number of that name."""
    try:
        own_quality(name[:LONGEST_NAME])
    except ValueError:
        return f"own_{name}"[:LONGEST_NAME]
    return name[:LONGEST_NAME]


def called(network: nn.Module, inputs: Any, where: str = "") -> Any:
    """What the network answers to copies of ``inputs``.

    Raises:
        ValueError: it fails.
    """
    try:
        return call(network, mapped(torch.Tensor.clone, inputs))
    except Exception as error:  # a user's own network may fail in any way
        shapes = mapped(lambda tensor: tuple(tensor.shape), inputs)
        raise ValueError(
            f"the network fails{where} on inputs of shape {shapes}: {type(error).__name__}: "
            f"{shown(' '.join(str(error).split()), 300)}"
        ) from error


def check_augmented(signatures: Sequence[Signature], count: int, inputs: Any) -> None:
    """Refuse an augmentation whose result is no batch like the one that it was given.

    Args:
        signatures: of one sample's inputs.
        count: of samples.
        inputs: what it returned.

    Raises:
        ValueError: they are others, of another shape or dtype.
    """
    wanted = [(each.name, (count, *each.shape), each.dtype) for each in signatures]
    names = list(inputs) if isinstance(inputs, Mapping) else [each.name for each in signatures]
    found = [
        (name, tuple(each.shape), str(each.dtype).removeprefix("torch."))
        if isinstance(each, Tensor)
        else (name, type(each).__name__)
        for name, each in zip(names, tensors_of(inputs), strict=False)
    ]
    if found != wanted:
        spelled = [" ".join(map(str, filter(None, each))) for each in wanted]
        got = [" ".join(map(str, filter(None, each))) for each in found]
        raise ValueError(
            "augment(inputs, generator) must return inputs like those that it gets, "
            f"{', '.join(spelled)}, got {', '.join(got) or 'none'}"
        )
