"""Tensors and facts in one file: there is no moment at which one of them is newer than the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from trainables.files import write_file
from trainables.foreign import parse_json, shown

CHECKPOINT_FILE = "state.safetensors"
_LENGTH = 8  # bytes at the start of a safetensors file that say how long its header is


class CheckpointError(Exception):
    """A checkpoint that is unreadable or belongs to another recipe."""


def write_checkpoint(directory: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Replace the checkpoint in ``directory`` (made if missing) at once; see :func:`write_state`."""
    directory.mkdir(parents=True, exist_ok=True)
    write_state(directory / CHECKPOINT_FILE, tensors, facts)


def read_checkpoint(directory: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts that :func:`write_checkpoint` wrote, on the CPU; see :func:`read_state`."""
    return read_state(directory / CHECKPOINT_FILE)


def write_state(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Replace ``path`` by a safetensors file whose metadata hold ``facts`` and a SHA-256 of everything.

    Args:
        path: in a folder that is there.
        tensors: of any shape, on any device; they may share memory.
        facts: what JSON can say.

    Raises:
        OSError: it cannot be written; the file that was there is still there.
    """
    # Cloned, because safetensors refuses the shared memory of tied weights.
    plain = safetensors.torch.save({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()})
    start = _LENGTH + int.from_bytes(plain[:_LENGTH], "little")
    layout = json.loads(plain[_LENGTH:start])
    text = json.dumps(facts)
    metadata = {"facts": text, "sha256": _digest(layout, text, plain[start:])}
    header = json.dumps({**layout, "__metadata__": metadata}).encode()
    header += b" " * (-len(header) % _LENGTH)
    length = len(header).to_bytes(_LENGTH, "little")
    write_file(path, length + header + plain[start:])


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts that :func:`write_state` wrote, on the CPU.

    Raises:
        CheckpointError: there is none, or not a bit for bit whole one.
    """
    try:
        data = path.read_bytes()
        start = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
        layout = parse_json(data[_LENGTH:start])
        metadata = layout.pop("__metadata__")
        text, expected = metadata["facts"], metadata["sha256"]
        if _digest(layout, text, data[start:]) != expected:
            raise ValueError("its checksum is not that of its content")
        return safetensors.torch.load(data), parse_json(text)
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"the checkpoint {path} is damaged: {shown(str(error))}") from error
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"the checkpoint {path} is damaged: {shown(str(error))}") from error


def _digest(layout: Mapping[str, Any], facts: str, content: bytes) -> str:
    head = json.dumps([layout, facts], sort_keys=True).encode()
    return hashlib.sha256(hashlib.sha256(head).digest() + content).hexdigest()
