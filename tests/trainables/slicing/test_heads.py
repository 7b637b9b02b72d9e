"""Whole heads of attention removed: those that stay are as wide as they were, and the rest is rebuilt."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from tests.trainables.slicing.networks import Text, batches_of, images, loss, made, masked, vit
from tests.trainables.slicing.test_slicing import assert_equal_outputs, shapes_of
from trainables.slicing.changes import Changes
from trainables.slicing.cut import Cut
from trainables.slicing.shapes import reshape
from trainables.slicing.slicing import sliced

HALF = Cut(width=0.5, heads="remove", round_to=1)
TEXTS = {
    f"{'one layer' if fused else 'three layers'}, {'kept' if scale else 'computed'} divisor": partial(
        Text, fused, scale
    )
    for fused in (True, False)
    for scale in (True, False)
}


@pytest.mark.parametrize("name", TEXTS)
def test_own_attention_loses_whole_heads(name):
    network = made(TEXTS[name])
    small, changes = sliced(network, batches_of(masked()), loss, HALF)
    assert changes.left == ()
    for block in small.blocks:
        assert (block.attention.heads, block.attention.head_dim) == (2, 8)
        assert block.attention.proj.in_features == 16
    check_rebuilt(TEXTS[name], small, changes, masked())


def test_pytorchs_attention_loses_whole_heads():
    small, changes = sliced(made(vit), batches_of(images(2)), loss, HALF)
    attentions = [each for each in small.modules() if isinstance(each, nn.MultiheadAttention)]
    assert [(each.num_heads, each.head_dim, each.embed_dim) for each in attentions] == [(2, 16, 32)] * 3
    check_rebuilt(vit, small, changes, images(2))


def check_rebuilt(make, small, changes: Changes, inputs) -> None:
    rebuilt = reshape(made(make, seed=1), changes, shapes_of(small))
    rebuilt.load_state_dict(small.state_dict())
    assert_equal_outputs(small, rebuilt, inputs)


@pytest.mark.parametrize("name", list(TEXTS)[:3:2])
def test_the_heads_that_go_are_those_of_the_least_weight(name):
    network = made(TEXTS[name])
    attention = network.blocks[1].attention
    wanted = (1, 2)
    with torch.no_grad():
        for head in {0, 1, 2, 3} - set(wanted):
            attention.proj.weight[:, head * 8 : head * 8 + 8] *= 1e-3
    small, _ = sliced(network, batches_of(masked()), loss, HALF)
    kept = small.blocks[1].attention.proj.weight
    channels = [head * 8 + place for head in wanted for place in range(8)]
    rows = [
        row
        for row in range(32)
        if any(torch.equal(attention.proj.weight[row, channels], each) for each in kept)
    ]
    assert len(rows) == 16


def test_a_width_between_heads_makes_them_narrower():
    small, _ = sliced(made(vit), batches_of(images(2)), loss, Cut(width=0.5))
    attentions = [each for each in small.modules() if isinstance(each, nn.MultiheadAttention)]
    assert [(each.num_heads, each.head_dim) for each in attentions] == [(4, 8)] * 3


def test_what_is_neither_is_refused():
    with pytest.raises(ValueError, match="heads must be one of"):
        Cut(heads="halved")
