"""Pruning by what the loss would be without a weight, or without a channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, cast

from torch import Tensor

from trainables.part import check_choice
from trainables.pruners.base import Mask, Pruner
from trainables.pruners.saliency_mask import SaliencyMask
from trainables.pruners.together import channels_of, most_salient, shares
from trainables.ranges import Range
from trainables.schedules import Cubic, Schedule


@dataclass(frozen=True)
class Saliency(Pruner):
    """What the loss depends on least goes: of all tensors together, by one threshold.

    By ``snip`` (Lee et al. 2019) it is the magnitude of weight times gradient, divided by the sum over all;
    by ``fisher`` (Theis et al. 2018) half the mean square of that product. Of a channel it is the sum over
    its places of what a layer reads times its gradient, sample by sample; of a weight it is known batch by
    batch. Channels are those that linear layers and convolutions without groups read of others; each such
    layer keeps at least one. Whatever is not judged stays. What is measured before the masks are final is
    pruned by magnitude.

    Attributes:
        criterion: ``snip`` (default) or ``fisher``.
        sparsity: final share of all weights, or channels, that go, in [0, 0.999]; default 0.5. A tensor may
            lose all of its weights, as published.
        by: ``weights`` (default) or ``channels``; a channel that nobody reads any more does not ship, where
            the network can be cut.
        updates: how many times in the pruning phases the least salient go, judged by the steps since the last
            time, in [0, 10^6]; 0 (default) is once, before the first step.
        batches: at how many batches it looks then, as training would see them, in [1, 10^4]; default 1.
        ramp: of several updates: fraction of ``sparsity`` over the pruning phases' progress.
        cost: what a million multiply-accumulates that read a channel take off its saliency; default 0.
    """

    criterion: str = "snip"
    sparsity: Annotated[float, Range(0.0, 0.999, (0.1, 0.95), smaller="high", name="sparsity")] = 0.5
    by: str = "weights"
    updates: Annotated[int, Range(0, 1_000_000)] = 0
    batches: Annotated[int, Range(1, 10_000)] = 1
    ramp: Schedule = Cubic(0.0, 1.0, 0.1, 0.6)
    cost: Annotated[float, Range(0.0, 1e9)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "criterion", ("snip", "fisher"))
        check_choice(self, "by", ("weights", "channels"))
        if self.ramp(1.0) != 1.0:
            raise ValueError(f"ramp must end at 1, got ramp={self.ramp} ending at {self.ramp(1.0)}")
        if self.cost and not self.cuts:
            raise ValueError(f"a weight has no cost of its own: give by='channels', got cost={self.cost}")

    @property
    def cuts(self) -> bool:
        return self.by == "channels"

    def build(self, weight: Tensor, name: str = "") -> Mask:
        return SaliencyMask(self, weight)

    def decide(self, masks: Mapping[str, Mask], progress: float) -> None:
        own = cast(list[SaliencyMask], list(masks.values()))
        moment = int(progress * self.updates) / self.updates if self.updates else 1.0
        gone = self.sparsity * min(max(self.ramp(moment), 0.0), 1.0)
        if not own or gone <= float(own[0].gone) or (self.updates and progress == 0):
            return
        judged = [mask for mask in own if int(mask.seen)]
        if not judged:
            raise ValueError("there is nothing to prune: no layer reads channels that others give")
        scores = [mask.score() for mask in judged]
        scores = shares(scores) if self.criterion == "snip" else scores
        scores = [
            each - self.cost * float(mask.macs) / 1e6 for mask, each in zip(judged, scores, strict=True)
        ]
        before = [channels_of(mask.keep) if self.cuts else mask.keep for mask in judged]
        found = most_salient(scores, round(1 - gone, 12), before, one_each=self.cuts)
        for mask in own:
            mask.choose(None, gone)
        for mask, staying in zip(judged, found, strict=True):
            mask.choose(staying, gone)
