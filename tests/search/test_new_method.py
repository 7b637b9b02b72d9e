"""A new method is its function and one line in the list: everything else knows it from there."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import optuna
import pytest
from typer.testing import CliRunner

from rayduce.commands.app import app
from spaces import Context
from spaces.architectures import fresh
from studies.images import IMAGES, sized
from trainables.method_names import SHORT_NAMES
from trainables.methods import METHODS, Setting, published
from trainables.models import ConvNet
from trainables.naming import short_name
from trainables.optimizers import AdamW
from trainables.quantizers import Symmetric
from trainables.ranges import Range
from trainables.recipe import Recipe
from trainables.tasks import Digits

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = Context(Digits(), fresh(ConvNet()), "0" * 16, epochs=4)


@published("Nobody 2026", "grid")
def warm_rounding(
    given: Setting,
    *,
    quantizer: Symmetric = Symmetric(3),
    optimizer: AdamW = AdamW(),
    warmth: Annotated[float, Range(0, 1, (0.25, 0.5))] = 0.3,
) -> Recipe:
    """Rounded while it is warm."""
    rate = optimizer.learning_rate * warmth
    return given.recipe(
        given.phase(replace(optimizer, learning_rate=rate), quantize=True), quantizer=quantizer
    )


@pytest.fixture(autouse=True)
def one_line(monkeypatch):
    monkeypatch.setitem(SHORT_NAMES, "warm", "warm_rounding")  # the line
    monkeypatch.setitem(METHODS, "warm", warm_rounding)  # what follows from it and from the import


def test_the_space_draws_it_and_runs_are_named_after_it():
    space = sized(IMAGES, (1, 2), (0.1, 1.0))
    parameters = space.parameters(CONTEXT)
    assert "warm_rounding" in parameters["method"].choices and parameters["warmth"].low == 0.25
    chosen = replace(space, methods=("warm_rounding",))
    (point,) = chosen.starting_points(CONTEXT)[:1]
    assert (point["warmth"], point["symmetric_bits"]) == (0.3, 3)
    recipe = space(optuna.trial.FixedTrial({**point, "warmth": 0.5}), CONTEXT)
    assert recipe.method == "warm_rounding" and recipe.phases[0].optimizer.learning_rate == 0.5 * 5e-3
    assert short_name(recipe).startswith("warm-3bit-channel-")
    narrowed = space.narrowed(CONTEXT.origins, ("warm",), ("warmth=1",), ())
    assert narrowed.parameters(CONTEXT)["method"].choices == ("warm_rounding",)


def test_the_command_line_lists_it():
    found = CliRunner().invoke(app, ["methods", "--json"])
    (row,) = [row for row in json.loads(found.stdout) if row["short"] == "warm"]
    assert (row["paper"], row["summary"]) == ("Nobody 2026", "Rounded while it is warm.")
    assert [handle["name"] for handle in row["handles"]][-1] == "warmth"
    table = CliRunner().invoke(app, ["methods"]).stdout
    assert "warm_rounding" in table and "warmth=0.25:0.5 (0.3)" in table
    assert "warm" in CliRunner().invoke(app, ["sweep", "--help"]).stdout.split("seqkd")[1]
    refused = CliRunner().invoke(app, ["sweep", "digits", "--methods", "cold"])
    last = list(SHORT_NAMES)[-2]
    assert refused.exit_code == 2 and f"{last}, warm." in refused.output.replace("\n", " ")


def test_the_documentation_has_to_have_it():
    spec = importlib.util.spec_from_file_location("build_methods", ROOT / "docs" / "build_methods.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "### warm_rounding (`warm`)" in module.page()
    assert "| `warmth` | [0, 1] | 0.25 to 0.5 | 0.3 |" in module.page()


def test_the_table_fits_80_columns():
    lines = CliRunner().invoke(app, ["methods"], env={"COLUMNS": "80"}).stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
