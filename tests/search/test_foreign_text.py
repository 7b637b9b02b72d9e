"""Text from files, stores and the command line cannot speak to the terminal, whichever command shows it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from rayduce.commands.app import app
from rayduce.commands.display import Display
from rayduce_reader.packed_file import MAGIC, VERSION, checksum
from search.tracking.notes import plain
from search.tracking.record import Record
from trainables.codecs.binary import varint
from trainables.compression.compressed_weight import compress
from trainables.methods import Setting, full_precision
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.quantizers.base import Codes, Dense
from trainables.recipe import canonical_json
from trainables.shipping import packed_file
from trainables.shipping.evaluation import rebuild, ship
from trainables.shipping.packed_file import PackedFileError, pack
from trainables.tasks import Digits

ROOT = Path(__file__).resolve().parents[2]
RECIPE = full_precision(Setting(Digits(), Fresh(ConvNet(depth=1, width=0.25)), epochs=4))
TITLE = "\x1b]0;owned\x07"
HOSTILE = [
    TITLE,
    "\x9b31mred",
    "\ud800",
    "\u202eevil",
    "a\nb",
    "[bold]x[/bold]",
    "[link=http://example.org]y[/link]",
    "[/]",
    ":heart:",
    "back\\",
    "n" * 3000,
]


def rayduce(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def check_harmless(text):
    """Lines of printable characters that every encoding of Unicode takes."""
    assert text.isascii() or text.encode("utf-8")
    for line in text.split("\n"):
        assert line.isprintable(), repr(line)


@pytest.fixture
def student(tmp_path):
    path = tmp_path / "student.rdz"
    tensors = {name: Dense(torch.ones(2)) for name in HOSTILE}
    index = torch.zeros(16, dtype=torch.uint8)
    tensors |= {f"q{name}": Codes(index, (4, 4), 2, None, torch.zeros(1), torch.ones(1)) for name in HOSTILE}
    path.write_bytes(pack(replace(RECIPE, method=TITLE + "[bold]"), tensors))
    return path


@pytest.mark.parametrize("options", [(), ("--account",)], ids=["rows", "accounts"])
def test_inspect_shows_names_as_they_are_spelt(student, options):
    done = rayduce("inspect", student, *options)
    assert done.exit_code == 0, done.output
    check_harmless(done.stdout)
    for spelt in (r"\x1b]0;owned\x07", "[bold]x[/bold]", r"\x9b31mred", r"\ud800", r"\u202e", ":heart:"):
        assert spelt in done.stdout
    assert "n" * 300 not in done.stdout.replace("\n", "")


@pytest.mark.parametrize("options", [(), ("--account",)], ids=["rows", "accounts"])
def test_json_is_ascii_and_keeps_every_name(student, options):
    done = rayduce("inspect", student, *options, "--json")
    assert done.exit_code == 0 and done.stdout.isascii()
    check_harmless(done.stdout)
    rows = json.loads(done.stdout)
    names = [row["name"] for row in (rows[0]["tensors"] if options else rows)]
    assert set(names) >= {f"q{name}" for name in HOSTILE}


def test_evaluate_shows_the_method_as_it_is_spelt(tmp_path):
    path = tmp_path / "student.rdz"
    recipe = replace(RECIPE, method=TITLE + "[bold]")
    path.write_bytes(ship(recipe, compress(recipe.build(), recipe)))
    done = rayduce("evaluate", path)
    assert done.exit_code == 0, done.output
    check_harmless(done.stdout)
    assert r"(\x1b]0;owned\x07[bold])" in done.stdout
    found = json.loads(rayduce("evaluate", path, "--json").stdout)
    assert found["method"] == recipe.method


def hostile_file(text, record=b"", elements=0):
    """A file with this header, whose checksum is right."""
    squeezed = packed_file._deflate(text.encode("ascii"))
    start = MAGIC + bytes([VERSION]) + varint(elements) + varint(len(squeezed)) + squeezed
    body = start + varint(len(record)) + record
    return body + checksum(body)


def errors():
    recipe = canonical_json(RECIPE)
    for name in HOSTILE:
        quoted = json.dumps(name)
        yield hostile_file(f"[{recipe},null,[{quoted}]]", b"\xff")
        for part in ('"ConvNet"', '"Digits"', f'"{RECIPE.method}"', '"float16"'):
            yield hostile_file(f"[{recipe.replace(part, json.dumps(name * 300), 1)},null,[]]")
        for seed in (f'"seed":{quoted}', f"{quoted}:0"):
            changed = recipe.replace('"seed":0', seed)
            yield hostile_file(f"[{changed},null,[]]")


def test_errors_about_files_are_short_and_harmless(tmp_path):
    path = tmp_path / "student.rdz"
    for number, data in enumerate(errors()):
        path.write_bytes(data)
        done = rayduce("inspect", path)
        if done.exit_code == 0:  # a method may have any name
            check_harmless(done.stdout)
            continue
        assert done.exit_code == 2 and done.stdout == "", number
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("Error: ")
        assert len(done.stderr) < 500 + len(str(path))
        check_harmless(done.stderr)


def test_what_does_not_fit_the_network_is_named_harmlessly():
    for name in HOSTILE:
        with pytest.raises(PackedFileError, match="first difference") as caught:
            rebuild(RECIPE, {f"\0{name}": Dense(torch.ones(1))})
        check_harmless(str(caught.value))
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_paths_of_any_bytes_are_printed(tmp_path, encoding):
    """In a process of its own, since it is Python's start that decodes the command line."""
    path = os.fsencode(tmp_path) + b"/caf\xe9\x1b[31m.rdz"
    Path(os.fsdecode(path)).write_bytes(pack(RECIPE, {"bias": Dense(torch.ones(2))}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}

    def run(*arguments):
        command = [sys.executable, "-m", "rayduce.commands.app", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, timeout=100)

    done = run(b"inspect", path)
    assert done.returncode == 0, done.stderr
    assert rb"caf\xe9\x1b[31m.rdz" in done.stdout.replace(b"\n", b"")
    missing = run(b"inspect", path + b"x")
    assert missing.returncode == 2 and missing.stderr.count(b"\n") == 1
    assert rb"\x1b[31m.rdzx" in missing.stderr and b"Traceback" not in missing.stderr
    assert b"\x1b" not in done.stdout + missing.stderr


@pytest.mark.parametrize("terminal", [False, True])
def test_the_display_of_a_sweep_shows_what_trials_say_harmlessly(terminal):
    page = StringIO()
    console = Console(file=page, force_terminal=terminal, color_system=None, width=400)
    display = Display(console, "[bold]sweep", 2)
    display.say(f"{TITLE}[bold]")
    metrics = {"validation_accuracy": 0.5, "packed_bytes": 100, "compression_ratio": 2.0}
    records = {
        "1": record("1", state="failed", reason=f"{TITLE}\n\ud800[link=x]y"),
        "2": record("2", state="finished", metrics=metrics),
    }
    display.changed(records)
    console.print(display.rendered())
    text = page.getvalue()
    check_harmless(text.replace("\x1b[1m", ""))
    assert r"\x1b]0;owned\x07" in text and "[bold]" in text


def record(trial_id, **fields):
    return Record(trial_id, replace(RECIPE, method=f"{TITLE}[bold]"), **fields)


def test_markdown_shows_foreign_text_as_it_is_spelt():
    assert plain(f"{TITLE} [a](b) <b>") == r"\\x1b\]0;owned\\x07 \[a\](b) &lt;b&gt;"
    assert plain("\ud800\u202e") == r"\\ud800\\u202e"
    assert len(plain("n" * 100_000)) <= 2000
