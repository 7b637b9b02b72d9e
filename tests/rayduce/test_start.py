"""How commands start: help loads no large library, and errors are sentences in a process without any."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from rayduce.commands.app import app
from rayduce.commands.console import SAID_IN_A_SENTENCE
from search.sampling import names as sampler_names
from search.sampling.samplers import SAMPLERS
from studies import names as study_names
from studies.known import STUDIES
from trainables.method_names import SHORT_NAMES
from trainables.methods import METHODS

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = list(typer.main.get_group(app).commands)
HEAVY = ["dash", "mlflow", "numpy", "onnx", "optuna", "pandas", "plotly", "ray", "scipy", "torch"]

HELP = f"""
import sys
from typer.testing import CliRunner
from rayduce.commands.app import app
for name in sys.argv[1:]:
    done = CliRunner().invoke(app, [name, "--help"] if name else ["--help"])
    assert done.exit_code == 0, done.output
    loaded = [module for module in {HEAVY} if module in sys.modules]
    assert not loaded, (name, loaded)
"""


def fresh(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_no_help_loads_a_library_that_takes_seconds():
    done = fresh("-c", HELP, "", *COMMANDS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sweep", "diggits"), "There is no study 'diggits' (did you mean digits?); choose one of digits, "),
        (
            ("sweep", "digits", "--sampler", "tpo"),
            "There is no sampler 'tpo' (did you mean tpe?); choose one of tpe, ",
        ),
        (("sweep", "digits", "--methods", "lsqq"), "no method 'lsqq' (did you mean lsq?); choose from fp, "),
        (("sweep", "digits", "--methods", "cold"), "there is no method 'cold'; choose from fp, "),
        (("sweep", "digits", "--image-size", "8"), "--image-size is not for the study digits."),
        (("plan", "cifar10"), "CIFAR-10 is not embedded; pass --data DIR"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_wrong_argument_is_a_sentence_in_a_fresh_process(arguments, said, tmp_path):
    done = fresh("-m", "rayduce.commands.app", *arguments, "--store", tmp_path / "store")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("Error: ") and said in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("module", SAID_IN_A_SENTENCE)
def test_errors_that_are_told_by_name_are_those_of_their_modules(module):
    """A module that only imports the error may not be loaded where it is raised."""
    error = getattr(importlib.import_module(module), SAID_IN_A_SENTENCE[module])
    assert issubclass(error, Exception) and error.__module__ == module


def test_names_are_those_of_what_they_name():
    assert list(study_names.SUMMARIES) == [study.name for study in STUDIES]
    assert list(sampler_names.SUMMARIES) == [sampler.name for sampler in SAMPLERS]
    assert {short: method.name for short, method in METHODS.items()} == SHORT_NAMES


def test_every_public_name_is_there() -> None:
    import rayduce

    for name in rayduce.__all__:
        assert getattr(rayduce, name) is not None and name in dir(rayduce)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("sweep digits --bits 2:4", "write --range bits=LOW:HIGH or --fix bits=VALUE"),
        ("plan digits --learning-rate 1", "write --range learning_rate=LOW:HIGH"),
        ("sweep digits --max-byte 2k", "--max-bytes"),
        ("sweep digits --trials", "requires an argument"),
    ],
)
def test_a_number_of_the_search_that_is_given_as_an_option_is_told_how_it_is_given(command: str, told: str):
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 2 and told in " ".join(done.stderr.split())
    assert ("--range" in done.stderr) == ("No such option" in done.stderr)


def test_a_command_that_searches_nothing_does_not_speak_of_ranges():
    done = CliRunner().invoke(app, ["front", "--bits", "2"])
    assert done.exit_code == 2 and "No such option: --bits" in done.stderr and "--range" not in done.stderr
