"""The interface contract: how a network is used, which is what is exported, counted and timed of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

Inputs = tuple[Tensor, ...]

Axes = Mapping[str, Mapping[int, str]]
"""Names of tensors, in order, and of those of their axes whose size is free."""

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""An exported graph in a runtime: named arrays in, named arrays out, in the graph's order."""

Runs = Mapping[str, Run]
"""The graphs of one network by name."""

Work = Callable[[Runs], object]
"""One use of an exported network, which is what a latency is of."""

BATCH = "batch"


@dataclass(frozen=True)
class Graph:
    """One function of a network, to be traced and checked.

    Attributes:
        module: takes tensors and returns a tensor or a tuple of tensors.
        inputs: what it takes; every first axis is the batch.
        outputs: what it returns.
        draw: as many rows of inputs as it is asked for, random but the same at every call.
        cases: inputs that differ in size and value from each other and from ``draw(2)``, which is traced:
            control flow that depends on either, and that tracing froze, shows on them.
    """

    module: nn.Module
    inputs: Axes
    outputs: Axes
    draw: Callable[[int], Inputs]
    cases: tuple[Inputs, ...]


@dataclass(frozen=True)
class Interface(ABC):
    """What the networks of a task look like from outside; its fields are what decides that.

    Attributes:
        pads: whether inputs of layers hold padding, whose values must not enter a statistic, so that ranges
            of inputs cannot be taken.
    """

    pads: ClassVar[bool] = False

    @property
    def classifies(self) -> bool:
        """Whether the answer to one sample is one row of logits of classes; default False."""
        return False

    @abstractmethod
    def check(self, network: nn.Module, outputs: int) -> None:
        """Try ``network``, fresh and on the CPU, on a few inputs; its state and mode are left as they are.

        One that writes into its inputs gets copies of them from now on, see :mod:`trainables.admission`.

        Args:
            network: whatever is to be a student.
            outputs: how many logits it is to return per row.

        Raises:
            ValueError: it cannot be used like this; the message says how it fails.
        """

    @abstractmethod
    def graphs(self, network: nn.Module) -> dict[str, Graph]:
        """The functions of ``network`` that leave as one ONNX file each, by name.

        Args:
            network: in eval mode on the CPU.
        """

    @abstractmethod
    def agrees(self, network: nn.Module, runs: Runs, tolerance: float) -> bool:
        """Whether the exported graphs, used as a whole, come to the same decisions as ``network``.

        Args:
            network: in eval mode on the CPU.
            runs: its graphs in a runtime.
            tolerance: as a share of the largest logit's magnitude; logits as close may change places.
        """

    @abstractmethod
    def exported(self, network: nn.Module, runs: Runs) -> nn.Module:
        """The exported graphs, used as a task uses ``network``: on the CPU, without gradients.

        Args:
            network: whose graphs they are, in eval mode.
            runs: its graphs in a runtime.
        """

    @abstractmethod
    def work(self) -> dict[str, Work]:
        """What is timed, by the name of the metric in milliseconds; ``latency_ms`` is one of them."""

    @abstractmethod
    def use(self, network: nn.Module) -> None:
        """Run ``network``, in eval mode on the CPU, once on what ``latency_ms`` is of."""

    @abstractmethod
    def metadata(self) -> dict[str, str]:
        """What a runtime has to know beside the graphs."""
