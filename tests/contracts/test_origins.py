"""What every origin promises: a network for the task, of the architecture that it names."""

import pytest
import torch

from tests.recipes import STUDENT
from trainables.exiting.exits import Exits
from trainables.folding import fold_batch_norms
from trainables.models.own import Own
from trainables.origins import ORIGINS, Fresh, Given, Slice, Trained, WithExits
from trainables.origins.base import fresh_network
from trainables.own_code import allow_file
from trainables.slicing.cut import Cut
from trainables.tasks import Digits
from trainables.teachers.sources import LocalSources, NoSources

CPU = torch.device("cpu")
NETWORK = "a" * 16
OWN = Own("origin_net", "0" * 16, "b" * 16)
CUT = Cut(width=0.5, round_to=1)
EXAMPLES = (
    Fresh(STUDENT),
    Trained(STUDENT, NETWORK),
    Given(OWN),
    Slice(Trained(STUDENT, NETWORK), CUT),
    Slice(Given(OWN), CUT),
    Slice(Fresh(STUDENT), CUT, restart=True),
    WithExits(Trained(STUDENT, NETWORK)),
    WithExits(Given(OWN), Exits(kind="gate")),
    WithExits(Slice(Given(OWN), CUT), Exits(count=1)),
)


def spelled(origin):
    of = f" of {spelled(origin.of)}" if hasattr(origin, "of") else ""
    return f"{type(origin).__name__}{of}"


WHOLE = tuple(origin for origin in EXAMPLES if not hasattr(origin, "of"))
SLICES = tuple(origin for origin in EXAMPLES if isinstance(origin, Slice))
FILE = """
from trainables.models import ConvNet

def network():
    return ConvNet(depth=1, width=1.0, stages=((4,), (8,)), hidden=(8,), kernel_size=3).build((1, 8, 8), 10)
"""


@pytest.fixture(scope="module", autouse=True)
def own_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "origin_net.py"
    path.write_text(FILE)
    return allow_file(path)


@pytest.fixture(scope="module")
def data():
    return Digits().open(Digits().load(None), CPU, 0)


@pytest.fixture(scope="module")
def sources(own_file):
    torch.manual_seed(1)
    trained = fold_batch_norms(fresh_network(STUDENT, Digits()))
    return LocalSources({NETWORK: trained}.__getitem__, {OWN.weights: own_file.network().state_dict()})


@pytest.mark.parametrize("origin", EXAMPLES, ids=spelled)
def test_an_outline_has_the_shape_of_the_student(origin, data, sources):
    torch.manual_seed(3)
    _, network = origin.build(Digits(), data, sources)
    _, outline = origin.outline(Digits(), data)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert {name: tensor.shape for name, tensor in outline.state_dict().items()} == shapes


@pytest.mark.parametrize("origin", SLICES, ids=spelled)
def test_a_slice_is_smaller(origin, data, sources):
    torch.manual_seed(3)
    _, network = origin.build(Digits(), data, sources)
    _, whole = origin.of.build(Digits(), data, sources)
    assert sum(p.numel() for p in network.parameters()) < 0.6 * sum(p.numel() for p in whole.parameters())


@pytest.mark.parametrize("origin", [each for each in EXAMPLES if hasattr(each, "of")], ids=spelled)
def test_what_wraps_another_origin_is_rebuilt_from_its_shapes(origin, data, sources):
    torch.manual_seed(3)
    model, network = origin.build(Digits(), data, sources)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    again = model.rebuilt((1, 8, 8), 10, shapes)
    again.load_state_dict(network.state_dict())
    inputs = torch.randn(5, 1, 8, 8)
    assert torch.equal(again.eval()(inputs), network.eval()(inputs))


def test_each_member_has_an_example():
    assert {type(origin) for origin in EXAMPLES} == set(ORIGINS)


@pytest.mark.parametrize("origin", WHOLE, ids=spelled)
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


@pytest.mark.parametrize("origin", EXAMPLES, ids=spelled)
def test_only_a_parent_is_asked_for(origin, data):
    if origin.parent is None:
        origin.build(Digits(), data, NoSources())
    else:
        with pytest.raises(ValueError, match=origin.parent):  # of a slice that of what is cut
            origin.build(Digits(), data, NoSources())


@pytest.mark.parametrize("origin", (Fresh(STUDENT), Trained(STUDENT, NETWORK)), ids=spelled)
def test_a_network_that_is_no_answer_to_the_task_is_refused(origin, data, sources, monkeypatch):
    monkeypatch.setattr(type(STUDENT), "build", lambda self, shape, outputs: torch.nn.Linear(8, outputs + 1))
    with pytest.raises(ValueError):
        origin.build(Digits(), data, sources)
