"""A method that brings a pruner of its own decides alone what is pruned."""

from dataclasses import replace

import pytest

from spaces import Context, Space
from spaces.architectures import fresh
from trainables.method_names import SHORT_NAMES
from trainables.methods import METHODS, Setting, published
from trainables.models import ConvNet
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.pruners import Magnitude, NoPruner
from trainables.recipe import Recipe
from trainables.tasks import Digits

CONTEXT = Context(Digits(), fresh(ConvNet()), "0" * 16, epochs=4)


@published("", "pruning")
def self_pruned(given: Setting, *, pruner: Magnitude = Magnitude(0.7), optimizer: AdamW = AdamW()) -> Recipe:
    """Pruned in any case."""
    given = given.pruned_by(pruner)
    return given.recipe(given.phase(optimizer))


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(SHORT_NAMES, "own", "self_pruned")
    monkeypatch.setitem(METHODS, "own", self_pruned)


def test_the_space_draws_its_sparsity_and_asks_nothing_else():
    space = Space(methods=("self_pruned",))
    assert "prune" not in space.parameters(CONTEXT)
    (point,) = space.starting_points(CONTEXT)
    assert point["sparsity"] == 0.7
    both = Space(methods=("self_pruned", "full_precision"))
    points = {point["method"]: point for point in both.starting_points(CONTEXT)}
    assert "prune" not in points["self_pruned"] and points["full_precision"]["prune"] is False


def test_two_pruners_are_refused():
    given = Setting(Digits(), Fresh(ConvNet()), 4)
    assert self_pruned(given).pruner == Magnitude(0.7) and self_pruned(given).phases[0].prune
    assert self_pruned(given, pruner=Magnitude(0.5)).pruner == Magnitude(0.5)
    with pytest.raises(ValueError, match="give it as the method's pruner"):
        self_pruned(replace(given, pruner=Magnitude(0.5)))
    assert given.pruner == NoPruner()
