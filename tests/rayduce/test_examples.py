"""The examples of users' own networks, as a user runs them."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from rayduce.commands.app import app
from search.teaching.given import packed_as_given
from spaces.architectures import SLICE
from studies.job import study_of_file
from trainables import methods
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import train

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["own_network", "own_regression", "own_text"]
QUALITY = {"own_network": "accuracy", "own_regression": "mean_error", "own_text": "accuracy"}
CPU = torch.device("cpu")


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy, with a checkpoint of weights as they are drawn."""
    path = tmp_path / f"{request.param}.py"
    shutil.copy(ROOT / "examples" / path.name, path)
    made = runpy.run_path(str(path), run_name="not_main")
    torch.manual_seed(0)
    torch.save(made["network"]().state_dict(), tmp_path / made["weights"])
    return path


@pytest.mark.parametrize("example", NAMES, indirect=True)
def test_a_student_of_an_example_is_trained_packed_and_rebuilt(example: Path) -> None:
    study = study_of_file(example)
    task = study.make_task(None, {})
    assert study.arrays is not None
    loaded = task.open(study.arrays, CPU, 0)
    recipe = study.teacher_recipe(task)
    file = packed_as_given(recipe, loaded, study.given)
    teacher = open_student(file)[1]
    sources = LocalSources(lambda recipe_id: teacher, study.given)
    setting = methods.Setting(task, dict(study.students)[SLICE], 1, recipe.recipe_id, study.teacher_views)
    student = train(methods.quantized_distillation(setting), loaded, sources, CPU)
    assert len(student) < len(file) / 3
    [(name, value)] = evaluate_file(student, loaded, "validation").items()
    assert name == QUALITY[example.stem] and value == evaluate_file(student, loaded, "validation")[name]
    assert study.streamed == "" and study.teacher_views == 1


def test_the_first_example_is_as_short_as_it_says() -> None:
    text = (ROOT / "examples" / "own_network.py").read_text()
    job = text.partition('"""\n\n')[2].partition("\nif __name__")[0]
    assert len([line for line in job.splitlines() if line.strip()]) <= 25
    readme = (ROOT / "README.md").read_text()
    [shown] = re.findall(r"```python\n(from my_project.*?)```", readme, re.DOTALL)
    assert len(shown.splitlines()) <= 20 and {"weights", "network", "data"} <= set(re.findall(r"\w+", shown))
    compile(shown, "net.py", "exec")


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_trained_and_searched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of the first in a process of its own; what follows the others' sweeps in this one."""
    path = tmp_path / f"{name}.py"
    shutil.copy(ROOT / "examples" / path.name, path)
    monkeypatch.chdir(tmp_path)
    rayduce = outside("-m", "rayduce.commands.app")
    outside(path.name)()
    assert path.with_suffix(".pt").is_file()
    settings = ("--trials", "2", "--epochs", "2", "--concurrency", "1")
    said = rayduce("sweep", path.name, *settings, "--scheduler", "none")
    assert f"{name}-1: 2 students" in said
    after = rayduce if name == NAMES[0] else inside
    run_id = re.findall(r"^[0-9a-f]{8}(?= )", after("front"), re.MULTILINE)[-1]
    after("export", run_id, "best.rdz")
    for source in ((path.name,), ("best.rdz", "--model", path.name)):
        assert "on the test split" in after("evaluate", *source)
    after("export", "best.rdz", "best.onnx", "--model", path.name)
    commands = re.findall("^  rayduce (.*)$", said, re.MULTILINE)
    # What two short trainings give is within no limit, which is what `choose` would say.
    assert commands[-3:] == [f"choose {name}-1", "dashboard", "mlflow"]
    assert commands[0].endswith(" student.rdz")
    for command in commands[:-3]:
        after(*shlex.split(command))
    assert (tmp_path / "student.rdz").is_file()


def outside(*program: str) -> Callable[..., str]:
    """What a program prints in a process of its own, given its arguments."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "OMP_NUM_THREADS": "1"}

    def run(*command: str) -> str:
        line = [sys.executable, *program, *command]
        done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def inside(*command: str) -> str:
    """What a command prints in this process."""
    done = CliRunner().invoke(app, list(command))
    assert done.exit_code == 0, done.output
    return done.stdout
