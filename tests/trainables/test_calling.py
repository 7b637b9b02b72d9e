import torch

from trainables.calling import call, mapped, samples_of, tensors_of
from trainables.translation.sentences import Sentences


def test_a_tuple_is_positional_a_dict_is_named_and_a_tasks_own_inputs_are_one_argument():
    one, two = torch.ones(3, 2), torch.zeros(3)
    assert call(lambda x: x, one) is one
    assert call(lambda x, y: (y, x), (one, two)) == (two, one)
    assert call(lambda x, *, mask: (mask, x), {"mask": two, "x": one}) == (two, one)
    sentences = Sentences(one, two, one)
    assert call(lambda x: x, sentences) is sentences


def test_every_tensor_of_a_batch_is_reached_and_the_form_is_kept():
    one, two = torch.ones(3, 2), torch.zeros(3)
    for inputs in (one, (one, two), {"a": one, "b": two}, Sentences(one, two, one)):
        halves = mapped(lambda tensor: tensor[:2], inputs)
        assert type(halves) is type(inputs) and samples_of(inputs) == 3 and samples_of(halves) == 2
        assert [len(each) for each in tensors_of(halves)] == [2] * len(tensors_of(inputs))
