"""Descriptions in words: what they say, and that nothing in them is taken for markup."""

from __future__ import annotations

import html
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from search.objectives.budget import Budget
from search.objectives.yardstick import Yardstick
from search.tracking.notes import (
    MOST_ROWS,
    Student,
    in_short,
    on_validation,
    plain,
    sweep_note,
    trial_note,
    unfinished_note,
)
from trainables import foreign
from trainables.metrics import quality_of

TEACHER = {"accuracy": 0.9972, "validation_accuracy": 0.9889, "packed_bytes": 1_310_000.0}
YARDSTICK = Yardstick(quality_of("accuracy"), TEACHER, Budget({"packed_bytes": 16_000}))
MEASURED = {
    "validation_accuracy": 0.9861, "accuracy": 0.9833, "packed_bytes": 9_280.0, "compression_ratio": 141.2,
    "latency_ms": 0.0514,
}  # fmt: skip


def student(**change: Any) -> Student:
    values = {"name": "lsq-3bit", "words": "Words.", "state": "finished", "metrics": MEASURED, "front": True}
    return Student(**{**values, **change})


def test_a_student_of_the_front() -> None:
    assert trial_note(student(), YARDSTICK) == (
        "**98.33 % test accuracy in 9.28 kB, 141 times smaller than the teacher.** "
        "It is on the front of its sweep.\n\n"
        "- test accuracy 98.33 %, 1.39 points below the teacher's\n"
        "- validation accuracy 98.61 %, 0.28 points below the teacher's\n"
        "- latency 0.0514 ms\n\n"
        "Words."
    )


def test_what_is_not_known_is_not_told() -> None:
    bare = Yardstick(quality_of("accuracy"))
    metrics = {"validation_accuracy": 0.5, "packed_bytes": 900.0}
    assert trial_note(student(metrics=metrics, front=False), bare) == (
        "**50.00 % validation accuracy in 900 B.**\n\n- validation accuracy 50.00 %\n\nWords."
    )
    assert in_short({"packed_bytes": 900.0, "compression_ratio": 0.5}, bare) == (
        "900 B, 2 times larger than the teacher"
    )


def test_what_a_sweep_searches_by_is_told() -> None:
    teacher = {**TEACHER, "onnx_bytes": 2_000_000.0}
    budget = Budget({"macs": 2_000_000, "mean_bits": 6.0})
    by_onnx = Yardstick(quality_of("accuracy"), teacher, budget, "onnx_bytes", ("ram_bytes",))
    measured = {**MEASURED, "onnx_bytes": 20_000.0, "ram_bytes": 4_096.0, "macs": 1_500_000.0}
    note = trial_note(student(metrics=measured), by_onnx)
    assert note.startswith("**98.33 % test accuracy in 20 kB as ONNX, 100 times smaller than the teacher.**")
    assert "It is over the sweep's limits: its bits per weight were not measured." in note
    for fact in ("20 kB in ONNX", "4.1 kB of activations at once", "1,500,000 multiply-adds"):
        assert note.count(f"- {fact}\n") == 1
    told = sweep_note("about", {"a": student(metrics=measured)}, ["a"], by_onnx, {})
    heads = "| student | size | smaller | validation accuracy | test accuracy | latency | ONNX size |"
    assert f"{heads} activation memory | multiply-adds | bits per weight | alias |" in told
    assert "| 20\N{NO-BREAK SPACE}kB | 4.1\N{NO-BREAK SPACE}kB | 1,500,000 |  |" in told


def test_translators_are_told_in_bleu() -> None:
    bleu = Yardstick(quality_of("bleu"), {"validation_bleu": 36.0})
    note = trial_note(
        student(metrics={"validation_bleu": 36.0, "packed_bytes": 127_000.0}, front=False), bleu
    )
    assert note.startswith(
        "**36.00 validation BLEU in 127 kB.**\n\n- validation BLEU 36.00, as the teacher's\n"
    )


def test_how_other_trials_ended() -> None:
    assert trial_note(student(state="running"), YARDSTICK) == "Words."
    failed = trial_note(student(state="failed", metrics={}, reason="ValueError: a <b>\n*"), YARDSTICK)
    assert failed == "**Failed:** ValueError: a &lt;b&gt; \\*.\n\nWords."
    pruned = trial_note(
        student(state="pruned", metrics={"validation_accuracy": 0.5}, reason="late"), YARDSTICK
    )
    assert pruned.startswith("**Ended early:** late.\n\n- validation accuracy 50.00 %, 48.89 points below")
    large = trial_note(student(metrics={**MEASURED, "packed_bytes": 16_001.0}, front=False), YARDSTICK)
    assert "It is over the sweep's limits: its packed size is 16,001 bytes, 1 more than 16,000." in large
    copied = trial_note(student(copied_from="digits-1/00003"), YARDSTICK)
    assert "- not trained again: its file is that of digits-1/00003" in copied
    again = trial_note(student(continues="00012"), YARDSTICK)
    assert "- Goes on where trial 00012 was ended.\n" in again
    running = trial_note(student(state="running", continues="00012"), YARDSTICK)
    assert running == "Goes on where trial 00012 was ended. Words."


def test_a_registered_student_says_what_chose_it() -> None:
    assert on_validation(MEASURED, YARDSTICK) == (
        "Chosen on the validation split: 98.61 %, 0.28 points below the teacher's."
    )
    assert on_validation(MEASURED, Yardstick(quality_of("accuracy"))) == (
        "Chosen on the validation split: 98.61 %."
    )


def rows_of(note: str) -> list[list[str]]:
    return [[c.strip() for c in line[1:-1].split("|")] for line in note.splitlines() if line.startswith("|")]


def test_a_sweep_with_its_front_as_a_table() -> None:
    students = {"1": student(), "2": student(state="pruned"), "3": student(state="failed")}
    note = sweep_note("About.", students, ["1"], YARDSTICK, {"smallest": "1", "best": "1"})
    assert note.startswith(
        "**1 student on the front** of 3 trials (1 finished, 1 ended early, 1 failed). The teacher has "
        "99.72 % test accuracy, 98.89 % validation accuracy, 1.31 MB.\n\n| student | size |"
    )
    assert note.endswith("\n\nAbout.")
    _, _, row = rows_of(note.replace("\N{NO-BREAK SPACE}", " "))
    assert row == ["lsq-3bit", "9.28 kB", "141x", "98.61 %", "98.33 %", "0.0514 ms", "smallest, best"]
    none = sweep_note("About.", students, [], YARDSTICK, {})
    assert none.startswith("**0 students on the front**") and not rows_of(none)


@given(st.integers(1, 200))
def test_a_long_front_is_told_from_end_to_end_within_mlflows_limit(size: int) -> None:
    name = "int8-8bit-channel-b1024-a8-d12-w0.125-s95-started"
    students = {str(i): student(name=f"{i}-{name}") for i in range(size)}
    aliases = dict.fromkeys(("smallest", "best", "measured-within-half-a-point"), "0")
    note = sweep_note("About. " * 150, students, list(students), YARDSTICK, aliases)
    told = [int(row[0].split("-")[0]) for row in rows_of(note)[2:]]
    assert told == sorted(set(told)) and told[0] == 0 and told[-1] == size - 1
    assert len(told) == min(size, MOST_ROWS) and len(note) < 8_000
    assert (f"{size - MOST_ROWS} more student" in note) == (size > MOST_ROWS)


def test_a_sweep_that_did_not_finish_says_how_to_go_on() -> None:
    assert unfinished_note("About.", "stopped", "", "digits-1") == (
        "**Stopped**. `rayduce resume digits-1` goes on with it.\n\nAbout."
    )
    assert unfinished_note("A.", "failed", "E: <i>", "s").startswith("**Failed**: E: &lt;i&gt;. `rayduce")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.text("\\`*_{}[]<>|~&;#!()ab \n"))
def test_plain_text_is_shown_as_it_stands(text: str) -> None:
    line = foreign.shown(" ".join(text.split()), 2000)
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    shown = markdown.render(f"x {plain(text)} x")
    assert not re.findall(r"<(?!/?p>)", shown), "an element"
    assert html.unescape(shown) == f"<p>x {line} x</p>\n"
    row = markdown.render(f"| a |\n|---|\n| {plain(text)} |\n")
    assert row.count("<td>") == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_left_out(value: float) -> None:
    assert "validation" not in trial_note(
        student(metrics={**MEASURED, "validation_accuracy": value}), YARDSTICK
    )
