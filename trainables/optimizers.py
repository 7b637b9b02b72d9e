"""Optimizers as parts: which update rule, at which learning rate over a phase."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

import torch
from torch import nn

from trainables.part import Part
from trainables.ranges import Range
from trainables.schedules import Cosine, Schedule

NO_RATES: Mapping[nn.Parameter, float] = MappingProxyType({})
"""Nothing has a rate of its own."""

RELATIVE_RATE = "relative_rate"
"""Key of a parameter group: multiplies the rate of its parameters; 1 where it is missing."""


class Optimizer(Part):
    """An update rule; ``learning_rate * decay(progress)`` is the rate at phase progress in [0, 1]."""

    learning_rate: float
    decay: Schedule

    @abstractmethod
    def build(
        self,
        parameters: Iterable[nn.Parameter],
        undecayed: Iterable[nn.Parameter] = (),
        rates: Mapping[nn.Parameter, float] = NO_RATES,
    ) -> torch.optim.Optimizer:
        """A fresh optimizer over ``parameters`` and, without weight decay, ``undecayed``.

        What quantizers learn is undecayed: shrinking a step or a level towards zero regularises nothing.
        Those of them that ``rates`` names have so many times the learning rate.
        """


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with Nesterov momentum, the paper's optimizer.

    Attributes:
        learning_rate: initial rate, in (0, 100].
        momentum: in [0, 0.9999]; 0 switches Nesterov off.
        weight_decay: L2 penalty on the full-precision weights, at least 0.
        decay: multiplier of the rate over the phase.
    """

    learning_rate: Annotated[float, Range(0, 100, log=True, excluded="low")] = 0.05
    momentum: Annotated[float, Range(0.0, 0.9999)] = 0.9
    weight_decay: Annotated[float, Range(0.0, 1.0)] = 2.2e-4
    decay: Schedule = Cosine()

    def build(
        self,
        parameters: Iterable[nn.Parameter],
        undecayed: Iterable[nn.Parameter] = (),
        rates: Mapping[nn.Parameter, float] = NO_RATES,
    ) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            _groups(parameters, undecayed, rates),
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.momentum > 0,
            weight_decay=self.weight_decay,
            fused=True,
        )


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    One update of Adam is of the size of the rate, whatever the gradient's. That is far for a learned step of
    0.005 and little for a clip of 6, so what quantizers learn has the rate times its own mean magnitude at
    the start of the phase.

    Attributes:
        learning_rate: initial rate, in (0, 100].
        weight_decay: decoupled decay, at least 0.
        decay: multiplier of the rate over the phase.
    """

    learning_rate: Annotated[
        float, Range(0, 100, (5e-4, 1e-2), log=True, excluded="low", name="learning_rate")
    ] = 2e-3
    weight_decay: Annotated[float, Range(0.0, 1.0)] = 1e-2
    decay: Schedule = Cosine()

    def build(
        self,
        parameters: Iterable[nn.Parameter],
        undecayed: Iterable[nn.Parameter] = (),
        rates: Mapping[nn.Parameter, float] = NO_RATES,
    ) -> torch.optim.Optimizer:
        rated = [p for p in undecayed if p in rates]
        groups = _groups(parameters, rated, rates)
        groups += [
            {"params": [p], "weight_decay": 0.0, RELATIVE_RATE: _size(p)} for p in undecayed if p not in rates
        ]
        # Fused is one loop over a tensor, not ten: 7 % of a small student's epoch, more with embeddings.
        return torch.optim.AdamW(groups, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)


def _size(parameter: nn.Parameter) -> float:
    """Mean magnitude; 1 of zeros."""
    return float(parameter.detach().abs().mean()) or 1.0


def _groups(
    parameters: Iterable[nn.Parameter], undecayed: Iterable[nn.Parameter], rates: Mapping[nn.Parameter, float]
) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = [{"params": list(parameters)}]
    by_rate: dict[float, list[nn.Parameter]] = {}
    for each in undecayed:
        by_rate.setdefault(rates.get(each, 1.0), []).append(each)
    for rate, some in by_rate.items():
        groups.append({"params": some, "weight_decay": 0.0} | ({} if rate == 1 else {RELATIVE_RATE: rate}))
    return [group for group in groups if group["params"]]


OPTIMIZERS: tuple[type[Optimizer], ...] = (SGD, AdamW)
