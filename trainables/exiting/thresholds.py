"""When exits answer: thresholds that keep the accuracy on held-out samples at the least work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.batch import Batch
from trainables.calling import call
from trainables.exiting.network import ENDLESS, ExitNetwork
from trainables.modes import evaluating

TRIED = 4096
"""Combinations of thresholds that are compared, at most."""


@dataclass(frozen=True)
class Seen:
    """What all exits made of the same samples, which are in rows.

    Attributes:
        doubts: of each early exit, float32 of shape (samples, exits).
        right: whether each exit's answer is the sample's class, bool of shape (samples, exits + 1).
    """

    doubts: Tensor
    right: Tensor


@dataclass(frozen=True)
class Chosen:
    """Thresholds, and what they do to the samples by which they were chosen.

    Attributes:
        doubts: per early exit; it answers below.
        shares: of samples that leave at each exit, the last one included.
        accuracy: share of right answers.
        cost: mean per sample.
    """

    doubts: tuple[float, ...]
    shares: tuple[float, ...]
    accuracy: float
    cost: float


@torch.no_grad()
def settle(network: ExitNetwork, batches: Iterable[Batch], costs: Sequence[float], drop: float) -> Chosen:
    """Give ``network`` the thresholds that :func:`choose` finds, and the shares of samples that leave.

    Args:
        network: on the device of the batches; its thresholds and shares are replaced.
        batches: held out; their labels decide which thresholds are chosen, and never who leaves.
        costs: multiply-adds of a sample that leaves at each exit, the last one included.
        drop: see :func:`choose`.
    """
    chosen = choose(see(network, batches), costs, drop)
    network.thresholds.copy_(torch.tensor([network.threshold(each) for each in chosen.doubts]))
    network.shares.copy_(torch.tensor(chosen.shares))
    return chosen


def see(network: ExitNetwork, batches: Iterable[Batch]) -> Seen:
    """What all exits of ``network``, in eval mode, make of the samples of ``batches``."""
    doubts, right = list[Tensor](), list[Tensor]()
    with evaluating(network):
        for batch in batches:
            answers = call(network.answers, batch.inputs)
            doubts.append(torch.stack([network.doubt(each) for each in answers[:-1]], 1).cpu())
            found = torch.stack([each.argmax(1) == _classes(batch) for each in answers], 1)
            right.append(found.cpu())
    return Seen(torch.cat(doubts), torch.cat(right))


def _classes(batch: Batch) -> Tensor:
    """Numbers of the samples' classes, of which a batch may have probabilities."""
    return batch.targets.argmax(1) if batch.targets.dim() == 2 else batch.targets


def choose(seen: Seen, costs: Sequence[float], drop: float) -> Chosen:
    """The thresholds of least mean cost at which accuracy is at most ``drop`` points below the last exit's.

    Never and always are tried at each exit, and between them thresholds at evenly spaced shares of the
    samples, half way between neighbours, so that rounding moves no sample; in all at most 4096 combinations.
    Of equal costs the more accurate wins.

    Args:
        seen: of held-out samples, at least one.
        costs: of a sample that leaves at each exit, ascending.
        drop: in points of percent.
    """
    samples, exits = seen.doubts.shape
    each = min(int(TRIED ** (1 / exits)), samples + 1)
    cuts = [_cuts(column, each) for column in seen.doubts.unbind(1)]
    bins = [
        torch.searchsorted(cut, column.contiguous(), right=True)
        for cut, column in zip(cuts, seen.doubts.unbind(1), strict=True)
    ]
    sizes = [len(cut) for cut in cuts]
    leaving, found = list[Tensor](), list[Tensor]()
    for number, (everyone, right) in enumerate(_counted(bins, sizes, seen.right)):
        leaving.append(_at(everyone, number))
        found.append(_at(right, number))
    shape = torch.Size(sizes)
    total = torch.stack([each.expand(shape) for each in leaving])
    accuracy = torch.stack([each.expand(shape) for each in found]).sum(0)
    work = (total * torch.tensor(costs, dtype=torch.float64).view(-1, *[1] * exits)).sum(0)
    least = int(seen.right[:, -1].sum()) - drop / 100 * samples
    work[accuracy < least - 1e-9] = torch.inf
    best = (work == work.min()).flatten().double() * (1 + accuracy.flatten())
    place = tuple(int(each) for each in torch.unravel_index(best.argmax(), shape))
    return Chosen(
        tuple(float(cut[at]) for cut, at in zip(cuts, place, strict=True)),
        tuple(float(share) for share in total[(slice(None), *place)] / samples),
        float(accuracy[place] / samples),
        float(work[place] / samples),
    )


def _cuts(doubts: Tensor, count: int) -> Tensor:
    """Thresholds to be tried, ascending, from one below which no doubt is to one below which all are."""
    values = doubts.unique()
    between = (values[:-1].double() + values[1:].double()).div(2).float()
    between = between[(between > values[:-1]) & (between < values[1:])]  # float32 has nothing between some
    if len(between) > count - 2:
        ranks = torch.linspace(0, len(doubts) - 1, count - 1)[1:].long()
        wanted = doubts.sort().values[ranks]
        between = between[torch.searchsorted(between, wanted).clamp(max=len(between) - 1)].unique()
    ends = torch.tensor([-ENDLESS, ENDLESS])
    return torch.cat([ends[:1], between, ends[1:]])


def _counted(bins: Sequence[Tensor], sizes: Sequence[int], right: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Per exit: how many samples lie in each cell of the grid of all exits' bins, and how many it has right.

    A sample of bin b leaves at the cuts from number b on.
    """
    shape = [size + 1 for size in sizes]
    cell = torch.zeros_like(bins[0])
    for size, column in zip(shape, bins, strict=True):
        cell = cell * size + column
    cells = int(torch.Size(shape).numel())
    everyone = torch.bincount(cell, minlength=cells).double().view(shape)
    for correct in right.unbind(1):
        yield everyone, torch.bincount(cell, correct.double(), minlength=cells).view(shape)


def _at(counts: Tensor, number: int) -> Tensor:
    """What of ``counts``, by bins, leaves at exit ``number``, by the cuts of all exits."""
    for axis in range(counts.dim()):
        if axis < number:  # it stayed: its bin is above the cut
            counts = counts.flip(axis).cumsum(axis).flip(axis).narrow(axis, 1, counts.shape[axis] - 1)
        elif axis == number:  # it leaves: its bin is at most the cut
            counts = counts.cumsum(axis).narrow(axis, 0, counts.shape[axis] - 1)
        else:
            counts = counts.sum(axis, keepdim=True)
    return counts
