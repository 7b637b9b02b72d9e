"""Networks that one tensor goes into and logits come out of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trainables.admission import admit
from trainables.inspection import check_parts
from trainables.interfaces.base import BATCH, Graph, Inputs, Interface, Runs, Work

NETWORK, INPUT, OUTPUT = "network", "input", "output"


class _Exported(nn.Module):
    """An exported network as its task uses it."""

    def __init__(self, runs: Runs) -> None:
        super().__init__()
        self._run = runs[NETWORK]

    def forward(self, values: Tensor) -> Tensor:
        return torch.from_numpy(self._run({INPUT: np.ascontiguousarray(values.numpy())})[OUTPUT])


@dataclass(frozen=True)
class Classifier(Interface):
    """One graph: ``input``, float32 (batch, *shape), to ``output``, logits (batch, ..., classes).

    What is timed and counted is one input.

    Attributes:
        shape: of one input.
    """

    shape: tuple[int, ...]

    @property
    def classifies(self) -> bool:
        """Yes."""
        return True

    @torch.no_grad()
    def check(self, network: nn.Module, outputs: int) -> None:
        """See :meth:`Interface.check`: inputs of the right shape give ``outputs`` logits each."""
        name = type(network).__name__
        check_parts(network)
        # Two inputs: one would hide a network that mixes up batch and channels.
        found = admit(network, self._drawn(2), name)
        if found != (2, outputs):
            raise ValueError(f"{name} must return a tensor of shape {(2, outputs)}, got {found}")

    def graphs(self, network: nn.Module) -> dict[str, Graph]:
        """See :meth:`Interface.graphs`."""
        one = self._drawn(1)
        cases: tuple[Inputs, ...] = ((one,), (-one,), (self._drawn(5),))
        graph = Graph(
            network, {INPUT: {0: BATCH}}, {OUTPUT: {0: BATCH}}, lambda count: (self._drawn(count),), cases
        )
        return {NETWORK: graph}

    @torch.no_grad()
    def agrees(self, network: nn.Module, runs: Runs, tolerance: float) -> bool:
        """Whether five inputs get the same classes."""
        inputs = self._drawn(5)
        expected = network(inputs.clone()).numpy()  # a network may write into what it is given
        chosen = runs[NETWORK]({INPUT: inputs.numpy()})[OUTPUT].argmax(-1)
        values = np.take_along_axis(expected, chosen[..., None], -1)[..., 0]
        return bool((values >= expected.max(-1) - tolerance * np.abs(expected).max(initial=0.0)).all())

    def exported(self, network: nn.Module, runs: Runs) -> nn.Module:
        """See :meth:`Interface.exported`."""
        return _Exported(runs)

    def work(self) -> dict[str, Work]:
        """``latency_ms``: one random input."""
        values = np.random.default_rng(0).standard_normal((1, *self.shape), dtype=np.float32)
        return {"latency_ms": lambda runs: runs[NETWORK]({INPUT: values})}

    def use(self, network: nn.Module) -> None:
        """See :meth:`Interface.use`."""
        network(torch.zeros(1, *self.shape))

    def metadata(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def _drawn(self, count: int) -> Tensor:
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(count))
