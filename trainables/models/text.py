"""Networks that classify a sentence: token numbers of one length in, padded with 0, logits out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.models.base import Architecture
from trainables.models.gru import Recurrence
from trainables.models.lstm import Encoder
from trainables.models.mobile import Width
from trainables.models.transformer import EncoderLayer
from trainables.ranges import Range

Embedding = Annotated[int, Range(1, 4096, log=True, smaller="low")]
Dropout = Annotated[float, Range(0.0, 1.0, excluded="high")]


def sentence_shape(input_shape: tuple[int, ...]) -> tuple[int, int]:
    """``input_shape`` as (tokens of the vocabulary, tokens of a sentence).

    Raises:
        ValueError: it is none of sentences of one length.
    """
    if len(input_shape) != 2 or min(input_shape) < 1:
        raise ValueError(
            f"this network classifies sentences: input_shape must be (vocabulary, length), got {input_shape=}"
        )
    return input_shape[0], input_shape[1]


@dataclass(frozen=True)
class TextBag(Architecture):
    """The mean of the tokens' vectors, and one layer (Joulin et al. 2017, fastText), of subwords.

    Attributes:
        depth: 1: there is but one layer.
        width: multiplier of the vectors' size, rounded, at least 1; in [1/16, 16], default 1.
        embedding: size of a token's vector at width 1, in [1, 4096]; default 64.
        dropout: rate on the mean, in [0, 1); default 0.2.
    """

    depth: Annotated[int, Range(1, 1, smaller="low", name="depth")] = 1
    width: Width = 1.0
    embedding: Embedding = 64
    dropout: Dropout = 0.2

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; vectors start uniform in [-0.1, 0.1]."""
        size = max(1, round(self.width * self.embedding))
        words = Tokens(sentence_shape(input_shape)[0], size, self.dropout)
        return Reader(words, nn.Identity(), "mean", nn.Linear(size, outputs))


@dataclass(frozen=True)
class TextCNN(Architecture):
    """Convolutions over words, and the largest answer of each over the sentence (Kim 2014, CNN-rand).

    Attributes:
        depth: how many sizes of convolutions there are, of 3, 4, 5 and so on tokens, in [1, 5]; default 3, as
            published.
        width: multiplier of vectors and maps, rounded, at least 1; in [1/16, 16], default 1.
        embedding: size of a token's vector at width 1, in [1, 4096]; default 100; the paper has 300.
        maps: of each size at width 1, in [1, 4096]; default 50; the paper has 100.
        dropout: rate before the logits, in [0, 1); default 0.5, as published; on vectors the half of it.
    """

    depth: Annotated[int, Range(1, 5, (1, 3), smaller="low", name="depth")] = 3
    width: Width = 1.0
    embedding: Embedding = 100
    maps: Annotated[int, Range(1, 4096, log=True, smaller="low")] = 50
    dropout: Dropout = 0.5

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; vectors start uniform in [-0.1, 0.1]."""
        size, maps = (max(1, round(self.width * each)) for each in (self.embedding, self.maps))
        words = Tokens(sentence_shape(input_shape)[0], size, self.dropout / 2)
        head = nn.Sequential(nn.Dropout(self.dropout), nn.Linear(self.depth * maps, outputs))
        return Reader(words, _Convolutions(size, maps, range(3, 3 + self.depth)), "largest", head)


@dataclass(frozen=True)
class TextLSTM(Architecture):
    """A bidirectional LSTM, and the largest of its outputs over the sentence.

    Attributes:
        depth: layers, in [1, 4]; default 1.
        width: multiplier of vectors and units, rounded, at least 1; in [1/16, 16], default 1.
        embedding: size of a token's vector at width 1, in [1, 4096]; default 64.
        units: of both directions together at width 1, made even, in [1, 4096]; default 128.
        dropout: rate on vectors and before the logits, in [0, 1); default 0.3.
    """

    depth: Annotated[int, Range(1, 4, (1, 2), smaller="low", name="depth")] = 1
    width: Width = 1.0
    embedding: Embedding = 64
    units: Embedding = 128
    dropout: Dropout = 0.3

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; vectors start uniform in [-0.1, 0.1]."""
        size, units = (max(1, round(self.width * each)) for each in (self.embedding, self.units))
        units += units % 2
        words = Tokens(sentence_shape(input_shape)[0], size, self.dropout)
        head = nn.Sequential(nn.Dropout(self.dropout), nn.Linear(units, outputs))
        return Reader(words, _BothWays(Encoder(size, units, self.depth, 2, self.dropout)), "largest", head)


@dataclass(frozen=True)
class TextGRU(Architecture):
    """Gated recurrent units, and the largest of their outputs over the sentence.

    Attributes:
        depth: layers, in [1, 4]; default 1.
        width: multiplier of vectors and units, rounded, at least 1; in [1/16, 16], default 1.
        embedding: size of a token's vector at width 1, in [1, 4096]; default 64.
        units: at width 1, in [1, 4096]; default 64.
        dropout: rate on vectors and before the logits, in [0, 1); default 0.3.
    """

    depth: Annotated[int, Range(1, 4, (1, 2), smaller="low", name="depth")] = 1
    width: Width = 1.0
    embedding: Embedding = 64
    units: Embedding = 64
    dropout: Dropout = 0.3

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; vectors start uniform in [-0.1, 0.1]."""
        size, units = (max(1, round(self.width * each)) for each in (self.embedding, self.units))
        words = Tokens(sentence_shape(input_shape)[0], size, self.dropout)
        layers = [Recurrence(units if layer else size, units) for layer in range(self.depth)]
        head = nn.Sequential(nn.Dropout(self.dropout), nn.Linear(units, outputs))
        return Reader(words, _Layers(layers), "largest", head)


@dataclass(frozen=True)
class TextTransformer(Architecture):
    """A small encoder of attention (Vaswani et al. 2017, normalised first), and the mean of its outputs.

    Attributes:
        depth: layers, in [1, 8]; default 2.
        width: multiplier of the units, rounded to what the heads share out; in [1/16, 16], default 1.
        units: at width 1, in [1, 4096]; default 128.
        heads: of attention, in [1, 16]; default 4.
        dropout: rate on vectors and in layers, in [0, 1); default 0.2.
    """

    depth: Annotated[int, Range(1, 8, (1, 3), smaller="low", name="depth")] = 2
    width: Width = 1.0
    units: Embedding = 128
    heads: Annotated[int, Range(1, 16)] = 4
    dropout: Dropout = 0.2

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; vectors start uniform in [-0.1, 0.1]."""
        vocabulary, length = sentence_shape(input_shape)
        units = self.heads * max(1, round(self.width * self.units / self.heads))
        words = Tokens(vocabulary, units, self.dropout, length)
        layers = [EncoderLayer(units, self.heads, 2 * units, self.dropout) for _ in range(self.depth)]
        head = nn.Sequential(nn.LayerNorm(units), nn.Linear(units, outputs))
        return Reader(words, _Layers(layers), "mean", head)


class Reader(nn.Module):
    """Vectors of tokens, a body over the sentence, what is left of its positions, and the logits.

    Args:
        words: makes vectors of token numbers.
        body: what is computed of vectors (n, t, size) and of which positions are there, bool (n, t).
        kept: ``mean`` or ``largest`` of the positions that are there.
        head: makes logits of that.
    """

    def __init__(self, words: Tokens, body: nn.Module, kept: str, head: nn.Module) -> None:
        super().__init__()
        self.words, self.body, self.head = words, body, head
        self.kept = kept

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (n, classes) of token numbers, int64, shape (n, t), padded with 0."""
        there = tokens != 0
        vectors = self.words(tokens) * there.unsqueeze(2)
        read = vectors if isinstance(self.body, nn.Identity) else self.body(vectors, there)
        if self.kept == "mean":
            weights = there.to(read.dtype).unsqueeze(2)
            answer: Tensor = self.head((read * weights).sum(1) / weights.sum(1).clamp(min=1.0))
            return answer
        # What nothing was read of counts as little as an output can be; no answer is below minus one.
        found = torch.where(there.unsqueeze(2), read, torch.full_like(read, -1.0)).amax(1)
        answer = self.head(found)
        return answer


class Tokens(nn.Module):
    """Vectors of tokens; with a ``length``, those of their positions are added."""

    def __init__(self, vocabulary: int, size: int, dropout: float, length: int | None = None) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, size)
        nn.init.uniform_(self.table.weight, -0.1, 0.1)
        self.dropout, self.scale = dropout, 1.0
        self.register_parameter("places", None)
        if length is not None:
            self.places = nn.Parameter(torch.zeros(length, size).uniform_(-0.1, 0.1))
            self.scale = math.sqrt(size)

    def forward(self, tokens: Tensor) -> Tensor:
        vectors = self.table(tokens)
        if self.places is not None:
            vectors = vectors * self.scale + self.places
        return F.dropout(vectors, self.dropout, self.training)


class _Convolutions(nn.Module):
    """Convolutions over several numbers of tokens, ReLU behind each, side by side."""

    def __init__(self, size: int, maps: int, tokens: range) -> None:
        super().__init__()
        # In two dimensions, as all exports know them.
        self.sizes = nn.ModuleList(
            nn.Conv2d(size, maps, (1, each), padding=(0, each // 2)) for each in tokens
        )

    def forward(self, vectors: Tensor, there: Tensor) -> Tensor:
        maps = vectors.transpose(1, 2).unsqueeze(2)
        found = [F.relu(convolve(maps))[..., : vectors.shape[1]] for convolve in self.sizes]
        return torch.cat(found, 1).squeeze(2).transpose(1, 2)


class _BothWays(nn.Module):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, vectors: Tensor, there: Tensor) -> Tensor:
        read, _, _ = self.encoder(vectors, there.sum(1).clamp(min=1))
        return cast(Tensor, read)


class _Layers(nn.ModuleList):
    def forward(self, vectors: Tensor, there: Tensor) -> Tensor:
        seen = there.clone()
        seen[:, 0] = True  # attention to nothing at all has no answer
        for layer in self:
            vectors = layer(vectors, seen)
        return vectors
