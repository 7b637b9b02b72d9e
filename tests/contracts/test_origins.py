"""What every origin promises: a network for the task, of the architecture that it names."""

import pytest
import torch

from tests.recipes import STUDENT
from trainables.folding import fold_batch_norms
from trainables.origins import ORIGINS, Fresh, Trained
from trainables.origins.base import fresh_network
from trainables.tasks import Digits
from trainables.teachers.sources import LocalSources, NoSources

CPU = torch.device("cpu")
NETWORK = "a" * 16
EXAMPLES = (Fresh(STUDENT), Trained(STUDENT, NETWORK))


@pytest.fixture(scope="module")
def data():
    return Digits().open(Digits().load(None), CPU, 0)


@pytest.fixture(scope="module")
def sources():
    torch.manual_seed(1)
    trained = fold_batch_norms(fresh_network(STUDENT, Digits()))
    return LocalSources({NETWORK: trained}.__getitem__)


def test_each_member_has_an_example():
    assert {type(origin) for origin in EXAMPLES} == set(ORIGINS)


@pytest.mark.parametrize("origin", EXAMPLES, ids=lambda o: type(o).__name__)
def test_the_network_is_of_the_model_and_a_function_of_the_generator(origin, data, sources):
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        model, network = origin.build(Digits(), data, sources)
        states.append(network.state_dict())
        expected = model.build((1, 8, 8), 10).state_dict()
        assert {k: v.shape for k, v in states[-1].items()} == {k: v.shape for k, v in expected.items()}
    assert model == origin.model
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("origin", EXAMPLES, ids=lambda o: type(o).__name__)
def test_only_a_parent_is_asked_for(origin, data):
    if origin.parent is None:
        origin.build(Digits(), data, NoSources())
    else:
        with pytest.raises(ValueError, match=origin.parent):
            origin.build(Digits(), data, NoSources())


@pytest.mark.parametrize("origin", EXAMPLES, ids=lambda o: type(o).__name__)
def test_a_network_that_is_no_answer_to_the_task_is_refused(origin, data, sources, monkeypatch):
    monkeypatch.setattr(type(STUDENT), "build", lambda self, shape, outputs: torch.nn.Linear(8, outputs + 1))
    with pytest.raises(ValueError):
        origin.build(Digits(), data, sources)
