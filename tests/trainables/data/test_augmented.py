import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from trainables.data.augmented import BLOCK, Augmented
from trainables.data.decode import Items, decode, examine
from trainables.data.order import step_sizes
from trainables.data.sinks import InMemory


def items_of(count):
    sink, dataset = InMemory(), TensorDataset(torch.arange(float(count)), torch.arange(count))
    decode(dataset, examine(dataset, "train"), sink, lambda text: None)
    return Items(sink.arrays, "train")


def noisy(inputs, generator):
    return inputs + torch.rand(inputs.shape, generator=generator) / 2


@settings(max_examples=25, deadline=None)
@given(count=st.integers(2, 700), batch=st.integers(2, 130), order=st.integers(0, 2**40))
def test_an_epoch_has_every_sample_once_in_batches_of_the_right_sizes(count, batch, order):
    augmented, sizes = Augmented(items_of(count), noisy), step_sizes(count, batch)
    seen = list(augmented.mixed((1, 2), order, sizes))
    assert [len(index) for _, _, index in seen] == sizes
    index = torch.cat([each[2] for each in seen])
    assert torch.equal(index.sort().values, torch.arange(count))
    for inputs, targets, which in seen:
        assert torch.equal(targets, which) and torch.equal(inputs.floor().long(), which)


def test_a_view_is_the_same_in_every_order_and_another_view_is_another():
    augmented = Augmented(items_of(500), noisy)

    def view(parts):
        inputs, index = torch.cat([part[0] for part in parts]), torch.cat([part[2] for part in parts])
        return inputs[index.argsort()]

    whole = view(list(augmented.in_blocks((7, 0))))
    for order in (1, 2):
        assert torch.equal(view(list(augmented.mixed((7, 0), order, step_sizes(500, 64)))), whole)
    assert not torch.equal(view(list(augmented.in_blocks((7, 1)))), whole)


def test_samples_that_lie_in_the_order_of_their_classes_are_mixed_and_every_block_has_all():
    augmented = Augmented(items_of(64 * BLOCK), noisy)
    blocks = [index // (16 * BLOCK) for _, _, index in augmented.in_blocks((0, 0))]
    assert all(len(classes.unique()) == 4 for classes in blocks)
    first, second = (
        torch.cat([each[2] for each in augmented.mixed((0, 0), order, step_sizes(64 * BLOCK, 64))])
        for order in (1, 2)
    )
    assert not torch.equal(first, second)
    classes = first.view(-1, 64) // (16 * BLOCK)
    shares = torch.stack([(classes == each).float().mean(1) for each in range(4)])
    assert float(shares.std(1).max()) < 0.09  # drawn at random it would be 0.054


def test_augmentation_that_loses_samples_is_told():
    with pytest.raises(ValueError, match="as many samples as it gets, 32, got 31"):
        list(Augmented(items_of(64), lambda inputs, generator: inputs[1:]).in_blocks((0, 0)))
