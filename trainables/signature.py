"""What one tensor of a network's input looks like."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.part import Part, check_choice

DTYPES = {
    name: getattr(torch, name) for name in ("float32", "int64", "int32", "int16", "int8", "uint8", "bool")
}


@dataclass(frozen=True)
class Signature(Part):
    """One tensor of an input.

    Attributes:
        name: of the argument; its number, of positional ones; empty where the input is one tensor.
        shape: of one sample.
        dtype: ``float32``, ``int64``, ``int32``, ``int16``, ``int8``, ``uint8`` or ``bool``.
        low: the least value that the training split has of whole numbers; 0 of others.
        high: the greatest; 0 of others.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    low: int = 0
    high: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "dtype", DTYPES)
        if self.name and not self.name.isidentifier() and not self.name.isdecimal():
            raise ValueError(f"name must be that of an argument, got name={self.name!r}")
        if len(self.shape) > 8 or not all(0 < size < 2**31 for size in self.shape):
            raise ValueError(f"shape must be at most 8 sizes above 0, got shape={self.shape}")
        if self.low > self.high:
            raise ValueError(f"low must be at most high, got low={self.low}, high={self.high}")

    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """Random values, shape (count, *shape): standard normal, or from ``low`` to ``high``."""
        shape, dtype = (count, *self.shape), DTYPES[self.dtype]
        if dtype == torch.float32:
            return torch.randn(shape, generator=generator)
        if dtype == torch.bool:
            return torch.randint(0, 2, shape, generator=generator).bool()
        return torch.randint(self.low, self.high + 1, shape, generator=generator).to(dtype)


Signatures = tuple[Signature, ...]


def joined(
    signatures: Signatures, tensors: tuple[Tensor, ...]
) -> Tensor | tuple[Tensor, ...] | dict[str, Tensor]:
    """Tensors as the network is called with them: alone, as a tuple or as a dict."""
    first = signatures[0].name
    if not first:
        return tensors[0]
    if first.isdecimal():
        return tensors
    return {each.name: tensor for each, tensor in zip(signatures, tensors, strict=True)}
