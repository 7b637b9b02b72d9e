"""What sequence networks share: the shape they take, embeddings, the output layer, masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.translation.sentences import END

TIED = ("nothing", "output", "all")


def vocabulary_size(input_shape: tuple[int, ...], outputs: int) -> int:
    """The number of tokens of a translation task, whose ``input_shape`` is (vocabulary,).

    Raises:
        ValueError: it is the shape of other inputs, or ``outputs`` is another number.
    """
    if len(input_shape) != 1 or input_shape[0] <= END + 1:
        raise ValueError(
            "this network translates: input_shape must be (vocabulary,), a joint vocabulary of more than "
            f"{END + 1} tokens, got {input_shape=}"
        )
    if outputs != input_shape[0]:
        raise ValueError(
            f"a network that translates has one output per token of its vocabulary of {input_shape[0]}, "
            f"got {outputs=}"
        )
    return outputs


class Words(nn.Module):
    """Embeddings of source and target tokens, and the output layer, of one joint vocabulary.

    What is tied is one parameter under one name, used in several places: it is masked, quantized and
    stored once because there is only one. The output layer has no bias.
    """

    def __init__(self, vocabulary: int, size: int, features: int, tied: str) -> None:
        """Make the tables.

        Args:
            vocabulary: tokens.
            size: of an embedding.
            features: of the vectors that logits are made of; ``size`` unless ``tied`` is "nothing".
            tied: one of :data:`TIED`.
        """
        super().__init__()
        self.target = nn.Embedding(vocabulary, size)
        self.source = None if tied == "all" else nn.Embedding(vocabulary, size)
        self.output = nn.Linear(features, vocabulary, bias=False) if tied == "nothing" else None

    def embed_source(self, tokens: Tensor) -> Tensor:
        """int64 (...) -> (..., size)."""
        return (self.target if self.source is None else self.source)(tokens)

    def embed_target(self, tokens: Tensor) -> Tensor:
        """int64 (...) -> (..., size)."""
        return self.target(tokens)

    def logits(self, features: Tensor) -> Tensor:
        """(..., features) -> (..., vocabulary)."""
        return F.linear(features, self.target.weight) if self.output is None else self.output(features)


def valid(lengths: Tensor, longest: int) -> Tensor:
    """Which of ``longest`` positions are tokens and no padding: bool, shape (n, longest)."""
    return torch.arange(longest, device=lengths.device) < lengths.unsqueeze(1)
