"""The one place that imports torchvision, and what lets modules of others import it.

The torchvision wheel of the public index is compiled against a CUDA build of torch. Beside a CPU-only
torch its operators cannot be loaded, which torchvision itself forgives, but its registration of shape
functions for ``torchvision::nms`` and ``torchvision::qnms`` then fails because nobody declared the two
operators. Declaring them (schemas alone, no kernels) makes data sets, transforms and models work; only
detection operators stay missing.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import sys
from types import ModuleType

import torch

_SCHEMAS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@functools.cache
def import_torchvision() -> ModuleType:
    """The torchvision module, whether or not its compiled operators fit this torch.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
    """
    if not make_importable():
        raise ModuleNotFoundError(
            "torchvision is not installed; run pip install torchvision", name="torchvision"
        )
    return importlib.import_module("torchvision")


@functools.cache
def make_importable() -> bool:
    """Let ``import torchvision`` work in this process, also for code that knows nothing of this module.

    To be called before a module that is not ours is imported. It does not import torchvision.

    Returns:
        Whether torchvision is installed.
    """
    if "torchvision" in sys.modules:
        return True
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.submodule_search_locations is None:
        return False
    if not _operators_load(spec.submodule_search_locations[0]):
        _declare()
    return True


def _operators_load(folder: str) -> bool:
    """Whether torchvision's ``_C`` library in ``folder`` loads; found and loaded as torchvision does it."""
    details = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)
    spec = importlib.machinery.FileFinder(folder, details).find_spec("_C")
    if spec is None or spec.origin is None:
        return False
    try:
        torch.ops.load_library(spec.origin)
    except (ImportError, OSError):
        return False
    return True


def _declare() -> None:
    for name in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, name):
            _library().define(name + _SIGNATURE)


@functools.cache  # the cache keeps the library alive: its declarations end with it
def _library() -> torch.library.Library:
    return torch.library.Library("torchvision", "FRAGMENT")
