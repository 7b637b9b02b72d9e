"""What losses see of networks beside their outputs: inner features, named by the modules that give them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainables.calling import call
from trainables.modes import evaluating


class Features:
    """Outputs of chosen modules of one network, as of its last forward pass while they are watched.

    Hooks are attached only for the duration of a forward pass, so that copies of the network carry none.

    Args:
        network: whose modules are watched.
        example: gives the inputs of one batch, by which shapes are found out; called by :meth:`watch` alone.
    """

    def __init__(self, network: nn.Module, example: Callable[[], Any]) -> None:
        self._network = network
        self._example = example
        self._seen: dict[str, Tensor] = {}
        self._wanted: list[str] = []

    @torch.no_grad()
    def watch(self, name: str) -> tuple[int, ...]:
        """Record the output of the module called ``name`` from now on; returns its shape without the batch.

        Raises:
            ValueError: the network has no such module, it is not reached, or its output is no tensor.
        """
        modules = {each for each, _ in self._network.named_modules() if each}
        if name not in modules:
            raise ValueError(f"the network has no module {name!r}; it has {', '.join(sorted(modules))}")
        if name not in self._wanted:
            self._wanted.append(name)
        with evaluating(self._network), parametrize.cached(), self.recorded():
            call(self._network, self._example())
        if name not in self._seen:
            self._wanted.remove(name)
            raise ValueError(f"the forward pass does not reach the module {name!r}")
        return tuple(self._seen[name].shape[1:])

    def __getitem__(self, name: str) -> Tensor:
        """The output of a watched module in the last forward pass, with its gradient, padding included."""
        return self._seen[name]

    @property
    def names(self) -> list[str]:
        """Of all modules, in the order in which the network lists them."""
        return [name for name, _ in self._network.named_modules() if name]

    @property
    def watched(self) -> bool:
        """Whether any module is."""
        return bool(self._wanted)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Within it, forward passes are recorded; what was recorded before is forgotten."""
        self._seen.clear()
        with ExitStack() as hooks:
            for name in self._wanted:
                module = self._network.get_submodule(name)
                hooks.enter_context(module.register_forward_hook(partial(self._see, name)))
            yield

    def _see(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise ValueError(f"the module {name!r} gives a {type(output).__name__}, and features are tensors")
        self._seen[name] = output


@dataclass(frozen=True)
class Probe:
    """The features of the student and of the network it imitates.

    Attributes:
        student: of the student.
        imitated: of the teacher's network; None where no network is asked while the student trains.
    """

    student: Features
    imitated: Features | None

    @property
    def teacher(self) -> Features:
        """The teacher's.

        Raises:
            ValueError: no network is asked, as with remembered answers.
        """
        if self.imitated is None:
            raise ValueError(
                "this loss looks at features of the teacher's network, and the recipe's teacher asks none: "
                "use a teacher that is asked at every step, such as Fixed"
            )
        return self.imitated

    def recorded(self) -> list[AbstractContextManager[None]]:
        """Contexts that record forward passes: one for each network of which a module is watched."""
        both = (self.student, self.imitated)
        return [each.recorded() for each in both if each is not None and each.watched]
