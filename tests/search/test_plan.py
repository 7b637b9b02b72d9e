"""Plans: the sums, and one made of the digits that could be true."""

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from rayduce.commands.plan_table import plan_record, plan_table
from search.objectives.budget import Budget
from search.options import Options
from search.planning.plan import Plan, Resources, make_plan
from studies.known import find_study
from trainables.metrics import quality_of
from trainables.tasks.notes import DataNotes, Tally

ENOUGH = Resources(disk_needed=1e6, disk_free=1e9, memory_needed=1e9, memory_free=2e9)
PLAN = Plan(
    study="digits",
    metric="accuracy",
    device="cpu",
    samples={"train": 1077, "validation": 360, "test": 360},
    data_bytes=129_000,
    trials=100,
    trainings=None,
    epochs=35,
    compute=None,
    concurrency=2,
    nodes=3,
    smallest_bytes=443,
    largest_bytes=515_000,
    teacher_bytes=1_310_000,
    smallest_epoch=0.1,
    largest_epoch=0.5,
    trial=12.0,
    start=40.0,
    teacher=25.0,
    given=False,
    outputs=0.0,
    views=0,
    views_bytes=0,
    asking=0.0,
    streamed="",
    reading=0.0,
    mark=8.0,
    end=52.0,
    resources=ENOUGH,
    activation_bytes=41_000_000,
    not_counted="",
    notes=DataNotes(),
)


def test_the_sums():
    assert PLAN.between_trials == 2.0
    assert PLAN.seconds == 300.0
    assert PLAN.cost(0.6) == pytest.approx(300 / 3600 * 3 * 0.6)
    assert PLAN.fitting(1) == 1750
    by_trainings = replace(PLAN, trials=500, trainings=50)  # in whatever number of trials
    assert by_trainings.seconds == 200.0 and by_trainings.fitting(1) == 1750
    assert PLAN.fitting(0.01) == 0
    hours = replace(PLAN, trials=PLAN.fitting(2)).seconds / 3600
    assert 2 - PLAN.between_trials / 3600 < hours <= 2


def test_too_little_is_told():
    assert PLAN.resources.short == ()
    short = replace(ENOUGH, memory_free=1e6)
    assert short.short == ("memory",)
    assert plan_record(replace(PLAN, resources=short), None, None)["short_of"] == ["memory"]


def test_the_table_says_what_was_asked_for():
    written = StringIO()
    table = plan_table(PLAN, Budget({"packed_bytes": 16_000}), quality_of("accuracy"), 1.0, 0.6)
    Console(width=160, file=written).print(table)
    text = written.getvalue()
    for words in (
        "on 3 nodes like this machine",
        "at most 16 kB",
        "about 1750 trials",
        "about 0.15 EUR",
        "keeps 41 MB",
    ):
        assert words in text
    record = plan_record(PLAN, 1.0, 0.6)
    assert json.loads(json.dumps(record))["trials_in_hours"] == 1750 and record["seconds"] == 300.0


def row(plan, name):
    """What the table says of ``name``, on one line."""
    written = StringIO()
    table = plan_table(plan, Budget(), quality_of("accuracy"), None, None)
    Console(width=400, file=written).print(table)
    [line] = [line for line in written.getvalue().splitlines() if line.startswith(name)]
    return line.removeprefix(name).strip()


def test_how_students_hear_their_teacher_is_told():
    assert row(PLAN, "teacher") == "1.31 MB, about 25 s to train"
    assert row(replace(PLAN, teacher=0.0), "teacher") == "1.31 MB, kept from an earlier sweep"
    given = replace(PLAN, teacher=0.0, given=True)
    assert row(given, "teacher") == "1.31 MB, your network, as it is"
    remembered = replace(given, outputs=1.5, views=16, views_bytes=345_000)
    assert row(remembered, "teacher").endswith(
        "as it is; 1.5 s to ask about every sample in 16 views, 345 kB of answers are remembered"
    )
    live = replace(given, asking=0.25)
    assert row(live, "teacher").endswith("as it is; asked at every step, 0.25 s of an epoch")


def test_data_that_are_streamed_are_told_with_their_price():
    streamed = replace(PLAN, streamed='data("train") draws random numbers', reading=3.0)
    assert row(streamed, "data").endswith(
        "129 kB; training samples are read in every epoch anew, in 3 s, since "
        'data("train") draws random numbers'
    )


def test_a_plan_of_the_digits_writes_nothing(tmp_path):
    study = replace(find_study("digits"), epochs=4)
    options = Options("plan", 20, 0, tmp_path / "store", "", concurrency=2)
    plan = make_plan(study, options, nodes=1)
    assert plan.samples == {"train": 1077, "validation": 360, "test": 360}
    assert 200 < plan.smallest_bytes < 1_000 < 400_000 < plan.largest_bytes < plan.teacher_bytes
    assert 0 < plan.smallest_epoch < plan.largest_epoch < plan.trial < plan.seconds
    assert plan.teacher > plan.outputs > 0 and not plan.given
    # No more views than there are epochs; beside the logits the penultimate features and two layers of maps.
    assert (plan.views, plan.views_bytes) == (4, 4 * 1077 * (10 + 128 + 128 * 4 + 128 * 16) * 2)
    assert plan.asking == 0.0 and plan.streamed == "" and plan.reading == 0.0
    assert plan.resources.disk_needed > plan.teacher_bytes and plan.resources.memory_needed > 1e9
    assert 1e6 < plan.activation_bytes < 1e9
    assert not (tmp_path / "store").exists()


def test_what_was_found_about_the_data_is_told_within_80_columns():
    notes = DataNotes(
        used=90,
        entered=("photos",),
        left_out=(Tally(".heic files", 40, ("cat/0.heic", "cat/1.heic", "cat/[bold]2.heic")),),
        changed=(Tally("images of more than 8 bits, scaled to 8", 2, ("cat/0.tif", "dog/0.tif")),),
        doubtful=(Tally("classes whose images are all equal", 1, ("grey",)),),
    )
    written = StringIO()
    table = plan_table(replace(PLAN, notes=notes), Budget(), quality_of("accuracy"), None, None)
    Console(width=80, file=written).print(table)
    lines = written.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    text = " ".join(written.getvalue().split())
    for words in (
        "read from photos",
        "left out .heic files (40: cat/0.heic, cat/1.heic, cat/[bold]2.heic, ...)",
        "changed images of more than 8 bits, scaled to 8 (2: cat/0.tif, dog/0.tif)",
        "doubtful classes whose images are all equal (1: grey)",
    ):
        assert words in text
    record = json.loads(json.dumps(plan_record(replace(PLAN, notes=notes), None, None)))
    assert record["notes"]["left_out"][0]["count"] == 40


def test_the_plan_of_a_folder_has_its_notes(tmp_path):
    random = np.random.RandomState(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(8):
            pixels = random.randint(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
        (tmp_path / "photos" / label / "notes.txt").touch()
    study = replace(find_study("image_folder"), teacher_views=None)
    options = Options("plan", 2, 0, tmp_path / "store", "", data=tmp_path, concurrency=1)
    examples = ("cat/notes.txt", "dog/notes.txt")
    expected = DataNotes(16, entered=("photos",), left_out=(Tally(".txt files", 2, examples),))
    assert make_plan(study, options, nodes=1).notes == expected
