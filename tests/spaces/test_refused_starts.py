"""A method that refuses one way in which students come to be is drawn with the others."""

from dataclasses import replace

import optuna
import pytest

from spaces import Context, Space
from spaces.architectures import SLICE, TEACHER
from trainables.models import ConvNet
from trainables.origins import Slice, Trained
from trainables.tasks import Digits

WHOLE = Trained(ConvNet(), "0" * 16)
ORIGINS = ((SLICE, Slice(WHOLE)), (TEACHER, WHOLE))
CONTEXT = Context(Digits(), ORIGINS, "0" * 16, epochs=4)


@pytest.mark.parametrize("method", ["scratch_e", "scratch_b"])
def test_scratch_is_drawn_of_slices_alone(method):
    space = Space(methods=(method, "full_precision"))
    assert not space.left_out(CONTEXT)
    distributions = space.parameters(CONTEXT)
    recipes = {}
    for start in (SLICE, TEACHER):
        for name in (method, "full_precision"):
            values = {key: d.low for key, d in distributions.items() if hasattr(d, "low")}
            values |= {"width": 0.5, "method": name, "start": start, "prune": False}
            recipes[start, name] = space(optuna.trial.FixedTrial(values), CONTEXT)
    assert recipes[TEACHER, "full_precision"].origin == WHOLE
    for start in (SLICE, TEACHER):
        assert recipes[start, method].origin.restart and recipes[start, method].method == method


def test_a_method_that_refuses_the_only_start_is_left_out_and_says_why():
    space = replace(Space(methods=("scratch_e", "full_precision")), fixed={"start": TEACHER})
    assert "these students are none" in space.left_out(CONTEXT)["scratch_e"]
