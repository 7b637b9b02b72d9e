"""What the networks that translate have in common."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tests.recipes import every_method
from trainables.compression.compressed_weight import compress, compressed_weights, stored_tensors
from trainables.models.base import Model
from trainables.models.convnet import ConvNet
from trainables.models.lstm import LSTM
from trainables.models.resnet import ResNet
from trainables.models.transformer import Transformer
from trainables.translation.decoding import Translator, beam_search, greedy, select
from trainables.translation.sentences import BEGIN, END, PAD, Sentences

VOCABULARY = 23
MODELS: list[Model] = [
    LSTM(units=12, embedding=10),
    LSTM(depth=1, units=9, embedding=7, bidirectional=False, tied="nothing"),
    LSTM(depth=3, units=11, embedding=6, tied="output"),
    Transformer(units=16, heads=2),
    Transformer(depth=1, units=12, heads=3, tied="nothing"),
    Transformer(depth=3, units=8, heads=1, tied="output"),
]
each_model = pytest.mark.parametrize(
    "model", MODELS, ids=lambda m: f"{type(m).__name__}-d{m.depth}-ties-{m.tied}"
)


def built(model: Model, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(1)
    network = model.build((VOCABULARY,), VOCABULARY).to(dtype).eval()
    with torch.no_grad():  # larger than they start, so that a change anywhere shows in every logit
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def sentences(lengths: list[int], targets: list[int]) -> Sentences:
    generator = torch.Generator().manual_seed(len(lengths))
    source = torch.full((len(lengths), max(lengths)), PAD)
    target = torch.full((len(targets), max(targets)), PAD)
    for row, (length, size) in enumerate(zip(lengths, targets, strict=True)):
        source[row, :length] = torch.randint(END + 1, VOCABULARY, (length,), generator=generator)
        source[row, length - 1] = END
        target[row, :size] = torch.randint(END + 1, VOCABULARY, (size,), generator=generator)
        target[row, 0] = BEGIN
    return Sentences(source, torch.tensor(lengths), target)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@each_model
@torch.no_grad()
def test_steps_give_the_logits_of_teacher_forcing(model: Model) -> None:
    network = built(model)
    batch = sentences([5, 1, 7, 3], [6, 6, 6, 6])
    expected = network(batch)
    translator = cast(Translator, network)
    state = translator.encode(batch.source, batch.lengths)
    for position in range(6):
        logits, state = translator.step(batch.target[:, position], state)
        assert logits.shape == (4, VOCABULARY)
        close(logits, expected[:, position])


@each_model
@torch.no_grad()
def test_neither_padding_nor_neighbours_nor_later_targets_change_a_logit(model: Model) -> None:
    network = built(model)
    lengths, targets = [5, 1, 9, 3], [4, 6, 2, 5]
    batch = sentences(lengths, targets)
    together = network(batch)
    wider = torch.full((4, 14), PAD)
    wider[:, :9] = batch.source
    close(network(batch._replace(source=wider)), together)
    noise = wider.masked_fill(torch.arange(14) >= batch.lengths.unsqueeze(1), VOCABULARY - 1)
    close(network(batch._replace(source=noise)), together)
    for row, (length, size) in enumerate(zip(lengths, targets, strict=True)):
        one = slice(row, row + 1)
        alone = Sentences(batch.source[one, :length], batch.lengths[one], batch.target[one, :size])
        close(network(alone)[0], together[row, :size])


@each_model
@torch.no_grad()
def test_source_order_and_target_prefix_matter(model: Model) -> None:
    network = built(model)
    batch = sentences([6], [4])
    base = network(batch)
    swapped = batch.source[:, [1, 0, 2, 3, 4, 5]]
    assert float((network(batch._replace(source=swapped)) - base).abs().min()) > 1e-9
    target = batch.target.clone()
    target[0, 2] = (target[0, 2] - 3) % (VOCABULARY - 4) + 4
    changed = (network(batch._replace(target=target)) - base).abs()[0]
    assert float(changed[:2].max()) < 1e-12 < 1e-9 < float(changed[2:].min())


@each_model
@torch.no_grad()
def test_states_are_rows_to_reorder_repeat_and_drop(model: Model) -> None:
    network = cast(Translator, built(model))
    batch = sentences([5, 2, 7], [4, 4, 4])
    state = network.encode(batch.source, batch.lengths)
    for position in range(2):
        _, state = network.step(batch.target[:, position], state)
    assert all(len(tensor) == 3 for tensor in state)
    expected, _ = network.step(torch.tensor([9, 5, 7]), state)
    order = torch.tensor([2, 0, 0])
    found, _ = network.step(torch.tensor([7, 9, 9]), select(state, order))
    close(found, expected[order])


@each_model
@torch.no_grad()
def test_dropout_is_in_force_in_training_only(model: Model) -> None:
    batch = sentences([5, 2], [4, 3])
    network = built(model)
    assert torch.equal(network(batch), network(batch))
    network.train()
    assert not torch.equal(network(batch), network(batch))
    without = built(dataclasses.replace(cast(Any, model), dropout=0.0)).train()
    assert torch.equal(without(batch), without(batch))


@each_model
def test_every_parameter_learns_and_what_is_tied_is_one_parameter(model: Model) -> None:
    network = built(model).train()
    network(sentences([5, 3, 8], [4, 7, 5])).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.any()), name
    tables = [name for name, p in network.named_parameters() if VOCABULARY in p.shape]
    assert len(tables) == {"nothing": 3, "output": 2, "all": 1}[cast(Any, model).tied]
    names = [name for name, _ in network.named_parameters(remove_duplicate=False)]
    assert sorted(names) == sorted(network.state_dict()) and len(set(names)) == len(names)


@each_model
def test_depth_and_width_are_handles(model: Model) -> None:
    def size(depth: int, width: float) -> int:
        network = model.scaled(depth, width).build((VOCABULARY,), VOCABULARY)
        return sum(p.numel() for p in network.parameters())

    assert size(1, 1.0) < size(2, 1.0) < size(3, 1.0)
    assert size(2, 1.0) - size(1, 1.0) == size(3, 1.0) - size(2, 1.0)
    assert size(2, 0.0625) < size(2, 1.0) < size(2, 2.0)
    smallest = model.scaled(1, 0.0625).build((VOCABULARY,), VOCABULARY).eval()
    assert smallest(sentences([3], [2])).shape == (1, 2, VOCABULARY)


def reversals(count: int, generator: torch.Generator) -> tuple[Sentences, Tensor]:
    """Two to six words, and what is to be said: the same words from last to first."""
    words = torch.randint(END + 1, 14, (count, 6), generator=generator)
    lengths = torch.randint(2, 7, (count,), generator=generator)
    source, said = torch.full((count, 7), PAD), torch.full((count, 7), PAD)
    for row, length in enumerate(lengths.tolist()):
        source[row, :length], source[row, length] = words[row, :length], END
        said[row, :length], said[row, length] = words[row, :length].flip(0), END
    heard = torch.cat([torch.full((count, 1), BEGIN), said[:, :-1].masked_fill(said[:, :-1] == END, PAD)], 1)
    return Sentences(source, lengths + 1, heard), said


@pytest.mark.parametrize(
    "model",
    [
        LSTM(depth=1, units=48, embedding=32, dropout=0.0),
        Transformer(depth=1, units=48, heads=4, dropout=0.0),
    ],
    ids=lambda m: type(m).__name__,
)
def test_it_learns_to_say_words_from_last_to_first(model: Model) -> None:
    torch.manual_seed(0)
    network = model.build((14,), 14)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        inputs, said = reversals(64, generator)
        loss = F.cross_entropy(network(inputs).flatten(0, 1), said.flatten(), ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    inputs, said = reversals(200, torch.Generator().manual_seed(1))
    expected = [tuple(row[: n - 1].tolist()) for row, n in zip(said, inputs.lengths, strict=True)]
    for search in (greedy, beam_search):
        found = cast(Any, search)(network.eval(), inputs.source, inputs.lengths)
        right = sum(ours.tokens == theirs for ours, theirs in zip(found, expected, strict=True))
        assert right >= 170, (search, right)


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, weight: Tensor) -> Tensor:
        self.calls += 1
        return 2 * weight


@each_model
def test_computed_weights_are_in_force_and_leave_the_network_copyable(model: Model) -> None:
    """As quantized weights are: read once per step under the cache, equal to plain weights so valued."""
    batch = sentences([5, 3], [4, 6])
    plain, computed = built(model), built(model)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.mul_(2 if parameter.dim() > 1 else 1)
    doubled: list[Doubled] = []
    for module in list(computed.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.dim() > 1:
                doubled.append(Doubled())
                parametrize.register_parametrization(module, name, doubled[-1])
    expected = plain(batch)
    for one in doubled:
        one.calls = 0
    with parametrize.cached():
        output = computed(batch)
        output.sum().backward()
    assert torch.equal(output, expected)
    assert [one.calls for one in doubled] == [1] * len(doubled)
    assert torch.equal(copy.deepcopy(computed)(batch), expected)
    with torch.no_grad():
        translator = cast(Translator, computed)
        logits, _ = translator.step(batch.target[:, 0], translator.encode(batch.source, batch.lengths))
    torch.testing.assert_close(logits, expected[:, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["quantized_distillation", "differentiable_quantization"])
@each_model
def test_what_is_stored_is_each_table_once_and_the_whole_student(model: Model, method: str) -> None:
    (recipe,) = (r for r in every_method(sparsity=0.3) if r.method == method)
    recipe = dataclasses.replace(recipe, exempt=(), exempt_dtype="float32")
    student = compress(built(model, torch.float32), recipe)
    for _, compressed, original in compressed_weights(student):
        compressed.mask.update(original, None, 1.0)
        compressed.start_quantizing(original)
    stored = stored_tensors(student, recipe)
    tables = [name for name, tensor in stored.items() if VOCABULARY in tensor.shape]
    assert len(tables) == {"nothing": 3, "output": 2, "all": 1}[cast(Any, model).tied]
    again = built(model, torch.float32)
    again.load_state_dict({name: tensor.decode() for name, tensor in stored.items()})
    batch = sentences([5, 3], [4, 6])
    assert torch.equal(again(batch), student(batch))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (), (4,), (8000, 2)])
@each_model
def test_shapes_of_other_tasks_are_refused(model: Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"this network translates: input_shape must be \(vocabulary,\)"):
        model.build(shape, 10)


@each_model
def test_as_many_outputs_as_tokens(model: Model) -> None:
    with pytest.raises(ValueError, match="vocabulary of 23, got outputs=10"):
        model.build((VOCABULARY,), 10)


@pytest.mark.parametrize("model", [ConvNet(), ResNet()], ids=str)
def test_networks_for_images_refuse_sentences(model: Model) -> None:
    with pytest.raises(ValueError, match=r"must be \(channels, height, width\).*got input_shape=\(8000,\)"):
        model.build((8000,), 8000)
