"""What a network must be to become a student: tried out before anything is trained.

Networks of users may hold whatever PyTorch can. What Rayduce cannot train, store, count or export rightly is
refused here and in :mod:`trainables.inspection`, in one sentence that names what is wrong and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainables.calling import Inputs, call, main_output, mapped, samples_of, tensors_of
from trainables.identity import code_of
from trainables.modes import evaluating

TOLERANCE = 1e-3
"""Of the largest output: how far answers to the same input may differ from one batch to another."""

_admitted: dict[tuple[Any, ...], tuple[tuple[int, ...], bool]] = {}
"""What :func:`admit` found out in this process: a trial builds the same network once per epoch."""


def admit(network: nn.Module, inputs: Inputs, name: str) -> tuple[int, ...]:
    """Try ``network`` out on ``inputs`` in both modes; state, modes and random numbers are left as they are.

    A network that writes into its inputs is given copies from now on, so that data, other students and
    teachers keep theirs.

    Args:
        network: on the CPU, that :func:`trainables.inspection.check_parts` accepts.
        inputs: of at least two samples.
        name: of the network in messages.

    Returns:
        The shape of what it answers in eval mode.

    Raises:
        ValueError: it fails, returns no tensor in eval mode, answers at random, changes its state where it
            only answers, or answers otherwise to a sample alone than among others.
    """
    key = (code_of(network), name, *((tuple(each.shape), each.dtype) for each in tensors_of(inputs)))
    if key not in _admitted:
        shape = _admit(network, inputs, name)
        _admitted[key] = shape, _copied in network._forward_pre_hooks.values()
    shape, writes = _admitted[key]
    if writes:
        keep_inputs(network)
    return shape


def _admit(network: nn.Module, inputs: Inputs, name: str) -> tuple[int, ...]:
    with torch.no_grad(), undone(network, name) as changed, evaluating(network):
        random = torch.get_rng_state()
        output = _tried(network, inputs, name, "")
        if not isinstance(output, Tensor):
            raise ValueError(
                f"{name} must return one tensor in eval mode, got {_kind(output)}; more outputs are for "
                "training mode (self.training)"
            )
        repeated = _tried(network, inputs, name, "a second time")
        check_repeated(name, changed(), output, repeated, random)
        _check_batches(network, inputs, output, name)
    with torch.no_grad(), undone(network, name), _training(network):
        answer = main_output(_tried(network, inputs, name, "in training mode"))
        shape = tuple(answer.shape) if isinstance(answer, Tensor) else _kind(answer)
        if shape != tuple(output.shape):
            raise ValueError(
                f"{name} returns a tensor of shape {tuple(output.shape)} in eval mode and {shape} as its "
                "first output in training mode; they must have one shape"
            )
    return tuple(output.shape)


def check_repeated(name: str, changed: str, output: Tensor, repeated: Any, random: Tensor) -> None:
    """Refuse a network that, in eval mode, is not a function of its inputs alone.

    Args:
        name: of the network in messages.
        changed: what :func:`undone` says is changed; "" if nothing is.
        output: what it answered.
        repeated: what it answered to the same once more.
        random: state of PyTorch's random numbers before.
    """
    if changed:
        raise ValueError(
            f"{name} changes {changed} in eval mode, so what it answers would depend on what it was asked "
            "before: change it in training mode (self.training) alone"
        )
    if not torch.equal(random, torch.get_rng_state()) or not _near(repeated, output):
        raise ValueError(
            f"{name} answers at random in eval mode, so its quality would be luck: give "
            "training=self.training to F.dropout, and draw only in training mode"
        )


def keep_inputs(network: nn.Module) -> None:
    """Give ``network`` a copy of its inputs whenever it is called from now on."""
    if _copied not in network._forward_pre_hooks.values():
        network.register_forward_pre_hook(_copied, with_kwargs=True)


def check_constants(network: nn.Module, build: Callable[[], nn.Module]) -> None:
    """Refuse a ``network`` whose tensors that are not stored differ each time it is built.

    Args:
        network: as ``build`` made it.
        build: makes it again, from other random numbers.

    Raises:
        ValueError: a buffer that is not persistent differs.
    """
    stored = set(network.state_dict())
    constants = {name: each for name, each in network.named_buffers() if name not in stored}
    if not constants:
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch.initial_seed() % 2**31 + 1)
        again = dict(build().named_buffers())
    for name, buffer in constants.items():
        if name not in again or not _same(again[name], buffer):
            raise ValueError(
                f"the buffer {name} is another one each time that the network is built, and is not stored: "
                "register it with persistent=True"
            )


def _copied(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    def copied(value: Any) -> Any:
        return value.clone() if isinstance(value, Tensor) else value

    return tuple(map(copied, args)), {name: copied(value) for name, value in kwargs.items()}


def _tried(network: nn.Module, inputs: Inputs, name: str, when: str) -> Any:
    """What ``network`` answers to a copy of ``inputs``; one that writes into it is told to copy by itself."""
    given = mapped(lambda tensor: tensor.clone(), inputs)
    tensors = tensors_of(given)
    versions = [tensor._version for tensor in tensors]
    try:
        output = call(network, given)
    except Exception as error:  # a user's own network may fail in any way
        shapes = [tuple(tensor.shape) for tensor in tensors_of(inputs)]
        what = f"an input of shape {shapes[0]}" if len(shapes) == 1 else f"inputs of the shapes {shapes}"
        raise ValueError(
            f"{name} fails on {what}{when and f' {when}'}: {type(error).__name__}: {error}"
        ) from error
    same = all(map(_same, tensors, tensors_of(inputs)))
    if not same or versions != [tensor._version for tensor in tensors]:
        keep_inputs(network)
    return output


def _check_batches(network: nn.Module, inputs: Inputs, output: Tensor, name: str) -> None:
    """Refuse a network that answers otherwise to a sample alone, or in a larger batch."""
    count = samples_of(inputs)
    if output.dim() == 0 or len(output) != count:
        return  # the interface tells which shape is right
    for rows in ([0], [*range(count), 0]):
        part = mapped(lambda tensor: tensor[rows], inputs)  # noqa: B023  # used before it changes
        answer = _tried(network, part, name, "in eval mode")
        if not isinstance(answer, Tensor) or not _near(answer, output[rows]):
            raise ValueError(
                f"{name} answers otherwise to the same input in a batch of {len(rows)} and of {count} in "
                "eval mode: an answer must not depend on what else is in the batch"
            )


@contextmanager
def _training(network: nn.Module) -> Iterator[None]:
    """``network`` in the mode in which it is trained; every module is back in its own mode afterwards."""
    flags = [(module, module.training) for module in network.modules()]
    train(network, still_modules(network))
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


def still_modules(network: nn.Module) -> list[nn.Module]:
    """Those that a fresh ``network`` holds in eval mode, and that therefore stay in it while it trains.

    So users freeze the statistics of normalisation. A network that is in eval mode as a whole says nothing
    of its parts: it has been evaluated.
    """
    return [module for module in network.modules() if not module.training] if network.training else []


def train(network: nn.Module, still: Iterable[nn.Module]) -> None:
    """Put ``network`` into training mode, but for the modules ``still``."""
    network.train()
    for module in still:
        module.training = False


@contextmanager
def undone(network: nn.Module, name: str) -> Iterator[Callable[[], str]]:
    """Whatever happens to buffers within is undone; gives a function that names the first tensor changed."""
    before = {key: (buffer, buffer.clone()) for key, buffer in network.named_buffers()}
    versions = [parameter._version for parameter in network.parameters()]
    stored = set(network.state_dict())

    def changed() -> str:
        now = dict(network.named_buffers())
        for key, (_, value) in before.items():
            if key not in now or not _same(now[key], value):
                return f"the buffer {key}"
        for (key, parameter), version in zip(network.named_parameters(), versions, strict=True):
            if parameter._version != version:
                return f"the parameter {key}"
        return ""

    try:
        yield changed
        if added := sorted(set(network.state_dict()) - stored):
            raise ValueError(f"{name} adds {added[0]} when it is called: register it in __init__")
    finally:
        for key in dict(network.named_buffers()):
            if key not in before:
                parent, _, child = key.rpartition(".")
                delattr(network.get_submodule(parent), child)
        for key, (buffer, value) in before.items():
            parent, _, child = key.rpartition(".")
            network.get_submodule(parent)._buffers[child] = buffer
            buffer.copy_(value)


def _kind(output: Any) -> str:
    return type(output).__name__


def _same(ours: Tensor, theirs: Tensor) -> bool:
    """Equal in shape, type and every value, NaN included."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    if ours.dtype.is_floating_point:
        return bool(((ours == theirs) | (ours.isnan() & theirs.isnan())).all())
    return torch.equal(ours, theirs)


def _near(ours: Any, theirs: Tensor) -> bool:
    if not isinstance(ours, Tensor) or ours.shape != theirs.shape:
        return False
    allowed = TOLERANCE * float(theirs.detach().abs().max()) if theirs.numel() else 0.0
    return bool(torch.allclose(ours, theirs, rtol=0.0, atol=allowed, equal_nan=True))
