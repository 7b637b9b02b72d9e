"""What a user's network was along its training, as their file gives it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from trainables.own_code import CodeError
from trainables.tasks.job_file import said_by
from trainables.weights import fitted, read_weights


def checkpoints_of(module: ModuleType, network: nn.Module, path: Path) -> tuple[Mapping[str, Tensor], ...]:
    """The states that ``checkpoints()`` of a user's file gives, in their order; default none.

    Args:
        module: the file.
        network: the trained one, which the states have to fit; it stays as it is.
        path: of the file, beside which paths of checkpoints begin.

    Raises:
        CodeError, WeightsError, ValueError: one sentence on what does not fit.
    """
    if not hasattr(module, "checkpoints"):
        return ()
    given = said_by(path.stem, "checkpoints", module.checkpoints)
    if isinstance(given, str | Path | Mapping) or not isinstance(given, Iterable):
        raise CodeError(f"checkpoints() must return a list, got {type(given).__name__}")
    return tuple(_state(each, number, network, path) for number, each in enumerate(given))


def _state(given: object, number: int, network: nn.Module, path: Path) -> Mapping[str, Tensor]:
    """The state of one checkpoint, under the network's own names."""
    name = f"checkpoints()[{number}]"
    if isinstance(given, str | Path):
        state: Mapping[str, Tensor] = read_weights(path.absolute().parent / given)
    elif isinstance(given, Mapping) and all(isinstance(each, Tensor) for each in given.values()):
        state = given
    else:
        raise CodeError(f"{name} must be the path of a file or a state_dict, got {type(given).__name__}")
    then = copy.deepcopy(network)
    fitted(then, state, name)
    return {key: tensor.detach().clone() for key, tensor in then.state_dict().items()}
