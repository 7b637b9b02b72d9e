"""What a sweep takes from earlier ones of its store: trials to learn from, students not to train again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from search.problem import Problem
from search.sampling.journal import JournalDamaged, created_trials, key_of, read_journal
from search.sampling.proposals import RECIPE, Draw
from search.sampling.samplers import CONTINUES, SEEN_VALUES, Sampler, middle, name_of
from search.sampling.searcher import EARLIER, SEEN, STATES, Judge
from search.store.frames import records
from search.store.store import Store, StoreError
from search.store.sweep import Sweep
from search.units import count
from trainables.foreign import shown
from trainables.metrics import Quality, costs_of, quality_of
from trainables.metrics.latency import fingerprint
from trainables.shipping.packed_file import PackedFileError, read_header
from trainables.trainable import Copy
from trainables.training.trial_folder import STUDENT_FILE

MACHINE_TAG = "latency_machine"

KINDS = {
    "study": "{name} searched the study {theirs}, not {ours}: none of its trials means anything here",
    "metric": "{name} selected by {theirs}, not by {ours}: its numbers cannot be compared",
    "teacher": (
        "{name} had another teacher (recipe {theirs}, not {ours}): its students imitate that one, and "
        "neither they nor what was learnt from them can be used"
    ),
    "data": (
        "{name} was on other data (fingerprint {theirs}, not {ours}): neither its students nor its numbers "
        "can be used"
    ),
    "epochs": (
        "{name} trained for {theirs} epochs, not {ours}: its numbers cannot be compared without "
        "--epochs {theirs}"
    ),
    "own_model": "{name} had students of another class ({theirs}, not {ours}): it says nothing of these",
}
"""Setting -> what is said where an earlier sweep's is another."""


@dataclass
class Known:
    """What earlier sweeps know.

    Attributes:
        trials: to be added to the new study: parameters and values, constraints by the new budget.
        copies: by recipe id, students that are there already.
        left: why a trial is of no use -> how many are not.
        damaged: what is said of journals that are.
    """

    trials: list[FrozenTrial] = field(default_factory=list)
    copies: dict[str, Copy] = field(default_factory=dict)
    left: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """One line."""
        students = count(len(self.copies), "student")
        found = f"learning from {count(len(self.trials), 'earlier trial')}, with {students} at hand"
        left = ", ".join(f"{number} {why}" for why, number in self.left.items())
        return "; ".join([f"{found} (left out: {left})" if left else found, *self.damaged])


def check_kinds(sweeps: Iterable[Sweep], settings: Mapping[str, Any]) -> None:
    """Refuse to learn from sweeps of another kind.

    Args:
        sweeps: earlier ones.
        settings: of the new sweep; those named in :data:`KINDS` must be equal.

    Raises:
        Problem: one is of another kind.
    """
    for sweep in sweeps:
        theirs = {**sweep.params, "study": sweep.study, "metric": sweep.metric}
        for name, sentence in KINDS.items():
            if theirs.get(name, "None") != str(settings[name]):
                shown = [theirs.get(name, "None"), str(settings[name])]
                shown = ["none" if value == "None" else value for value in shown]
                if name == "metric":
                    shown = _short(*shown)
                words = {"name": sweep.name, "theirs": shown[0], "ours": shown[1]}
                raise Problem(f"The sweep {sentence.format(**words)}; leave out --from {sweep.name}.")


def _short(theirs: str, ours: str) -> list[str]:
    """The names of two metrics; how they are spelled where the names are the same, or one is none."""
    try:
        names = [quality_of(theirs).name, quality_of(ours).name]
    except ValueError:  # another version's
        return [theirs, ours]
    return names if names[0] != names[1] else [theirs, ours]


@dataclass(frozen=True)
class Reading:
    """How a new sweep reads trials.

    Attributes:
        draw: its space.
        parameters: all that the space may ask for.
        sampler: that is to learn from them.
        judge: what Optuna is told of a result.
        latency: whether latency counts, as an objective or a limit: then only this machine's does.
        device: name of the device that students are measured on, or None (default).
        on_device: whether its numbers count, as objectives or limits: then only that device's do.
    """

    draw: Draw
    parameters: Mapping[str, BaseDistribution]
    sampler: Sampler
    judge: Judge
    latency: bool
    device: str | None = None
    on_device: bool = False


def look_back(store: Store, sweeps: Sequence[Sweep], studies: Path, reading: Reading) -> Known:
    """Gather the trials of ``sweeps``: parameters from their journals, results and files from the store.

    A trial's recipe is made anew by today's space: only a student whose recipe is still what its parameters
    mean is taken for it.

    Args:
        store: of their runs.
        sweeps: that :func:`check_kinds` lets pass; each once.
        studies: folder of the journals; they are only read.
        reading: how.

    Raises:
        Problem: a sweep's journal is not in the folder.
    """
    known = Known()
    here = json.dumps(fingerprint())
    for sweep in sweeps:
        rows = {str(row["trial_id"]): row for row in records(store.trials(sweep.name))}
        machines = store.tags(sweep.name, MACHINE_TAG)
        trials, wrong = _journal(studies, sweep.name, rows)
        known.damaged += [wrong] if wrong else []
        continued = {kept.user_attrs.get(CONTINUES) for kept in trials}
        for kept in trials:
            if EARLIER in kept.user_attrs or name_of(kept.number) in continued:
                continue  # that sweep's own `--from`, or the first part of another trial
            row = rows.get(name_of(kept.number), {})
            if row and row["recipe_id"] != kept.user_attrs[RECIPE]:
                known.left["of another recipe in the store than in the journal"] += 1
                continue
            machine = machines.get(row.get("run_id", ""), "")
            result = _result(kept, row, sweep.quality)
            if result is None:
                known.left[kept.state.name.lower() if kept.state != TrialState.FAIL else "failed"] += 1
                continue
            if reading.latency and machine != here:
                known.left["timed on another machine"] += 1
                continue
            if reading.on_device and sweep.device != reading.device:
                known.left["measured on another device, or on none"] += 1
                continue
            if kept.state == TrialState.COMPLETE and not _is_judged(result, reading):
                known.left["without a number of what this sweep minimises"] += 1
                continue
            source = f"{sweep.name}/{name_of(kept.number)}"
            trial = _trial(kept, result, source, reading)
            if trial is None:
                known.left["outside this space"] += 1
                continue
            known.trials.append(trial)
            recipe_id = trial.user_attrs["recipe_id"]
            if kept.state == TrialState.COMPLETE and recipe_id == row["recipe_id"]:
                whole = {**result, MACHINE_TAG: machine, "reason": row["reason"] or ""}
                file = _student(store, row, recipe_id)
                if file is None:
                    known.left["without the student that was recorded, to be trained anew"] += 1
                else:
                    known.copies[recipe_id] = Copy(source, whole, file)
                    _add_peers(known, store, sweep, rows, machines, kept)
    return known


def _add_peers(
    known: Known,
    store: Store,
    sweep: Sweep,
    rows: Mapping[str, Mapping[str, Any]],
    machines: Mapping[str, str],
    kept: FrozenTrial,
) -> None:
    """The students that a finished trial trained beside its own, which come with it."""
    for trial_id, row in rows.items():
        if row["trained_with"] != name_of(kept.number):
            continue
        result, file = _result(kept, row, sweep.quality), _student(store, row, str(row["recipe_id"]))
        if result is not None and file is not None:
            whole = {**result, MACHINE_TAG: machines.get(row["run_id"], ""), "reason": row["reason"] or ""}
            known.copies[str(row["recipe_id"])] = Copy(f"{sweep.name}/{trial_id}", whole, file)


def _journal(
    studies: Path, name: str, rows: Mapping[str, Mapping[str, Any]]
) -> tuple[list[FrozenTrial], str]:
    """The trials of a sweep's journal; of a damaged one those in whole lines that ``rows`` have too.

    Also what is wrong with the journal; empty if nothing is.
    """
    path = studies / f"{name}.journal"
    if not path.is_file():
        raise Problem(
            f"The sweep {name} has no journal in {studies}: only sweeps of this --store can be used."
        )
    try:
        try:
            return read_journal(path, name).get_trials(deepcopy=False), ""
        except JournalDamaged as error:
            created = {key_of(trial): trial for trial in created_trials(path, name)}
            wrong = f"{shown(str(path), 400)} is damaged ({error}), and what is whole of it is used"
    except OSError as error:
        raise Problem(
            f"The journal {shown(str(path), 400)} cannot be read ({error.strerror}): make it readable, or "
            f"leave out --from {name}."
        ) from error
    found = []
    for trial_id, row in rows.items():
        whole = created.get((str(row["recipe_id"]), row["continues"] or ""))
        if whole is not None and trial_id.isascii() and trial_id.isdigit():
            whole.number = int(trial_id)
            whole.state = STATES.get(str(row["state"]), TrialState.FAIL)
            found.append(whole)
    return found, wrong


def _student(store: Store, row: Mapping[str, Any], recipe_id: str) -> bytes | None:
    """The packed file of a trial; None if there is none, or not the one of which the numbers are."""
    try:
        file = store.download(row["run_id"], STUDENT_FILE)
        found = read_header(file)
    except (StoreError, PackedFileError):
        return None
    return file if found.recipe_id == recipe_id and len(file) == row["packed_bytes"] else None


def _result(kept: FrozenTrial, row: Mapping[str, Any], quality: Quality) -> dict[str, Any] | None:
    """What the trial measured; None if it did not end, or the store does not have it."""
    if kept.state == TrialState.PRUNED and SEEN in kept.user_attrs:
        return dict(kept.user_attrs[SEEN])
    if kept.state not in STATES.values() or STATES.get(str(row.get("state"))) != kept.state:
        return None
    names = [each.validation for each in quality.reported]
    names += [cost.name for cost in costs_of(quality)]
    return {name: row[name] for name in names if row[name] is not None}


def _is_judged(result: Mapping[str, Any], reading: Reading) -> bool:
    """Whether ``result`` has a number for each of the new sweep's objectives."""
    return bool(np.isfinite(reading.judge.objectives(result)).all())


def _trial(kept: FrozenTrial, result: Mapping[str, Any], source: str, reading: Reading) -> FrozenTrial | None:
    """``kept`` as a trial of the new study; None if the new space has no such recipe."""
    known = {name: value for name, value in kept.params.items() if name in reading.parameters}
    values = reading.judge.objectives(result)
    complete = kept.state == TrialState.COMPLETE
    attributes: dict[str, Any] = {EARLIER: source}
    if not complete:
        attributes |= {SEEN: dict(result)} | ({SEEN_VALUES: values} if _is_judged(result, reading) else {})
    try:
        create_trial(  # which checks the ranges, where a fixed trial would warn
            state=TrialState.RUNNING,
            params=known,
            distributions={name: reading.parameters[name] for name in known},
        )
        fixed = FixedTrial(known)
        recipe = reading.draw(fixed)
        params, distributions = fixed.params, fixed.distributions
        if reading.sampler.whole and not reading.sampler.ahead:
            params, distributions = middle(reading.parameters) | params, dict(reading.parameters)
        return create_trial(
            state=kept.state,
            values=values if complete else None,
            params=params,
            distributions=distributions,
            constraints=dict(reading.judge.constraints(result)),
            user_attrs={**attributes, "recipe_id": recipe.recipe_id},
            system_attrs=dict(reading.sampler.given),
        )
    except ValueError:  # Optuna's: a parameter is missing, or its value out of range
        return None
