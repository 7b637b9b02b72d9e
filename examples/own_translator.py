"""Your own translator in Rayduce: convolutions that read, and a GRU with attention that writes.

Beside what `examples/own_model.py` lists, a network that translates

1. is made with ``input_shape=(vocabulary,)`` and ``outputs=vocabulary``, and called with ``Sentences``:
   sources, their lengths, and targets shifted right; it returns logits (n, t, vocabulary);
2. has ``encode(source, lengths) -> state`` and ``step(token, state) -> logits, state``, of which the searches
   make translations; a state is a tuple of tensors with one row per sentence;
3. names the tensors of its state in ``state_tensors``, as they are called in ONNX files.

Padding must not change what a sentence becomes; Rayduce tries that, and that both ways of asking agree,
before anything is trained. Run from the folder above ``examples``:

    rayduce sweep phrases --trials 16 --model examples.own_translator:Translator
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.translation.decoding import StateTensor
from trainables.translation.sentences import Sentences

State = tuple[Tensor, ...]


class Translator(nn.Module):
    """Convolutions read the sentence, a GRU that attends to what they made of it says the other.

    Args:
        input_shape: (vocabulary,).
        outputs: the vocabulary again.
        depth: convolutions, at least 1.
        width: multiplier of the 256 units.
    """

    state_tensors: ClassVar[tuple[StateTensor, ...]] = (
        StateTensor("memory", ((1, "source_length"),)),
        StateTensor("tokens", ((1, "source_length"),)),
        StateTensor("hidden", changes=True),
    )

    def __init__(self, input_shape: tuple[int, ...], outputs: int, depth: int, width: float) -> None:
        super().__init__()
        if len(input_shape) != 1:
            raise ValueError(f"input_shape must be a vocabulary, got {input_shape=}")
        units = max(8, round(256 * width))
        self.embedding = nn.Embedding(outputs, units)
        self.readers = nn.ModuleList(nn.Conv1d(units, units, 3, padding=1) for _ in range(depth))
        self.speaker = nn.GRUCell(units, units)
        self.combine = nn.Linear(2 * units, units)
        self.output = nn.Linear(units, outputs)

    def forward(self, sentences: Sentences) -> Tensor:
        """Logits (n, t, vocabulary)."""
        state = self.encode(sentences.source, sentences.lengths)
        rows = []
        for token in sentences.target.unbind(1):
            logits, state = self.step(token, state)
            rows.append(logits)
        return torch.stack(rows, 1)

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        """The state before the first token; zeros at padding are what lies beyond every sentence's end."""
        tokens = torch.arange(source.shape[1], device=source.device) < lengths[:, None]
        memory = self.embedding(source) * tokens[..., None]
        for reader in self.readers:
            memory = (memory + reader(memory.transpose(1, 2)).transpose(1, 2).relu()) * tokens[..., None]
        return memory, tokens, memory.sum(1) / lengths[:, None]

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (n, vocabulary) of what follows ``token`` (n,), and the state after it."""
        memory, tokens, hidden = state
        hidden = self.speaker(self.embedding(token), hidden)
        scores = (memory * hidden[:, None]).sum(2).masked_fill(~tokens, float("-inf"))
        context = (scores.softmax(1)[..., None] * memory).sum(1)
        features = self.combine(torch.cat([context, hidden], 1)).tanh()
        return self.output(features), (memory, tokens, hidden)
