"""What losses see of networks beside their outputs: inner features, named by the modules that give them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainables.batch import Batch
from trainables.calling import call, main_output
from trainables.layers import ANSWER, INPUT, Layer, found_at
from trainables.modes import evaluating


class Rows(Protocol):
    """The training data as losses see it: part of :class:`trainables.tasks.base.LoadedTask`."""

    def rows(self, split: str) -> int:
        """How many rows of outputs count in one pass over ``split``."""
        ...

    def row_numbers(self, batch: Batch) -> Tensor:
        """Where the rows of a training ``batch`` stand among all those of the training split."""
        ...

    def labels(self, split: str) -> Tensor | None:
        """The class of each row, in the order of their numbers; None where it is not known."""
        ...


class Inner(Protocol):
    """Inner features of one network, however they come."""

    def find(self, place: str) -> tuple[str, ...]:
        """Names of the features at ``place``, for :meth:`watch`; see :func:`trainables.layers.found_at`.

        Raises:
            ValueError: the network has no such place.
        """
        ...

    def watch(self, name: str) -> tuple[int, ...]:
        """Have the features called ``name`` at every step from now on; returns their shape without the batch.

        Raises:
            ValueError: there are none.
        """
        ...

    def __getitem__(self, name: str) -> Tensor:
        """Watched features of this step's batch."""
        ...


class Features:
    """Outputs of chosen modules of one network, as of its last forward pass while they are watched.

    A name is a module's, for what it puts out, or ``input of`` and a module's name, for what goes into it.
    Hooks are attached only for the duration of a forward pass, so that copies of the network carry none.

    Args:
        network: whose modules are watched.
        example: gives the inputs of one batch, by which shapes are found out; called by :meth:`watch` and
            :meth:`layers` alone.
    """

    def __init__(self, network: nn.Module, example: Callable[[], Any]) -> None:
        self._network = network
        self._example = example
        self._seen: dict[str, Tensor] = {}
        self._wanted: list[str] = []
        self._layers: list[Layer] | None = None

    @torch.no_grad()
    def watch(self, name: str) -> tuple[int, ...]:
        """Record the features called ``name`` from now on; returns their shape without the batch.

        Raises:
            ValueError: the network has no such module, it is not reached, or its output is no tensor.
        """
        modules = {each for each, _ in self._network.named_modules() if each}
        if name.removeprefix(INPUT) not in modules:
            raise ValueError(f"the network has no module {name!r}; it has {', '.join(sorted(modules))}")
        if name not in self._wanted:
            self._wanted.append(name)
        with evaluating(self._network), parametrize.cached(), self.recorded():
            call(self._network, self._example())
        if name not in self._seen:
            self._wanted.remove(name)
            raise ValueError(f"the forward pass does not reach the module {name!r}")
        return tuple(self._seen[name].shape[1:])

    def find(self, place: str) -> tuple[str, ...]:
        """See :class:`Inner`."""
        return found_at(place, self.layers())

    @torch.no_grad()
    def layers(self) -> list[Layer]:
        """All modules that put out a tensor in eval mode, as they were ready, then the network's answer.

        Of a module that runs several times, the last time counts, as in what is recorded.
        """
        if self._layers is None:
            shapes: dict[str, tuple[tuple[int, ...], int]] = {}
            weighted: set[str] = set()
            with evaluating(self._network), parametrize.cached(), ExitStack() as hooks:
                for name, module in self._network.named_modules():
                    if name and "parametrizations" not in name.split("."):
                        see = partial(self._outline, name, shapes, weighted)
                        hooks.enter_context(module.register_forward_hook(see))
                answer = main_output(call(self._network, self._example()))
            self._layers = _layers(self._network, shapes, weighted)
            if isinstance(answer, Tensor):
                self._layers.append(Layer(ANSWER, tuple(answer.shape[1:]), False, len(weighted), 0))
        return self._layers

    def __getitem__(self, name: str) -> Tensor:
        """The features ``name`` of the last forward pass, with their gradient, padding included."""
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
                module = self._network.get_submodule(name.removeprefix(INPUT))
                see = self._see_input if name.startswith(INPUT) else self._see
                hooks.enter_context(module.register_forward_hook(partial(see, name), with_kwargs=True))
            yield

    def _see(self, name: str, module: nn.Module, inputs: Any, named: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise ValueError(f"the module {name!r} gives a {type(output).__name__}, and features are tensors")
        self._seen[name] = output

    def _see_input(self, name: str, module: nn.Module, inputs: Any, named: Any, output: Any) -> None:
        found = next((each for each in (*inputs, *named.values()) if isinstance(each, Tensor)), None)
        if found is None:
            raise ValueError(f"the {name!r} is no tensor, and features are tensors")
        self._seen[name] = found

    @staticmethod
    def _outline(
        name: str,
        shapes: dict[str, tuple[tuple[int, ...], int]],
        weighted: set[str],
        module: nn.Module,
        inputs: Any,
        output: Any,
    ) -> None:
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() > 1 and not isinstance(module, nn.Embedding):
            weighted.add(name)
        shapes.pop(name, None)  # what runs again stands where it ran last
        if isinstance(output, Tensor):
            shapes[name] = tuple(output.shape[1:]), len(weighted)


def _layers(
    network: nn.Module, shapes: dict[str, tuple[tuple[int, ...], int]], weighted: set[str]
) -> list[Layer]:
    found = [Layer(name, shape, name in weighted, depth, 0) for name, (shape, depth) in shapes.items()]
    maps = {each.name: each.positions for each in found if each.positions}

    def reduces(block: str, layer: Layer) -> bool:
        smaller = maps.get(block, layer.positions) < layer.positions
        return smaller and not isinstance(network.get_submodule(block), nn.Sequential)

    def inside(layer: Layer) -> int:
        parts = layer.name.split(".")
        return sum(reduces(".".join(parts[:count]), layer) for count in range(1, len(parts)))

    return [replace(each, inside=inside(each)) for each in found]


@dataclass(frozen=True)
class Probe:
    """The features of the student and of the network it imitates, and which rows of the data are seen.

    Attributes:
        student: of the student.
        imitated: of the teacher's network, asked while the student trains or remembered; None where there is
            neither.
        data: the training data, for losses that remember samples; None outside of training.
    """

    student: Features
    imitated: Inner | None
    data: Rows | None = None

    @property
    def teacher(self) -> Inner:
        """The teacher's.

        Raises:
            ValueError: there are none, as of a teacher without a network.
        """
        if self.imitated is None:
            raise ValueError(
                "this loss looks at features of the teacher's network, and the recipe's teacher asks none: "
                "use a teacher that is asked at every step, such as Fixed"
            )
        return self.imitated

    @property
    def seen(self) -> Rows:
        """The data that are trained on.

        Raises:
            ValueError: there are none.
        """
        if self.data is None:
            raise ValueError("this loss remembers samples, and is given no data: build it in a training")
        return self.data

    def recorded(self) -> list[AbstractContextManager[None]]:
        """Contexts that record forward passes: one for each network of which a module is watched."""
        both = [each for each in (self.student, self.imitated) if isinstance(each, Features)]
        return [each.recorded() for each in both if each.watched]
