"""Users' own networks."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainables import methods
from trainables.models.custom import Custom, allow
from trainables.origins import Fresh
from trainables.recipe import Recipe
from trainables.tasks import Digits

NUMBERS = itertools.count()
GOOD = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, input_shape, outputs, depth, width):
        super().__init__()
        self.arguments = (input_shape, outputs, depth, width)
        self.layer = nn.Linear(input_shape[0] * input_shape[1] * input_shape[2], outputs)

    def forward(self, x):
        return self.layer(x.flatten(1))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of an importable module that holds ``GOOD`` and, per test, a fresh name."""
    name = f"users_module_{next(NUMBERS)}"
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{name}.py").write_text(GOOD)
    return name


def change(module: str, old: str, new: str) -> None:
    path = Path(sys.path[0]) / f"{module}.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def recipe(module: str) -> Recipe:
    return methods.full_precision(methods.Setting(Digits(), Fresh(Custom(f"{module}:Net")), epochs=1))


def test_an_allowed_class_is_built_with_the_documented_arguments(module: str) -> None:
    allow(f"{module}:Net")
    network = Custom(f"{module}:Net", depth=3, width=0.5).build((1, 8, 8), 10)
    assert network.arguments == ((1, 8, 8), 10, 3, 0.5)
    assert isinstance(network, nn.Module) and network.training


def test_a_target_that_was_not_allowed_is_not_imported(module: str) -> None:
    with pytest.raises(ValueError, match=f"pass --model {module}:Net"):
        Custom(f"{module}:Net").build((1, 8, 8), 10)
    allow(f"{module}:Other")
    with pytest.raises(ValueError, match="--model"):
        Custom(f"{module}:Net").build((1, 8, 8), 10)
    assert module not in sys.modules


@pytest.mark.parametrize(
    "target",
    ["", "net", "a:b:c", "a.b", ":Net", "a:", "a:.b", "os:system('x')", "a b:c", "a..b:c", "1a:B", "a:B\n"],
)
def test_malformed_targets_are_refused(target: str) -> None:
    with pytest.raises(ValueError, match="module:Class"):
        Custom(target)
    with pytest.raises(ValueError, match="module:Class"):
        allow(target)


def test_what_cannot_be_imported_is_one_clear_error(module: str) -> None:
    for target, message in (
        ("no_such_module_anywhere:Net", "no_such_module_anywhere cannot be imported: ModuleNotFoundError"),
        (f"{module}:Absent", f"{module} has no class Absent"),
        (f"{module}:torch", "must be a subclass of torch.nn.Module"),
    ):
        allow(target)
        with pytest.raises(ValueError, match=message):
            Custom(target).build((1, 8, 8), 10)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "import torch\n",
            "import torch\nraise RuntimeError('boom')\n",
            "cannot be imported: RuntimeError: boom",
        ),
        ("outputs, depth, width):", "outputs, depth):", "failed: TypeError.*width"),
        ("x.flatten(1)", "x.flatten()", "fails on an input of shape"),
        (
            "return self.layer(x.flatten(1))",
            "return self.layer(x.flatten(1))[:, :3]",
            r"shape \(2, 10\), got \(2, 3\)",
        ),
        (
            "return self.layer(x.flatten(1))",
            "return {'logits': x}",
            "one tensor in eval mode, got dict",
        ),
    ],
)
def test_a_class_that_breaks_the_contract_says_how(module: str, old: str, new: str, message: str) -> None:
    change(module, old, new)
    allow(f"{module}:Net")
    with pytest.raises(ValueError, match=message):
        recipe(module).build()


def test_trying_the_network_out_does_not_train_it(module: str) -> None:
    change(module, "self.layer =", "self.norm = nn.BatchNorm2d(input_shape[0])\n        self.layer =")
    change(module, "self.layer(x.", "self.layer(self.norm(x + 5).")
    allow(f"{module}:Net")
    network: Any = recipe(module).build()
    assert torch.equal(network.norm.running_mean, torch.zeros(1)) and network.norm.training
