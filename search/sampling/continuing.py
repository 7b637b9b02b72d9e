"""The study of a sweep that goes on: Optuna's journal or, where that is damaged, what the log says."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.sampling.journal import (
    Direction,
    JournalDamaged,
    created_trials,
    key_of,
    mend_journal,
    open_study,
    read_journal,
)
from search.sampling.proposals import RECIPE
from search.sampling.samplers import CONTINUES, name_of
from search.sampling.searcher import EARLIER, Judge
from search.tracking.record import Record, result_of
from search.units import count
from trainables.files import free_name
from trainables.foreign import shown

_LOST = "lost"


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
