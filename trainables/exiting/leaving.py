"""The choice between two answers, which an exported graph makes without computing both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

DOMAIN, LEAVE = "rayduce", "Leave"
"""Marks the choice in a traced graph; :mod:`trainables.exporting.branches` makes ONNX's own ``If`` of it."""


class _Leave(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, certain: Tensor, early: Tensor, late: Tensor) -> Tensor:
        return torch.where(certain[:, None], early, late)

    @staticmethod
    def symbolic(g: Any, certain: Any, early: Any, late: Any) -> Any:
        return g.op(f"{DOMAIN}::{LEAVE}", certain, early, late).setType(late.type())


def leave_or(certain: Tensor, early: Tensor, late: Tensor) -> Tensor:
    """Row by row ``early`` where ``certain``, else ``late``.

    Args:
        certain: bool, shape (n,).
        early: shape (n, classes).
        late: likewise; in an exported graph it is computed only if some row needs it.
    """
    if torch.jit.is_tracing():
        found: Tensor = _Leave.apply(certain, early, late)
        return found
    return torch.where(certain[:, None], early, late)
