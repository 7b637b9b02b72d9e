"""What a run's page in MLflow says of it in words, as Markdown. Imports neither torch nor ray."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.objectives.certainty import SPLITS
from search.objectives.costs import PACKED, show_cost, show_value
from search.objectives.on_split import on_split
from search.objectives.yardstick import Yardstick
from search.units import count, show_bytes, show_number, show_state
from trainables.foreign import shown
from trainables.metrics import device_costs
from trainables.metrics.base import VALIDATION

LONGEST_LINE = 2000
"""Letters of a text from outside; MLflow takes 8,000 characters of a description in all."""
MOST_ROWS = 30
"""Of the table of a front; MLflow takes 8,000 characters."""


def plain(text: str) -> str:
    """``text`` in one line that Markdown shows as it stands, HTML in it too; no control characters."""
    line = shown(" ".join(text.split()), LONGEST_LINE)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;")):
        line = line.replace(character, entity)
    return re.sub(r"([\\`*_\[\]~])", r"\\\1", line)


@dataclass(frozen=True)
class Student:
    """A trial, as its description tells of it.

    Attributes:
        name: of its run.
        words: its recipe, in words.
        state: ``running``, ``finished``, ``failed`` or ``pruned``.
        metrics: what it measured; the test split's quality only on the front.
        reason: why it failed or was pruned.
        copied_from: ``<sweep>/<trial>`` that made its file, or nothing.
        continues: the trial that it takes up again after that was ended, or nothing.
        trained_with: the trial that trained it beside its own student, or nothing.
        front: whether it is on the front of the finished sweep.
    """

    name: str
    words: str
    state: str
    metrics: Mapping[str, float]
    reason: str = ""
    copied_from: str = ""
    continues: str = ""
    trained_with: str = ""
    front: bool = False


def trial_note(student: Student, yardstick: Yardstick) -> str:
    """How a trial ended and what it trained: one sentence, what else was measured, the recipe."""
    if student.state == "running":
        return f"{_taken_up(student)} {plain(student.words)}".strip()
    facts = _facts(student, yardstick)
    listed = "\n".join(f"- {fact}" for fact in facts)
    return "\n\n".join(filter(None, [_sentence(student, yardstick), listed, plain(student.words)]))


def in_short(metrics: Mapping[str, float], yardstick: Yardstick) -> str:
    """A student's quality and size: ``98.33 % test accuracy in 9.28 kB, 141 times smaller than the teacher``.

    The test split's quality where it is measured, else that of the validation split.
    """
    quality = yardstick.quality
    split, name = ("test", quality.name) if quality.name in metrics else ("validation", quality.validation)
    words = [f"{quality.text(metrics[name])} {split} {quality.label}"] if name in metrics else []
    if yardstick.size in metrics:
        words.append(f"{show_bytes(metrics[yardstick.size])}{' as ONNX' if yardstick.size != PACKED else ''}")
    ratio = _ratio(yardstick.ratio(metrics))
    return " in ".join(words) + (f", {ratio} than the teacher" if ratio else "")


def on_validation(metrics: Mapping[str, float], yardstick: Yardstick) -> str:
    """By what a student was chosen: ``Chosen on the validation split: 98.89 %, 0.28 points below the
    teacher's.``"""
    quality = yardstick.quality
    found = on_split(metrics, yardstick.teacher, quality, VALIDATION)
    if found is None:
        return "Chosen on the validation split, where it was not measured."
    return f"Chosen on the validation split: {found.in_words()}."


def sweep_note(
    about: str,
    students: Mapping[str, Student],
    front: Sequence[str],
    yardstick: Yardstick,
    aliases: Mapping[str, str],
) -> str:
    """What a finished sweep found: its trials counted, the teacher, the front as a table, what was asked for.

    Args:
        about: what was asked for, as Markdown.
        students: every trial by its id.
        front: trial ids, smallest file first.
        yardstick: of the sweep, with the teacher's qualities on both splits.
        aliases: alias -> trial id, of the students that are registered.
    """
    quality, trials = yardstick.quality, [each for each in students.values() if not each.trained_with]
    states, beside = [trial.state for trial in trials], len(students) - len(trials)
    ended = [state for state in ("finished", "pruned", "failed") if state in states]
    counts = ", ".join(f"{states.count(state)} {show_state(state)}" for state in ended)
    counts += f", and {count(beside, 'student')} trained beside theirs" if beside else ""
    found = f"**{count(len(front), 'student')} on the front** of {count(len(trials), 'trial')} ({counts})."
    teacher = [
        f"{quality.text(yardstick.teacher[name])} {split} {quality.label}"
        for split, name in (("test", quality.name), ("validation", quality.validation))
        if name in yardstick.teacher
    ]
    if "packed_bytes" in yardstick.teacher:
        teacher.append(show_bytes(yardstick.teacher["packed_bytes"]))
    told = f"The teacher has {', '.join(teacher)}." if teacher else ""
    table = _table([students[trial_id] for trial_id in some_of(front)], [*some_of(front)], yardstick, aliases)
    left = len(front) - min(len(front), MOST_ROWS)
    more = f"{count(left, 'more student')} of the front in front.csv and front.html." if left else ""
    return "\n\n".join(filter(None, [f"{found} {told}".strip(), table if front else "", more, about]))


def unfinished_note(about: str, state: str, reason: str, name: str) -> str:
    """What a sweep was asked for, that it ``stopped`` or ``failed``, why, and what goes on with it."""
    why = f": {plain(reason)}" if reason else ""
    return f"**{state.capitalize()}**{why}. `rayduce resume {name}` goes on with it.\n\n{about}"


def some_of(front: Sequence[str]) -> list[str]:
    """At most :data:`MOST_ROWS` of the front, both ends among them."""
    if len(front) <= MOST_ROWS:
        return list(front)
    return [front[round(i * (len(front) - 1) / (MOST_ROWS - 1))] for i in range(MOST_ROWS)]


def _table(
    students: Sequence[Student], trial_ids: Sequence[str], yardstick: Yardstick, aliases: Mapping[str, str]
) -> str:
    quality = yardstick.quality
    qualities = [f"{split} {quality.label}" for split in ("validation", "test")]
    asked = [cost for cost in yardstick.asked if cost.name not in (PACKED, "latency_ms")]
    heads = ["student", "size", "smaller", *qualities, "latency", *(cost.label for cost in asked), "alias"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 2) + "---|"]
    for trial_id, student in zip(trial_ids, students, strict=True):
        metrics = student.metrics
        ratio = metrics.get("compression_ratio")
        measured = [on_split(metrics, yardstick.teacher, quality, prefix) for prefix in SPLITS]
        cells = [
            plain(student.name),
            show_bytes(metrics["packed_bytes"]),
            "" if ratio is None else f"{show_number(ratio)}x",
            *("" if each is None else each.value_text() for each in measured),
            f"{show_number(metrics['latency_ms'])} ms" if "latency_ms" in metrics else "",
            *(show_value(cost, metrics[cost.name]) if cost.name in metrics else "" for cost in asked),
        ]
        # A narrow page would else put units into lines of their own.
        cells = [cell.replace(" ", "\N{NO-BREAK SPACE}") for cell in cells]
        cells.append(", ".join(alias for alias, chosen in aliases.items() if chosen == trial_id))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _sentence(student: Student, yardstick: Yardstick) -> str:
    if student.state == "failed":
        return f"**Failed:** {plain(student.reason)}."
    if student.state == "pruned":
        return f"**Ended early:** {plain(student.reason)}."
    place = " It is on the front of its sweep." if student.front else ""
    over = yardstick.over(student.metrics)
    beyond = f" It is over the sweep's limits: {plain(over)}." if over else ""
    return f"**{in_short(student.metrics, yardstick)}.**{place}{beyond}"


def _facts(student: Student, yardstick: Yardstick) -> list[str]:
    quality, metrics, found = yardstick.quality, student.metrics, []
    for prefix in ("", VALIDATION):
        known = on_split(metrics, yardstick.teacher, quality, prefix)
        if known is not None:
            found.append(f"{known.split} {quality.label} {known.in_words()}")
    if student.state == "finished" and "latency_ms" in metrics:
        found.append(f"latency {show_number(metrics['latency_ms'])} ms")
    found += [show_cost(c, metrics[c.name]) for c in device_costs(quality) if c.name in metrics]
    sizes = {"onnx_bytes": "in ONNX", "ram_bytes": "of activations at once"}
    found += [f"{show_bytes(metrics[name])} {what}" for name, what in sizes.items() if name in metrics]
    told = {"packed_bytes", "latency_ms", *sizes, *(cost.name for cost in device_costs(quality))}
    further = [cost for cost in yardstick.asked if cost.name in metrics and cost.name not in told]
    found += [show_cost(cost, metrics[cost.name]) for cost in further]
    if student.state == "finished" and student.reason:  # such as why it has no latency
        found.append(plain(student.reason))
    if student.copied_from:
        found.append(f"not trained again: its file is that of {plain(student.copied_from)}")
    if student.continues:
        found.append(_taken_up(student))
    if student.trained_with:
        found.append(f"trained together with the student of trial {plain(student.trained_with)}")
    return found


def _taken_up(student: Student) -> str:
    return f"Goes on where trial {plain(student.continues)} was ended." if student.continues else ""


def _ratio(ratio: float) -> str:
    """``141 times smaller``, of a file; empty if that was not measured."""
    if not ratio > 0:
        return ""
    return f"{show_number(ratio)} times smaller" if ratio >= 1 else f"{show_number(1 / ratio)} times larger"
