"""The recurrent encoder and decoder."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from trainables.models.lstm import LSTM, Decoder, Encoder, Network


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (1, 2), (3, 1), (2, 2)])
def test_the_encoder_is_pytorchs_lstm_with_one_bias(layers: int, directions: int) -> None:
    torch.manual_seed(0)
    encoder = Encoder(5, 8, layers, directions, dropout=0.0).double()
    reference = nn.LSTM(
        5, 8 // directions, layers, batch_first=True, bidirectional=directions == 2, dtype=torch.float64
    )
    state: dict[str, Tensor] = {}
    for name, tensor in encoder.state_dict().items():
        if name.startswith("bias_"):
            state |= {
                name.replace("bias_", "bias_ih_"): tensor,
                name.replace("bias_", "bias_hh_"): 0 * tensor,
            }
        else:
            state[name] = tensor
    reference.load_state_dict(state)
    inputs, lengths = torch.randn(4, 7, 5, dtype=torch.float64), torch.tensor([3, 7, 1, 5])
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    output, (hidden, cell) = reference(packed)
    memory, last_hidden, last_cell = encoder(inputs, lengths)
    torch.testing.assert_close(memory, pad_packed_sequence(output, batch_first=True)[0])
    for ours, theirs in ((last_hidden, hidden), (last_cell, cell)):
        ends = theirs.view(layers, directions, 4, -1)
        for layer in range(layers):
            torch.testing.assert_close(ours[:, layer], torch.cat(list(ends[layer]), 1))


def test_the_decoder_is_a_loop_of_pytorchs_cells_with_general_attention_and_input_feeding() -> None:
    torch.manual_seed(0)
    size, units, features, n, s, t = 3, 4, 5, 2, 6, 7
    decoder = Decoder(size, units, features, layers=2).double()
    memory = torch.randn(n, s, units, dtype=torch.float64)
    tokens = torch.arange(s) < torch.tensor([[6], [4]])
    hidden, cell = torch.randn(2, n, 2, units, dtype=torch.float64)
    inputs = torch.randn(n, t, size, dtype=torch.float64)
    found = decoder(inputs, decoder.start(memory, tokens, hidden, cell), lambda x: x)

    cells = [nn.LSTMCell(size + features, units), nn.LSTMCell(units, units)]
    for ours, reference in zip(decoder.cells, cells, strict=True):
        reference.double()
        weight, bias = cast(Tensor, ours.weight), cast(Tensor, ours.bias)
        state = {"weight_ih": weight[:, :-units], "weight_hh": weight[:, -units:]}
        reference.load_state_dict({**state, "bias_ih": bias, "bias_hh": 0 * bias})
    feed = torch.zeros(n, features, dtype=torch.float64)
    states = [(hidden[:, layer], cell[:, layer]) for layer in range(2)]
    for step in range(t):
        below = torch.cat([inputs[:, step], feed], 1)
        for layer in range(2):
            states[layer] = cells[layer](below, states[layer])
            below = states[layer][0]
        for row in range(n):
            real = memory[row][tokens[row]]
            score = torch.stack([below[row] @ decoder.attention.weight.T.T @ m for m in real])
            context = (score.softmax(0).unsqueeze(1) * real).sum(0)
            expected = torch.tanh(decoder.combine.weight @ torch.cat([context, below[row]]))
            torch.testing.assert_close(found[row, step], expected)
        feed = found[:, step]


def test_sizes_are_those_of_the_papers_networks() -> None:
    """Methods: 84.8, 81.6, 64.9 and 57.2 million, with two vocabularies of 50,000 that we have as one."""
    for depth, units, millions in ((2, 500, 84.8), (1, 512, 81.6), (1, 256, 64.9), (1, 128, 57.2)):
        model = LSTM(depth=depth, units=units, embedding=500, bidirectional=False, tied="nothing")
        with torch.device("meta"):
            network = model.build((50_000,), 50_000)
        assert parameters(network) / 1e6 == pytest.approx(millions, abs=0.15)


@pytest.mark.parametrize(
    ("model", "units", "embedding"),
    [
        (LSTM(units=10, embedding=6), 10, 6),
        (LSTM(units=10, embedding=6, width=0.5), 6, 3),  # 5 is odd, and two directions share them
        (LSTM(units=10, embedding=6, width=0.5, bidirectional=False), 5, 3),
        (LSTM(units=10, embedding=6, width=2.0), 20, 12),
        (LSTM(units=3, embedding=1, width=0.0625), 2, 1),
    ],
)
def test_width_scales_units_and_embedding(model: LSTM, units: int, embedding: int) -> None:
    network = cast(Network, model.build((9,), 9))
    assert network.words.target.weight.shape == (9, embedding)
    assert network.decoder.attention.weight.shape == (units, units)
    assert network.decoder.combine.weight.shape == (embedding, 2 * units)
    assert network.encoder.units * network.encoder.directions == units


def test_forget_gates_start_open() -> None:
    network = cast(Network, LSTM(units=4, embedding=4, depth=2, bidirectional=False).build((9,), 9))
    for name, parameter in network.named_parameters():
        if parameter.dim() == 1:
            assert parameter.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8, name


def test_ranges() -> None:
    for fields in (
        {"depth": 0}, {"depth": 9}, {"width": 0.01}, {"units": 0}, {"embedding": 5000}, {"dropout": 1.0},
        {"dropout": -0.1}, {"tied": "some"},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(fields))):
            LSTM(**fields)
