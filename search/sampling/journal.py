"""Optuna's journal of a sweep: every line can be checked, and what is damaged is made anew from the log."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.log.event_log import cut_partial_line
from search.sampling.proposals import RECIPE
from search.sampling.samplers import CONTINUES, name_of
from search.sampling.searcher import EARLIER, Judge
from search.tracking.record import Record, result_of
from search.units import count
from trainables.files import free_name
from trainables.foreign import parse_json, shown

Direction = Literal["maximize", "minimize"]
_CREATE_STUDY, _CREATE_TRIAL = 0, 4  # how Optuna numbers what a line does
_LOST = "lost"


class JournalDamaged(ValueError):
    """The journal is not what was written; the message says why, without the file's name."""


class CheckedJournal(BaseJournalBackend):
    """Optuna's journal file, each line of which has its number and a checksum.

    Optuna reads such a file as any other; it takes no notice of the two.

    Args:
        path: of the file; made if it is missing. One process writes at a time.
        name: of the study, which its checksums hold: a line of another study's journal is none of this.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._file = JournalFileBackend(str(path))
        self._size, self._lines = 0, 0

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """See :class:`BaseJournalBackend`."""
        return self._file.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """See :class:`BaseJournalBackend`."""
        first = self._count()
        self._file.append_logs([_signed(log, first + n, self._name) for n, log in enumerate(logs)])
        self._size, self._lines = self._path.stat().st_size, first + len(logs)

    def _count(self) -> int:
        """Lines of the file, counted again only if somebody else has written to it."""
        if self._path.stat().st_size == self._size:
            return self._lines
        with open(self._path, "rb") as file:
            return sum(1 for _ in file)


def _signed(log: Mapping[str, Any], line: int, name: str) -> dict[str, Any]:
    numbered = {**log, "line": line}
    body = json.dumps(numbered, separators=(",", ":")).encode()
    return {**numbered, "sum": _sum(body[:-1], name)}


def _sum(body: bytes, name: str) -> str:
    """Of a line up to the comma before its ``sum``."""
    return hashlib.sha256(f"{name}\0".encode("utf-8", "surrogateescape") + body).hexdigest()[:16]


def whole_lines(path: Path, name: str) -> tuple[list[dict[str, Any]], str]:
    """The lines of a journal that are as they were written, in the order of their numbers.

    A last line without its end is one that is being written, and is left out.

    Args:
        path: of the journal.
        name: of its study.

    Returns:
        The lines, and what is wrong with the file; empty if nothing is.

    Raises:
        OSError: it cannot be read.
    """
    found: dict[int, dict[str, Any]] = {}
    wrong, at = "", -1
    with open(path, "rb") as file:
        for at, line in enumerate(file):
            if not line.endswith(b"\n"):
                break
            body, _, end = line.rpartition(b',"sum":"')
            log: dict[str, Any] = {}
            if body and end == _sum(body, name).encode() + b'"}\n':
                try:
                    log = parse_json(line)
                except ValueError:  # written by nobody of ours
                    log = {}
            number = log.get("line", -1)
            if number != at and not wrong:
                wrong = f"line {at + 1} is not what was written there"
            if log:
                found[number] = log
    if at < 0:
        wrong = "it is empty"
    return [found[number] for number in sorted(found)], wrong


def read_journal(path: Path, name: str) -> optuna.Study:
    """The study ``name`` that the journal at ``path`` holds.

    Raises:
        JournalDamaged: it does not, or a line of it is not what was written.
        OSError: it cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not path.exists():
        raise JournalDamaged("it is missing")
    if wrong := whole_lines(path, name)[1]:
        raise JournalDamaged(wrong)
    try:
        storage = JournalStorage(CheckedJournal(path, name))
        return optuna.load_study(study_name=name, storage=storage)
    except OSError:
        raise
    except Exception as error:  # whatever Optuna makes of lines that it did not write
        raise JournalDamaged(f"Optuna cannot read it: {_why(error)}") from error


def open_study(
    journal: Path, name: str, directions: Sequence[Direction], *, resume: bool = False
) -> optuna.Study:
    """An Optuna study on a journal file (six times cheaper per trial than sqlite).

    Args:
        journal: the file.
        name: of the study.
        directions: of its objectives.
        resume: go on with the study of this name, which must be there.

    Raises:
        optuna.exceptions.DuplicatedStudyError: the journal has one of this name, and ``resume`` is off.
        JournalDamaged: ``resume`` is on, and the journal does not hold it, or with other directions.
        OSError: it cannot be read or written.
    """
    if resume:
        study = read_journal(journal, name)
        found = [direction.name.lower() for direction in study.directions]
        if found != list(directions):
            raise JournalDamaged(f"its directions are {', '.join(found)}, not {', '.join(directions)}")
        return study
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal.parent.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(CheckedJournal(journal, name))
    return optuna.create_study(study_name=name, storage=storage, directions=list(directions))


def mend_journal(journal: Path) -> bool:
    """Make a journal readable after its driver was killed; False if there is none yet.

    A line that was half written is cut off: Optuna would refuse all that follows. So is the lock of a writer
    that is no more: Optuna would wait for it for half a minute. The caller holds the lock of the sweep.

    Raises:
        OSError: it cannot be written.
    """
    for lock in journal.parent.glob(f"{_escaped(journal.name)}.lock*"):
        lock.unlink(missing_ok=True)
    if not journal.exists():
        return False
    cut_partial_line(journal)
    return journal.stat().st_size > 0


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@dataclass(frozen=True)
class Continued:
    """The study of a sweep that goes on.

    Attributes:
        study: as the sweep's log has it.
        text: one sentence to be told; empty if the journal was whole.
        lost: trials that were drawn and never started, of which nothing is known any more.
    """

    study: optuna.Study
    text: str = ""
    lost: int = 0


def continue_study(
    journal: Path,
    name: str,
    directions: Sequence[Direction],
    records: Mapping[str, Record],
    earlier: Sequence[FrozenTrial],
    judge: Judge,
) -> Continued:
    """The study of a sweep, new or as it was left.

    The sweep's log is the truth. A journal that says anything else, or cannot be read, is set aside and
    written anew from the log: numbers, states and values come from there, parameters from what is whole in
    the journal. A trial whose parameters are lost keeps its number and its recipe, and samplers do not hear
    of it.

    Args:
        journal: the file; the caller holds the sweep's lock.
        name: of the study.
        directions: of its objectives.
        records: the trials that the log knows, by name.
        earlier: what ``--from`` gives a new sweep to begin with.
        judge: what Optuna is told of a result.

    Raises:
        OSError: something cannot be read or written; nothing is lost.
    """
    there = mend_journal(journal) or journal.exists()
    if not there and not records:
        return Continued(_begun(journal, name, directions, earlier))
    try:
        study = open_study(journal, name, directions, resume=True)
        trials = study.get_trials(deepcopy=False)
        wrong = disagreement(trials, records, judge)
        if not wrong:
            copied = sum(EARLIER in trial.user_attrs for trial in trials)
            if records or copied == len(earlier):
                return Continued(study)
            journal.unlink()  # the driver died before it had written down all that it was to begin with
            return Continued(_begun(journal, name, directions, earlier))
    except JournalDamaged as error:
        wrong = str(error)
    return _rebuilt(journal, name, directions, records, earlier, judge, wrong)


def _begun(
    journal: Path, name: str, directions: Sequence[Direction], trials: Iterable[FrozenTrial]
) -> optuna.Study:
    if journal.exists():
        journal.unlink()  # an empty file
    study = open_study(journal, name, directions)
    study.add_trials(trials)
    return study


def disagreement(trials: Sequence[FrozenTrial], records: Mapping[str, Record], judge: Judge) -> str:
    """Where a journal says something else than the sweep's log; empty where it does not.

    A trial that has ended in the log only is no disagreement: the log hears of ends first.

    Args:
        trials: of the journal.
        records: of the log.
        judge: what Optuna is told of a result.
    """
    for key, record in records.items():
        if not (key.isascii() and key.isdigit() and int(key) < len(trials)):
            return f"it lacks the trial {shown(key)}"
        kept = trials[int(key)]
        if kept.user_attrs.get(RECIPE) != record.recipe.recipe_id or EARLIER in kept.user_attrs:
            return f"its trial {key} has another recipe than the sweep's log"
        if not kept.state.is_finished():
            continue
        ending = judge.ending(result_of(record)) if record.ended else None
        if ending is None or kept.state not in (
            ending.state,
            *([] if kept.params else [TrialState.FAIL]),
        ):
            return f"its trial {key} ended in another way than in the sweep's log"
        if kept.state == TrialState.COMPLETE and list(kept.values) != ending.values:
            return f"its trial {key} has other values than the sweep's log"
    for kept in trials:
        known = name_of(kept.number) in records or EARLIER in kept.user_attrs
        if not known and kept.state.is_finished() and kept.user_attrs.get(RECIPE) != _LOST:
            return f"its trial {name_of(kept.number)} ended, and the sweep's log has no such trial"
    return ""


def _rebuilt(
    journal: Path,
    name: str,
    directions: Sequence[Direction],
    records: Mapping[str, Record],
    earlier: Sequence[FrozenTrial],
    judge: Judge,
    wrong: str,
) -> Continued:
    trials = _trials(created_trials(journal, name), records, earlier, judge)
    partial = journal.with_name(f".{journal.name}.partial")
    try:
        study = _begun(partial, name, directions, trials)
        aside = None
        if journal.exists():
            aside = free_name(journal, "damaged")
            os.replace(journal, aside)
        os.replace(partial, journal)
    finally:
        partial.unlink(missing_ok=True)
    study = read_journal(journal, name)
    forgotten = sum(not trial.params for trial in trials)
    text = f"{shown(str(journal), 400)} was damaged ({wrong}) and is made anew from the sweep's log"
    if aside is not None:
        text += f"; what it was is {shown(aside.name)}"
    if forgotten:
        text += f"; the parameters of {count(forgotten, 'trial')} are lost to the sampler"
    lost = sum(trial.user_attrs[RECIPE] == _LOST for trial in trials)
    return Continued(study, f"{text}; what is drawn next may be other than it would have been", lost)


def created_trials(journal: Path, name: str) -> list[FrozenTrial]:
    """The trials that whole lines of a damaged journal created, as they were then, in their order.

    Their numbers are theirs only if none of the lines is lost.

    Args:
        journal: the file, which may be missing.
        name: of its study.

    Raises:
        OSError: it cannot be read.
    """
    lines = whole_lines(journal, name)[0] if journal.exists() else []
    made = [line for line in lines if line.get("op_code") == _CREATE_TRIAL]
    # The number of objectives does not matter to what a line creates.
    head = {"op_code": _CREATE_STUDY, "worker_id": "", "study_name": name, "directions": [2, 1]}
    with tempfile.TemporaryDirectory(prefix="rayduce-") as scratch:
        path = Path(scratch) / "whole"
        path.write_text("".join(json.dumps(line) + "\n" for line in [head, *made]))
        try:
            storage = JournalStorage(JournalFileBackend(str(path)))
            return optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
        except OSError:
            raise
        except Exception:  # whatever Optuna makes of lines that it did not write: nothing of them is taken
            return []


def _trials(
    whole: Sequence[FrozenTrial],
    records: Mapping[str, Record],
    earlier: Sequence[FrozenTrial],
    judge: Judge,
) -> list[FrozenTrial]:
    """All trials of the study, by number: those of earlier sweeps, then those of the log."""
    first = [trial for trial in whole if EARLIER in trial.user_attrs]
    known = {key_of(trial): trial for trial in whole if EARLIER not in trial.user_attrs}
    numbers = sorted(int(key) for key in records)
    if not numbers:
        return list(earlier)
    before = first if len(first) == numbers[0] else list(earlier)[: numbers[0]]
    lost = {EARLIER: _LOST, RECIPE: _LOST} if earlier or first else {RECIPE: _LOST}
    trials = [*before, *[_failed(lost) for _ in range(numbers[0] - len(before))]]
    for number in range(numbers[0], numbers[-1] + 1):
        record = records.get(name_of(number))
        if record is None:
            trials.append(_failed({RECIPE: _LOST}))
            continue
        attributes = {RECIPE: record.recipe.recipe_id}
        if record.continues:
            attributes[CONTINUES] = record.continues
        trials.append(
            _trial(record, attributes, known.get((record.recipe.recipe_id, record.continues)), judge)
        )
    return trials


def key_of(trial: FrozenTrial) -> tuple[str, str]:
    """The recipe of a trial, and the trial that it takes up again: no two of a sweep have the same."""
    return trial.user_attrs.get(RECIPE, ""), trial.user_attrs.get(CONTINUES, "")


def _failed(attributes: Mapping[str, str]) -> FrozenTrial:
    return create_trial(state=TrialState.FAIL, user_attrs=dict(attributes))


def _trial(
    record: Record, attributes: Mapping[str, Any], created: FrozenTrial | None, judge: Judge
) -> FrozenTrial:
    """A trial of the log in Optuna's words; what ``created`` it has its parameters."""
    if created is None or not created.params:
        state = TrialState.FAIL if record.ended else TrialState.RUNNING
        return create_trial(state=state, user_attrs=dict(attributes))
    ending = judge.ending(result_of(record)) if record.ended else None
    return create_trial(
        state=TrialState.RUNNING if ending is None else ending.state,
        values=None if ending is None or ending.state != TrialState.COMPLETE else ending.values,
        params=created.params,
        distributions=created.distributions,
        constraints=None if ending is None else ending.constraints,
        user_attrs={**attributes, **({} if ending is None else ending.attributes)},
        system_attrs=created.system_attrs,
    )


def _why(error: BaseException) -> str:
    return shown(f"{type(error).__name__}: {error}", 120)
