"""A user's own architecture: an importable class named on the command line."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from torch import nn

from trainables.admission import check_constants
from trainables.identity import source_of
from trainables.models.base import Model
from trainables.ranges import Range
from trainables.torchvision_guard import make_importable

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_allowed: set[str] = set()


class CodeChanged(UserWarning):
    """The class at hand is not the one of which a recipe is."""


def allow(target: str) -> None:
    """Let recipes in this process import ``target``; for targets that the user named, never for a file's.

    Raises:
        ValueError: ``target`` is not of the form ``module:Class``.
    """
    _allowed.add(_checked(target))


def code_of_target(target: str) -> str:
    """Digest of the source of ``target``, see :func:`trainables.identity.source_of`.

    Raises:
        ValueError: the target is not allowed here, cannot be imported, or is no ``nn.Module``.
    """
    return source_of([_imported(target)])


@dataclass(frozen=True)
class Custom(Model):
    """``Class(input_shape=..., outputs=..., depth=..., width=...)`` of the user's own module.

    A recipe may come from anybody's file, and importing runs code: :meth:`build` imports only what
    :func:`allow` has been told in the same process.

    Attributes:
        target: ``module:Class``, such as ``my_project.networks:Small``; a subclass of ``nn.Module``.
        depth: at least 1; default 1. Passed on.
        width: in [1/16, 16]; default 1. Passed on.
        code: digest of the class's source, :func:`code_of_target`, so that recipes of an edited class are
            other recipes; default "", which says nothing of the source.
    """

    target: str
    depth: Annotated[int, Range(1, 1024, smaller="low", name="depth")] = 1
    width: float = 1.0
    code: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        _checked(self.target)

    @property
    def imports(self) -> str:
        """The class."""
        return self.target

    def rebuilt(
        self, input_shape: tuple[int, ...], outputs: int, shapes: Mapping[str, tuple[int, ...]]
    ) -> nn.Module:
        """What :meth:`build` makes."""
        return self.build(input_shape, outputs)

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; :meth:`Recipe.build` also tries the network out.

        Where the source is not that of :attr:`code`, it warns of it (:class:`CodeChanged`).

        Raises:
            ValueError: the target is not allowed here, cannot be imported, or is no ``nn.Module``.
        """
        cls = _imported(self.target)
        if self.code and (found := source_of([cls])) != self.code:
            warnings.warn(
                f"the code of {self.target} was edited since: its digest is {found}, and the recipe's is "
                f"{self.code}, so what was measured then may not hold of it",
                CodeChanged,
                stacklevel=2,
            )
        network = self._construct(cls, input_shape, outputs)
        check_constants(network, lambda: self._construct(cls, input_shape, outputs))
        return network

    def _construct(self, cls: type[nn.Module], input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        try:
            return cls(input_shape=input_shape, outputs=outputs, depth=self.depth, width=self.width)
        except Exception as error:
            raise ValueError(
                f"{self.target}(input_shape={input_shape}, outputs={outputs}, depth={self.depth}, "
                f"width={self.width}) failed: {type(error).__name__}: {error}"
            ) from error


def _checked(target: str) -> str:
    if not _TARGET.fullmatch(target):
        raise ValueError(f"target must be of the form module:Class, got target={target!r}")
    return target


def _imported(target: str) -> type[nn.Module]:
    if target not in _allowed:
        raise ValueError(
            f"the recipe names code of its own, {target}, which is not imported unasked; "
            f"if you trust it, pass --model {target}"
        )
    return _class(target)


def _class(target: str) -> type[nn.Module]:
    module_name, class_name = target.split(":")
    make_importable()  # of what users import, torchvision may need it
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's module may fail in any way while it is imported
        raise ValueError(
            f"module {module_name} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    cls = getattr(module, class_name, None)
    if cls is None:
        raise ValueError(f"module {module_name} has no class {class_name}")
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise ValueError(f"{target} must be a subclass of torch.nn.Module, got {cls!r}")
    return cls
