"""Networks of all kinds, small, and inputs for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.batch import Batch
from trainables.calling import Inputs, samples_of
from trainables.torchvision_guard import make_importable

make_importable()

from torchvision import models  # noqa: E402

SIDE = 64


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = self.stage(3, 16), self.stage(16, 32)
        self.middle = self.stage(32, 64)
        self.up2, self.up1 = nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)
        self.join2, self.join1 = self.stage(64, 32), self.stage(32, 16)
        self.head = nn.Conv2d(16, 5, 1)
        self.aux = nn.Conv2d(64, 5, 1)

    @staticmethod
    def stage(given: int, made: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(given, made, 3, padding=1), nn.GroupNorm(4, made), nn.PReLU(made))

    def forward(self, x: Tensor) -> Any:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.middle(F.max_pool2d(b, 2))
        d = self.join2(torch.cat([self.up2(c), b], 1))
        out = self.head(self.join1(torch.cat([self.up1(d), a], 1)))
        return {"out": out, "aux": self.aux(c)} if self.training else {"out": out}


class Recurrent(nn.Module):
    def __init__(
        self, kind: type[nn.LSTM] | type[nn.GRU] = nn.LSTM, bidirectional: bool = False, layers: int = 2
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 24)
        self.rnn = kind(24, 32, layers, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(32 * (1 + bidirectional), 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.embedding(tokens))[0][:, -1])


class LastState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Linear(8, 16)
        self.rnn = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        _, state = self.rnn(F.relu(self.before(x)))
        return self.head(state[-1])


class Waves(nn.Module):
    """One-dimensional convolutions, in groups, called twice, with a flatten at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 32, 9, padding=4)
        self.norm1 = nn.BatchNorm1d(32)
        self.grouped = nn.Conv1d(32, 32, 5, padding=2, groups=4)
        self.twice = nn.Conv1d(32, 32, 3, padding=1)
        self.glu = nn.Conv1d(32, 48, 1)
        self.dense = nn.Linear(24 * 4, 20)
        self.head = nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.first(x)), inplace=True)
        x = x + F.relu(self.grouped(x))
        x = self.twice(F.relu(self.twice(x)))
        a, b = self.glu(x).chunk(2, 1)
        x = F.adaptive_avg_pool1d(a * torch.sigmoid(b), 4)
        return self.head(F.relu(self.dense(x.flatten(1))))


class Attention(nn.Module):
    """Queries, keys and values by one linear layer; the divisor is computed or kept."""

    def __init__(self, size: int, heads: int, fused: bool, scale: bool) -> None:
        super().__init__()
        self.heads, self.head_dim, self.fused = heads, size // heads, fused
        self.scale = (size // heads) ** -0.5 if scale else None
        if fused:
            self.qkv = nn.Linear(size, 3 * size)
        else:
            self.q, self.k, self.v = (nn.Linear(size, size) for _ in range(3))
        self.proj = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        if self.fused:
            q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = (
                each(x).view(n, t, self.heads, -1).transpose(1, 2) for each in (self.q, self.k, self.v)
            )
        scale = self.scale or 1 / math.sqrt(q.shape[-1])
        x = torch.softmax(q @ k.transpose(-2, -1) * scale, -1) @ v
        return self.proj(x.transpose(1, 2).reshape(n, t, -1))


class Block(nn.Module):
    def __init__(self, size: int, heads: int, fused: bool, scale: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(size)
        self.attention = Attention(size, heads, fused, scale)
        self.mlp = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Text(nn.Module):
    """Tokens and their mask in a dict, positions as a parameter, own attention."""

    def __init__(self, fused: bool = True, scale: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(60, 32)
        self.positions = nn.Parameter(torch.randn(1, 12, 32) * 0.02)
        self.blocks = nn.Sequential(*(Block(32, 4, fused, scale) for _ in range(3)))
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 4)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(self.blocks(self.embedding(tokens) + self.positions))
        return self.head((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(60, 32)
        self.hidden = nn.Linear(32, 24)
        self.head = nn.Linear(24, 4)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = (self.embedding(tokens) * mask[..., None]).sum(1)
        return self.head(F.relu(self.hidden(x)))


class Tied(nn.Module):
    """A language model whose output layer has the weights of its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(60, 32)
        self.hidden = nn.Linear(32, 32)
        self.head = nn.Linear(32, 60, bias=False)
        self.head.weight = self.embedding.weight
        self.again = self.hidden  # one module under two names

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        return self.head(x + torch.tanh(self.again(torch.tanh(self.hidden(x)))))


def vit() -> nn.Module:
    network = models.VisionTransformer(SIDE, 16, 3, 4, 64, 128, num_classes=10)
    nn.init.normal_(network.heads[0].weight)  # zeros otherwise, and then every slice is right
    return network


def images(number: int = 8) -> Tensor:
    return torch.randn(number, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def tokens(number: int = 8) -> Tensor:
    return torch.randint(50, (number, 12), generator=torch.Generator().manual_seed(1))


def masked() -> dict[str, Tensor]:
    mask = torch.ones(8, 12)
    mask[:4, 9:] = 0
    return {"tokens": tokens(), "mask": mask}


def sequences(number: int = 8, channels: int = 8) -> Tensor:
    return torch.randn(number, 12, channels, generator=torch.Generator().manual_seed(1))


def waves() -> Tensor:
    return torch.randn(8, 1, 64, generator=torch.Generator().manual_seed(1))


TORCHVISION = (
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "efficientnet_b0",
    "vgg11_bn",
    "densenet121",
    "squeezenet1_1",
    "regnet_y_400mf",
    "convnext_tiny",
)


def of_torchvision(name: str) -> Callable[[], nn.Module]:
    return lambda: getattr(models, name)(num_classes=10)


SMALL: dict[str, tuple[Callable[[], nn.Module], Callable[[], Inputs]]] = {
    "vit": (vit, images),
    "unet": (UNet, images),
    "lstm": (Recurrent, tokens),
    "lstm, both directions": (lambda: Recurrent(nn.LSTM, True), tokens),
    "gru": (lambda: Recurrent(nn.GRU, False, 1), tokens),
    "gru, last state": (LastState, sequences),
    "waves": (Waves, waves),
    "text, fused": (Text, masked),
    "text, fused, computed divisor": (lambda: Text(True, False), masked),
    "text, three layers": (lambda: Text(False, False), masked),
    "bag": (Bag, masked),
    "tied": (Tied, tokens),
}


def made(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return make().eval()


def batches_of(inputs: Inputs, number: int = 2, classes: int = 4) -> Callable[[], Iterator[Batch]]:
    count = samples_of(inputs)
    targets = torch.arange(count) % classes
    return lambda: (Batch(inputs, targets, torch.arange(count), 0) for _ in range(number))


def loss(output: Any, batch: Batch) -> Tensor:
    if isinstance(output, dict):
        output = output["out"].mean((2, 3))
    if output.dim() == 3:
        output = output.mean(1)
    return F.cross_entropy(output, batch.targets)
