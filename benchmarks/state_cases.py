"""State files that a sweep leaves, and what reads them: to be tried with damaged copies (mutants.py).

Each case makes a folder with one state file in it and says how it is used. A use raises ``Problem``,
``StoreError`` or ``CheckpointError`` with one sentence, or goes on with what is right; a number that is not
what was measured raises ``Wrong``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from search.callback import Record
from search.journal import continue_study, open_study
from search.samplers import name_of
from search.searcher import Judge, OptunaSearcher
from spaces import Context, images
from trainables.models import ConvNet
from trainables.recipe import Recipe, recipe_from_dict
from trainables.tasks import Digits


class Wrong(Exception):
    """A reader took a damaged value for a right one."""


@dataclass(frozen=True)
class Case:
    """A state file and its reader.

    Attributes:
        name: of the case.
        make: fills a folder, which is there and empty, and returns the file to be damaged.
        use: reads it as a command would.
    """

    name: str
    make: Callable[[Path], Path]
    use: Callable[[Path], None]


CONTEXT = Context(Digits(), ConvNet(), "0" * 16, epochs=3)
SWEEP = "digits-1"
OPEN = (TrialState.RUNNING, TrialState.WAITING)
ENDS = ("finished", "finished", "pruned", "failed", "finished", "running", "pruned", "running")


def _objectives(result: Mapping[str, Any]) -> list[float]:
    return [result.get("validation_accuracy", math.nan), math.log2(result.get("packed_bytes", math.nan))]


JUDGE = Judge(_objectives, lambda result: {"packed_bytes": math.log2(result["packed_bytes"] / 20_000)})


def _space(trial: optuna.trial.BaseTrial) -> Recipe:
    return images(trial, CONTEXT)


def _searcher(study: optuna.Study, records: Mapping[str, Record], trials: int) -> OptunaSearcher:
    return OptunaSearcher(
        study,
        _space,
        JUDGE.objectives,
        trials=trials,
        parameters=images.parameters(CONTEXT),
        starting_points=images.starting_points(CONTEXT),
        constraints=JUDGE.constraints,
        recipes={name: record.recipe for name, record in records.items()},
    )


def _swept(folder: Path) -> dict[str, Record]:
    """A journal of eight trials, of which two run, and what the sweep's log has of them."""
    study = open_study(folder / f"{SWEEP}.journal", SWEEP, ("maximize", "minimize"))
    searcher = _searcher(study, {}, 100)
    records: dict[str, Record] = {}
    for number, state in enumerate(ENDS):
        config = searcher.suggest(str(number))
        assert isinstance(config, dict)
        recipe = recipe_from_dict(json.loads(config["recipe"]))
        result = {"validation_accuracy": 0.9 + number / 1000, "packed_bytes": 10_000 + 977 * number}
        records[config["trial"]] = Record(config["trial"], recipe, state, metrics=dict(result))
        searcher.on_trial_complete(str(number), {**result, "state": state})
    return records


_RECORDS: dict[str, Record] = {}


def _journal_made(folder: Path) -> Path:
    _RECORDS.clear()
    _RECORDS.update(_swept(folder))
    return folder / f"{SWEEP}.journal"


def _journal_used(folder: Path) -> None:
    journal = folder / f"{SWEEP}.journal"
    continued = continue_study(journal, SWEEP, ("maximize", "minimize"), _RECORDS, (), JUDGE)
    if "\n" in continued.text or (continued.text and str(journal) not in continued.text):
        raise Wrong(f"no sentence that names the file: {continued.text!r}")
    _check_trials(continued.study)
    searcher = _searcher(continued.study, _RECORDS, len(ENDS) + 1)
    for number in [number for number, state in enumerate(ENDS) if state == "running"]:
        config = searcher.suggest(f"again-{number}")
        expected = _RECORDS[name_of(number)].recipe.recipe_id
        if (
            not isinstance(config, dict)
            or config["trial"] != name_of(number)
            or recipe_from_dict(json.loads(config["recipe"])).recipe_id != expected
        ):
            raise Wrong(f"trial {number} does not go on: {config}")
    config = searcher.suggest("new")
    known = {record.recipe.recipe_id for record in _RECORDS.values()}
    if not isinstance(config, dict) or config["trial"] != name_of(len(ENDS)):
        raise Wrong(f"the next trial is {config}")
    if recipe_from_dict(json.loads(config["recipe"])).recipe_id in known:
        raise Wrong("a recipe is drawn twice")


def _check_trials(study: optuna.Study) -> None:
    trials = study.get_trials(deepcopy=False)
    if len(trials) != len(ENDS):
        raise Wrong(f"{len(trials)} trials of {len(ENDS)}")
    for trial, record in zip(trials, _RECORDS.values(), strict=True):
        number = trial.number
        if trial.user_attrs["recipe_id"] != record.recipe.recipe_id:
            raise Wrong(f"trial {number} has another recipe")
        if trial.params and _space(optuna.trial.FixedTrial(trial.params)) != record.recipe:
            raise Wrong(f"trial {number} has parameters of another recipe")
        if not record.ended and trial.state not in OPEN:
            raise Wrong(f"trial {number} runs, and is {trial.state}")
        lost = not trial.params and trial.state == TrialState.FAIL
        if not record.ended or lost or trial.state in OPEN:
            continue  # of an end that the journal has not heard of, the searcher is told later
        ending = JUDGE.ending({**record.metrics, "state": record.state})
        values = trial.user_attrs.get("seen_values", []) if trial.state == TrialState.PRUNED else trial.values
        if trial.state != ending.state or (values or []) != ending.values:
            raise Wrong(f"trial {number} is {trial.state} with {values}")
        if dict(trial.constraints) != ending.constraints:
            raise Wrong(f"trial {number} has the constraints {trial.constraints}")


journal = Case("journal", _journal_made, _journal_used)

CASES = (journal,)
