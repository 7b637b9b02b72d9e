"""What is printed of a sweep where there is no terminal: a line for each trial that ended."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from rayduce.commands.display import Display
from search.tracking.record import Record
from tests.recipes import every_method

RECIPE = every_method(2)[0]
MEASURED = {"validation_accuracy": 0.9861, "packed_bytes": 9_280.0, "compression_ratio": 141.2}


def record(trial_id: str, **values: Any) -> Record:
    return Record(trial_id, RECIPE, metrics=dict(MEASURED), **values)


def printed(*records: Record) -> list[str]:
    text = io.StringIO()
    with Display(Console(file=text, width=100), "digits-1", 20) as display:
        for _ in range(2):  # what was told once is not told again
            display.changed({each.trial_id: each for each in records})
    return text.getvalue().splitlines()


def test_a_student_is_told_with_its_quality_and_size() -> None:
    (line,) = printed(record("00001", state="finished"), record("00002"))
    assert line.startswith(f"     1/20  {record('00001').name} ")
    assert line.rstrip().endswith("accuracy  98.61 %  9.28 kB")


def test_a_student_over_the_limits_says_by_how_much() -> None:
    over = "its packed size is 9,280 bytes, 1,280 more than 8,000"
    (line,) = printed(record("00001", state="finished", over=over))
    assert line.endswith(f"9.28 kB  over the limits: {over}")


def test_in_a_file_it_is_told_whole_why_a_trial_ended() -> None:
    long = "after epoch 4, " + "for this and that " * 20
    early, failed = printed(
        record("00001", state="pruned", reason=long), record("00002", state="failed", reason=long + "end")
    )
    assert "ended early: after epoch 4, for this" in early
    assert early.endswith("for this and that") and "\N{HORIZONTAL ELLIPSIS}" not in early
    assert failed.endswith("end")


def test_a_trial_that_was_taken_up_again_names_the_one_before() -> None:
    (line,) = printed(record("00007", state="finished", continues="00003"))
    assert "going on from 00003" in line


def trained(trial_id: str, epoch: int, **values: Any) -> Record:
    found = record(trial_id, **values)
    found.trained.hear(0, {})
    found.trained.hear(epoch, {})
    return found


def test_where_trainings_are_counted_it_is_said_how_many_were_done() -> None:
    records = [trained("1", 1, state="pruned"), trained("2", 2, state="finished"), trained("3", 1)]
    text = io.StringIO()
    with Display(Console(file=text, width=100), "digits-1", 200, trainings=20) as display:
        display.changed({each.trial_id: each for each in records})
    places = [line.split()[0] for line in text.getvalue().splitlines()]
    assert places == ["0.5/20", "1.5/20"]
    text = io.StringIO()
    console = Console(file=text, width=80, force_terminal=True, color_system=None)
    with Display(console, "digits-1", 200, trainings=20) as display:
        display.changed({each.trial_id: each for each in records})
        rendered = console.render_lines(display.rendered())
    lines = ["".join(segment.text for segment in line).rstrip() for line in rendered]
    assert lines[1].endswith("2.0 of 20 trainings, 2 trials")


@pytest.mark.parametrize("terminal", [True, False])
def test_what_was_found_about_the_data_stays_on_the_screen(terminal: bool) -> None:
    text = io.StringIO()
    with Display(Console(file=text, width=100, force_terminal=terminal), "digits-1", 20) as display:
        display.say("reading the data")
        display.remark("left out: .heic files (40: cat/[0].heic, ...)")
        display.say("training students")
    assert "left out: .heic files (40: cat/[0].heic, ...)\n" in text.getvalue()


@pytest.mark.parametrize("ended", [0, 3])
def test_what_is_going_on_and_the_time_are_one_line_of_a_terminal(ended: int) -> None:
    text = io.StringIO()
    console = Console(file=text, width=80, force_terminal=True, color_system=None)
    with Display(console, "a-sweep-with-a-name-of-its-own", 20) as display:
        display.say("training the teacher: epoch 27 of 40, loss 0.00855, about 11 s left")
        states = ["finished"] * ended
        display.changed(
            {str(number): record(str(number), state=state) for number, state in enumerate(states)}
        )
        rendered = console.render_lines(display.rendered())
    lines = ["".join(segment.text for segment in line).rstrip() for line in rendered]
    assert "training the teacher: e" in lines[0] and re.search(r"  0 s(, about 8 s left)?$", lines[0])
    assert len(lines) == 1 or lines[1].endswith("3 of 20 trials")


def test_the_time_left_has_the_front_that_will_be_measured() -> None:
    display = Display(Console(file=io.StringIO(), width=100), "digits-1", 3)
    display.say("training students")
    display.changed({str(n): record(str(n), state="finished", front=True) for n in range(2)})
    assert display._time_left(2, 0.0) == "0 s, about 10 s left", "two students and what comes once"
    display.changed({str(n): record(str(n), state="finished", front=n < 2) for n in range(3)})
    display.say("measuring the front on the test split")
    assert display._time_left(3, 0.0) == "0 s, about 10 s left", "no longer a trial, and yet not done"
