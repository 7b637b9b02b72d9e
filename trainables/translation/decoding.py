"""From a sequence network to translations: greedy and beam search with cached states.

What a sentence becomes does not depend on the batch it is in: padding is never attended, the bound on its
length comes from its own source, and a sentence that is finished leaves the batch. What remains is the order
in which a matrix product of another size adds, which shows in the last digits of a score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from trainables.translation.sentences import BEGIN, END, PAD, UNKNOWN

State = tuple[Tensor, ...]
"""What a network keeps between two steps: tensors of any shapes, one row per sentence or hypothesis."""

NEVER = (PAD, UNKNOWN, BEGIN)
"""Tokens that no translation holds; they keep their share of the probability."""


class Translator(Protocol):
    """What decoding asks of a network."""

    training: bool

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        """The state before the first token, from ``source`` (n, s) and ``lengths`` (n,) of ``Sentences``."""
        ...

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (n, vocabulary) of what follows ``token`` (n,), and the state after it."""
        ...


class StateTensor(NamedTuple):
    """What a network says of one tensor of its state, in order, where it is to leave for another runtime.

    ``name`` is how the tensor is called there; ``free`` names the axes beside the first whose size is not the
    network's to say, such as ``((1, "source_length"),)``; ``changes`` says whether a step returns another
    tensor in its place, or the one it was given.
    """

    name: str
    free: tuple[tuple[int, str], ...] = ()
    changes: bool = False


class Translation(NamedTuple):
    """What a sentence became.

    ``tokens`` are those between ``BEGIN`` and ``END``, neither included; ``score`` is their natural
    log-probability, that of ``END`` included, over the length penalty of the search.
    """

    tokens: tuple[int, ...]
    score: float


Search = Callable[[Translator, Tensor, Tensor], list[Translation]]


def select(state: State, rows: Tensor) -> State:
    """The state whose row i is row ``rows[i]`` (int64) of ``state``; rows may repeat or be left out."""
    return tuple(tensor.index_select(0, rows) for tensor in state)


def length_limits(lengths: Tensor, ratio: float = 2.0, extra: int = 10) -> Tensor:
    """The longest translation of each source in tokens, ``END`` included: ``ratio * length + extra``."""
    return (lengths * ratio).long() + extra


def length_penalty(length: int | Tensor, alpha: float) -> Tensor:
    """Float64 ``((5 + length) / 6) ** alpha``, divides log-probabilities (Wu et al. 2016, section 7)."""
    return ((5.0 + torch.as_tensor(length, dtype=torch.float64)) / 6.0) ** alpha


@torch.no_grad()
def greedy(
    network: Translator, source: Tensor, lengths: Tensor, *, limits: Tensor | None = None
) -> list[Translation]:
    """The most probable token at each step, until it is ``END``.

    Args:
        network: in eval mode.
        source: int64, shape (n, s), rows ended by ``END`` and filled up with ``PAD``.
        lengths: int64, shape (n,), tokens per row with ``END``.
        limits: int64, shape (n,), at least 1: at this many tokens ``END`` is taken, probable or not. None is
            :func:`length_limits`.

    Returns:
        One translation per row; scores have no length penalty.

    Raises:
        ValueError: the network is in training mode, or a limit is below 1.
    """
    limits = _limits(network, lengths, limits)
    count = len(lengths)
    if not count:
        return []
    state = network.encode(source, lengths)
    token = torch.full((count,), BEGIN, device=source.device)
    rows = torch.arange(count, device=source.device)
    scores = torch.zeros(count, dtype=torch.float64, device=source.device)
    found = torch.full((count, int(limits.max())), END, device=source.device)
    for length in range(1, found.shape[1] + 1):
        logits, state = network.step(token, state)
        gain, best = _continuations(logits, limits[rows] == length, 1)
        token = best.squeeze(1)
        found[rows, length - 1] = token
        scores[rows] += gain.squeeze(1)
        going = (token != END).nonzero().squeeze(1)
        if len(going) == 0:
            break
        if len(going) < len(rows):
            rows, token, state = rows[going], token[going], select(state, going)
    return _translations(found, scores)


@torch.no_grad()
def beam_search(
    network: Translator,
    source: Tensor,
    lengths: Tensor,
    *,
    beam: int = 5,
    alpha: float = 0.6,
    limits: Tensor | None = None,
) -> list[Translation]:
    """The best of what a search ``beam`` hypotheses wide finishes.

    At each step the ``2 * beam`` best continuations of a sentence's hypotheses are ranked by
    log-probability. ``END`` among the first ``beam`` finishes a hypothesis; the first ``beam`` others go on.
    A sentence is done when it has finished ``beam`` hypotheses, or none that goes on can still overtake the
    best finished one: the log-probability only falls, and is divided at most by the penalty of the limit.
    A beam of 1 is greedy search.

    Args:
        network: in eval mode.
        source: as for :func:`greedy`.
        lengths: as for :func:`greedy`.
        beam: hypotheses kept, at least 1.
        alpha: exponent of :func:`length_penalty`, at least 0; 0 prefers short translations.
        limits: as for :func:`greedy`.

    Returns:
        One translation per row, the best by its score.

    Raises:
        ValueError: ``beam`` or ``alpha`` out of range, or as for :func:`greedy`.
    """
    if beam < 1:
        raise ValueError(f"beam must be at least 1, got {beam=}")
    if not 0.0 <= alpha < float("inf"):
        raise ValueError(f"alpha must be finite and at least 0, got {alpha=}")
    limits = _limits(network, lengths, limits)
    count = len(lengths)
    if not count:
        return []
    device = source.device
    finished = _Finished(count, int(limits.max()), device)
    reachable = length_penalty(limits, alpha)
    rows = torch.arange(count, device=device)
    state = network.encode(source, lengths)
    # Of each sentence still in the batch: the hypotheses that go on, and their log-probabilities.
    tokens = torch.full((count, 1, 1), BEGIN, device=device)
    scores = torch.zeros(count, 1, dtype=torch.float64, device=device)
    for length in range(1, finished.tokens.shape[1] + 1):
        width = scores.shape[1]
        logits, state = network.step(tokens[:, :, -1].flatten(), state)
        last = limits[rows] == length
        gains, following = _continuations(logits, last.repeat_interleave(width), 2 * beam)
        size = gains.shape[1]
        candidates = (scores.view(-1, 1) + gains).view(len(rows), width * size)
        ranked, place = candidates.topk(min(2 * beam, width * size), 1)
        parent = place.div(size, rounding_mode="floor")
        token = following.view(len(rows), width * size).gather(1, place)
        ends = token == END
        penalty = float(length_penalty(length, alpha))
        finished.add(rows, tokens[:, :, 1:], parent, ranked / penalty, ends, beam)
        # A hypothesis ends in one way only, so all but ``width`` of the ranked at least go on.
        others = ends.int().argsort(dim=1, stable=True)[:, : min(beam, ranked.shape[1] - width)]
        scores, parent, token = (part.gather(1, others) for part in (ranked, parent, token))
        # At most 0, so over the largest penalty they are the most that they can come to.
        hopeful = scores.max(1).values / reachable[rows] > finished.scores[rows]
        going = (hopeful & ~last & (finished.counts[rows] < beam)).nonzero().squeeze(1)
        if len(going) == 0:
            break
        rows, scores, parent, token = rows[going], scores[going], parent[going], token[going]
        state = select(state, (going.unsqueeze(1) * width + parent).flatten())
        history = tokens[going].gather(1, parent.unsqueeze(2).expand(-1, -1, length))
        tokens = torch.cat([history, token.unsqueeze(2)], 2)
    return _translations(finished.tokens, finished.scores)


def translate(
    network: Translator,
    sources: Sequence[Sequence[int]],
    device: torch.device,
    search: Search = greedy,
    batch_tokens: int = 2048,
) -> list[Translation]:
    """Translations of ``sources`` in their order; sentences of like length are searched together.

    Args:
        network: in eval mode, on ``device``.
        sources: token numbers; each begins where the sentence begins and is ended by ``END``.
        device: where to search.
        search: such as :func:`greedy`, or ``functools.partial(beam_search, beam=5)``.
        batch_tokens: a batch holds at most this many source tokens, padding included, or one sentence.

    Raises:
        ValueError: a source is empty or does not end with ``END``.
    """
    for number, source in enumerate(sources):
        if not source or source[-1] != END:
            raise ValueError(f"source {number} must end with END, token {END}, got {list(source)[-5:]}")
    found: dict[int, Translation] = {}
    for batch in _batches([len(source) for source in sources], batch_tokens):
        lengths = torch.tensor([len(sources[i]) for i in batch])
        padded = torch.full((len(batch), int(lengths.max())), PAD)
        for row, i in enumerate(batch):
            padded[row, : len(sources[i])] = torch.tensor(sources[i])
        found |= zip(batch, search(network, padded.to(device), lengths.to(device)), strict=True)
    return [found[i] for i in range(len(sources))]


class _Finished:
    """The best finished hypothesis of each sentence, and how many it has finished."""

    def __init__(self, count: int, longest: int, device: torch.device) -> None:
        self.tokens = torch.full((count, longest), END, device=device)
        self.scores = torch.full((count,), float("-inf"), dtype=torch.float64, device=device)
        self.counts = torch.zeros(count, dtype=torch.long, device=device)

    def add(
        self, rows: Tensor, tokens: Tensor, parent: Tensor, ranked: Tensor, ends: Tensor, beam: int
    ) -> None:
        """Take the hypotheses that end among the first ``beam`` continuations of the sentences ``rows``.

        ``tokens`` (m, width, t) are the hypotheses so far; continuation j of row i has the score
        ``ranked[i, j]`` and extends hypothesis ``parent[i, j]``, with ``END`` where ``ends[i, j]``.
        """
        ending = ends[:, :beam] & ranked[:, :beam].isfinite()
        self.counts[rows] += ending.sum(1)
        best, place = ranked[:, :beam].masked_fill(~ending, float("-inf")).max(1)
        better = (best > self.scores[rows]).nonzero().squeeze(1)
        self.scores[rows[better]] = best[better]
        chosen = tokens[better, parent[better, place[better]]]
        self.tokens[rows[better], : chosen.shape[1]] = chosen  # longer than the one before


def _limits(network: Translator, lengths: Tensor, limits: Tensor | None) -> Tensor:
    if network.training:
        raise ValueError("the network must be in eval mode to translate")
    limits = length_limits(lengths) if limits is None else limits
    if bool((limits < 1).any()):
        raise ValueError(f"limits must be at least 1, got {int(limits.min())}")
    return limits


def _continuations(logits: Tensor, last: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Per row the ``count`` most probable tokens, best first, and their log-probabilities (float64).

    There are fewer where the vocabulary is smaller. Tokens of :data:`NEVER` have minus infinity, and so has
    all but ``END`` in the rows where ``last`` holds.
    """
    total = logits.logsumexp(1, keepdim=True)
    allowed = logits.index_fill(1, torch.tensor(NEVER, device=logits.device), float("-inf"))
    values, tokens = allowed.topk(min(count, logits.shape[1]), 1)
    values[last], tokens[last] = float("-inf"), END
    values[last, 0] = logits[last, END]
    return (values - total).double(), tokens


def _translations(tokens: Tensor, scores: Tensor) -> list[Translation]:
    """Rows of ``tokens`` up to their first ``END``."""
    rows = (tuple(row[: row.index(END)] if END in row else row) for row in tokens.tolist())
    return [Translation(row, score) for row, score in zip(rows, scores.tolist(), strict=True)]


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Numbers of sentences, shortest first, cut where a batch would exceed ``batch_tokens`` with padding."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[number] > batch_tokens:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
