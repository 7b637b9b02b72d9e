"""Translators leave as two graphs that translate as they do, or are refused."""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from tests.trainables.models.test_translators import MODELS, built
from trainables.exporting import export
from trainables.exporting.checking import ExportError
from trainables.exporting.export import to_onnx
from trainables.interfaces import EncoderDecoder
from trainables.interfaces.base import Graph, Run, Runs
from trainables.interfaces.encoder_decoder import ExportedTranslator
from trainables.models import LSTM, Transformer
from trainables.models.base import Model
from trainables.runtime import load
from trainables.translation.decoding import State, Translator, beam_search, greedy
from trainables.translation.sentences import BEGIN, END, PAD

VOCABULARY = 23
INTERFACE = EncoderDecoder(VOCABULARY)
SMALL = (LSTM(depth=1, units=8, embedding=6), Transformer(depth=1, units=8, heads=2))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def sources(lengths: list[int], width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 + width)
    source = torch.full((len(lengths), width), PAD)
    for row, length in enumerate(lengths):
        source[row, :length] = torch.randint(END + 1, VOCABULARY, (length,), generator=generator)
        source[row, length - 1] = END
    return source, torch.tensor(lengths)


def exported(network: nn.Module, files: Mapping[str, bytes]) -> ExportedTranslator:
    return ExportedTranslator(load(files), [tensor.name for tensor in cast(Any, network).state_tensors])


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_both_searches_say_the_same_on_what_is_exported(model: Model, capfd) -> None:
    network = built(model, torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = to_onnx(network, INTERFACE, {"recipe_id": "abc"})
    assert capfd.readouterr().err == ""  # nor does the exporter say anything in other ways
    translator = exported(network, files)
    for lengths, width in (([1], 1), ([12], 12), ([3, 12, 1, 7], 12), ([5, 2, 4], 9)):
        batch = sources(lengths, width)
        for search in (greedy, beam_search):
            ours, theirs = (search(one, *batch) for one in (cast(Translator, network), translator))
            assert [one.tokens for one in theirs] == [one.tokens for one in ours]
            scores = [one.score for one in theirs]
            assert scores == pytest.approx([one.score for one in ours], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("model", SMALL, ids=lambda model: type(model).__name__)
def test_names_sizes_and_metadata(model: Model) -> None:
    network = built(model, torch.float32)
    files = to_onnx(network, INTERFACE, {"recipe_id": "abc"})
    assert list(files) == ["encoder", "step"]
    opened = {name: onnx.load_from_string(data) for name, data in files.items()}
    for name, content in opened.items():
        facts = {entry.key: entry.value for entry in content.metadata_props}
        assert facts["graph"] == name and facts["recipe_id"] == "abc"
        assert json.loads(facts["tokens"]) == {"pad": 0, "unknown": 1, "begin": 2, "end": 3}
        assert facts["weights"] == "float32"
    sizes = {
        name: [
            {
                value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
                for value in side
            }
            for side in (content.graph.input, content.graph.output)
        ]
        for name, content in opened.items()
    }
    taken, made = sizes["encoder"]
    assert taken == {"source": ["batch", "source_length"], "lengths": ["batch"]}
    tensors = cast(Any, network).state_tensors
    assert list(made) == [tensor.name for tensor in tensors] and made["tokens"] == ["batch", "source_length"]
    assert sizes["step"][0] == {"token": ["batch"], **made}
    changed = [f"next_{tensor.name}" for tensor in tensors if tensor.changes]
    assert list(sizes["step"][1]) == ["logits", *changed] and sizes["step"][1]["logits"] == [
        "batch",
        VOCABULARY,
    ]
    for side in (made, sizes["step"][1]):
        assert all(
            isinstance(size, int) or not size.endswith(("dim_1", "dim_2"))
            for s in side.values()
            for size in s
        )


def test_the_encoder_is_one_lstm_per_layer_that_is_told_the_lengths() -> None:
    files = to_onnx(built(LSTM(depth=2, units=8, embedding=6), torch.float32), INTERFACE, {})
    nodes = [n for n in onnx.load_from_string(files["encoder"]).graph.node if n.op_type == "LSTM"]
    assert len(nodes) == 2 and all(node.input[4] for node in nodes)  # sequence_lens


@pytest.mark.parametrize("model", SMALL, ids=lambda model: type(model).__name__)
def test_the_network_is_left_as_it_is(model: Model) -> None:
    network = built(model, torch.float32).train()
    before = copy.deepcopy(network.state_dict())
    to_onnx(network, INTERFACE, {})
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Frozen(nn.Module):
    """Tracing freezes what a Python number does: here how many rows or how long a source is."""

    def __init__(self, network: nn.Module, axis: int) -> None:
        super().__init__()
        self.network = network
        self.axis = axis
        self.state_tensors = cast(Any, network).state_tensors

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        return cast(Translator, self.network).encode(source, lengths)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        logits, after = cast(Translator, self.network).step(token, state)
        return logits * (1 + int(state[0].shape[self.axis])), after


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("axis", [0, 1])
def test_frozen_sizes_are_caught(axis: int) -> None:
    network = Frozen(built(SMALL[0], torch.float32), axis).eval()
    with pytest.raises(ExportError, match=r"logits .* differ by"):
        to_onnx(network, INTERFACE, {})


@pytest.mark.parametrize("name", ["encoder", "step"])
@pytest.mark.parametrize("model", SMALL, ids=lambda model: type(model).__name__)
def test_other_weights_in_either_file_are_caught(model: Model, name: str, monkeypatch) -> None:
    real, other = export._traced, built(model, torch.float32)
    for parameter in other.parameters():
        nn.init.normal_(parameter, std=0.5)

    def wrong(graph: Graph, opset: int) -> bytes:
        module = copy.deepcopy(graph.module)
        if ("source" in graph.inputs) == (name == "encoder"):
            cast(Any, module).network.load_state_dict(other.state_dict())
        return real(replace(graph, module=module), opset)

    monkeypatch.setattr(export, "_traced", wrong)
    with pytest.raises(ExportError, match=r"differ by \d.* where .* is allowed"):
        to_onnx(built(model, torch.float32), INTERFACE, {})


def runs_of(network: nn.Module, spoil: Tensor | None = None) -> Runs:
    """A network as if it had been exported; what ``spoil`` holds is added to its logits."""

    def as_run(graph: Graph) -> Run:
        def run(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            with torch.no_grad():
                made = graph.module(*(torch.from_numpy(feed[name]) for name in graph.inputs))
            found = dict(zip(graph.outputs, made, strict=True))
            if spoil is not None and "logits" in found:
                found["logits"] = found["logits"] + spoil
            return {name: value.numpy() for name, value in found.items()}

        return run

    return {name: as_run(graph) for name, graph in INTERFACE.graphs(network).items()}


@pytest.mark.parametrize("model", SMALL, ids=lambda model: type(model).__name__)
def test_another_translation_is_noticed_unless_the_choice_was_close(model: Model) -> None:
    network = built(model, torch.float32)
    assert INTERFACE.agrees(network, runs_of(network), 0.0)
    spoil = torch.zeros(VOCABULARY)
    spoil[7] = 100.0
    assert not INTERFACE.agrees(network, runs_of(network, spoil), 1e-3)
    with torch.no_grad():
        cast(Any, network).words.target.weight.zero_()  # all tokens alike: any choice is as good
    assert INTERFACE.agrees(network, runs_of(network, spoil), 1e-3)


def logits_by_step() -> np.ndarray:
    """Of each token after each other; were they the same at every step, whole paths would tie."""
    return np.random.default_rng(0).standard_normal((16, VOCABULARY, VOCABULARY)).astype(np.float32)


def history_of(steps: list[int], chosen: list[list[int]]) -> Runs:
    """An exported Markov chain whose state is the tokens that led to it; notes batch sizes and histories."""
    table = logits_by_step()

    def encoder(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert feed["source"].shape == (1, 16) and feed["lengths"].tolist() == [16]
        assert feed["source"].dtype == feed["lengths"].dtype == np.int64
        return {
            "memory": np.arange(3.0)[None],
            "history": np.zeros((1, 16), np.int64),
            "count": np.zeros((1,), int),
        }

    def step(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        token, history, count = feed["token"], feed["history"].copy(), feed["count"]
        assert token.dtype == np.int64 and feed["memory"].shape == (len(token), 3)
        history[np.arange(len(token)), count] = token
        steps.append(len(token))
        chosen[:] = history.tolist()
        return {"logits": table[count, token], "next_history": history, "next_count": count + 1}

    return {"encoder": encoder, "step": step}


def best_continuations(beam: int) -> set[tuple[int, ...]]:
    """The plain beam search over the same chain: histories that the 16th step is given."""
    table = logits_by_step()
    hypotheses: list[tuple[tuple[int, ...], float]] = [((BEGIN,), 0.0)]
    for step in range(15):
        grown = []
        for tokens, score in hypotheses:
            logits = table[step, tokens[-1]].astype(float)
            total = math.log(sum(math.exp(value) for value in logits))
            grown += [((*tokens, token), score + logits[token] - total) for token in range(VOCABULARY)]
        hypotheses = sorted(grown, key=lambda pair: -pair[1])[:beam]
    return {tokens for tokens, _ in hypotheses}


def test_what_is_timed_is_16_steps_of_a_search() -> None:
    work = INTERFACE.work()
    assert list(work) == ["latency_ms", "latency_beam_ms"]
    for name, beam in (("latency_ms", 1), ("latency_beam_ms", 5)):
        steps: list[int] = []
        chosen: list[list[int]] = []
        work[name](history_of(steps, chosen))
        assert steps == [1] + [beam] * 15
        assert {tuple(row) for row in chosen} == best_continuations(beam)
