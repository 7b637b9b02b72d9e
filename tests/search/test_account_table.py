"""``rayduce inspect --account``: what it prints, what it gives to programs, and what it refuses."""

import json
from io import StringIO

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from rayduce.commands.account_table import account_records, account_tables
from rayduce.commands.app import app
from trainables.methods import Setting, full_precision
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.quantizers.base import Codes, Dense
from trainables.shipping.accounting import ACCOUNTINGS, account
from trainables.shipping.packed_file import describe, pack
from trainables.tasks import Digits

RECIPE = full_precision(Setting(Digits(), Fresh(ConvNet(depth=1)), epochs=4))
TENSORS = {
    "stages.0.[bold]convolution.parametrized.weight": Codes(
        index=torch.arange(4096, dtype=torch.int32).remainder(16).to(torch.uint8),
        shape=(64, 64),
        bits=4,
        bucket_size=256,
        offset=torch.linspace(0, 1, 16),
        scale=torch.ones(16),
    ),
    "fc.weight": Dense(torch.rand(40, 30)),
    "fc.bias": Dense(torch.rand(40)),
}


@pytest.fixture
def student(tmp_path):
    path = tmp_path / "student.rdz"
    path.write_bytes(pack(RECIPE, TENSORS))
    return path


def inspect(*arguments):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


def test_the_tables_hold_every_number_in_a_hundred_columns():
    data = pack(RECIPE, TENSORS)
    accounts = account(TENSORS, describe(data))
    page = StringIO()
    Console(file=page, width=100).print(*account_tables("student.rdz", accounts), sep="\n")
    lines = page.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    assert "[bold]" in page.getvalue()  # a name is no markup
    for one in accounts:
        [total] = [line for line in lines if line.startswith(one.accounting.title + " ") and "." in line]
        assert f" {one.total:,.0f} " in total
    whole = [line for line in lines if line.startswith("fc.bias")]
    shown = " ".join(whole).replace("fc.bias", "").split()
    sizes = [one.sizes["fc.bias"] for one in accounts]
    marked = [c for size in sizes for c in (f"{size.bytes:,.0f}", *(["c"] if size.note else []))]
    assert shown == marked
    notes = [size.note for one in accounts for size in one.sizes.values() if size.note]
    explained = [f"{mark}  {note}" for mark, note in zip("abc", dict.fromkeys(notes), strict=True)]
    assert [line.rstrip() for line in lines[-3:]] == explained


def test_programs_get_every_accounting_with_its_tensors_and_total(student):
    done = inspect(student, "--account", "--json")
    assert done.exit_code == 0
    records = json.loads(done.stdout)
    assert [record["accounting"] for record in records] == [way.key for way in ACCOUNTINGS]
    data = student.read_bytes()
    assert records == json.loads(json.dumps(account_records(account(TENSORS, describe(data)))))
    by_key = {record["accounting"]: record for record in records}
    assert by_key["file"]["bytes"] == len(data)
    assert by_key["file"]["ratio"] == 4 * (4096 + 1200 + 40) / len(data)
    assert by_key["deep_compression"]["tensors"][0]["note"] and not by_key["fp32"]["tensors"][0]["note"]
    for record in records:
        assert record["counts"] and record["leaves_out"]
        assert [tensor["name"] for tensor in record["tensors"]] == list(TENSORS)
        header = describe(data)[0]["bytes"] if record["accounting"] == "file" else 0
        assert record["bytes"] == header + sum(tensor["bytes"] for tensor in record["tensors"])


def test_the_command_prints_the_tables_and_without_the_option_what_it_always_did(student):
    done = inspect(student, "--account")
    assert done.exit_code == 0 and "Deep Compression" in done.stdout and "sHAM, corrected" in done.stdout
    plain = inspect(student)
    assert plain.exit_code == 0 and "entropy bytes" in plain.stdout and "sHAM" not in plain.stdout
    rows = json.loads(inspect(student, "--json").stdout)
    assert sum(row["bytes"] for row in rows) == student.stat().st_size


def test_a_student_without_tensors_has_no_ratio(tmp_path):
    path = tmp_path / "empty.rdz"
    path.write_bytes(pack(RECIPE, {}))
    assert inspect(path, "--account").exit_code == 0
    records = json.loads(inspect(path, "--account", "--json").stdout)
    assert [record["ratio"] for record in records] == [None, 0.0, *[None] * 10]


def test_what_is_no_packed_file_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a student")
    for arguments in (
        (path, "--account"),
        (path, "--account", "--json"),
        (tmp_path / "none.rdz", "--account"),
    ):
        done = inspect(*arguments)
        assert done.exit_code == 2 and done.stdout == ""
        assert done.stderr.startswith("Error:") and done.stderr.count("\n") == 1
