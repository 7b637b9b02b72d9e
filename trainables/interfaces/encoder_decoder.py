"""Networks that read a sentence once and then say another token by token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from trainables.admission import check_repeated, undone
from trainables.inspection import check_parts
from trainables.interfaces.base import BATCH, Axes, Graph, Inputs, Interface, Runs, Work
from trainables.modes import evaluating
from trainables.translation.decoding import State, StateTensor, Translator, greedy
from trainables.translation.sentences import BEGIN, END, PAD, UNKNOWN, Sentences

ENCODER, STEP = "encoder", "step"
SOURCE, LENGTHS, TOKEN, LOGITS = "source", "lengths", "token", "logits"
NEXT = "next_"
"""Begins the names of what a step returns in place of a tensor of the state."""

TOKENS = 16
"""Of the source that is timed and counted, its end included, and of its translation."""

BEAM = 5


class Stateful(Translator, Protocol):
    """A translator that names the tensors of its state, in their order."""

    state_tensors: tuple[StateTensor, ...]


@dataclass(frozen=True)
class EncoderDecoder(Interface):
    """Two graphs: the encoder makes a state of a source, the step a token's logits of a state.

    ``encoder`` takes ``source``, int64 (batch, source_length), rows ended by ``END`` and filled up with
    ``PAD``, and ``lengths``, int64 (batch,); it returns the state, tensors that the network names. ``step``
    takes ``token``, int64 (batch,), and the state; it returns ``logits`` (batch, vocabulary) and, named
    ``next_`` and the tensor's name, those tensors of the state that a step changes.

    What is timed and counted is one sentence of 16 tokens, translated into 16: the student has no say in
    when it ends, so the numbers are of the architecture.

    Attributes:
        vocabulary: tokens, special ones included.
    """

    pads: ClassVar[bool] = True

    vocabulary: int

    @torch.no_grad()
    def check(self, network: nn.Module, outputs: int) -> None:
        """See :meth:`Interface.check`: what ``forward`` says at once, ``step`` says token by token.

        On sources of several lengths, so that a network that reads padding shows: its sentences alone give
        other logits than together.
        """
        name = type(network).__name__
        lacking = [each for each in ("encode", "step", "state_tensors") if not hasattr(network, each)]
        if lacking:
            raise ValueError(f"{name} cannot translate: it has no {' and no '.join(lacking)}")
        check_parts(network)
        source, lengths = self._drawn(3)
        target = self._words(torch.Generator().manual_seed(0), (3, 4))
        target[:, 0] = BEGIN
        given = Sentences(source.clone(), lengths.clone(), target.clone())
        random = torch.get_rng_state()
        with undone(network, name) as changed, evaluating(network):
            try:
                together = network(given)
                repeated = network(Sentences(source, lengths, target))
                alone = [
                    network(
                        Sentences(source[row : row + 1, :size], lengths[row : row + 1], target[row : row + 1])
                    )
                    for row, size in enumerate(lengths.tolist())
                ]
                stepped = _stepped(cast(Stateful, network), source, lengths, target)
            except Exception as error:  # a user's own network may fail in any way
                raise ValueError(
                    f"{name} fails on three sentences: {type(error).__name__}: {error}"
                ) from error
            if isinstance(together, Tensor):
                check_repeated(name, changed(), together, repeated, random)
        if not all(map(torch.equal, given, (source, lengths, target))):
            raise ValueError(f"{name} writes into the sentences that it is given: let it work on copies")
        for what, logits in (("Sentences", together), ("token by token", stepped)):
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            if found != (3, 4, outputs):
                raise ValueError(
                    f"{name}, asked {what}, must return logits of shape {(3, 4, outputs)}, got {found}"
                )
        tolerance = 1e-3 * float(together.abs().max())
        for what, logits in (("token by token", stepped), ("sentence by sentence", torch.cat(alone))):
            if not float((logits - together).abs().max()) <= tolerance:
                raise ValueError(f"{name}, asked {what}, must give the logits that it gives to all at once")

    def graphs(self, network: nn.Module) -> dict[str, Graph]:
        """See :meth:`Interface.graphs`; the network has the methods of :class:`Stateful`."""
        translator = cast(Stateful, network)
        tensors = translator.state_tensors
        state = {tensor.name: {0: BATCH, **dict(tensor.free)} for tensor in tensors}
        changed = {
            # An axis that a step makes longer is another one afterwards.
            f"{NEXT}{tensor.name}": {0: BATCH} | {axis: f"{NEXT}{free}" for axis, free in tensor.free}
            for tensor in tensors
            if tensor.changes
        }
        encoder_inputs: Axes = {SOURCE: {0: BATCH, 1: "source_length"}, LENGTHS: {0: BATCH}}
        encoder = Graph(_Encode(network), encoder_inputs, state, self._drawn, self._sources())

        @torch.no_grad()
        def after(count: int, steps: int) -> Inputs:
            """A token for each of ``count`` rows and the states after some steps."""
            state = translator.encode(*self._drawn(count))
            tokens = self._words(torch.Generator().manual_seed(steps), (steps + 1, count))
            for token in tokens[:-1]:
                _, state = translator.step(token, state)
            return (tokens[-1], *state)

        cases = tuple(after(count, steps) for count, steps in ((1, 0), (1, 4), (3, 0), (3, 1), (3, 7)))
        step = Graph(
            _Step(network),
            {TOKEN: {0: BATCH}, **state},
            {LOGITS: {0: BATCH}, **changed},
            lambda count: after(count, 3),
            cases,
        )
        return {ENCODER: encoder, STEP: step}

    @torch.no_grad()
    def agrees(self, network: nn.Module, runs: Runs, tolerance: float) -> bool:
        """Whether greedy translations, of a sentence alone and of three together, are the same."""
        translator = cast(Stateful, network)
        exported = ExportedTranslator(runs, [tensor.name for tensor in translator.state_tensors])
        for source, lengths in self._sources():
            ours = greedy(translator, source, lengths)
            theirs = greedy(exported, source, lengths)
            for row, (one, other) in enumerate(zip(ours, theirs, strict=True)):
                sentence = source[row : row + 1], lengths[row : row + 1]
                if not _tied(translator, sentence, one.tokens, other.tokens, tolerance):
                    return False
        return True

    def exported(self, network: nn.Module, runs: Runs) -> nn.Module:
        """See :meth:`Interface.exported`; the network has the methods of :class:`Stateful`."""
        names = [tensor.name for tensor in cast(Stateful, network).state_tensors]
        return _Exported(ExportedTranslator(runs, names))

    def work(self) -> dict[str, Work]:
        """``latency_ms``, greedy, and ``latency_beam_ms``, a beam of 5; each 16 steps, whatever is said.

        Both take the tokens they are led to, of which an ``END`` is one like the others, so that choosing is
        part of what is timed.
        """
        return {"latency_ms": self._greedily, "latency_beam_ms": self._by_beam}

    def use(self, network: nn.Module) -> None:
        """See :meth:`Interface.use`; greedy, one state after the other."""
        translator = cast(Stateful, network)
        state = translator.encode(torch.full((1, TOKENS), END), torch.tensor([TOKENS]))
        for _ in range(TOKENS):
            _, state = translator.step(torch.tensor([BEGIN]), state)

    def metadata(self) -> dict[str, str]:
        """``tokens``: the numbers of the special tokens, JSON."""
        return {"tokens": json.dumps({"pad": PAD, "unknown": UNKNOWN, "begin": BEGIN, "end": END})}

    def _greedily(self, runs: Runs) -> None:
        state = runs[ENCODER](self._sentence())
        token = np.array([BEGIN])
        for _ in range(TOKENS):
            made = runs[STEP]({TOKEN: token, **state})
            token = made.pop(LOGITS).argmax(1)
            state |= _changed(made)

    def _by_beam(self, runs: Runs) -> None:
        state = runs[ENCODER](self._sentence())
        token, scores = np.array([BEGIN]), np.zeros((1, 1))
        for step in range(TOKENS):
            made = runs[STEP]({TOKEN: token, **state})
            logits = made.pop(LOGITS)
            largest = logits.max(1, keepdims=True)
            normaliser = largest + np.log(np.exp(logits - largest).sum(1, keepdims=True))
            candidates = (scores + (logits - normaliser)).ravel()
            best = np.argpartition(candidates, -BEAM)[-BEAM:]
            parent, token = np.divmod(best, self.vocabulary)
            scores = candidates[best][:, None]
            # What no step changes is the same for all hypotheses of a sentence.
            moved = state | _changed(made) if step == 0 else _changed(made)
            state |= {name: values[parent] for name, values in moved.items()}

    def _sentence(self) -> dict[str, np.ndarray]:
        return {SOURCE: np.full((1, TOKENS), END), LENGTHS: np.array([TOKENS])}

    def _sources(self) -> tuple[Inputs, ...]:
        """One sentence, the shortest, and three of several lengths, padded more than they need."""
        wide, lengths = self._drawn(3)
        return self._drawn(1), (torch.tensor([[END]]), torch.tensor([1])), (_widened(wide, 2), lengths)

    def _drawn(self, count: int) -> Inputs:
        """``count`` sources of up to 9 tokens, the first the longest, and their lengths."""
        random = torch.Generator().manual_seed(count)
        lengths = torch.randint(2, 10, (count,), generator=random)
        lengths[0] = 6 + count % 4
        lengths.clamp_(max=int(lengths[0]))
        place = torch.arange(int(lengths[0]))
        source = self._words(random, (count, len(place)))
        source = source.masked_fill(place >= lengths[:, None], PAD)
        return source.masked_fill(place == lengths[:, None] - 1, END), lengths

    def _words(self, random: torch.Generator, shape: Sequence[int]) -> Tensor:
        return torch.randint(END + 1, self.vocabulary, tuple(shape), generator=random)


class ExportedTranslator:
    """Exported graphs as the searches of :mod:`trainables.translation.decoding` ask for them."""

    training = False

    def __init__(self, runs: Runs, names: Sequence[str]) -> None:
        """Take the graphs, and the names of the tensors of a state in order."""
        self._runs = runs
        self._names = tuple(names)

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        """See :meth:`Translator.encode`; on the CPU."""
        return self._state(self._runs[ENCODER]({SOURCE: source.numpy(), LENGTHS: lengths.numpy()}))

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`Translator.step`; on the CPU."""
        before = {name: part.numpy() for name, part in zip(self._names, state, strict=True)}
        made = self._runs[STEP]({TOKEN: token.numpy(), **before})
        logits = torch.from_numpy(made.pop(LOGITS))
        return logits, self._state(before | _changed(made))

    def _state(self, arrays: dict[str, np.ndarray]) -> State:
        return tuple(torch.from_numpy(arrays[name]) for name in self._names)


class _Exported(nn.Module):
    """Exported graphs as a task uses a translator: said one token after the other, or all at once."""

    def __init__(self, translator: ExportedTranslator) -> None:
        super().__init__()
        self.translator = translator
        self.encode, self.step = translator.encode, translator.step

    def forward(self, sentences: Sentences) -> Tensor:
        return _logits(self.translator, sentences.source, sentences.lengths, sentences.target)


def _stepped(network: Stateful, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
    """:func:`_logits` of a translator whose state has as many tensors as it names."""
    found = len(network.encode(source, lengths))
    if found != len(network.state_tensors):
        raise ValueError(f"state_tensors names {len(network.state_tensors)} tensors of {found}")
    return _logits(network, source, lengths, target)


def _logits(network: Translator, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
    """Logits (n, t, vocabulary) of what follows each token of ``target`` (n, t)."""
    state = network.encode(source, lengths)
    rows = []
    for token in target.unbind(1):
        logits, state = network.step(token, state)
        rows.append(logits)
    return torch.stack(rows, 1)


class _Encode(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval()  # the exporter puts all modules back into the mode of this one

    def forward(self, source: Tensor, lengths: Tensor) -> State:
        return cast(Stateful, self.network).encode(source, lengths)


class _Step(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval()

    def forward(self, token: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        translator = cast(Stateful, self.network)
        logits, after = translator.step(token, state)
        named = zip(translator.state_tensors, after, strict=True)
        return (logits, *(values for tensor, values in named if tensor.changes))


def _changed(made: dict[str, Any]) -> dict[str, np.ndarray]:
    """What a step returned, under the names of the state."""
    return {name.removeprefix(NEXT): values for name, values in made.items()}


def _widened(source: Tensor, columns: int) -> Tensor:
    return torch.cat([source, torch.full((len(source), columns), PAD)], 1)


def _tied(
    network: Translator,
    sentence: Inputs,
    ours: tuple[int, ...],
    theirs: tuple[int, ...],
    tolerance: float,
) -> bool:
    """Whether two translations are equal, or part where their tokens are as likely within ``tolerance``."""
    if ours == theirs:
        return True
    pairs = list(zip((*ours, END), (*theirs, END), strict=False))
    place = next(i for i, (one, other) in enumerate(pairs) if one != other)
    state = network.encode(*sentence)
    for token in (BEGIN, *ours[:place]):
        logits, state = network.step(torch.tensor([token]), state)
    one, other = (float(logits[0, token]) for token in pairs[place])
    return abs(one - other) <= tolerance * float(logits.abs().max())
