"""A trained network as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from trainables.calibration import CALIBRATION_INPUTS, InputBatches
from trainables.calling import Inputs, call, samples_of
from trainables.folding import is_foldable
from trainables.models.base import Model
from trainables.origins.base import Origin, fresh_network
from trainables.part import Part
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources, check_recipe_id


@dataclass(frozen=True)
class Trained(Origin):
    """A trained network as it is: Apprentice's scheme C, and quantization of a network that is there.

    It comes from its packed file, so the student begins with what was shipped. Batch normalisation, which is
    folded there, is recovered from about 512 training inputs.

    Attributes:
        model: the architecture of the trained network.
        network: ``recipe_id`` of the trained network, 16 hex digits.
    """

    model: Model
    network: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_recipe_id(self.network)

    @property
    def parent(self) -> str:
        """The trained network."""
        return self.network

    @property
    def sizes(self) -> None:
        """None: the trained network has its size."""
        return None

    def resized(self, sizes: Part) -> Trained:
        """Never asked for."""
        raise ValueError(f"a trained network cannot be resized, got {sizes=}")

    @property
    def depth(self) -> float:
        """The architecture's."""
        return self.model.depth

    @property
    def width(self) -> float:
        """The architecture's."""
        return self.model.width

    def outline(self, task: Task, data: LoadedTask) -> tuple[Model, nn.Module]:
        """See the contract."""
        return self.model, fresh_network(self.model, task)

    def build(self, task: Task, data: LoadedTask, sources: Sources) -> tuple[Model, nn.Module]:
        """See the contract.

        Raises:
            ValueError: the trained network has another architecture, or is not there.
        """
        student = fresh_network(self.model, task).to(data.device)
        batches = lambda: (batch.inputs for batch in data.batches("train", 0))  # noqa: E731
        start_from(student, sources.network(self.network), batches)
        return self.model, student


@torch.no_grad()
def start_from(student: nn.Module, trained: nn.Module, batches: InputBatches) -> None:
    """Give ``student`` the weights of ``trained``, in place.

    Args:
        student: plain, without compressed weights.
        trained: of the same architecture, as :func:`trainables.shipping.evaluation.rebuild` makes it: its
            batch normalisations are scales and shifts. What they divided by is measured again, so that the
            student both computes what ``trained`` computes and normalises as training does.
        batches: inputs to measure on, of which the first 512 or so are used.

    Raises:
        ValueError: they are of different architectures, or a batch normalisation has no weight and bias.
    """
    modules = student.named_modules(remove_duplicate=False)
    norms = {name: module for name, module in modules if is_foldable(module)}
    for name, norm in norms.items():
        if norm.weight is None or norm.running_mean is None:
            raise ValueError(f"{name} must have weight, bias and statistics to start from a trained network")
    own = {key: value for key, value in student.state_dict().items() if key.rpartition(".")[0] not in norms}
    given = trained.state_dict()
    wanted = {key: tuple(value.shape) for key, value in own.items()}
    wanted |= {f"{name}.{part}": (norm.num_features,) for name, norm in norms.items() for part in PARTS}
    found = {key: tuple(value.shape) for key, value in given.items()}
    if wanted != found:
        odd = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))[0]
        raise ValueError(
            "the student must have the architecture of the network it starts from; first difference: "
            f"{odd} of shape {wanted.get(odd)} and {found.get(odd)}"
        )
    for key, value in own.items():
        value.copy_(given[key])
    if not norms:
        return
    device = next(student.parameters()).device
    for name, (mean, variance) in _statistics(copy.deepcopy(trained).to(device), norms, batches()).items():
        norm, spread = norms[name], (variance + norms[name].eps).sqrt()
        scale, shift = (given[f"{name}.{part}"].to(device).double() for part in PARTS)
        for target, exact in (
            (norm.running_mean, mean),
            (norm.running_var, variance),
            (norm.weight, scale * spread),
            (norm.bias, shift + scale * mean),
        ):
            assert target is not None  # checked above
            target.copy_(exact)


PARTS = ("scale", "shift")
"""Of a batch normalisation that was folded, see :mod:`trainables.folding`."""


def _statistics(
    network: nn.Module, names: Iterable[str], batches: Iterable[Inputs]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance (float64) per channel of what enters the modules called ``names``."""
    sums: dict[str, list[Tensor]] = {}

    def see(name: str, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        channels = args[0].double().transpose(0, 1).flatten(1)
        new = [channels.sum(1), channels.square().sum(1), torch.tensor(float(channels.shape[1]))]
        sums[name] = [a + b for a, b in zip(sums[name], new, strict=True)] if name in sums else new

    hooks = [network.get_submodule(name).register_forward_pre_hook(partial(see, name)) for name in names]
    left = CALIBRATION_INPUTS
    for inputs in batches:
        call(network, inputs)
        left -= samples_of(inputs)
        if left <= 0:
            break
    for hook in hooks:
        hook.remove()
    means = {name: (total / count, square / count) for name, (total, square, count) in sums.items()}
    return {name: (mean, (square - mean.square()).clamp(min=0)) for name, (mean, square) in means.items()}
