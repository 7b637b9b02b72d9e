"""Networks unlike ours, as users have them; each can be a student of digits or images of any size."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

HIDDEN = 16
Outputs = namedtuple("Outputs", ["logits", "aux_logits"])


class Odd(nn.Module):
    """What all of them share: the constructor, and a body from an image to ``HIDDEN`` features."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int, depth: int, width: float) -> None:
        super().__init__()
        channels, height, columns = input_shape
        self.head: nn.Module
        self.body = nn.Linear(channels * height * columns, HIDDEN)
        self.head = nn.Linear(HIDDEN, outputs)
        self.make(outputs)

    def make(self, outputs: int) -> None:
        """Add what is odd."""

    def features(self, x: Tensor) -> Tensor:
        return self.body(x.flatten(1)).relu()

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x))


class Frozen(Odd):
    """A fixed filter bank, a frozen bias, and a normalisation whose affine parameters are frozen."""

    def make(self, outputs: int) -> None:
        self.body.requires_grad_(False)
        self.norm = nn.BatchNorm1d(HIDDEN)
        self.norm.weight.requires_grad_(False)
        self.norm.bias.requires_grad_(False)
        self.head.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.features(x)))


class AllFrozen(Odd):
    def make(self, outputs: int) -> None:
        self.requires_grad_(False)


class StillNorm(Odd):
    """Normalisation whose statistics the user froze."""

    def make(self, outputs: int) -> None:
        self.norm = nn.BatchNorm1d(HIDDEN).eval()
        nn.init.constant_(self.norm.get_buffer("running_mean"), 0.25)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.features(x)))


class TiedWeights(Odd):
    def make(self, outputs: int) -> None:
        self.a, self.b = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(self.features(x)).relu()).relu())


class SharedModule(Odd):
    """One layer, and one normalisation, under two names each."""

    def make(self, outputs: int) -> None:
        self.a = self.b = nn.Linear(HIDDEN, HIDDEN)
        self.first = self.second = nn.BatchNorm1d(HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.b(self.first(self.a(self.features(x))).relu())).relu())


class TiedFrozen(TiedWeights):
    def make(self, outputs: int) -> None:
        super().make(outputs)
        self.a.weight.requires_grad_(False)


class InPlace(Odd):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(0.1).div_(0.5))


class InPlaceInTraining(Odd):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.add_(1.0) if self.training else x)


class Attention(Odd):
    def make(self, outputs: int) -> None:
        self.attend = nn.MultiheadAttention(HIDDEN // 4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).unflatten(1, (4, HIDDEN // 4))
        return self.head((x + self.attend(x, x, x, need_weights=False)[0]).flatten(1))


class Encoder(Odd):
    def make(self, outputs: int) -> None:
        layer = nn.TransformerEncoderLayer(HIDDEN // 4, 2, 8, dropout=0.1, batch_first=True)
        self.encode = nn.TransformerEncoder(layer, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encode(self.features(x).unflatten(1, (4, HIDDEN // 4))).flatten(1))


class Recurrent(Odd):
    """PyTorch's own LSTM, which computes with a list of its weights."""

    read: nn.RNNBase

    def make(self, outputs: int) -> None:
        self.read = nn.LSTM(HIDDEN // 4, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(self.features(x).unflatten(1, (4, HIDDEN // 4)))[0][:, -1])


class Gated(Recurrent):
    def make(self, outputs: int) -> None:
        self.read = nn.GRU(HIDDEN // 4, HIDDEN // 2, num_layers=2, bidirectional=True, batch_first=True)


class Normalised(Odd):
    """Layer, group and instance normalisation, the last with and without running statistics."""

    def make(self, outputs: int) -> None:
        self.layer, self.group = nn.LayerNorm(HIDDEN), nn.GroupNorm(4, HIDDEN)
        self.instance = nn.InstanceNorm1d(4, affine=True)
        self.tracked = nn.InstanceNorm1d(4, affine=True, track_running_stats=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.group(self.layer(self.features(x))).unflatten(1, (4, HIDDEN // 4))
        return self.head(self.tracked(self.instance(x)).flatten(1))


class LastNorm(Odd):
    """Batch normalisation as the last layer, as binary and ternary networks have it."""

    def make(self, outputs: int) -> None:
        self.head = nn.Sequential(nn.Linear(HIDDEN, outputs, bias=False), nn.BatchNorm1d(outputs))


class PlainNorm(Odd):
    """Batch normalisation without scale and shift."""

    def make(self, outputs: int) -> None:
        self.norm = nn.BatchNorm1d(HIDDEN, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.features(x)))


class _ClippedNorm(nn.BatchNorm1d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(-1.0, 1.0)


class OwnNorm(Odd):
    """A class derived from batch normalisation that does more."""

    def make(self, outputs: int) -> None:
        self.norm = _ClippedNorm(HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.features(x)))


class Buffers(Odd):
    """Whole numbers beyond float32, truth values, nothing, a number alone, and a mask that is not stored."""

    truth: Tensor
    mask: Tensor

    def make(self, outputs: int) -> None:
        self.register_buffer("large", torch.tensor([2**62 + 1, -3]))
        self.register_buffer("truth", torch.tensor([True, False] * (HIDDEN // 2)))
        self.register_buffer("empty", torch.empty(0, 3))
        self.register_buffer("mask", torch.full((HIDDEN,), -float("inf")), persistent=False)
        self.temperature = nn.Parameter(torch.tensor(2.0))
        self.nothing = nn.Parameter(torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.where(self.truth, self.features(x), 0.0).maximum(self.mask)) * self.temperature


class AuxiliaryTuple(Odd):
    def make(self, outputs: int) -> None:
        self.extra = nn.Linear(HIDDEN, outputs)

    def several(self, main: Tensor, extra: Tensor) -> Any:
        return main, extra

    def forward(self, x: Tensor) -> Any:
        x = self.features(x)
        return self.several(self.head(x), self.extra(x)) if self.training else self.head(x)


class AuxiliaryNamed(AuxiliaryTuple):
    def several(self, main: Tensor, extra: Tensor) -> Any:
        return Outputs(main, extra)


class AuxiliaryDict(AuxiliaryTuple):
    def several(self, main: Tensor, extra: Tensor) -> Any:
        return {"out": main, "aux": extra}


class RandomInEval(Odd):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(self.features(x), 0.5))


class Counting(Odd):
    calls: Tensor

    def make(self, outputs: int) -> None:
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class Growing(Odd):
    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "seen"):
            self.register_buffer("seen", torch.zeros(3))
        return super().forward(x)


class ByBatch(Odd):
    """Answers by what else is in the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x - x.mean(0)))


class NoStatistics(Odd):
    def make(self, outputs: int) -> None:
        self.norm = nn.BatchNorm1d(HIDDEN, track_running_stats=False)


class OnlyPairs(Odd):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.view(2, -1))


class Double(Odd):
    def make(self, outputs: int) -> None:
        self.head = nn.Linear(HIDDEN, outputs).double()


class Half(Odd):
    def make(self, outputs: int) -> None:
        self.head = nn.Linear(HIDDEN, outputs).bfloat16()


class Complex(Odd):
    def make(self, outputs: int) -> None:
        self.filter = nn.Parameter(torch.ones(HIDDEN, dtype=torch.complex64))


class WholeParameter(Odd):
    def make(self, outputs: int) -> None:
        self.shift = nn.Parameter(torch.ones(HIDDEN, dtype=torch.int64), requires_grad=False)


class DoubleBuffer(Odd):
    def make(self, outputs: int) -> None:
        self.register_buffer("mean", torch.zeros(HIDDEN, dtype=torch.float64))


class Infinite(Odd):
    def make(self, outputs: int) -> None:
        self.register_buffer("mask", torch.full((4,), -float("inf")))


class Lazy(Odd):
    def make(self, outputs: int) -> None:
        self.head = nn.LazyLinear(outputs)


class Synchronised(Odd):
    def make(self, outputs: int) -> None:
        self.norm = nn.SyncBatchNorm(HIDDEN)


class OldWeightNorm(Odd):
    def make(self, outputs: int) -> None:
        self.head = nn.utils.weight_norm(nn.Linear(HIDDEN, outputs))


class OldSpectralNorm(Odd):
    def make(self, outputs: int) -> None:
        self.head = nn.utils.spectral_norm(nn.Linear(HIDDEN, outputs))


class NewWeightNorm(Odd):
    def make(self, outputs: int) -> None:
        self.head = nn.utils.parametrizations.weight_norm(nn.Linear(HIDDEN, outputs))


class Pruned(Odd):
    def make(self, outputs: int) -> None:
        prune.l1_unstructured(self.head, "weight", 0.5)


class Renormalised(Odd):
    def make(self, outputs: int) -> None:
        self.words = nn.Embedding(8, HIDDEN, max_norm=1.0)


class PlainTensor(Odd):
    def make(self, outputs: int) -> None:
        self.scale = torch.full((HIDDEN,), 2.0)


class PlainList(Odd):
    def make(self, outputs: int) -> None:
        self.layers = [nn.Linear(HIDDEN, HIDDEN)]


class RandomConstant(Odd):
    """A random projection that is not stored: another one each time that the network is built."""

    projection: Tensor

    def make(self, outputs: int) -> None:
        self.register_buffer("projection", torch.randn(HIDDEN, HIDDEN), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x) @ self.projection)


class Overlapping(Odd):
    def make(self, outputs: int) -> None:
        self.turned = nn.Parameter(self.body.weight.data.t())


class Moved(Odd):
    def make(self, outputs: int) -> None:
        self.to("meta")
