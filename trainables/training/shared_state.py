"""What first phases leave behind, without what only later phases use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from trainables.activations.base import InputQuantizer
from trainables.pruners.base import Mask
from trainables.quantizers.base import WeightQuantizer


def shared_state(kept: Mapping[str, nn.Module], *, masks: bool) -> dict[str, Tensor]:
    """Weights, statistics and whatever else training moved, but for what quantizers hold.

    Args:
        kept: of :meth:`trainables.training.learner.Learner.kept`.
        masks: whether masks have grown; else they are left out, too, for pruners that begin later may differ.

    Returns:
        The tensors themselves, by the names that checkpoints have them under.
    """
    return {
        f"{kind}.{name}": value
        for kind, module in kept.items()
        for name, value in _moved(module, masks).items()
    }


def take_shared_state(kept: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], *, masks: bool) -> None:
    """Inverse of :func:`shared_state`; what that left out stays as it is.

    Raises:
        KeyError: tensors are missing, or are of something else.
        RuntimeError: one has another shape.
    """
    expected = shared_state(kept, masks=masks)
    if expected.keys() != tensors.keys():
        other = sorted(expected.keys() ^ tensors.keys())[0]
        raise KeyError(f"they differ in {other}")
    for kind, module in kept.items():
        own = {name: tensors[f"{kind}.{name}"] for name in _moved(module, masks)}
        module.load_state_dict({**module.state_dict(), **own})


def _moved(module: nn.Module, masks: bool) -> dict[str, Tensor]:
    idle = tuple(_idle(module, masks))
    return {name: value for name, value in module.state_dict().items() if not name.startswith(idle)}


def _idle(module: nn.Module, masks: bool) -> Iterator[str]:
    """Prefixes of the names of what has not acted."""
    kinds = (WeightQuantizer, InputQuantizer) if masks else (WeightQuantizer, InputQuantizer, Mask)
    for name, each in module.named_modules(remove_duplicate=False):
        if isinstance(each, kinds):
            yield f"{name}."
