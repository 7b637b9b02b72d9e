"""Students as networks, from a packed file alone; imports PyTorch and NumPy and nothing of a search."""

from __future__ import annotations

import os
from pathlib import Path

from torch import nn

from trainables.models.custom import allow
from trainables.own_code import allow_file
from trainables.shipping.evaluation import open_student
from trainables.shipping.packed_file import read_file


def load(file: str | os.PathLike[str] | bytes, *, model: str | None = None) -> nn.Module:
    """The network in a packed file, in eval mode on the CPU, its weights as decoded, in float32.

    Args:
        file: path of a packed file (``.rdz``), or its bytes.
        model: your own code, which is imported: ``module:Class`` of a student, or the ``FILE.py`` that makes
            your network; None (default) for the architectures of Rayduce, torchvision and timm. No code
            comes from the file.

    Returns:
        Takes what the student's task says: of images float32 of shape (n, channels, height, width), pixels
        scaled as ``(x / 255 - mean) / std``, with the ``--mean`` and ``--std`` of the sweep, else 0.5 each;
        ``rayduce inspect`` says which. No parameter needs a gradient.

    Raises:
        trainables.shipping.packed_file.PackedFileError: it is no packed file, is damaged, of another version,
            or would take more memory than a reader allows.
        ValueError: the student is of code of your own that ``model`` does not name, or that cannot be
            imported; or of a library that is not installed.
    """
    data = file if isinstance(file, bytes) else read_file(Path(file))
    if model is not None and model.endswith(".py"):
        allow_file(Path(model))
    elif model is not None:
        allow(model)
    _, network = open_student(data)
    return network
