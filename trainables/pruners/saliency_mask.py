"""The mask of saliency pruning: what it remembers between two decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainables.pruners.base import Gates, Mask
from trainables.pruners.magnitude import largest
from trainables.pruners.together import spread

if TYPE_CHECKING:
    from trainables.pruners.saliency import Saliency


class SaliencyMask(Mask):
    """What it has seen of one weight tensor, and which of it stays.

    Attributes:
        keep: bool, of the weight's shape.
        total: sums over what was seen, of the weight's shape or one per channel.
        seen: over how many samples, or batches.
        macs: multiply-accumulates that read a channel.
        gone: the share, of all tensors, that went last.
    """

    keep: Tensor
    total: Tensor
    seen: Tensor
    macs: Tensor
    gone: Tensor

    def __init__(self, part: Saliency, weight: Tensor) -> None:
        super().__init__()
        self.part = part
        self.needs_gradient, self.needs_gates = part.updates > 0, part.cuts
        self.batches = 0 if part.updates else part.batches
        self.register_buffer("keep", torch.ones(weight.shape, dtype=torch.bool, device=weight.device))
        judged = weight.shape[1:2] if part.cuts else weight.shape
        self.register_buffer("total", torch.zeros(judged, device=weight.device))
        self.register_buffer("seen", torch.tensor(0))
        for name in ("macs", "gone"):
            self.register_buffer(name, torch.tensor(0.0, dtype=torch.float64))

    def see(self, gates: Gates) -> None:
        self._take(gates.slopes)
        self.macs.fill_(gates.macs)

    def update(self, weight: Tensor, gradient: Tensor | None, progress: float) -> None:
        if gradient is not None and not self.part.cuts:
            self._take((weight * gradient)[None])

    @torch.no_grad()
    def _take(self, slopes: Tensor) -> None:
        self.total += (slopes if self.part.criterion == "snip" else slopes.square()).sum(0)
        self.seen += len(slopes)

    def score(self) -> Tensor:
        """By how much the loss would change, over what was seen: to first order, or to second."""
        mean = self.total / int(self.seen)
        return mean.abs() if self.part.criterion == "snip" else mean / 2

    def choose(self, staying: Tensor | None, gone: float) -> None:
        """Let go what does not stay (None: all stays); what is seen from now on counts anew."""
        if staying is not None:
            self.keep &= spread(staying, self.keep) if self.part.cuts else staying
        self.gone.fill_(gone)
        self.total.zero_()
        self.seen.zero_()

    def current(self) -> Tensor | None:
        return self.keep if float(self.gone) else None

    def shipped(self, weight: Tensor) -> Tensor:
        if float(self.gone) >= self.part.sparsity:
            return self.keep
        left = weight.detach() * self.keep
        if not self.part.cuts:
            return largest(left, self.part.sparsity)
        norms = left.transpose(0, 1).flatten(1).norm(dim=1)
        return spread(largest(norms, self.part.sparsity), self.keep)
