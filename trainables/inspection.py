"""Parameters, buffers and modules of a network, looked at before it is tried out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.nn.utils import parametrize

from trainables.ties import named_tensors

WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""Types of buffers beside float32; they are stored exactly."""

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
