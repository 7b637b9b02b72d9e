"""Greedy and beam search."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from trainables.models.base import Model
from trainables.models.lstm import LSTM
from trainables.models.transformer import Transformer
from trainables.translation.decoding import (
    NEVER,
    Search,
    State,
    Translation,
    Translator,
    beam_search,
    greedy,
    length_limits,
    length_penalty,
    select,
    translate,
)
from trainables.translation.sentences import BEGIN, END, PAD, UNKNOWN, Sentences

CPU = torch.device("cpu")
MODELS: list[Model] = [LSTM(units=12, embedding=10), Transformer(units=16, heads=2)]
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)


def network_of(model: Model, vocabulary: int, seed: int = 0) -> nn.Module:
    """An untrained network whose logits are spread out, in float64."""
    torch.manual_seed(seed)
    network = model.build((vocabulary,), vocabulary).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.7 * torch.randn_like(parameter))
    return network


def sources(lengths: list[int], vocabulary: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    source = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        source[row, :length] = torch.randint(END + 1, vocabulary, (length,), generator=generator)
        source[row, length - 1] = END
    return source, torch.tensor(lengths)


def log_probability(network: nn.Module, source: Tensor, tokens: tuple[int, ...]) -> float:
    """Of ``tokens`` and ``END`` after them, by teacher forcing and not by steps."""
    target = torch.tensor([[BEGIN, *tokens]])
    with torch.no_grad():
        logits = network(Sentences(source[None], torch.tensor([len(source)]), target))[0]
    chosen = torch.tensor([*tokens, END])
    return float(logits.log_softmax(1).gather(1, chosen[:, None]).sum())


def best_of_all(network: nn.Module, source: Tensor, words: range, limit: int, alpha: float) -> Translation:
    """Every translation of fewer than ``limit`` words, scored one by one."""
    every = itertools.chain.from_iterable(itertools.product(words, repeat=n) for n in range(limit))
    scored = [
        Translation(t, log_probability(network, source, t) / ((5 + len(t) + 1) / 6) ** alpha) for t in every
    ]
    return max(scored, key=lambda translation: translation.score)


@each_model
@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_a_beam_as_wide_as_all_hypotheses_finds_the_best_of_all(model: Model, alpha: float) -> None:
    network = network_of(model, 7, seed=3)
    source, lengths = sources([4, 1, 3, 2], 7)
    limits = torch.tensor([4, 3, 1, 2])
    found = beam_search(cast(Translator, network), source, lengths, beam=128, alpha=alpha, limits=limits)
    for row, translation in enumerate(found):
        alone = source[row, : lengths[row]]
        expected = best_of_all(network, alone, range(END + 1, 7), int(limits[row]), alpha)
        assert translation.tokens == expected.tokens
        assert translation.score == pytest.approx(expected.score, abs=1e-10)


@each_model
@pytest.mark.parametrize("search", [greedy, functools.partial(beam_search, beam=4)], ids=["greedy", "beam"])
def test_a_sentence_becomes_the_same_in_any_batch(model: Model, search: Search) -> None:
    network = cast(Translator, network_of(model, 60))
    source, lengths = sources([5, 1, 9, 3, 3, 12, 2, 7], 60)
    together = search(network, source, lengths)
    assert len({len(t.tokens) for t in together}) > 3  # they do leave the batch at different steps
    order = torch.tensor([6, 2, 2, 0, 5])
    wider = torch.cat([source, torch.full((8, 4), PAD)], 1)
    for row, translation in zip(order.tolist(), search(network, wider[order], lengths[order]), strict=True):
        assert translation.tokens == together[row].tokens
        assert translation.score == pytest.approx(together[row].score, abs=1e-9)
    for row in range(8):
        (alone,) = search(network, source[row : row + 1, : lengths[row]], lengths[row : row + 1])
        assert alone.tokens == together[row].tokens
        assert alone.score == pytest.approx(together[row].score, abs=1e-9)


@each_model
def test_scores_are_log_probabilities_of_what_is_returned(model: Model) -> None:
    network = network_of(model, 30)
    source, lengths = sources([4, 6, 1], 30)
    translator = cast(Translator, network)
    for alpha, found in (
        (0.0, greedy(translator, source, lengths)),
        (0.9, beam_search(translator, source, lengths, beam=3, alpha=0.9)),
    ):
        for row, (tokens, score) in enumerate(found):
            total = log_probability(network, source[row, : lengths[row]], tokens)
            penalty = ((5 + len(tokens) + 1) / 6) ** alpha
            assert score == pytest.approx(total / penalty, abs=1e-9)


@each_model
def test_a_beam_of_one_is_greedy(model: Model) -> None:
    network = cast(Translator, network_of(model, 40, seed=5))
    source, lengths = sources([3, 8, 1, 5, 2, 6], 40)
    expected = greedy(network, source, lengths)
    found = beam_search(network, source, lengths, beam=1, alpha=0.0)
    assert [t.tokens for t in found] == [t.tokens for t in expected]
    assert [t.score for t in found] == pytest.approx([t.score for t in expected])


class Table(nn.Module):
    """Logits by source, last token and position, from a table; a state is (source, position)."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table
        self.rows: list[int] = []
        self.eval()

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        return source[:, 0], torch.zeros_like(lengths)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        source, position = state
        self.rows.append(len(token))
        logits = self.table[source % len(self.table), position % self.table.shape[1], token]
        return logits.clone(), (source, position + 1)


def plain_beam_search(
    table: Tensor, source: int, limit: int, beam: int, alpha: float
) -> tuple[tuple[int, ...], float]:
    """One sentence, lists instead of tensors, and no early finish but at ``beam`` finished hypotheses."""
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, (BEGIN,))]
    finished: list[tuple[float, tuple[int, ...]]] = []
    for length in range(1, limit + 1):
        candidates = []
        for score, tokens in live:
            gains = (
                table[source % len(table), (length - 1) % table.shape[1], tokens[-1]].log_softmax(0).tolist()
            )
            for token, gain in enumerate(gains):
                if token not in NEVER and (length < limit or token == END):
                    candidates.append((score + gain, (*tokens, token)))
        candidates.sort(reverse=True)
        penalty = ((5 + length) / 6) ** alpha
        finished += [(score / penalty, tokens) for score, tokens in candidates[:beam] if tokens[-1] == END]
        live = [c for c in candidates[: 2 * beam] if c[1][-1] != END][:beam]
        if len(finished) >= beam:
            break
    score, tokens = max(finished)
    return tokens[1:-1], score


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    vocabulary=st.integers(5, 9),
    beam=st.integers(1, 7),
    alpha=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    ending=st.floats(-3.0, 3.0),
    limits=st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_it_finds_what_a_search_of_one_sentence_without_early_finish_finds(
    seed: int, vocabulary: int, beam: int, alpha: float, ending: float, limits: list[int]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    table = 2 * torch.randn(4, 5, vocabulary, vocabulary, dtype=torch.float64, generator=generator)
    table[..., END] += ending
    source = torch.arange(4, 4 + len(limits)).unsqueeze(1)
    found = beam_search(
        Table(table),
        source,
        torch.ones(len(limits), dtype=torch.long),
        beam=beam,
        alpha=alpha,
        limits=torch.tensor(limits),
    )
    for row, (translation, limit) in enumerate(zip(found, limits, strict=True)):
        tokens, score = plain_beam_search(table, 4 + row, limit, beam, alpha)
        assert translation.tokens == tokens
        assert translation.score == pytest.approx(score, abs=1e-10)


def test_hypotheses_that_cannot_be_do_not_count_as_finished() -> None:
    """With one word to say there is one hypothesis, however wide the beam; the last of four is the best."""
    table = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    table[..., END], table[..., 4] = math.log(0.1), math.log(0.9)
    source, lengths = torch.zeros(1, 1, dtype=torch.long), torch.tensor([1])
    (found,) = beam_search(Table(table), source, lengths, beam=4, alpha=3.0, limits=torch.tensor([9]))
    expected = plain_beam_search(table, 0, 9, beam=4, alpha=3.0)
    assert found.tokens == expected[0] == (4, 4, 4)
    assert found.score == pytest.approx(expected[1])


def table_that_ends_after(lengths: list[int], vocabulary: int = 8) -> Tensor:
    """Source i goes on with word 5 and ends, almost surely, as token number ``lengths[i]``."""
    table = torch.zeros(len(lengths), max(lengths), vocabulary, vocabulary)
    for source, length in enumerate(lengths):
        table[source, : length - 1, :, 5] = 20.0
        table[source, length - 1 :, :, END] = 20.0
    return table


def test_finished_sentences_leave_the_batch_and_steps_end_with_the_last() -> None:
    table = table_that_ends_after([1, 4, 2, 2])
    source, lengths = torch.arange(4).unsqueeze(1), torch.ones(4, dtype=torch.long)
    limits = torch.full((4,), 50)
    network = Table(table)
    found = greedy(network, source, lengths, limits=limits)
    assert [t.tokens for t in found] == [(), (5, 5, 5), (5,), (5,)]
    assert network.rows == [4, 3, 1, 1]
    network = Table(table)
    wide = beam_search(network, source, lengths, beam=3, alpha=0.6, limits=limits)
    assert [t.tokens for t in wide] == [t.tokens for t in found]
    assert network.rows == [4, 9, 3, 3]


def test_at_the_limit_the_end_is_taken_however_improbable() -> None:
    table = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    table[..., 5], table[..., END] = 9.0, -9.0
    source, lengths = torch.zeros(2, 3, dtype=torch.long), torch.tensor([3, 1])
    gains = table[0, 0, 0].log_softmax(0)
    for search in (greedy, functools.partial(beam_search, alpha=0.0, beam=2)):
        for limits in (None, torch.tensor([1, 4])):
            words = (16 - 1, 12 - 1) if limits is None else (0, 3)
            found = search(Table(table), source, lengths, limits=limits)
            for count, translation in zip(words, found, strict=True):
                if search is greedy:
                    assert translation.tokens == (5,) * count
                    assert translation.score == pytest.approx(count * float(gains[5]) + float(gains[END]))
                assert len(translation.tokens) <= count
    assert length_limits(lengths).tolist() == [16, 12]
    assert length_limits(torch.tensor([7]), 1.5, 0).tolist() == [10]


def test_padding_unknown_and_begin_are_never_said() -> None:
    table = torch.zeros(1, 1, 7, 7)
    table[..., [PAD, UNKNOWN, BEGIN]] = 30.0
    table[..., 6] = 1.0
    source, lengths = torch.zeros(1, 1, dtype=torch.long), torch.tensor([2])
    for search in (greedy, beam_search):
        ((tokens, score),) = cast(Any, search)(Table(table), source, lengths)
        assert not set(tokens) & {PAD, UNKNOWN, BEGIN, END}
        assert score < -25  # they keep their share


def test_the_length_penalty_is_gnmts() -> None:
    assert float(length_penalty(1, 0.7)) == 1.0
    assert float(length_penalty(7, 1.0)) == 2.0
    assert length_penalty(torch.tensor([1, 13]), 0.5).tolist() == pytest.approx([1.0, math.sqrt(3)])
    table = torch.full((1, 6, 6, 6), -1e9, dtype=torch.float64)
    table[..., 4:] = 0.0
    table[0, 0, :, END] = math.log(0.5)  # end at once with 0.2, or after two words with 0.4 * 0.6 * 0.6
    table[0, 0, :, 4], table[0, 0, :, 5] = math.log(1.0), math.log(1.0)
    table[0, 1, :, 4], table[0, 1, :, 5] = math.log(0.6), math.log(0.4)
    table[0, 2, :, 4], table[0, 2, :, 5], table[0, 2, :, END] = -1e9, math.log(0.4), math.log(0.6)
    table[0, 3:, :, END] = 0.0
    short, long = math.log(0.2), math.log(0.4 * 0.6 * 0.6) / ((5 + 3) / 6) ** 2
    assert long > short > math.log(0.4 * 0.6 * 0.6)
    source, lengths = torch.zeros(1, 1, dtype=torch.long), torch.tensor([1])
    (plain,) = beam_search(Table(table), source, lengths, beam=8, alpha=0.0)
    assert plain.tokens == () and plain.score == pytest.approx(short)
    (penalised,) = beam_search(Table(table), source, lengths, beam=8, alpha=2.0)
    assert len(penalised.tokens) == 2 and penalised.score == pytest.approx(long)


def test_translate_keeps_order_and_bounds_batches() -> None:
    seen: list[tuple[int, ...]] = []

    def search(network: Translator, source: Tensor, lengths: Tensor) -> list[Translation]:
        assert all(row[n - 1] == END and not row[n:].any() for row, n in zip(source, lengths, strict=True))
        seen.append(tuple(source.shape))
        return [Translation((int(row[0]),), 0.0) for row in source]

    given_sources = [[10 + i] + [9] * (i * 7 % 11) + [END] for i in range(40)]
    network = Table(torch.zeros(1, 1, 9, 9))
    found = translate(network, given_sources, CPU, search, batch_tokens=30)
    assert [t.tokens for t in found] == [(10 + i,) for i in range(40)]
    assert all(rows * length <= 30 for rows, length in seen) and len(seen) < 20
    assert [t.tokens for t in translate(network, given_sources, CPU, search, batch_tokens=1)] == [
        t.tokens for t in found
    ]
    assert translate(network, [], CPU) == []


@each_model
def test_translate_equals_one_by_one(model: Model) -> None:
    network = cast(Translator, network_of(model, 30))
    source, lengths = sources([3, 8, 1, 5, 8], 30)
    rows = [source[i, :n].tolist() for i, n in enumerate(lengths.tolist())]
    search = functools.partial(beam_search, beam=2)
    found = translate(network, rows, CPU, search, batch_tokens=16)
    for row, translation in zip(rows, found, strict=True):
        (alone,) = search(network, torch.tensor([row]), torch.tensor([len(row)]))
        assert translation.tokens == alone.tokens


def test_no_sentence_is_no_translation() -> None:
    network = Table(torch.zeros(1, 1, 9, 9))
    nothing = torch.zeros(0, 0, dtype=torch.long), torch.zeros(0, dtype=torch.long)
    assert greedy(network, *nothing) == [] and beam_search(network, *nothing) == []


def test_rows_of_a_state_are_chosen_in_every_tensor() -> None:
    state = torch.arange(6).view(3, 2), torch.tensor([True, False, True]), torch.zeros(3, 0, 4)
    chosen = select(state, torch.tensor([2, 0, 2, 1]))
    assert chosen[0].tolist() == [[4, 5], [0, 1], [4, 5], [2, 3]]
    assert chosen[1].tolist() == [True, True, True, False] and chosen[2].shape == (4, 0, 4)


def test_what_cannot_be_searched_is_refused() -> None:
    network = Table(torch.zeros(1, 1, 9, 9))
    batch = torch.zeros(1, 1, dtype=torch.long), torch.tensor([1])
    with pytest.raises(ValueError, match="beam=0"):
        beam_search(network, *batch, beam=0)
    for alpha in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="alpha="):
            beam_search(network, *batch, alpha=alpha)
    with pytest.raises(ValueError, match="limits must be at least 1, got 0"):
        greedy(network, *batch, limits=torch.tensor([0]))
    with pytest.raises(ValueError, match="source 1 must end with END"):
        translate(network, [[END], [5, 6]], CPU)
    with pytest.raises(ValueError, match="source 0 must end with END"):
        translate(network, [[]], CPU)
    network.train()
    for search in (greedy, beam_search):
        with pytest.raises(ValueError, match="eval mode"):
            cast(Any, search)(network, *batch)
