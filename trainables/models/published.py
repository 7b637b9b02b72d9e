"""Architectures of published libraries, by their names."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from trainables.foreign import shown
from trainables.models.base import Ready
from trainables.part import check_choice
from trainables.torchvision_guard import import_torchvision, make_importable

LIBRARIES = ("torchvision", "timm")
NEAREST = 5


@dataclass(frozen=True)
class Published(Ready):
    """A trained network of an architecture that a published library has.

    A recipe may come from anybody's file: a name is looked up among those that the library lists, and what
    is built runs code of the installed library alone. No weights are fetched.

    Attributes:
        library: ``torchvision`` or ``timm``.
        name: of the architecture, as the library lists it.
        weights: 16 hex digits of the trained weights, see :func:`trainables.weights.digest_of`.
    """

    library: str
    name: str
    weights: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "library", LIBRARIES)
        if not self.name or self.name != shown(self.name, 100):
            raise ValueError(f"name must be that of an architecture, got name={shown(self.name, 100)!r}")

    @property
    def imports(self) -> None:
        """None: the library is installed, or it is not."""
        return None

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """A network whose weights are of no use; on the meta device where that is the default device.

        Raises:
            ValueError: the library is not installed, has no such architecture, or cannot build it so.
        """
        return published(self.library, self.name, input_shape[0], outputs)


def published(library: str, name: str, channels: int, classes: int) -> nn.Module:
    """An architecture of a library with new weights.

    Args:
        library: one of :data:`LIBRARIES`.
        name: of the architecture.
        channels: of its inputs; torchvision's networks have 3 whatever is asked for.
        classes: logits that it answers.

    Raises:
        ValueError: see :meth:`Published.build`.
    """
    outlined = torch.empty(0).device.type == "meta"
    with torch.device("cpu"):  # what a library computes while it is imported, or of sizes, has values
        names, make = _library(library)
        if name not in names:
            near = difflib.get_close_matches(name, names, NEAREST, 0.4)
            nearest = f"; the nearest names are {', '.join(near)}" if near else ""
            raise ValueError(f"{library} has no network for images called {shown(name, 100)!r}{nearest}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of initial weights, which are not used
                if not outlined:
                    return make(name, channels, classes)
                with _OnlyShapes():
                    return make(name, channels, classes)
        except Exception as error:  # a library's code may fail in any way
            text = shown(" ".join(str(error).split()), 300)
            raise ValueError(
                f"{library}:{name} of {channels} channels and {classes} classes cannot be built: "
                f"{type(error).__name__}: {text}"
            ) from error


class _OnlyShapes(TorchFunctionMode):
    """What is allocated for weights has a shape and no memory; what is computed of sizes has values."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if function in _ALLOCATE and given.get("device") is None:
            given["device"] = torch.device("meta")
        return function(*args, **given)


_ALLOCATE = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})


@functools.cache
def _library(library: str) -> tuple[frozenset[str], Callable[[str, int, int], nn.Module]]:
    """The names that a library lists, and what builds one of them with its channels and classes."""
    if library == "torchvision":
        models = import_torchvision().models

        def of_torchvision(name: str, channels: int, classes: int) -> nn.Module:
            network: nn.Module = models.get_model(name, weights=None, num_classes=classes)
            return network

        return frozenset(models.list_models(module=models)), of_torchvision
    if importlib.util.find_spec("timm") is None:
        raise ValueError("timm is not installed; run pip install 'rayduce[timm]'")
    make_importable()
    timm = importlib.import_module("timm")

    def of_timm(name: str, channels: int, classes: int) -> nn.Module:
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)
        return network

    return frozenset(timm.list_models()), of_timm
