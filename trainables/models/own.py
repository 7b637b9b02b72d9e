"""A user's own trained network, as a file of theirs makes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from trainables.models.base import Model
from trainables.own_code import CodeError, module_of, reason, where


@dataclass(frozen=True)
class Own(Model):
    """What ``network()`` of a user's file returns.

    A recipe may come from anybody's file, and importing runs code: :meth:`build` uses only what was named in
    the same process (:func:`trainables.own_code.allow_file`).

    Attributes:
        file: name of the file without ``.py``.
        function: in it; takes nothing and returns the network.
        code: 16 hex digits of the code, see :attr:`trainables.own_code.OwnCode.digest`.
        weights: 16 hex digits of the trained weights, see :func:`trainables.weights.digest_of`.
    """

    file: str
    code: str
    weights: str
    function: str = "network"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("file", "function"):
            value = getattr(self, name)
            if not value.isidentifier() or len(value) > 100:
                raise ValueError(f"{name} must be a name as Python has it, got {name}={value!r}")
        for name in ("code", "weights"):
            if not re.fullmatch("[0-9a-f]{16}", getattr(self, name)):
                raise ValueError(f"{name} must be 16 hex digits, got {name}={getattr(self, name)!r}")

    @property
    def depth(self) -> int:  # type: ignore[override]  # what others declare as a field
        """1: the network has the depth that it has."""
        return 1

    @property
    def width(self) -> float:  # type: ignore[override]
        """1."""
        return 1.0

    @property
    def imports(self) -> str:
        """The file."""
        return f"{self.file}.py"

    def rebuilt(
        self, input_shape: tuple[int, ...], outputs: int, shapes: Mapping[str, tuple[int, ...]]
    ) -> nn.Module:
        """What :meth:`build` makes."""
        return self.build(input_shape, outputs)

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """A network as the user's function returns it; shape and outputs are what it has.

        Raises:
            ValueError: the file was not named here, has no such function, or the function fails.
        """
        return made_by(self.file, self.function)


def made_by(file: str, function: str) -> nn.Module:
    """What ``function()`` of a user's file returns.

    Raises:
        ValueError: see :meth:`Own.build`.
    """
    module = module_of(file)
    make = getattr(module, function, None)
    if not callable(make):
        raise CodeError(f"{file}.py has no function {function}(), which returns the trained network")
    try:
        network = make()
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        folder = str(module.__file__).rpartition("/")[0]
        raise CodeError(f"{function}() of {file}.py fails: {where(error, folder)}{reason(error)}") from error
    if not isinstance(network, nn.Module):
        raise CodeError(
            f"{function}() of {file}.py must return a torch.nn.Module, got {type(network).__name__}"
        )
    return network
