"""A small Transformer that translates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.models.base import Architecture
from trainables.models.words import TIED, Words, valid, vocabulary_size
from trainables.part import check_choice
from trainables.ranges import Range
from trainables.translation.decoding import StateTensor
from trainables.translation.sentences import Sentences

State = tuple[Tensor, ...]

LONGEST_WAVE = 10_000.0
"""Wavelengths of the positions run from 2 pi to 2 pi times this."""


@dataclass(frozen=True)
class Transformer(Architecture):
    """Encoder and decoder with attention only (Vaswani et al. 2017).

    It differs from the paper: normalisation stands before each sublayer, and once more at the end of each
    stack, which trains without warm-up (Xiong et al. 2020). Positions are the paper's sinusoids, computed
    where they are needed: nothing to store, and no limit to a sentence's length, though one longer than
    all that it was trained on is a guess.

    Attributes:
        depth: layers of the encoder and of the decoder, in [1, 12]; default 2.
        width: multiplier of ``units``; in [1/16, 16], default 1.
        units: size of embeddings and of all that passes between layers at width 1, in [2, 4096]; default
            256. With ``width`` it is rounded to a multiple of twice ``heads``.
        heads: of each attention, in [1, 64]; default 4.
        feed_forward: units of the hidden layer of each feed-forward sublayer, as a multiple of the units,
            in [1, 8]; default 4.
        dropout: rate in [0, 1) on embeddings and on what each sublayer adds; default 0.1.
        tied: what is one table: "nothing", the target embedding and the "output" layer, or these and the
            source embedding, "all", the default and the paper's.
    """

    depth: Annotated[int, Range(1, 12, smaller="low", name="depth")] = 2
    width: float = 1.0
    units: Annotated[int, Range(2, 4096, log=True, smaller="low")] = 256
    heads: Annotated[int, Range(1, 64)] = 4
    feed_forward: Annotated[int, Range(1, 8)] = 4
    dropout: Annotated[float, Range(0.0, 1.0, excluded="high")] = 0.1
    tied: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "tied", TIED)

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; ``input_shape`` is (vocabulary,), ``outputs`` the vocabulary."""
        vocabulary = vocabulary_size(input_shape, outputs)
        units = 2 * self.heads * max(1, round(self.width * self.units / (2 * self.heads)))
        words = Words(vocabulary, units, units, self.tied)
        for table in words.parameters():
            nn.init.normal_(table, std=units**-0.5)
        shape = (units, self.heads, self.feed_forward * units, self.dropout)
        encoder = nn.ModuleList(EncoderLayer(*shape) for _ in range(self.depth))
        decoder = nn.ModuleList(DecoderLayer(*shape) for _ in range(self.depth))
        return Network(words, encoder, decoder, self.dropout)


class Network(nn.Module):
    """What :class:`Transformer` builds.

    A state is (tokens (n, s) bool, source keys and source values (n, layers, heads, s, size), keys and values
    (n, layers, heads, t, size)): which source positions are no padding, what each layer of the decoder reads
    of the source, and what it has kept of the t target tokens so far.
    """

    state_tensors: ClassVar[tuple[StateTensor, ...]] = (
        StateTensor("tokens", ((1, "source_length"),)),
        StateTensor("source_keys", ((3, "source_length"),)),
        StateTensor("source_values", ((3, "source_length"),)),
        StateTensor("keys", ((3, "target_length"),), changes=True),
        StateTensor("values", ((3, "target_length"),), changes=True),
    )

    def __init__(self, words: Words, encoder: nn.ModuleList, decoder: nn.ModuleList, dropout: float) -> None:
        super().__init__()
        self.words = words
        self.encoder = encoder
        self.encoder_norm = nn.LayerNorm(words.target.embedding_dim)
        self.decoder = decoder
        self.decoder_norm = nn.LayerNorm(words.target.embedding_dim)
        self.dropout = dropout

    def forward(self, sentences: Sentences) -> Tensor:
        """Logits of shape (n, t, vocabulary): position i sees the targets up to i."""
        source, lengths, target = sentences
        memory, tokens = self._memory(source, lengths)
        x = self._placed(self.words.embed_target(target), 0)
        for layer in self._layers():
            x = layer(x, *layer.reads(memory), tokens)
        return self.words.logits(self.decoder_norm(x))

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        """State before the first token; ``source`` is (n, s), ``lengths`` (n,), each at least 1."""
        memory, tokens = self._memory(source, lengths)
        keys, values = zip(*(layer.reads(memory) for layer in self._layers()), strict=True)
        source_keys, source_values = torch.stack(keys, 1), torch.stack(values, 1)
        nothing = source_keys[:, :, :, :0]
        return tokens, source_keys, source_values, nothing, nothing

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (n, vocabulary) of what follows ``token`` (n,), and the state after it."""
        tokens, source_keys, source_values, keys, values = state
        x = self._placed(self.words.embed_target(token).unsqueeze(1), keys.shape[3])
        new_keys, new_values = [], []
        for number, layer in enumerate(self._layers()):
            past = keys[:, number], values[:, number]
            of_source = source_keys[:, number], source_values[:, number], tokens
            x, key, value = layer.step(x, *past, *of_source)
            new_keys.append(key)
            new_values.append(value)
        keys = torch.cat([keys, torch.stack(new_keys, 1)], 3)
        values = torch.cat([values, torch.stack(new_values, 1)], 3)
        logits = self.words.logits(self.decoder_norm(x.squeeze(1)))
        return logits, (tokens, source_keys, source_values, keys, values)

    def _memory(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        tokens = valid(lengths, source.shape[1])
        x = self._placed(self.words.embed_source(source), 0)
        for layer in self.encoder:
            x = layer(x, tokens)
        return self.encoder_norm(x), tokens

    def _layers(self) -> list[DecoderLayer]:
        return [cast(DecoderLayer, layer) for layer in self.decoder]

    def _placed(self, embedded: Tensor, start: int) -> Tensor:
        """Embeddings (n, t, units), scaled to the size of positions, at positions from ``start`` on."""
        units = self.words.target.embedding_dim
        placed = embedded * math.sqrt(units) + _positions(embedded, start, units)
        return F.dropout(placed, self.dropout, self.training)


class EncoderLayer(nn.Module):
    """Attention to the source, then a feed-forward layer."""

    def __init__(self, units: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(units)
        self.attention = Attention(units, heads)
        self.feed_forward = FeedForward(units, hidden)
        self.dropout = dropout

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """(n, s, units) -> (n, s, units); no position sees padding."""
        normed = self.attention_norm(x)
        seen = self.attention(normed, *self.attention.reads(normed), _visible(tokens))
        x = x + F.dropout(seen, self.dropout, self.training)
        return x + F.dropout(self.feed_forward(x), self.dropout, self.training)


class DecoderLayer(nn.Module):
    """Attention to the target so far, attention to the source, then a feed-forward layer."""

    def __init__(self, units: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(units)
        self.attention = Attention(units, heads)
        self.source_norm = nn.LayerNorm(units)
        self.source_attention = Attention(units, heads)
        self.feed_forward = FeedForward(units, hidden)
        self.dropout = dropout

    def reads(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (n, heads, s, size) of the source."""
        return self.source_attention.reads(memory)

    def forward(self, x: Tensor, source_keys: Tensor, source_values: Tensor, tokens: Tensor) -> Tensor:
        """(n, t, units) -> (n, t, units); position i sees positions up to i."""
        normed = self.attention_norm(x)
        seen = self.attention(normed, *self.attention.reads(normed), None, causal=True)
        return self._rest(x, seen, source_keys, source_values, tokens)

    def step(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        source_keys: Tensor,
        source_values: Tensor,
        tokens: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One position (n, 1, units) after those in the cache; also its own key and value."""
        normed = self.attention_norm(x)
        key, value = self.attention.reads(normed)
        seen = self.attention(normed, torch.cat([keys, key], 2), torch.cat([values, value], 2), None)
        return self._rest(x, seen, source_keys, source_values, tokens), key, value

    def _rest(
        self, x: Tensor, seen: Tensor, source_keys: Tensor, source_values: Tensor, tokens: Tensor
    ) -> Tensor:
        x = x + F.dropout(seen, self.dropout, self.training)
        read = self.source_attention(self.source_norm(x), source_keys, source_values, _visible(tokens))
        x = x + F.dropout(read, self.dropout, self.training)
        return x + F.dropout(self.feed_forward(x), self.dropout, self.training)


class Attention(nn.Module):
    """Scaled dot-product attention of several heads."""

    def __init__(self, units: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(units, units)
        self.key = nn.Linear(units, units, bias=False)  # the softmax would cancel its bias
        self.value = nn.Linear(units, units)
        self.output = nn.Linear(units, units)
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(layer.weight)

    def reads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each (n, heads, s, size), of (n, s, units)."""
        return self._apart(self.key(x)), self._apart(self.value(x))

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None, causal: bool = False
    ) -> Tensor:
        """(n, t, units) -> (n, t, units); ``visible`` is broadcast to (n, heads, t, s)."""
        query = self._apart(self.query(x))
        seen = F.scaled_dot_product_attention(query, keys, values, attn_mask=visible, is_causal=causal)
        return self.output(seen.transpose(1, 2).flatten(2))

    def _apart(self, x: Tensor) -> Tensor:
        """(n, t, units) -> (n, heads, t, size)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Normalisation and two layers with ReLU between them."""

    def __init__(self, units: int, hidden: int) -> None:
        super().__init__(nn.LayerNorm(units), nn.Linear(units, hidden), nn.ReLU(), nn.Linear(hidden, units))


def _visible(tokens: Tensor) -> Tensor:
    return tokens[:, None, None, :]


def _positions(like: Tensor, start: int, units: int) -> Tensor:
    """Sines, then cosines, of positions from ``start`` on: shape (t, units) for ``like`` (n, t, units)."""
    position = torch.arange(start, start + like.shape[1], device=like.device, dtype=like.dtype)
    number = torch.arange(units // 2, device=like.device, dtype=like.dtype)
    angle = position.unsqueeze(1) * torch.exp(number * (-2 * math.log(LONGEST_WAVE) / units))
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)
