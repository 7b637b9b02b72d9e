"""Trained weights that come from a user's file."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from trainables.foreign import shown

WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "ema", "weights")
"""Under which training scripts keep the weights beside optimizers and epochs."""
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.", "backbone.")
"""That wrappers such as DataParallel, torch.compile and Lightning put before all names."""
LISTED = 6


class WeightsError(ValueError):
    """A file of weights cannot be used; the message is one sentence."""


def digest_of(state: Mapping[str, Tensor]) -> str:
    """16 hex digits of a hash of names, types, shapes and values."""
    whole = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        whole.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        values = tensor.detach().cpu().contiguous()
        whole.update(values.view(-1).view(torch.uint8).numpy().data if values.numel() else b"")
    return whole.hexdigest()[:16]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a file of weights: safetensors, or what ``torch.save`` wrote.

    The latter is read with ``weights_only=True``, which runs no code; of a training's checkpoint the weights
    are taken.

    Raises:
        WeightsError: there is no such file, or it holds no weights.
    """
    if not path.is_file():
        raise WeightsError(
            f"there is no file of weights {shown(str(path))}: train the network, or name its file"
        )
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both libraries raise whatever a damaged file makes them stumble over
        text = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(
            f"{shown(path.name)} cannot be read as weights ({shown(text, 200)}): save the network's "
            "state_dict(), with safetensors or torch.save"
        ) from error
    found = _unwrapped(content)
    if found is None:
        raise WeightsError(
            f"{shown(path.name)} holds no state_dict but {_kind(content)}: save the network's state_dict()"
        )
    return found


def fitted(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load ``state`` into ``network``; prefixes that wrappers put before all names are understood.

    Args:
        network: untrained.
        state: of :func:`read_weights`.
        source: what they are called in messages.

    Raises:
        WeightsError: names or shapes do not match; the message lists them.
    """
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    state = dict(state)
    while not wanted.keys() & state.keys() and (prefix := _common(state)):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    odd = [
        *(f"no {name}" for name in wanted if name not in state),
        *(f"{name}, which the network has not" for name in state if name not in wanted),
        *(
            f"{name} of {tuple(state[name].shape)}, not {shape}"
            for name, shape in wanted.items()
            if name in state and tuple(state[name].shape) != shape
        ),
    ]
    counters = fnmatch.filter(wanted, "*num_batches_tracked")
    odd = [text for text in odd if not any(text == f"no {name}" for name in counters)]
    if odd:
        more = f" and {len(odd) - LISTED} more" if len(odd) > LISTED else ""
        raise WeightsError(
            f"{shown(source)} does not fit the network: it has {shown('; '.join(odd[:LISTED]), 600)}{more}"
        )
    network.load_state_dict(state, strict=False)


def _unwrapped(content: Any) -> dict[str, Tensor] | None:
    if isinstance(content, Mapping):
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return {str(name): value for name, value in content.items()}
        for name in WRAPPERS:
            if name in content and (found := _unwrapped(content[name])) is not None:
                return found
    return None


def _common(state: Mapping[str, Tensor]) -> str | None:
    """A known prefix of all names."""
    return next((each for each in PREFIXES if state and all(name.startswith(each) for name in state)), None)


def _kind(content: Any) -> str:
    if isinstance(content, Mapping):
        names = ", ".join(sorted(map(str, content))[:LISTED])
        return f"a dict of {shown(names, 200)}"
    return f"a {type(content).__name__}"
