"""What a network must be to become a student: looked at and tried out before anything is trained.

Networks of users may hold whatever PyTorch can. What Rayduce cannot train, store, count or export rightly is
refused here, in one sentence that names the tensor or module and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.nn.utils import parametrize

from trainables.calling import Inputs, call, main_output, mapped, samples_of, tensors_of
from trainables.identity import code_of
from trainables.modes import evaluating
from trainables.ties import named_tensors

WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""Types of buffers beside float32; they are stored exactly."""

TOLERANCE = 1e-3
"""Of the largest output: how far answers to the same input may differ from one batch to another."""

_REMOVERS = {
    "WeightNorm": "torch.nn.utils.remove_weight_norm(module)",
    "SpectralNorm": "torch.nn.utils.remove_spectral_norm(module)",
}


def check_parts(network: nn.Module) -> None:
    """Look at the modules, parameters and buffers of ``network``; nothing is called or changed.

    Raises:
        ValueError: one of them cannot be trained, stored or exported; the message names it.
    """
    for name, module in network.named_modules():
        _check_module(name or "the network", module)
    for name, parameter in network.named_parameters():
        _check_placed(f"the parameter {name}", parameter)
        if parameter.dtype != torch.float32:
            raise ValueError(
                f"the parameter {name} is {_spelled(parameter)}, and students are trained and stored in "
                f"float32: {_float_advice(parameter, 'a parameter')}"
            )
        if any(stride == 0 and size > 1 for stride, size in _strides(parameter)):
            raise ValueError(f"the parameter {name} is an expanded tensor: give it memory with .clone()")
    for name, buffer in network.named_buffers():
        _check_placed(f"the buffer {name}", buffer)
        if buffer.dtype not in (torch.float32, *WHOLE):
            raise ValueError(
                f"the buffer {name} is {_spelled(buffer)}, and students are stored in float32: "
                f"{_float_advice(buffer, 'a buffer')}"
            )
    _check_plain(network)
    _check_finite(network)
    _check_overlaps(network)


_admitted: dict[tuple[Any, ...], tuple[tuple[int, ...], bool]] = {}
"""What :func:`admit` found out in this process: a trial builds the same network once per epoch."""


def admit(network: nn.Module, inputs: Inputs, name: str) -> tuple[int, ...]:
    """Try ``network`` out on ``inputs`` in both modes; state, modes and random numbers are left as they are.

    A network that writes into its inputs is given copies from now on, so that data, other students and
    teachers keep theirs.

    Args:
        network: on the CPU, that :func:`check_parts` accepts.
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


def _check_module(name: str, module: nn.Module) -> None:
    if parametrize.is_parametrized(module):
        tensor = next(iter(module.parametrizations))  # type: ignore[arg-type,unused-ignore]
        raise ValueError(
            f"{name} is parametrized already, as by weight_norm or spectral_norm: remove that by "
            f"torch.nn.utils.parametrize.remove_parametrizations(module, {tensor!r})"
        )
    for hook in module._forward_pre_hooks.values():
        kind = type(hook).__name__
        if type(hook).__module__.startswith("torch.nn.utils"):
            remover = _REMOVERS.get(kind, "torch.nn.utils.prune.remove(module, 'weight')")
            raise ValueError(f"{name} has a hook of {kind} that makes its weight anew: call {remover}")
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            f"{name} is compiled by torch.jit, which cannot be compressed: give it as it was before"
        )
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise ValueError(f"{name} is a {type(module).__name__}: give the network inside, its .module")
    if isinstance(module, nn.SyncBatchNorm):
        raise ValueError(
            f"{name} is a SyncBatchNorm, which trains on several GPUs only: use BatchNorm1d, 2d or 3d instead"
        )
    for tensor in (*module._parameters.values(), *module._buffers.values()):
        if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
            raise ValueError(
                f"{name} is a {type(module).__name__} that does not know its sizes yet: give them, or call "
                "the network once where it is made"
            )
    if isinstance(module, _BatchNorm) and (module.running_mean is None or module.running_var is None):
        raise ValueError(
            f"{name} keeps no running statistics, so what it answers depends on the batch: use "
            "track_running_stats=True, or GroupNorm"
        )
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None:
        raise ValueError(f"{name} rewrites its weights in every forward pass: leave out max_norm")


def _check_plain(network: nn.Module) -> None:
    """Refuse tensors and modules that PyTorch does not know of: nobody moves, trains or stores them."""
    known = {id(each) for each in (*network.parameters(), *network.buffers(), *network.modules())}
    for name, module in network.named_modules():
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers", "_modules"):
                continue
            inside = isinstance(value, list | tuple | dict)
            parts = value.values() if isinstance(value, dict) else value if inside else (value,)
            for part in parts:
                where = f"{name}.{key}".removeprefix(".")
                if id(part) in known or not isinstance(part, Tensor | nn.Module):
                    continue
                if isinstance(part, nn.Module):
                    raise ValueError(
                        f"{where} holds modules that the network does not know of: put them into an "
                        "nn.ModuleList or nn.ModuleDict"
                    )
                kind = "nn.ParameterList" if isinstance(part, nn.Parameter) else "register_buffer"
                raise ValueError(
                    f"{where} holds a tensor that the network does not know of, so it is neither moved to a "
                    f"device nor stored: use {kind}"
                )


def _check_placed(what: str, tensor: Tensor) -> None:
    if tensor.device.type != "cpu":
        raise ValueError(
            f"{what} is on {tensor.device} when the network is made: leave it on the CPU, from where "
            "Rayduce moves the network"
        )


def _check_finite(network: nn.Module) -> None:
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"{name} holds values that are not finite, which cannot be stored: if it is a constant, such "
                "as a mask, register it with persistent=False"
            )


def _check_overlaps(network: nn.Module) -> None:
    """Refuse tensors that share memory and are not one tensor: to read one would change the other."""
    spans = []
    for name, tensor in named_tensors(network):
        if tensor.numel():
            extent = sum(stride * (size - 1) for stride, size in _strides(tensor)) + 1
            start = tensor.data_ptr()
            spans.append((start, start + extent * tensor.element_size(), name))
    reached, holder = 0, ""
    for start, end, name in sorted(spans):
        if start < reached:
            raise ValueError(
                f"{holder} and {name} are two tensors in the same memory: make them one parameter, or "
                ".clone() one of them"
            )
        if end > reached:
            reached, holder = end, name


def _strides(tensor: Tensor) -> Iterator[tuple[int, int]]:
    """Stride and size of each axis."""
    return zip(tensor.stride(), tensor.shape, strict=True)


def _float_advice(tensor: Tensor, what: str) -> str:
    if tensor.is_complex():
        return "keep the real and the imaginary part, as torch.view_as_real gives them"
    if tensor.is_floating_point():
        return "call network.float()"
    return "make it a buffer" if what == "a parameter" else "use float32 or whole numbers of up to 64 bits"


def _spelled(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


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
