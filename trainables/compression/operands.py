"""Functions that are given quantized operands where a network calls them."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainables.compression.call_graph import FUNCTIONS, with_numbers, worked_on

_CALL = nn.Module._call_impl.__code__


@dataclass(frozen=True)
class Slot:
    """Where a quantizer is: looked up at every call, so that a copied network, or one whose quantizers were
    exchanged, quantizes with its own.

    Attributes:
        holder: the module that has it.
        name: of the attribute.
        again: whether the values decide about the range elsewhere.
        part: whether the range has to hold them too, though they are not among those that decide.
    """

    holder: nn.Module
    name: str
    again: bool = False
    part: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self.holder.get_submodule(self.name)(x, again=self.again, part=self.part)
        return found


def through(slots: Iterable[Slot], x: Tensor) -> Tensor:
    """``x`` through the quantizers of one place."""
    for slot in slots:
        x = slot(x)
    return x


@dataclass
class Calls:
    """Calls of functions within one module's forward pass.

    Attributes:
        expected: by function, how many there are.
        slots: by function, number and operand, the quantizers of that operand.
        made: how many there were so far in the forward pass that is under way.
    """

    expected: dict[str, int]
    slots: dict[tuple[str, int], dict[int, tuple[Slot, ...]]] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)


CALLS = "_rayduce_calls"
"""The attribute under which a module has its :class:`Calls`."""


def watch(module: nn.Module, expected: dict[str, int]) -> Calls:
    """Look at the functions that ``module`` calls from now on, in place.

    Raises:
        ValueError: its forward pass is an attribute of its own already.
    """
    calls: Calls | None = module.__dict__.get(CALLS)
    if calls is None:
        if "forward" in module.__dict__:
            raise ValueError(f"the forward pass of {type(module).__name__} was exchanged; give it a class")
        calls = Calls(expected)
        module.__dict__[CALLS] = calls
        module.__dict__["forward"] = MethodType(_watching(type(module).forward), module)
    return calls


def _watching(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)  # who asks for the names of its arguments is told them
    def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return _watched(forward, module, *args, **kwargs)

    return watched


def _watched(forward: Callable[..., Any], module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    calls: Calls = module.__dict__[CALLS]
    calls.made = {}
    with _looking():
        result = forward(module, *args, **kwargs)
    if calls.made != calls.expected:
        raise ValueError(
            f"{type(module).__name__} calls functions ({calls.made}) that were not there when it was looked "
            f"at ({calls.expected}): its sums cannot be quantized; let it call the same ones every time"
        )
    return result


class _Looking(TorchFunctionMode):
    """Gives functions their quantized operands. Nothing else changes, in place or not."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        kind = FUNCTIONS.get(getattr(func, "__name__", ""))
        if kind is not None:
            args, kwargs = _quantized(kind, args, kwargs)
        return func(*args, **kwargs)


def _quantized(
    kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    calls = _caller().__dict__.get(CALLS)
    if calls is None:
        return args, kwargs
    given = [(place, each) for place, each in worked_on(kind, args, kwargs) if isinstance(each, Tensor)]
    if kind == "cat":
        listed = args[0] if args else kwargs["tensors"]
        given = list(enumerate(listed))
    kind = with_numbers(kind, len(given))
    if kind not in calls.expected:
        return args, kwargs
    number = calls.made.get(kind, 0)
    calls.made[kind] = number + 1
    places = calls.slots.get((kind, number))
    if not places:
        return args, kwargs
    made = {place: through(places.get(at, ()), each) for at, (place, each) in enumerate(given)}
    if kind == "cat":
        joined = list(made.values())
        return ((joined, *args[1:]), kwargs) if args else (args, {**kwargs, "tensors": joined})
    return (
        tuple(made.get(position, each) for position, each in enumerate(args)),
        {name: made.get(name, each) for name, each in kwargs.items()},
    )


def _caller() -> nn.Module:
    """The module whose forward pass is the innermost one under way."""
    frame = sys._getframe(1)
    while frame.f_code is not _CALL:
        assert frame.f_back is not None  # the mode is in force within a module's forward pass alone
        frame = frame.f_back
    found: nn.Module = frame.f_locals["self"]
    return found


class _Depth(threading.local):
    value = 0


_depth = _Depth()


@contextmanager
def _looking() -> Iterator[None]:
    """One mode, however many modules ask for it."""
    _depth.value += 1
    try:
        if _depth.value == 1:
            with _Looking():
                yield
        else:
            yield
    finally:
        _depth.value -= 1
