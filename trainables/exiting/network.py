"""A network with early exits as PyTorch runs, trains and traces it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.exiting.exits import GATE
from trainables.exiting.leaving import leave_or
from trainables.routes import Route, Routed

ENDLESS = 1e30
"""A threshold beyond all entropies and scores; finite, since a packed file holds nothing else."""


class _Answered(BaseException):
    """Ends a forward pass once all samples have left it; no ``except Exception`` of a user's stops it."""


class _Pool(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.flatten(2).mean(2) if features.dim() > 2 else features


class ExitNetwork(Routed):
    """``backbone`` with early exits after some of its layers.

    In training mode it answers what the backbone answers, and computes all exits on the way, whose logits are
    the outputs of ``heads.0``, ``heads.1`` and so on. In eval mode each sample gets the answer of the first
    exit that is certain of it, else the last one's; the forward pass ends where all samples of a batch have
    theirs. What decides is computed from the exit's own logits alone.

    Args:
        backbone: the network; its own answer is the last exit's.
        at: names of the layers of the backbone after which the exits are, in the order of execution.
        widths: channels of what these layers give, along the first axis after the batch.
        outputs: logits per sample.
        kind: see :class:`trainables.exiting.exits.Exits`.

    Attributes:
        heads: of the exits; each pools over all axes but the first two.
        thresholds: float32, shape (exits,), see :meth:`certain`; fresh exits are never certain.
        shares: float32, shape (exits + 1,): of the validation samples that leave at each exit.
        route: the only exit at which samples leave, whatever they are; None (default): as they decide.
    """

    thresholds: Tensor
    shares: Tensor

    def __init__(
        self, backbone: nn.Module, at: Sequence[str], widths: Sequence[int], outputs: int, kind: str
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.at = tuple(at)
        self.kind = kind
        self.route: int | None = None
        self.heads = nn.ModuleList(nn.Sequential(_Pool(), nn.Linear(width, outputs)) for width in widths)
        self.register_buffer("thresholds", torch.full((len(at),), self.threshold(-ENDLESS)))
        self.register_buffer("shares", torch.tensor([0.0] * len(at) + [1.0]))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.training:
            with self._tapped(self._learn):
                return self.backbone(*args, **kwargs)
        left: list[tuple[Tensor, Tensor]] = []
        try:
            with self._tapped(partial(self._leave, left)):
                answer = self.backbone(*args, **kwargs)
        except _Answered:
            _, answer = left.pop()
        for certain, logits in reversed(left):
            answer = leave_or(certain, logits, answer)
        return answer

    def answers(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        """The logits of all exits, the last one's included, whatever the thresholds are."""
        found: list[Tensor] = []
        with self._tapped(lambda number, features: found.append(self.heads[number](features))):
            answer = self.backbone(*args, **kwargs)
        return [*found, answer]

    def certain(self, number: int, logits: Tensor) -> Tensor:
        """Which samples leave at exit ``number``, given its logits of shape (n, classes): bool, shape (n,).

        At a branch those whose entropy is below the threshold; at a gate those whose largest score is at
        least the threshold.
        """
        if self.kind == GATE:
            return logits.amax(1) >= self.thresholds[number]
        return self.doubt(logits) < self.thresholds[number]

    def doubt(self, logits: Tensor) -> Tensor:
        """How uncertain exits of these logits are: the entropy in nats, or minus the largest score."""
        if self.kind == GATE:
            return -logits.amax(1)
        logs = F.log_softmax(logits, 1)
        return -(logs.exp() * logs).sum(1).clamp(max=0.0)  # rounding must not push it below a threshold of 0

    def threshold(self, doubt: float) -> float:
        """The threshold at which samples leave whose :meth:`doubt` is below ``doubt``."""
        return -doubt if self.kind == GATE else max(doubt, 0.0)

    def routes(self) -> list[Route]:
        """See the contract: copies at whose exits all samples leave."""
        if self.route is not None:
            return [(1.0, self)]
        return [(float(share), self.leaving_at(number)) for number, share in enumerate(self.shares)]

    @torch.no_grad()
    def leaving_at(self, number: int) -> ExitNetwork:
        """A copy whose samples all leave at exit ``number``, the last of which is the backbone's end."""
        copied = copy.deepcopy(self)
        copied.route = number
        for each in range(len(self.at)):
            copied.thresholds[each] = self.threshold(ENDLESS if each == number else -ENDLESS)
        return copied

    def _learn(self, number: int, features: Tensor) -> None:
        self.heads[number](features.detach() if self.kind == GATE else features)

    def _leave(self, left: list[tuple[Tensor, Tensor]], number: int, features: Tensor) -> None:
        logits = self.heads[number](features)
        left.append((self.certain(number, logits), logits))
        # A traced graph holds all exits; it decides at run time.
        traced = torch.jit.is_tracing() or torch.compiler.is_exporting()
        if not traced and bool(torch.stack([certain for certain, _ in left]).any(0).all()):
            raise _Answered

    @contextmanager
    def _tapped(self, action: Callable[[int, Tensor], object]) -> Iterator[None]:
        """Within it, ``action`` is given the output of each layer that has an exit."""

        def see(number: int, module: nn.Module, inputs: Any, output: Any) -> None:
            action(number, output)

        with ExitStack() as hooks:  # for one forward pass, so that copies carry none
            for number, name in enumerate(self.at):
                layer = self.backbone.get_submodule(name)
                hooks.enter_context(layer.register_forward_hook(partial(see, number)))
            yield
