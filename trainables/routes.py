"""Networks that do more work for some inputs than for others, and what the others' work is called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from torch import nn

Route = tuple[float, nn.Module]
"""The share of inputs that takes it, in [0, 1], and the network as all inputs see it that do."""


class Routed(nn.Module, ABC):
    """A network that decides input by input how far it computes.

    What a student costs is the mean over its routes.

    Attributes:
        heads: what decides and answers on the way; a phase may train it while the rest stands still.
    """

    heads: nn.ModuleList

    @abstractmethod
    def routes(self) -> list[Route]:
        """Every route, the shortest first; shares add up to 1."""


def routes_of(network: nn.Module) -> list[Route]:
    """The routes through ``network``: of one that does the same for every input, itself."""
    return network.routes() if isinstance(network, Routed) else [(1.0, network)]


def heads_of(network: nn.Module) -> nn.Module | None:
    """What may be trained while the rest of ``network`` stands still; None where it has no such part."""
    return network.heads if isinstance(network, Routed) else None


def still_beside(network: nn.Module, heads: nn.Module) -> Iterable[nn.Module]:
    """The modules of ``network`` that are no ``heads``, without the network itself."""
    moving = {id(network), *map(id, heads.modules())}
    return [module for module in network.modules() if id(module) not in moving]
