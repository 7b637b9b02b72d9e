"""A user's own trained network, as a file of theirs makes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from torch import nn

from trainables.models.base import Ready
from trainables.own_code import CodeError, module_of, reason, where
from trainables.ranges import Range

CLASSES = ("classes", "num_classes")
"""What a function calls the number of classes that it wants to know."""


@dataclass(frozen=True)
class Own(Ready):
    """What a function of a user's file returns.

    A recipe may come from anybody's file, and importing runs code: :meth:`build` uses only what was named in
    the same process (:func:`trainables.own_code.allow_file`).

    Attributes:
        file: name of the file without ``.py``.
        code: 16 hex digits of the code, see :attr:`trainables.own_code.OwnCode.digest`.
        weights: 16 hex digits of the trained weights, see :func:`trainables.weights.digest_of`.
        function: in it; returns the network; default ``network``.
        classes: the number that the function is told, in [1, 65536]; None (default) where it takes nothing.
    """

    file: str
    code: str
    weights: str
    function: str = "network"
    classes: Annotated[int | None, Range(1, 65_536)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("file", "function"):
            value = getattr(self, name)
            if not value.isidentifier() or len(value) > 100:
                raise ValueError(f"{name} must be a name as Python has it, got {name}={value!r}")
        self._check_digest("code")

    @property
    def imports(self) -> str:
        """The file."""
        return f"{self.file}.py"

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """A network as the user's function returns it; shape and outputs are what it has.

        Raises:
            ValueError: the file was not named here, has no such function, or the function fails.
        """
        return made_by(self.file, self.function, self.classes)


def made_by(file: str, function: str, classes: int | None = None) -> nn.Module:
    """What a function of a user's file returns.

    Args:
        file: name of the file without ``.py``.
        function: its name.
        classes: the number of classes, which the function is told; None (default) tells it nothing.

    Raises:
        ValueError: see :meth:`Own.build`.
    """
    make = _function(file, function)
    told = None if classes is None else _told(make, classes)
    try:
        network = (told or make)()
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        folder = str(module_of(file).__file__).rpartition("/")[0]
        raise CodeError(f"{function}() of {file}.py fails: {where(error, folder)}{reason(error)}") from error
    if not isinstance(network, nn.Module):
        raise CodeError(
            f"{function}() of {file}.py must return a torch.nn.Module, got {type(network).__name__}"
        )
    return network


def takes_classes(file: str, function: str) -> bool:
    """Whether a function of a user's file is to be told the number of classes.

    It is where an argument is called ``classes`` or ``num_classes``, or where it needs one argument.

    Raises:
        ValueError: the file has no such function, or the function needs other arguments.
    """
    make = _function(file, function)
    if _told(make, 1) is not None:
        return True
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        raise CodeError(
            f"{function} of {file}.py must take nothing or the number of classes, got "
            f"{function}{inspect.signature(make)}"
        ) from error
    return False


def _function(file: str, name: str) -> Callable[..., Any]:
    make = getattr(module_of(file), name, None)
    if not callable(make):
        raise CodeError(f"{file}.py has no function {name}(), which returns the trained network")
    return make


def _told(make: Callable[..., Any], classes: int) -> Callable[[], Any] | None:
    """``make`` with the number of classes as its argument; None where it wants to know nothing."""
    signature = inspect.signature(make)
    named = [name for name in CLASSES if name in signature.parameters]
    keyword = {named[0]: classes} if named else {}
    needed = [each for each in signature.parameters.values() if each.default is each.empty]
    plain = [each for each in needed if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    if named and {each.name for each in plain} <= {named[0]}:
        if signature.parameters[named[0]].kind is inspect.Parameter.POSITIONAL_ONLY:
            return partial(make, classes)
        return partial(make, **keyword)
    if len(plain) == 1 and plain[0].kind is not inspect.Parameter.KEYWORD_ONLY and not named:
        return partial(make, classes)
    return None
