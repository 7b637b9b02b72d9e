"""How fast networks that translate are trained and searched, on random sentences of Multi30k's lengths.

Training is one step of Adam on full-precision weights with cross-entropy; its speed is in target tokens that
are no padding. Translations are made as long as their sources, because an untrained network does not know
when to end.

    python benchmarks/translation_speed.py [--threads 2] [--vocabulary 8000] [--units 256] [--depth 2]
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import time
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.metrics.latency import fingerprint
from trainables.models.base import Model
from trainables.models.lstm import LSTM
from trainables.models.transformer import Transformer
from trainables.translation.decoding import Translation, Translator, beam_search, greedy
from trainables.translation.sentences import BEGIN, END, PAD, Sentences

MEAN_LENGTH, SPREAD, SHORTEST, LONGEST = 14.0, 5.0, 4, 45
"""Of a sentence in subwords, its end included; lengths are drawn from a normal distribution."""


def lengths_of(count: int, generator: torch.Generator) -> Tensor:
    """Sorted, as batches of like lengths are cut from them."""
    drawn = torch.randn(count, generator=generator) * SPREAD + MEAN_LENGTH
    return drawn.round().long().clamp(SHORTEST, LONGEST).sort().values


def batches_of(count: int, tokens: int, vocabulary: int) -> list[tuple[Sentences, Tensor]]:
    """``count`` sentences in batches of at most ``tokens`` padded targets, each with what is to be said."""
    generator = torch.Generator().manual_seed(0)
    targets = lengths_of(count, generator)
    sources = (targets + torch.randint(-2, 3, (count,), generator=generator)).clamp(min=2)
    batches, start = [], 0
    while start < count:
        end = start + 1
        while end < count and (end + 1 - start) * int(targets[end]) <= tokens:
            end += 1
        part = slice(start, end)
        source = filled(sources[part], vocabulary, generator)
        said = filled(targets[part], vocabulary, generator)
        heard = torch.cat([torch.full((end - start, 1), BEGIN), said[:, :-1]], 1)
        heard = heard.masked_fill(said == PAD, PAD)
        batches.append((Sentences(source, sources[part], heard), said))
        start = end
    return batches


def filled(lengths: Tensor, vocabulary: int, generator: torch.Generator) -> Tensor:
    """Random sentences of these lengths."""
    shape = len(lengths), int(lengths.max())
    tokens = torch.randint(END + 1, vocabulary, shape, generator=generator)
    place = torch.arange(shape[1])
    tokens = tokens.masked_fill(place == lengths.unsqueeze(1) - 1, END)
    return tokens.masked_fill(place >= lengths.unsqueeze(1), PAD)


def training_speed(network: nn.Module, batches: list[tuple[Sentences, Tensor]], vocabulary: int) -> float:
    """Target tokens per second."""
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    total, start = 0, time.perf_counter()
    for number, (inputs, said) in enumerate(batches):
        logits = network(inputs)
        loss = F.cross_entropy(logits.view(-1, vocabulary), said.flatten(), ignore_index=PAD)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if number == 0:  # the first step allocates
            total, start = 0, time.perf_counter()
        else:
            total += int((said != PAD).sum())
    return total / (time.perf_counter() - start)


def search_speed(
    network: nn.Module, batches: list[tuple[Sentences, Tensor]], search: Callable[..., list[Translation]]
) -> float:
    """Sentences per second."""
    network.eval()
    start, found, limit = time.perf_counter(), [], 0
    for inputs, _ in batches:
        limited = functools.partial(search, limits=inputs.lengths)
        found += limited(cast(Translator, network), inputs.source, inputs.lengths)
        limit += int(inputs.lengths.sum())
    speed = len(found) / (time.perf_counter() - start)
    said = sum(len(translation.tokens) + 1 for translation in found)
    if said < 0.9 * limit:
        raise SystemExit(f"the network ended sentences early, after {said} of {limit} tokens: no measurement")
    return speed


def main() -> None:
    """Measure both families and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--train-sentences", type=int, default=1000)
    parser.add_argument("--search-sentences", type=int, default=200)
    parser.add_argument("--batch-tokens", type=int, default=1024, help="in training, padded targets")
    parser.add_argument("--search-tokens", type=int, default=1024, help="in searching, padded targets")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models: list[Model] = [
        LSTM(options.depth, units=options.units, embedding=options.units),
        LSTM(
            options.depth, units=options.units, embedding=options.units, bidirectional=False, tied="nothing"
        ),
        Transformer(options.depth, units=options.units),
    ]
    train = batches_of(options.train_sentences, options.batch_tokens, options.vocabulary)
    test = batches_of(options.search_sentences, options.search_tokens, options.vocabulary)
    print(f"machine: {json.dumps(fingerprint())}")
    print(f"python {platform.python_version()}, torch {torch.__version__}, {options.threads} threads")
    print(f"{'parameters':>10} {'trained tokens/s':>17} {'greedy sent./s':>15} {'beam':>6} {'sent./s':>8}")
    for model in models:
        torch.manual_seed(0)
        network = model.build((options.vocabulary,), options.vocabulary)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        # Searched before it is trained: of random sentences it would learn that the end is always likely.
        plain = search_speed(network, test, greedy)
        wide = search_speed(network, test, functools.partial(beam_search, beam=options.beam))
        tokens = training_speed(network, train, options.vocabulary)
        print(f"{parameters:>10} {tokens:>17.0f} {plain:>15.0f} {options.beam:>6} {wide:>8.1f}  {model}")


if __name__ == "__main__":
    main()
