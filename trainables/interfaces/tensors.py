"""Networks that take the tensors of one sample and answer one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.admission import admit
from trainables.calling import call
from trainables.inspection import check_parts
from trainables.interfaces.base import BATCH, Graph, Inputs, Interface, Runs, Work
from trainables.signature import Signatures, joined

NETWORK, INPUT, OUTPUT = "network", "input", "output"


class _Positional(nn.Module):
    """A network that is given its tensors one by one, as tracing has it."""

    def __init__(self, network: nn.Module, inputs: Signatures) -> None:
        super().__init__()
        self.network = network
        self._inputs = inputs

    def forward(self, *tensors: Tensor) -> Any:
        return call(self.network, joined(self._inputs, tensors))


class _Exported(nn.Module):
    """An exported network as its task uses it."""

    def __init__(self, runs: Runs, names: Sequence[str]) -> None:
        super().__init__()
        self._run, self._names = runs[NETWORK], tuple(names)

    def forward(self, *tensors: Tensor, **named: Tensor) -> Tensor:
        given = named or dict(zip(self._names, tensors, strict=True))
        fed = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in given.items()}
        return torch.from_numpy(self._run(fed)[OUTPUT])


@dataclass(frozen=True)
class Tensors(Interface):
    """One graph: the inputs by their names (``input`` where there is one), to ``output``, (batch, *output).

    What is timed and counted is one sample.

    Attributes:
        inputs: of one sample; without names one tensor, with numbers positional arguments, else named ones.
        output: shape of what one sample gets.
        classes: whether that are logits, of classes along the first axis.
    """

    inputs: Signatures
    output: tuple[int, ...]
    classes: bool

    @property
    def classifies(self) -> bool:
        """Where there are classes, and one row of them for each sample."""
        return self.classes and len(self.output) == 1

    @torch.no_grad()
    def check(self, network: nn.Module, outputs: int) -> None:
        """See :meth:`Interface.check`: two random samples get an answer of the right shape each."""
        name = type(network).__name__
        check_parts(network)
        found = admit(network, self._given(self._drawn(2)), name)
        if found != (2, *self.output):
            raise ValueError(f"{name} must return a tensor of shape {(2, *self.output)}, got {found}")

    def graphs(self, network: nn.Module) -> dict[str, Graph]:
        """See :meth:`Interface.graphs`."""
        outputs = {OUTPUT: {0: BATCH}}
        axes = {name: {0: BATCH} for name in self._names()}
        cases = (self._drawn(1), self._drawn(3), self._drawn(5))
        return {NETWORK: Graph(_Positional(network, self.inputs), axes, outputs, self._drawn, cases)}

    @torch.no_grad()
    def agrees(self, network: nn.Module, runs: Runs, tolerance: float) -> bool:
        """Whether five samples get the same classes, or values within the tolerance."""
        drawn = self._drawn(5)
        expected = call(network, self._given(drawn)).numpy()
        found = runs[NETWORK](self._fed(drawn))[OUTPUT]
        allowed = tolerance * np.abs(expected).max(initial=0.0)
        if not self.classes:
            return bool((np.abs(found - expected) <= max(allowed, 1e-6)).all())
        chosen = np.take_along_axis(expected, found.argmax(1)[:, None], 1)[:, 0]
        return bool((chosen >= expected.max(1) - allowed).all())

    def exported(self, network: nn.Module, runs: Runs) -> nn.Module:
        """See :meth:`Interface.exported`."""
        return _Exported(runs, self._names())

    def work(self) -> dict[str, Work]:
        """``latency_ms``: one random sample."""
        fed = self._fed(self._drawn(1))
        return {"latency_ms": lambda runs: runs[NETWORK](fed)}

    def use(self, network: nn.Module) -> None:
        """See :meth:`Interface.use`."""
        call(network, self._given(self._drawn(1)))

    def metadata(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def _names(self) -> list[str]:
        names = [each.name for each in self.inputs]
        return [INPUT if not name else f"{INPUT}_{name}" if name.isdecimal() else name for name in names]

    def _given(self, drawn: Inputs) -> Any:
        """As the network is called; copies, since a network may change what it is given."""
        return joined(self.inputs, tuple(tensor.clone() for tensor in drawn))

    def _fed(self, drawn: Inputs) -> dict[str, np.ndarray]:
        return {name: tensor.numpy() for name, tensor in zip(self._names(), drawn, strict=True)}

    def _drawn(self, count: int) -> Inputs:
        generator = torch.Generator().manual_seed(count)
        return tuple(each.drawn(count, generator) for each in self.inputs)
