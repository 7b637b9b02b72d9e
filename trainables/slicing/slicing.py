"""A network with fewer channels and blocks, from a trained one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from itertools import islice

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.batch import Batch
from trainables.calibration import CALIBRATION_INPUTS
from trainables.calling import Inputs, call, mapped, samples_of
from trainables.modes import evaluating
from trainables.slicing.blocks import block_importance
from trainables.slicing.changes import Changes, NotSliceable
from trainables.slicing.choice import Loss, scores_of
from trainables.slicing.cut import Cut
from trainables.slicing.graph import families
from trainables.slicing.plan import Planner
from trainables.slicing.removal import remove
from trainables.slicing.shapes import drop
from trainables.slicing.trial import tensors_in

TRIED_SAMPLES = 2
"""On how many samples a slice is tried out."""

Batches = Callable[[], Iterable[Batch]]


def sliced(network: nn.Module, batches: Batches, loss: Loss, cut: Cut) -> tuple[nn.Module, Changes]:
    """A copy of ``network`` without its least important channels and blocks.

    The channels of the network's output stay. What is computed from the channels that stay does not change,
    but for normalisation over channels and attention, which divide by their number. Batch normalisation is
    measured anew.

    Args:
        network: stays as it is; weights and flags of what is left are in the copy as they are here.
        batches: gives the same batches of training data at every call.
        loss: of an output and a batch, a scalar; asked where ``cut.importance`` needs gradients.
        cut: what to remove.

    Returns:
        the copy, in the modes of ``network``, and what cannot be read off the shapes of its tensors.

    Raises:
        NotSliceable: the message says what stands in the way, by the name of the layer.
    """
    small = copy.deepcopy(network)
    example = mapped(lambda tensor: tensor[:TRIED_SAMPLES], _first(batches).inputs)
    with evaluating(small):
        wanted = _shapes(small, example)
        dropped = _dropped(small, batches, cut)
        drop(small, dropped)
        left, sizes = _cut_channels(small, example, batches, loss, cut)
        if _numbers(small) != _numbers(network):
            calibrate(small, batches)
        found = _shapes(small, example)
    if found != wanted:
        raise NotSliceable(f"the slice gives outputs of the shapes {found} in place of {wanted}")
    return small, Changes(dropped, sizes, left)


def _cut_channels(
    network: nn.Module, example: Inputs, batches: Batches, loss: Loss, cut: Cut
) -> tuple[tuple[str, ...], tuple[tuple[str, str, int], ...]]:
    """Take channels out of ``network`` in place; what was left alone, and the sizes that modules keep."""
    if cut.width >= 1 and cut.share(0) >= 1 and cut.share(1) >= 1:
        return (), ()
    found, order = families(network, example)
    scores = scores_of(network, batches(), loss, cut.importance)
    planner = Planner(network, example, cut, scores, order, _kept_names(network, cut.keep))
    removal, left = planner.plan(found)
    if left and not removal.layers:
        raise NotSliceable(f"no layer can be cut; the first that stands in the way is {left[0]}")
    remove(network, removal)
    return left, tuple((name, attribute, size) for (name, attribute), size in sorted(removal.sizes.items()))


def _dropped(network: nn.Module, batches: Batches, cut: Cut) -> tuple[str, ...]:
    """The blocks that change least, in the order of the modules."""
    if cut.depth >= 1:
        return ()
    kept = _kept_names(network, cut.keep)
    importance = {n: v for n, v in block_importance(network, batches()).items() if n not in kept}
    count = len(importance) - round(cut.depth * len(importance))
    least = sorted(importance, key=lambda name: importance[name])[:count]
    return tuple(name for name in importance if name in least)


def _kept_names(network: nn.Module, patterns: tuple[str, ...]) -> set[str]:
    """Modules and parameters that are kept, by name: what a pattern names, and all inside of it."""
    names = [name for name, _ in network.named_modules()] + [name for name, _ in network.named_parameters()]
    found = set()
    for name in names:
        words = name.split(".")
        above = [".".join(words[:end]) for end in range(1, len(words) + 1)]
        if any(fnmatchcase(each, pattern) for each in above for pattern in patterns):
            found.add(name)
    return found


@torch.no_grad()
def calibrate(network: nn.Module, batches: Batches) -> None:
    """Measure the statistics of batch normalisation anew, in place, over about 512 samples.

    Args:
        network: everything else in it is in eval mode meanwhile; modes are as before afterwards.
        batches: gives training data.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    counts = [
        None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone() for norm in norms
    ]
    with evaluating(network):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.training = True
        samples = 0
        for batch in batches():
            if samples_of(batch.inputs) > 1:  # of one sample there may be no variance
                call(network, batch.inputs)
            samples += samples_of(batch.inputs)
            if samples >= CALIBRATION_INPUTS:
                break
    for norm, momentum, count in zip(norms, momenta, counts, strict=True):
        norm.momentum = momentum
        if count is not None and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.copy_(count)


def _numbers(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _first(batches: Batches) -> Batch:
    for batch in islice(batches(), 1):
        return batch
    raise NotSliceable("there is no batch to try the network on")


@torch.no_grad()
def _shapes(network: nn.Module, inputs: Inputs) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in tensors_in(call(network, inputs))]
