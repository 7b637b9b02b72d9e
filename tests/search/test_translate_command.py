"""`rayduce translate` as a user's shell runs it: any bytes in, a line for each line out."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from rayduce.commands.app import app
from rayduce.commands.student import translate
from tests.trainables.translation import write_pairs
from trainables import methods
from trainables.models import ConvNet, Custom, Transformer
from trainables.models.base import Model
from trainables.models.custom import _allowed, allow
from trainables.origins import Fresh
from trainables.recipe import Recipe
from trainables.shipping.evaluation import ship
from trainables.shipping.translator import PackedTranslator
from trainables.tasks import Digits, TextPairs

OWN = "examples.own_translator:Translator"
ROOT = Path(__file__).resolve().parents[2]


def packed(recipe: Recipe, assets: dict[str, torch.Tensor]) -> bytes:
    """An untrained student: it says something of every sentence, if nothing that helps."""
    torch.manual_seed(0)
    return ship(recipe, recipe.build(), assets=assets)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextPairs, dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("pairs")
    task = write_pairs(folder)
    return task, dict(task.open(task.load(folder), torch.device("cpu"), 0).assets())


def written(folder: Path, pairs: tuple[TextPairs, dict[str, torch.Tensor]], model: Model) -> Path:
    file = folder / "student.rdz"
    file.write_bytes(
        packed(methods.full_precision(methods.Setting(pairs[0], Fresh(model), epochs=1)), pairs[1])
    )
    return file


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, pairs: tuple[TextPairs, dict[str, torch.Tensor]]) -> Path:
    return written(tmp_path_factory.mktemp("student"), pairs, Transformer(depth=1, units=8, heads=2))


def test_every_line_has_its_translation_whatever_bytes_it_is_of(file: Path) -> None:
    lines = [b"der hund den vogel sieht", b"", b"  \t", "漢字 ☃".encode(), b"\xff\xfe hund", b"vogel"]
    done = CliRunner().invoke(app, ["translate", str(file), "--beam", "2"], input=b"\r\n".join(lines))
    assert done.exit_code == 0 and done.stderr == ""
    translator = PackedTranslator(file.read_bytes())
    expected = translator.translate([line.decode("utf-8", "replace") for line in lines], 2)
    assert done.stdout_bytes.decode().split("\n") == [*expected, ""]
    assert expected[1] == expected[2] == "" and expected[0] and expected[3]


def test_a_very_long_line_and_none(file: Path) -> None:
    command = ["translate", str(file), "--beam", "1"]
    assert CliRunner().invoke(app, command, input=b"").stdout_bytes == b""
    done = CliRunner().invoke(app, command, input=b"hund " * 700 + b"\nvogel\n")
    assert done.exit_code == 0 and done.stdout_bytes.count(b"\n") == 2


def test_who_reads_may_stop_and_nothing_may_be_there_to_read(file: Path) -> None:
    command = f"{sys.executable} -m rayduce.commands.app translate {file}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for shell, text, code in (
        (f"yes hund | head -n 3000 | {command} --beam 1 | head -n 1", "", 0),
        (f"{command} <&-", "There is nothing to translate: standard input is closed.", 2),
    ):
        done = subprocess.run(shell, shell=True, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == code
        assert text in done.stderr and bool(text) == bool(done.stderr), done.stderr


def test_what_is_said_is_utf_8_in_every_locale(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PackedTranslator, "translate", lambda self, lines, beam: ["São Tomé"] * len(lines))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(said := io.BytesIO(), encoding="ascii"))
    translate(file)
    assert said.getvalue().decode() == "São Tomé\nSão Tomé\n"


def test_a_translator_of_ones_own_is_asked_for_by_name(
    pairs: tuple[TextPairs, dict[str, torch.Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    allow(OWN)
    file = written(tmp_path, pairs, Custom(OWN, depth=1, width=1 / 16))
    expected = PackedTranslator(file.read_bytes()).translate(["hund"])
    _allowed.discard(OWN)
    refused = CliRunner().invoke(app, ["translate", str(file)], input="hund\n")
    assert refused.exit_code == 2 and f"if you trust it, pass --model {OWN}" in refused.stderr
    done = CliRunner().invoke(app, ["translate", str(file), "--model", OWN], input="hund\n")
    assert (done.exit_code, done.stdout) == (0, f"{expected[0]}\n")


def test_files_that_do_not_translate_are_refused(file: Path, tmp_path: Path) -> None:
    digits = tmp_path / "digits.rdz"
    recipe = methods.full_precision(methods.Setting(Digits(), Fresh(ConvNet(depth=1, width=0.1)), epochs=1))
    digits.write_bytes(packed(recipe, {}))
    missing = tmp_path / "missing.rdz"
    for path, more, message in (
        (digits, [], f"{digits}: a student of Digits does not translate."),
        (missing, [], f"Error: cannot read {missing}: No such file or directory"),
        (file, ["--model", OWN], "The student is a Transformer of Rayduce's own; leave out --model."),
    ):
        done = CliRunner().invoke(app, ["translate", str(path), *more], input="hund\n")
        assert done.exit_code == 2 and message in done.stderr.replace("\n", "")
