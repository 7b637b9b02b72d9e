"""An edited class is another one: in recipes, in tables of latencies, in sweeps that go on or look back."""

from __future__ import annotations

import importlib
import itertools
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from search.problem import Problem
from search.sweeps.settings import check_same
from studies.known import find_study
from studies.study import StudyError
from trainables import methods
from trainables.identity import code_of, source_of
from trainables.models import ConvNet
from trainables.models.custom import CodeChanged, Custom, allow, code_of_target
from trainables.origins import Fresh
from trainables.recipe import Recipe
from trainables.shipping.evaluation import open_student
from trainables.tasks import Digits
from trainables.teachers.sources import NoSources
from trainables.training.trainer import Trainer
from trainables.training.trial_metrics import TrialSettings, latencies

NUMBERS = itertools.count()
NETWORK = '''"""A network."""
from torch import nn
from {package}.parts import activation

class Net(nn.Module):
    def __init__(self, input_shape, outputs, depth, width):
        super().__init__()
        self.a, self.b = nn.Linear(64, 8), nn.Linear(8, outputs)
    def forward(self, x):
        return self.b(activation(self.a(x.flatten(1))))
'''
PARTS = '''from .deeper.helpers import slope  # not used elsewhere
def activation(x):
    """What is not linear."""
    return x.relu() * slope
'''


class Package:
    """A user's package: ``nets`` imports ``parts``, which imports ``deeper.helpers``."""

    def __init__(self, folder: Path) -> None:
        self.name = f"users_package_{next(NUMBERS)}"
        self.folder = folder / self.name
        (self.folder / "deeper").mkdir(parents=True)
        for place in (self.folder, self.folder / "deeper"):
            (place / "__init__.py").write_text("")
        (self.folder / "nets.py").write_text(NETWORK.format(package=self.name))
        (self.folder / "parts.py").write_text(PARTS)
        (self.folder / "deeper" / "helpers.py").write_text("slope = 1.0\n")
        (self.folder / "unrelated.py").write_text("x = 1\n")
        self.target = f"{self.name}.nets:Net"
        allow(self.target)

    def edit(self, file: str, old: str, new: str) -> None:
        """Change a file, and let the interpreter read it anew, as the next process would."""
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        for name in [each for each in sys.modules if each.partition(".")[0] == self.name]:
            del sys.modules[name]
        importlib.invalidate_caches()

    def code(self) -> str:
        return code_of_target(self.target)

    def recipe(self) -> Recipe:
        model = Custom(self.target, code=self.code())
        return methods.full_precision(methods.Setting(Digits(), Fresh(model), epochs=1))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    return Package(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("nets.py", "return self.b(", "return 0.0 * self.b("),
        ("nets.py", "64, 8), nn.Linear(8", "64, 9), nn.Linear(9"),
        ("parts.py", "x.relu()", "x.tanh()"),
        ("deeper/helpers.py", "1.0", "2.0"),
    ],
)
def test_an_edit_of_what_it_does_changes_the_digest(package: Package, file: str, old: str, new: str) -> None:
    before = package.recipe()
    package.edit(file, old, new)
    assert package.code() != before.model.code  # type: ignore[attr-defined]
    assert package.recipe().recipe_id != before.recipe_id


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("nets.py", '"""A network."""', '"""A better description."""'),
        ("nets.py", "return self.b(", "# a comment\n        return  self.b( "),
        ("parts.py", '"""What is not linear."""', ""),
        ("parts.py", "  # not used elsewhere", ""),
        ("unrelated.py", "x = 1", "x = 2"),
    ],
)
def test_comments_layout_and_other_modules_do_not(package: Package, file: str, old: str, new: str) -> None:
    before = package.code()
    package.edit(file, old, new)
    assert package.code() == before


def test_another_process_finds_the_same(package: Package) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(package.folder.parent)!r}); sys.dont_write_bytecode = True\n"
        f"import {package.name}.unrelated\n"
        f"from {package.name}.nets import Net\nfrom trainables.identity import code_of\n"
        "print(code_of(Net((1, 8, 8), 10, 1, 1.0)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout.strip() == code_of(Custom(package.target).build((1, 8, 8), 10))


def test_a_class_without_a_file_counts_by_its_byte_code() -> None:
    def typed(body: str) -> type[nn.Module]:
        scope = {"nn": nn, "__name__": "typed_in"}
        exec(f"class Net(nn.Module):\n  def forward(self, x):\n    {body}", scope)
        return scope["Net"]  # type: ignore[return-value]

    digests = {source_of([typed(body)]) for body in ("return x + 1", "return x + 2", "return x * 1")}
    assert len(digests) == 3 and source_of([typed("return x + 1")]) in digests


def test_what_no_repr_tells_is_part_of_a_network() -> None:
    assert repr(nn.MultiheadAttention(16, 2)) == repr(nn.MultiheadAttention(16, 4))
    assert code_of(nn.MultiheadAttention(16, 2)) != code_of(nn.MultiheadAttention(16, 4))
    layer = nn.Linear(4, 4)
    network = nn.Sequential(layer)
    before = code_of(network)
    assert code_of(network.eval()) == before  # neither the mode nor the weights
    nn.init.zeros_(layer.weight)
    assert code_of(network) == before
    network.register_buffer("shift", torch.zeros(3))
    assert code_of(network) != before


def test_measured_milliseconds_are_not_those_of_an_edited_class(package: Package, tmp_path: Path) -> None:
    settings = TrialSettings(tmp_path / "table", teacher_bytes=1)

    def measured() -> set[str]:
        recipe = package.recipe()
        task = recipe.task.open(recipe.task.load(None), torch.device("cpu"), 0)
        file = Trainer(recipe, task, NoSources(), torch.device("cpu")).ship()
        latencies(recipe, file, open_student(file)[1], settings)
        (table,) = (tmp_path / "table").glob("*.json")
        return set(table.read_text().split('"'))

    before = measured()
    assert measured() == before
    package.edit("parts.py", "return x.relu()", "return x.relu().relu()")  # of the same repr and shapes
    assert len(measured() - before) >= 1


def test_reading_a_file_of_an_edited_class_warns_and_training_it_is_refused(package: Package) -> None:
    recipe = package.recipe()
    task = recipe.task.open(recipe.task.load(None), torch.device("cpu"), 0)
    file = Trainer(recipe, task, NoSources(), torch.device("cpu")).ship()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_student(file)
    package.edit("nets.py", "return self.b(", "return 0.0 * self.b(")
    with pytest.warns(CodeChanged, match=rf"the code of {package.target} was edited since: its digest is"):
        open_student(file)
    with pytest.raises(ValueError, match=r"was edited since.*undo the edit, or start a new sweep"):
        Trainer(recipe, task, NoSources(), torch.device("cpu"))


def test_a_study_of_own_students_names_their_code(package: Package) -> None:
    student = find_study("digits", own_model=package.target).students[0][1].model
    assert isinstance(student, Custom) and student.code == package.code()
    assert replace(student, depth=3).code == student.scaled(2, 0.5).code == student.code
    with pytest.raises(
        StudyError, match="--model nobody_has_it:Net: module nobody_has_it cannot be imported"
    ):
        find_study("digits", own_model="nobody_has_it:Net")


def test_a_sweep_does_not_go_on_with_an_edited_class() -> None:
    settings = {"data": "d", "teacher": "t", "code": {"own model": "0123"}}
    assert check_same("mine", settings, settings) == []
    with pytest.raises(Problem, match="class was edited since the sweep mine was started"):
        check_same("mine", settings, {**settings, "code": {"own model": "4567"}})


def test_our_own_classes_are_no_users_code() -> None:
    network = ConvNet().build((1, 8, 8), 10)
    assert source_of(type(each) for each in network.modules()) == source_of([nn.Linear])
