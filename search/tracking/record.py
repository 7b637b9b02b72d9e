"""What a driver knows of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.objectives.certainty import SURENESS
from search.store.mlflow_client import FEASIBLE_TAG, FRONT_TAG
from search.tracking.notes import Student
from search.tracking.trained import Trained
from trainables.metrics import Quality, costs_of
from trainables.naming import short_name
from trainables.recipe import Recipe
from trainables.wording import in_words

ENDED = ("finished", "failed", "pruned")
"""States of trials that will never go on; those that run or were stopped may."""


@dataclass
class Record:
    """One trial as the driver knows it.

    Attributes:
        trial_id: the searcher's, five digits, unique in the sweep; Ray's own id changes with every start. Of
            a student that was trained together with a trial's own, that trial's with ``.2`` and so on.
        recipe: what it trains.
        state: ``running``, ``finished``, ``failed``, ``stopped`` or ``pruned``.
        reason: why it failed, was pruned, or has no latency.
        copied_from: ``<sweep>/<trial>`` of the earlier trial that made its student, or nothing.
        continues: the trial of the sweep that it takes up again after that was pruned, or nothing.
        trained_with: the trial that trained it beside its own student, or nothing.
        over: by how much it is over the sweep's limits; empty unless it finished over one.
        machine: fingerprint of the machine that its latency was measured on, as JSON.
        metrics: the last reported.
        trained: how much of its training it did by itself.
        packed_file: the file it shipped, once finished.
        front: whether MLflow was told last that it is on the front.
    """

    trial_id: str
    recipe: Recipe
    state: str = "running"
    reason: str = ""
    copied_from: str = ""
    continues: str = ""
    trained_with: str = ""
    over: str = ""
    machine: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    trained: Trained = field(default_factory=Trained)
    packed_file: Path | None = None
    front: bool = False

    @property
    def name(self) -> str:
        """A name to read; not unique."""
        return short_name(self.recipe)

    @property
    def trainings(self) -> float:
        """The share of its training that it did by itself, as a sweep counts it, in (0, 1]."""
        return self.trained.share(self.recipe.epochs)

    @property
    def ended(self) -> bool:
        """Whether it will never go on."""
        return self.state in ENDED

    def described(self) -> Student:
        """What its description in MLflow is made of."""
        return Student(
            self.name,
            in_words(self.recipe),
            self.state,
            self.metrics,
            reason=self.reason,
            copied_from=self.copied_from,
            continues=self.continues,
            trained_with=self.trained_with,
            front=self.front,
        )


def drawn(records: Mapping[str, Record]) -> dict[str, Record]:
    """The trials that a searcher drew, without the students that they trained beside their own."""
    return {key: record for key, record in records.items() if not record.trained_with}


def standing(record: Record) -> dict[str, str]:
    """The tags of a finished trial that say whether it may ship: ``true`` or ``false``."""
    return {FEASIBLE_TAG: str(not record.over).lower(), FRONT_TAG: str(record.front).lower()}


@dataclass(frozen=True)
class Kept:
    """Names of what a record keeps of a result.

    Attributes:
        qualities: on the validation split.
        costs: what is measured beside quality.
    """

    qualities: tuple[str, ...]
    costs: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, what was counted beside the teacher, and the epoch."""
        return (*self.costs, *self.qualities, *SURENESS, "epoch")


def kept_metrics(quality: Quality) -> Kept:
    """What is kept in a sweep that selects by ``quality``."""
    return Kept(
        tuple(each.validation for each in quality.reported),
        tuple(cost.name for cost in costs_of(quality)),
    )


def result_of(record: Record) -> dict[str, Any]:
    """The last result of a trial that has ended, as far as searchers ask."""
    return {**record.metrics, "state": record.state, "reason": record.reason, "done": True}
