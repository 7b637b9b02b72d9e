"""Batches, loss and evaluation of translation tasks."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from trainables.metrics import quality_of
from trainables.models import Transformer
from trainables.tasks.base import SPLITS, Arrays, DataError
from trainables.tasks.loaded_text import LoadedText
from trainables.tasks.text import Pairs, TextTask, numbered
from trainables.translation.sentences import BEGIN, END, PAD, Sentences

CPU = torch.device("cpu")
LETTERS = "abcdefghijklmnop"


@dataclass(frozen=True)
class Copying(TextTask):
    """Targets are the sources, so that a network that repeats is perfect."""

    vocabulary_size: int = 32
    subwords: str = "bpe"
    batch_tokens: int = 64
    max_length: int = 60
    label_smoothing: float = 0.0

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        return numbered(splits(), self)


def sentences(count: int, seed: int) -> list[str]:
    random = np.random.RandomState(seed)
    return [" ".join(random.choice(list(LETTERS), random.randint(1, 20))) for _ in range(count)]


def splits(train: int = 101) -> dict[str, Pairs]:
    made = {}
    for seed, (split, count) in enumerate(zip(SPLITS, (train, 17, 13), strict=True)):
        lines = sentences(count, seed)
        made[split] = Pairs(lines, lines, (f"{split}.de", f"{split}.en"))
    return made


ARRAYS = Copying().load(None)


def opened(task: TextTask | None = None, seed: int = 0) -> LoadedText:
    return (task or Copying()).open(ARRAYS, CPU, seed)


class Echo(nn.Module):
    """Repeats the source; ``sure`` is the logit of its choice, all others being 0."""

    def __init__(self, vocabulary: int, sure: float) -> None:
        super().__init__()
        self.vocabulary, self.sure = vocabulary, sure

    def forward(self, inputs: Sentences) -> Tensor:
        length = inputs.target.shape[1]
        source = nn.functional.pad(inputs.source, (0, length), value=END)[:, :length]
        return self.sure * nn.functional.one_hot(source, self.vocabulary).float()

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        return source, torch.zeros(len(source), dtype=torch.long)

    def step(self, token: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        source, position = state
        following = source.gather(1, position.clamp(max=source.shape[1] - 1)[:, None]).squeeze(1)
        return self.sure * nn.functional.one_hot(following, self.vocabulary).float(), (source, position + 1)


@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 1000), batch_tokens=st.integers(60, 400))
@settings(max_examples=25)
def test_an_epoch_sees_each_pair_once(seed: int, epoch: int, batch_tokens: int) -> None:
    loaded = opened(Copying(batch_tokens=batch_tokens), seed)
    batches = list(loaded.batches("train", epoch))
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(101))
    assert len(batches) == loaded.steps("train")
    for batch in batches:
        assert max(batch.targets.numel(), batch.inputs.source.numel()) <= batch_tokens


def test_batches_hold_the_sentences() -> None:
    loaded, lines = opened(), splits()["train"]
    for batch in loaded.batches("train", 3):
        source, lengths, target = batch.inputs
        assert batch.view is None and source.dtype == target.dtype == batch.targets.dtype == torch.int64
        assert bool((target[:, 0] == BEGIN).all()) and not bool((target == END).any())
        for row, index in enumerate(batch.index.tolist()):
            count = int((batch.targets[row] != PAD).sum())
            assert int(lengths[row]) == int((source[row] != PAD).sum()) == count
            assert bool((batch.targets[row, count:] == PAD).all() and (target[row, count:] == PAD).all())
            assert int(batch.targets[row, count - 1]) == END == int(source[row, count - 1])
            assert target[row, 1:count].tolist() == batch.targets[row, : count - 1].tolist()
            assert loaded.vocabulary.decode(source[row].tolist()) == lines.source[index]
            assert loaded.vocabulary.decode(batch.targets[row].tolist()) == lines.target[index]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int, view: int | None = None) -> list[list[int]]:
        return [batch.index.tolist() for batch in opened(seed=seed).batches("train", epoch, view)]

    assert order(1, 2) == order(1, 2) == order(1, 2, view=5)
    assert len({str(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    together = [{frozenset(part) for part in order(0, epoch)} for epoch in range(2)]
    assert together[0] != together[1], "the same pairs meet in every epoch"


def test_views_are_all_the_same_and_in_order() -> None:
    loaded = opened()
    for split in SPLITS:
        seen = [list(loaded.in_order(split, view)) for view in (None, 0, 7)]
        assert torch.cat([batch.index for batch in seen[0]]).tolist() == list(range(loaded.samples(split)))
        for batches, view in zip(seen, (None, 0, 7), strict=True):
            assert {batch.view for batch in batches} == {None if view is None else 0}
            for batch, first in zip(batches, seen[0], strict=True):
                assert all(torch.equal(a, b) for a, b in zip(batch.inputs, first.inputs, strict=True))
    assert loaded.steps("test") == len(list(loaded.batches("test", 0)))


@given(st.integers(0, 12), st.floats(0.0, 0.9))
@settings(max_examples=25)
def test_padding_never_enters_the_loss(extra: int, label_smoothing: float) -> None:
    loaded = opened(Copying(label_smoothing=label_smoothing))
    batch = next(loaded.in_order("train"))
    torch.manual_seed(0)
    output = torch.randn(*batch.targets.shape, 32, requires_grad=True)
    loss = loaded.loss(output, batch)
    (gradient,) = torch.autograd.grad(loss, output)
    assert bool((gradient[batch.targets == PAD] == 0).all())
    wider = batch._replace(targets=nn.functional.pad(batch.targets, (0, extra), value=PAD))
    more = nn.functional.pad(output, (0, 0, 0, extra), value=1e4)
    assert torch.equal(loaded.loss(more, wider), loss) or torch.isclose(loaded.loss(more, wider), loss)


def test_the_loss_counts_tokens_alike() -> None:
    loaded = opened()
    batch = next(loaded.in_order("train"))
    output = torch.randn(*batch.targets.shape, 32, generator=torch.Generator().manual_seed(0))
    total, count = 0.0, 0
    for row, targets in zip(output.double().log_softmax(2), batch.targets.tolist(), strict=True):
        for place, token in enumerate(targets):
            if token != PAD:
                total, count = total - float(row[place, token]), count + 1
    assert float(loaded.loss(output, batch)) == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("split", SPLITS)
def test_a_perfect_network(split: str) -> None:
    network = Echo(32, sure=30.0).train()
    quality = opened().evaluate(network, split)
    assert quality == pytest.approx({"bleu": 100.0, "chrf": 100.0, "perplexity": 1.0}, abs=1e-6)
    assert [each.name for each in quality_of(Copying().metric).reported] == [*quality]
    assert network.training


def test_a_network_that_knows_nothing() -> None:
    quality = opened(Copying(label_smoothing=0.3)).evaluate(Echo(32, sure=0.0), "validation")
    assert quality["perplexity"] == pytest.approx(32.0)
    assert quality["bleu"] < 10.0


def test_perplexity_is_that_of_all_tokens_whatever_batches_they_come_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against sentences one by one, without padding, of a network that finds some tokens harder."""
    loaded, pairs = opened(Copying(label_smoothing=0.2)), splits()["validation"]
    torch.manual_seed(0)
    network = Transformer(depth=1, units=8, heads=2).build((32,), 32).double().eval()
    nats, lengths = [], set()
    for line in pairs.source:
        tokens = [*loaded.vocabulary.encode(line), END]
        shown = torch.tensor([[BEGIN, *tokens[:-1]]])
        with torch.no_grad():
            logits = network(Sentences(torch.tensor([tokens]), torch.tensor([len(tokens)]), shown))[0]
        nats += [-float(row[token]) for row, token in zip(logits.log_softmax(1), tokens, strict=True)]
        lengths.add(len(tokens))
    assert len(lengths) > 5 and max(nats) > 2 * min(nats)
    expected = math.exp(math.fsum(nats) / len(nats))
    for tokens_per_batch in (1, 70, 8192):
        monkeypatch.setattr("trainables.tasks.loaded_text.EVALUATION_TOKENS", tokens_per_batch)
        found = loaded.evaluate(network, "validation")["perplexity"]
        assert found == pytest.approx(expected, rel=1e-6)


def test_bleu_is_published_with_its_signature() -> None:
    found = Copying().signatures()
    assert found.keys() == {"bleu", "chrf"}
    assert "|tok:13a|" in found["bleu"]


def test_what_ships_translates_elsewhere() -> None:
    from trainables.tasks.vocabulary import Vocabulary

    (asset,) = opened().assets().items()
    assert asset[0] == "vocabulary" and asset[1].dtype == torch.uint8 and asset[1].dim() == 1
    assert Vocabulary(asset[1].numpy()).encode("a b c") == opened().vocabulary.encode("a b c")


def test_fingerprints_name_the_training_pairs() -> None:
    same = {
        opened(Copying(batch_tokens=n, label_smoothing=s), 3).fingerprint() for n, s in ((64, 0), (90, 0.1))
    }
    changed = dict(ARRAYS)
    changed["train_target"] = ARRAYS["train_target"].copy()
    changed["train_target"][0] += 1
    other = Copying().open(changed, CPU, 0).fingerprint()
    assert len(same) == 1 and other not in same and all(len(name) == 16 for name in same)


def test_contract_numbers() -> None:
    task = Copying()
    assert (task.metric, task.input_shape, task.outputs) == ("bleu", (32,), 32)
    for change in (
        {"vocabulary_size": 8},
        {"subwords": "words"},
        {"max_length": 4},
        {"batch_tokens": 59},
        {"label_smoothing": 1.0},
    ):
        with pytest.raises(ValueError, match=next(iter(change))):
            dataclasses.replace(task, **change)
    with pytest.raises(ValueError, match="split must be one of"):
        list(opened().batches("dev", 0))
    with pytest.raises(ValueError, match="must have 40 tokens, got 32"):
        Copying(vocabulary_size=40).open(ARRAYS, CPU, 0)


def test_damaged_arrays_are_refused() -> None:
    for name, value in (
        ("train_source", ARRAYS["train_source"][:-1]),
        ("train_target", ARRAYS["train_target"] + 1),
        ("test_source_lengths", ARRAYS["test_source_lengths"][:0]),
        ("test_references", ARRAYS["validation_references"]),
    ):
        with pytest.raises(ValueError, match="must"):
            Copying().open({**ARRAYS, name: value}, CPU, 0)


def test_unusable_sentences_are_named() -> None:
    def refused(task: TextTask, **changes: list[str]) -> str:
        changed = splits()
        for split, lines in changes.items():
            changed[split] = changed[split]._replace(target=lines)
        with pytest.raises(DataError) as caught:
            numbered(changed, task)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    long = [*splits()["test"].source[:-1], "a" * 500]
    assert "test.en, line 13 has" in refused(Copying(), test=long) and "max_length" in refused(
        Copying(), test=long
    )
    blank = ["a", " \u00a0", *splits()["validation"].source[2:]]
    assert "validation.en, line 2 is empty" in refused(Copying(), validation=blank)
    assert "at most" in refused(Copying(vocabulary_size=5000)) and "vocabulary_size" in refused(
        Copying(vocabulary_size=5000)
    )
