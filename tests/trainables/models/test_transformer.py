"""The Transformer that translates."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from trainables.models.transformer import Network, Transformer
from trainables.translation.sentences import Sentences


def reference_of(network: Network, heads: int) -> tuple[nn.TransformerEncoder, nn.TransformerDecoder]:
    """PyTorch's own pre-norm stacks with the weights of ``network``."""
    units = network.encoder_norm.normalized_shape[0]
    shape = {"dim_feedforward": 4 * units, "dropout": 0.0, "batch_first": True, "norm_first": True}
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(units, heads, **shape),  # type: ignore[arg-type]
        len(network.encoder),
        nn.LayerNorm(units),
        enable_nested_tensor=False,
    )
    decoder = nn.TransformerDecoder(
        nn.TransformerDecoderLayer(units, heads, **shape),  # type: ignore[arg-type]
        len(network.decoder),
        nn.LayerNorm(units),
    )
    state = network.state_dict()

    def attention(ours: str, theirs: str) -> dict[str, Tensor]:
        names = [f"{ours}.{name}" for name in ("query", "key", "value")]
        biases = [state.get(f"{name}.bias", torch.zeros(units, dtype=torch.float64)) for name in names]
        return {
            f"{theirs}.in_proj_weight": torch.cat([state[f"{name}.weight"] for name in names]),
            f"{theirs}.in_proj_bias": torch.cat(biases),
            f"{theirs}.out_proj.weight": state[f"{ours}.output.weight"],
            f"{theirs}.out_proj.bias": state[f"{ours}.output.bias"],
        }

    def copied(pairs: dict[str, str]) -> dict[str, Tensor]:
        return {f"{b}.{end}": state[f"{a}.{end}"] for a, b in pairs.items() for end in ("weight", "bias")}

    ours_encoder = copied({"encoder_norm": "norm"})
    for i in range(len(network.encoder)):
        a, b = f"encoder.{i}", f"layers.{i}"
        ours_encoder |= attention(f"{a}.attention", f"{b}.self_attn")
        ours_encoder |= copied({f"{a}.attention_norm": f"{b}.norm1", f"{a}.feed_forward.0": f"{b}.norm2"})
        ours_encoder |= copied({f"{a}.feed_forward.1": f"{b}.linear1", f"{a}.feed_forward.3": f"{b}.linear2"})
    encoder.double().eval().load_state_dict(ours_encoder)
    ours_decoder = copied({"decoder_norm": "norm"})
    for i in range(len(network.decoder)):
        a, b = f"decoder.{i}", f"layers.{i}"
        ours_decoder |= attention(f"{a}.attention", f"{b}.self_attn")
        ours_decoder |= attention(f"{a}.source_attention", f"{b}.multihead_attn")
        ours_decoder |= copied({f"{a}.attention_norm": f"{b}.norm1", f"{a}.source_norm": f"{b}.norm2"})
        ours_decoder |= copied({f"{a}.feed_forward.0": f"{b}.norm3"})
        ours_decoder |= copied({f"{a}.feed_forward.1": f"{b}.linear1", f"{a}.feed_forward.3": f"{b}.linear2"})
    decoder.double().eval().load_state_dict(ours_decoder)
    return encoder, decoder


def waves(length: int, units: int) -> Tensor:
    angle = [[p / 10_000 ** (2 * i / units) for i in range(units // 2)] for p in range(length)]
    rows = [[math.sin(a) for a in row] + [math.cos(a) for a in row] for row in angle]
    return torch.tensor(rows, dtype=torch.float64)


@torch.no_grad()
def test_it_is_pytorchs_pre_norm_transformer() -> None:
    torch.manual_seed(0)
    network = cast(Network, Transformer(depth=2, units=12, heads=3).build((11,), 11).double().eval())
    for parameter in network.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    encoder, decoder = reference_of(network, heads=3)
    lengths = torch.tensor([5, 2, 4])
    source, target = torch.randint(4, 11, (3, 5)), torch.randint(4, 11, (3, 6))
    padding = torch.arange(5) >= lengths.unsqueeze(1)
    table = network.words.target.weight
    memory = encoder(table[source] * 12**0.5 + waves(5, 12), src_key_padding_mask=padding)
    hidden = decoder(
        table[target] * 12**0.5 + waves(6, 12),
        memory,
        tgt_mask=torch.ones(6, 6).triu(1).bool(),
        memory_key_padding_mask=padding,
    )
    found = network(Sentences(source, lengths, target))
    torch.testing.assert_close(found, hidden @ table.T, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "units"),
    [
        (Transformer(), 256),
        (Transformer(units=100, heads=4), 96),
        (Transformer(units=12, heads=3, width=2.0), 24),
        (Transformer(units=32, heads=4, width=0.0625), 8),
    ],
)
def test_width_scales_units_to_even_heads(model: Transformer, units: int) -> None:
    network = cast(Network, model.build((9,), 9))
    assert network.words.target.weight.shape == (9, units)
    assert all(p.shape[-1] in (units, 4 * units) for p in network.parameters())


def test_ranges() -> None:
    for fields in (
        {"depth": 0}, {"depth": 13}, {"width": 17.0}, {"units": 1}, {"heads": 0}, {"feed_forward": 9},
        {"dropout": 1.0}, {"tied": ""},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(fields))):
            Transformer(**fields)
