"""The recurrent family of the quantized distillation paper's translation experiments."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from trainables.models.base import Architecture
from trainables.models.onnx_lstm import Weights, padded_lstm
from trainables.models.words import TIED, Words, valid, vocabulary_size
from trainables.part import check_choice
from trainables.ranges import Range
from trainables.translation.decoding import StateTensor
from trainables.translation.sentences import Sentences

State = tuple[Tensor, ...]
Dropped = Callable[[Tensor], Tensor]
Scored = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LSTM(Architecture):
    """LSTM encoder and decoder with global attention and input feeding (Luong et al. 2015).

    The decoder starts from the encoder's last states. Each step's top state ``h`` scores every source
    position by ``h W m`` ("general"), and ``tanh(W' [context; h])`` is what the output layer sees and what
    the next step is fed beside its token. Polino et al. (2018) compress this family at one and two layers
    and 128 to 512 units.

    It differs from their networks: one vocabulary serves both languages, each LSTM has one bias in place of
    two that only their sum matters of, the output layer has none, and forget gates start at a bias of 1
    (Jozefowicz et al. 2015).

    Attributes:
        depth: layers of the encoder and of the decoder, in [1, 8]; default 2.
        width: multiplier of units and embedding, rounded; in [1/16, 16], default 1.
        units: of each LSTM at width 1, in [1, 4096]; default 256.
        embedding: size of embeddings at width 1, in [1, 4096]; default 256.
        bidirectional: whether the encoder reads both ways, with half the units each (their number is
            rounded up to an even one); default True.
        dropout: rate in [0, 1) on embeddings, between layers and before the output layer; default 0.2.
        tied: what is one table: "nothing", the target embedding and the "output" layer, or these and the
            source embedding, "all", the default. The vector before a tied output layer has an embedding's
            size, before an untied one as many elements as there are units.
    """

    depth: Annotated[int, Range(1, 8, smaller="low", name="depth")] = 2
    width: float = 1.0
    units: Annotated[int, Range(1, 4096, log=True, smaller="low")] = 256
    embedding: Annotated[int, Range(1, 4096, log=True, smaller="low")] = 256
    bidirectional: bool = True
    dropout: Annotated[float, Range(0.0, 1.0, excluded="high")] = 0.2
    tied: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "tied", TIED)

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; ``input_shape`` is (vocabulary,), ``outputs`` the vocabulary."""
        vocabulary = vocabulary_size(input_shape, outputs)
        embedding = max(1, round(self.width * self.embedding))
        units = max(1, round(self.width * self.units))
        directions = 2 if self.bidirectional else 1
        units += units % directions
        features = units if self.tied == "nothing" else embedding
        words = Words(vocabulary, embedding, features, self.tied)
        for table in words.parameters():
            nn.init.uniform_(table, -0.1, 0.1)
        encoder = Encoder(embedding, units, self.depth, directions, self.dropout)
        return Network(words, encoder, Decoder(embedding, units, features, self.depth), self.dropout)


class Network(nn.Module):
    """What :class:`LSTM` builds.

    A state is (keys (n, s, units), memory (n, s, units), tokens (n, s) bool, hidden (n, layers, units), cell
    (n, layers, units), feed (n, features)): the source as attention reads it, which of its positions are no
    padding, then the decoder's recurrent states and the vector it is fed.
    """

    state_tensors: ClassVar[tuple[StateTensor, ...]] = (
        StateTensor("keys", ((1, "source_length"),)),
        StateTensor("memory", ((1, "source_length"),)),
        StateTensor("tokens", ((1, "source_length"),)),
        StateTensor("hidden", changes=True),
        StateTensor("cell", changes=True),
        StateTensor("feed", changes=True),
    )

    def __init__(self, words: Words, encoder: Encoder, decoder: Decoder, dropout: float) -> None:
        super().__init__()
        self.words = words
        self.encoder = encoder
        self.decoder = decoder
        self.dropout = dropout

    def forward(self, sentences: Sentences) -> Tensor:
        """Logits of shape (n, t, vocabulary): position i sees the targets up to i."""
        source, lengths, target = sentences
        state = self.encode(source, lengths)
        inputs = self._dropped(self.words.embed_target(target))
        return self.words.logits(self._dropped(self.decoder(inputs, state, self._dropped)))

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        """State before the first token; ``source`` is (n, s), ``lengths`` (n,), each at least 1."""
        memory, hidden, cell = self.encoder(self._dropped(self.words.embed_source(source)), lengths)
        return self.decoder.start(memory, valid(lengths, memory.shape[1]), hidden, cell)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (n, vocabulary) of what follows ``token`` (n,), and the state after it."""
        feed, state = self.decoder.step(self.words.embed_target(token), state)
        return self.words.logits(feed), state

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class Encoder(nn.Module):
    """A packed multi-layer LSTM, with PyTorch's names but one bias per layer and direction.

    It is no ``nn.LSTM`` because that keeps a list of its weights of its own: with computed weights, such as
    quantized ones, the list holds part of a step's graph, and the network can no longer be copied.
    """

    def __init__(self, size: int, units: int, layers: int, directions: int, dropout: float) -> None:
        super().__init__()
        self.units, self.layers, self.directions, self.dropout = (
            units // directions,
            layers,
            directions,
            dropout,
        )
        self.suffixes = [f"l{k}{way}" for k in range(layers) for way in ("", "_reverse")[:directions]]
        for number, suffix in enumerate(self.suffixes):
            inputs = size if number < directions else units
            for name, shape in (("weight_ih", inputs), ("weight_hh", self.units)):
                weight = nn.Parameter(torch.empty(4 * self.units, shape))
                setattr(self, f"{name}_{suffix}", _uniform(weight, self.units))
            setattr(self, f"bias_{suffix}", _bias(self.units))

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs (n, s, units), and last hidden and cell states (n, layers, units)."""
        if torch.onnx.is_in_onnx_export():
            return self._as_onnx(inputs, lengths)
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        start = inputs.new_zeros(self.layers * self.directions, inputs.shape[0], self.units)
        weights: list[Tensor] = []
        for of_inputs, of_hidden, bias in self._weights():
            weights += [of_inputs, of_hidden, bias, torch.zeros_like(bias)]
        with warnings.catch_warnings():
            # Weights that are computed anew each step cannot lie in one piece of memory beforehand.
            warnings.filterwarnings("ignore", message="RNN module weights are not part of single")
            output, hidden, cell = torch.lstm(
                packed.data,
                packed.batch_sizes,
                (start, start),
                weights,
                True,
                self.layers,
                self.dropout if self.training else 0.0,
                self.training or torch.is_grad_enabled(),  # cuDNN has gradients in its training mode alone
                self.directions == 2,
            )
        back = packed.unsorted_indices
        assert back is not None  # because enforce_sorted=False
        memory, _ = pad_packed_sequence(
            packed._replace(data=output), batch_first=True, total_length=inputs.shape[1]
        )
        return (
            memory,
            self._joined(hidden.index_select(1, back)),
            self._joined(cell.index_select(1, back)),
        )

    def _as_onnx(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same layer by layer, as ONNX has it."""
        weights = self._weights()
        hidden, cell = [], []
        for layer in range(self.layers):
            of_layer = weights[layer * self.directions : (layer + 1) * self.directions]
            inputs, last_hidden, last_cell = padded_lstm(inputs, lengths, of_layer)
            hidden.append(last_hidden)
            cell.append(last_cell)
        return inputs, torch.stack(hidden, 1), torch.stack(cell, 1)

    def _weights(self) -> list[Weights]:
        """Layer by layer, forward before backward."""
        names = ("weight_ih", "weight_hh", "bias")
        found = ([getattr(self, f"{name}_{suffix}") for name in names] for suffix in self.suffixes)
        return [(of_inputs, of_hidden, bias) for of_inputs, of_hidden, bias in found]

    def _joined(self, states: Tensor) -> Tensor:
        """(layers * directions, n, units of one) -> (n, layers, units of both)."""
        count = states.shape[1]
        apart = states.view(self.layers, self.directions, count, self.units)
        return apart.permute(2, 0, 1, 3).reshape(count, self.layers, self.directions * self.units)


class Decoder(nn.Module):
    """LSTM cells, attention, and the vector that is fed to the next step."""

    def __init__(self, size: int, units: int, features: int, layers: int) -> None:
        super().__init__()
        self.size = size
        self.features = features
        self.cells = nn.ModuleList(
            Cell((units if layer else size + features) + units, units) for layer in range(layers)
        )
        self.attention = nn.Linear(units, units, bias=False)
        self.combine = nn.Linear(2 * units, features, bias=False)

    def start(self, memory: Tensor, tokens: Tensor, hidden: Tensor, cell: Tensor) -> State:
        """The state (see :class:`Network`) before the first token."""
        feed = memory.new_zeros(memory.shape[0], self.features)
        return self.attention(memory), memory, tokens, hidden, cell, feed

    def forward(self, inputs: Tensor, state: State, dropped: Dropped) -> Tensor:
        """Features (n, t, features) from embeddings (n, t, size); ``dropped`` acts between layers."""
        recurrence = self._recurrence(state, _summed, dropped)
        feed, features = state[-1], []
        for gates in recurrence.known_gates(inputs).unbind(1):  # the same at every step, so once for all
            feed = recurrence.advance(gates, feed)
            features.append(feed)
        return torch.stack(features, dim=1)

    def step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Features (n, features) and the next state from one embedding (n, size) each."""
        keys, memory, tokens, _, _, feed = state
        recurrence = self._recurrence(state, _multiplied, _undropped)
        feed = recurrence.advance(recurrence.known_gates(inputs), feed)
        hidden, cell = torch.stack(recurrence.hidden, 1), torch.stack(recurrence.cell, 1)
        return feed, (keys, memory, tokens, hidden, cell, feed)

    def _recurrence(self, state: State, scored: Scored, dropped: Dropped) -> _Recurrence:
        keys, memory, tokens, hidden, cell, _ = state
        return _Recurrence(
            self._weights(),
            self.combine,
            (keys, memory, _mask(tokens, memory)),
            list(hidden.unbind(1)),
            list(cell.unbind(1)),
            scored,
            dropped,
        )

    def _weights(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Per cell the weight of what is known before the loop, that of the rest, and the bias.

        Read once per call, because a compressed weight is computed each time it is read.
        """
        splits = [self.size] + [0] * (len(self.cells) - 1)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for split, cell in zip(splits, self.cells, strict=True):
            weight, bias = cast(Cell, cell).weight, cast(Cell, cell).bias
            found.append((weight[:, :split], weight[:, split:].t(), bias))
        return found


@dataclass
class _Recurrence:
    """The decoder on its way along a batch of sentences.

    Attributes:
        weights: per layer, of what is known before the loop, of the rest, and the bias.
        combine: what makes the vector to feed of context and state.
        source: keys, memory, and a mask that is minus infinity at padding.
        hidden: states by layer, replaced at each step.
        cell: likewise.
        scored: what attention makes of keys and a state.
        dropped: acts between layers.
    """

    weights: list[tuple[Tensor, Tensor, Tensor]]
    combine: nn.Module
    source: tuple[Tensor, Tensor, Tensor]
    hidden: list[Tensor]
    cell: list[Tensor]
    scored: Scored
    dropped: Dropped

    def known_gates(self, inputs: Tensor) -> Tensor:
        """What embeddings (..., size) alone add to the first layer's gates."""
        known, _, bias = self.weights[0]
        return F.linear(inputs, known, bias)

    def advance(self, gates: Tensor, feed: Tensor) -> Tensor:
        """One step from the first layer's :meth:`known_gates`; returns the next vector to feed."""
        below = feed
        for layer, (_, rest, bias) in enumerate(self.weights):
            known = gates if layer == 0 else bias
            together = torch.addmm(known, torch.cat([below, self.hidden[layer]], 1), rest)
            self.hidden[layer], self.cell[layer] = _lstm(together, self.cell[layer])
            last = layer + 1 == len(self.weights)
            below = self.hidden[layer] if last else self.dropped(self.hidden[layer])
        keys, memory, mask = self.source
        scores = self.scored(keys, below) + mask
        context = torch.bmm(F.softmax(scores, 1).unsqueeze(1), memory).squeeze(1)
        combined: Tensor = torch.tanh(self.combine(torch.cat([context, below], 1)))
        return combined


class Cell(nn.Module):
    """Parameters of one LSTM cell: the gates i, f, g, o of its inputs and its hidden state, side by side."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.weight = _uniform(nn.Parameter(torch.empty(4 * units, inputs)), units)
        self.bias = _bias(units)


def _lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden and cell state (n, units) from the gates (n, 4 units)."""
    take, keep, new, give = gates.chunk(4, 1)
    cell = torch.sigmoid(keep) * cell + torch.sigmoid(take) * torch.tanh(new)
    return torch.sigmoid(give) * torch.tanh(cell), cell


def _uniform(weight: nn.Parameter, units: int) -> nn.Parameter:
    nn.init.uniform_(weight, -(units**-0.5), units**-0.5)
    return weight


def _bias(units: int) -> nn.Parameter:
    bias = torch.zeros(4 * units)
    bias[units : 2 * units] = 1.0
    return nn.Parameter(bias)


def _mask(tokens: Tensor, like: Tensor) -> Tensor:
    """0 at tokens and minus infinity at padding."""
    return like.new_zeros(tokens.shape).masked_fill(~tokens, float("-inf"))


def _summed(keys: Tensor, query: Tensor) -> Tensor:
    """Products (n, s) of keys (n, s, units) and a query (n, units), for training.

    The backward pass of a bmm takes twice as long on a CPU.
    """
    return (keys * query.unsqueeze(1)).sum(2)


def _multiplied(keys: Tensor, query: Tensor) -> Tensor:
    """The same as a product of matrices, which is counted as one, and is as fast where nothing goes back.

    With the query as a row: as a column it takes several times as long.
    """
    return torch.bmm(query.unsqueeze(1), keys.transpose(1, 2)).squeeze(1)


def _undropped(x: Tensor) -> Tensor:
    return x
