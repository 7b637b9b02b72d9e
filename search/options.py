"""What the command line says about a sweep. Imports neither torch nor ray."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from search.log.events import NAME
from search.objectives.budget import NO_LIMITS, Budget
from search.objectives.costs import PACKED
from search.objectives.yardstick import Yardstick
from search.problem import Problem
from search.sampling.names import BY_TRAININGS, DEFAULT
from search.store.mlflow_client import masked
from search.store.store import own_database
from search.tracking.trained import BEGINNING
from search.units import count
from trainables.foreign import shown
from trainables.metrics import Quality
from trainables.metrics.asking import FILE
from trainables.metrics.device import SECONDS, check_device_name, check_numbers, with_device

PHASE_BYTES = 1_000_000_000
"""Of a store, for first phases that students share."""

TRAININGS_PER_TRIAL = 0.3
"""What a sweep whose samplers count trainings does for each trial that others begin: those end most early."""

FEWEST_TRAININGS = 12
"""Of samplers that count them: below that the search has hardly learnt which students end where."""

TRIALS_PER_TRAINING = round(1 / BEGINNING)
"""Trials that may begin where only trainings are counted: none counts less."""


@dataclass(frozen=True)
class Options:
    """What the command line says about a sweep.

    Attributes:
        name: of the sweep, unique in the store.
        trials: how many to start, at least 1; where ``trainings`` are given, at most.
        seed: of the search and of every trial.
        store: folder of the sweep's files.
        tracking_uri: MLflow's store.
        data: directory of the data set, or None.
        about_data: further options about the data that were given, such as ``image_size``.
        download: whether a published data set may be fetched.
        budget: what students may take and lose.
        sampler: name of how parameters are drawn.
        earlier: names of sweeps of the store that this one learns from.
        size: the metric that is the size of a student, ``packed_bytes`` (default) or ``onnx_bytes``.
        minimized: metrics that are objectives beside quality and size, such as ``latency_ms``.
        concurrency: trials at a time, or None for one per processor (or two per GPU).
        address: of a running Ray cluster, or None for this machine.
        own_model: ``module:Class`` of the user's student, or None.
        methods: names of methods to be searched, short or whole; none are the study's own.
        fixed: parameters with one value, such as ``bits=4``.
        ranges: what else is searched of a parameter, such as ``bits=2:4``.
        scheduler: ``pareto``, which ends trials without a prospect of the front early; ``revive``, which also
            takes them up again once they have one; or ``none``.
        device: name of what students are measured on beside this machine, or None.
        measure: words of the command that asks the device; whoever goes on with a sweep gives them again.
        measure_seconds: for which that command may take, above 0.
        device_numbers: names of what the device gives; none as long as it has not been asked.
        compute: what each student that begins with trained weights may take, in epochs of the whole network;
            0 gives each all epochs; None is the study's own.
        phase_bytes: of the store, for first phases that are kept for students that have the same ones; 0
            keeps none.
        trainings: the compute of the sweep, as that of so many whole trials, at least 1 and at most
            ``trials``: each counts the share of its training that it did. None (default) counts trials alone.

    Raises:
        ValueError: a name that cannot name a folder, a number out of range.
    """

    name: str
    trials: int
    seed: int
    store: Path
    tracking_uri: str
    data: Path | None = None
    about_data: Mapping[str, Any] = field(default_factory=dict)
    download: bool = False
    budget: Budget = NO_LIMITS
    sampler: str = DEFAULT
    earlier: tuple[str, ...] = ()
    size: str = PACKED
    minimized: tuple[str, ...] = ()
    concurrency: int | None = None
    address: str | None = None
    own_model: str | None = None
    methods: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    scheduler: Literal["pareto", "revive", "none"] = "pareto"
    device: str | None = None
    measure: tuple[str, ...] = field(default=(), repr=False)
    measure_seconds: float = SECONDS
    device_numbers: tuple[str, ...] = ()
    compute: float | None = None
    phase_bytes: int = PHASE_BYTES
    trainings: int | None = None

    def __post_init__(self) -> None:
        for name in (self.name, *self.earlier):
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no sweep's name")
        whole = (("trials", 1), ("seed", 0), ("concurrency", 1), ("phase_bytes", 0), ("trainings", 1))
        for key, least in whole:
            value = getattr(self, key)
            if value is not None and not least <= value < 2**53:
                raise ValueError(f"{key} must be at least {least}, got {value}")
        if self.compute is not None and not 0 <= self.compute < math.inf:
            raise ValueError(f"compute must be at least 0, got {self.compute}")
        if self.trainings is not None and self.trainings > self.trials:
            raise ValueError(
                f"trainings must be at most trials, got {self.trainings} and {self.trials}: no trial trains "
                "more than once"
            )
        check_numbers(self.device_numbers)
        if self.device is not None:
            check_device_name(self.device)

    def yardstick(self, quality: Quality) -> Yardstick:
        """By what students of a task of ``quality`` are judged, as long as nothing is known of the teacher.

        Raises:
            Problem: a limit or an objective is no metric that these students report.
        """
        if self.device is not None:
            quality = with_device(quality, self.device, self.device_numbers)
        made = Yardstick(quality, {}, self.budget, self.size, self.minimized)
        made.check()
        return made


def extent(
    trials: int | None, trainings: int | None, sampler: str | None, *, usual: int, usual_sampler: str | None
) -> dict[str, Any]:
    """How much a sweep may train, and by which sampler, as :class:`Options` have it.

    Args:
        trials: asked for, or None.
        trainings: asked for, or None.
        sampler: asked for, or None. Some count trainings where nobody says what; where there are too few for
            such a one to learn anything, it is not what a sweep has without being asked.
        usual: number of trials of the study.
        usual_sampler: of the study, or None.

    Raises:
        Problem: more trainings than trials.
    """
    if sampler is None:
        sampler = usual_sampler or DEFAULT
        if sampler in BY_TRAININGS and _are_few(trials, trainings, usual):
            sampler = DEFAULT
    if trials is None and trainings is None and sampler in BY_TRAININGS:
        trainings = max(math.ceil(TRAININGS_PER_TRIAL * usual), min(FEWEST_TRAININGS, usual))
    if trials is None:
        trials = usual if trainings is None else TRIALS_PER_TRAINING * trainings
    if trainings is not None and trainings > trials:
        raise Problem(
            f"{count(trainings, 'training')} cannot be done in {count(trials, 'trial')}, of which each "
            f"trains once at most: leave out --trials, or give at least {trainings}."
        )
    return {"trials": trials, "trainings": trainings, "sampler": sampler}


def _are_few(trials: int | None, trainings: int | None, usual: int) -> bool:
    """Whether a sweep ends before a sampler that counts trainings has begun to learn."""
    if trainings is not None:
        return trainings < FEWEST_TRAININGS
    return (usual if trials is None else trials) < 2 * FEWEST_TRAININGS


def amount_in_words(trials: int, trainings: int | None) -> str:
    """``100 trials``, or as much training as so many."""
    if trainings is None:
        return count(trials, "trial")
    return f"{count(trainings, 'training')} in at most {count(trials, 'trial')}"


def command(
    what: str,
    name: str,
    store: Path,
    *,
    tracking_uri: str | None = None,
    address: str | None = None,
    own_model: str | None = None,
    measured: bool = False,
) -> str:
    """The whole command that a user types to go on with a sweep; ready for a shell, without passwords.

    Args:
        what: ``resume`` or ``deliver``.
        name: of the sweep.
        store: folder of the store.
        tracking_uri: MLflow's store; left out if it is the store's own.
        address: of a Ray cluster.
        own_model: ``module:Class`` of the user's student.
        measured: whether students are measured by a command, which is told by nobody but the user.
    """
    words = ["rayduce", what, name, "--store", str(store)]
    if tracking_uri is not None and tracking_uri != own_database(store):
        words += ["--tracking-uri", masked(tracking_uri)]
    if address is not None:
        words += ["--address", address]
    if own_model is not None:
        words += ["--model", own_model]
    if measured:
        words += ["--measure", f"COMMAND {FILE}"]
    return shown(shlex.join(words), 4000)


def go_on_with(options: Options) -> str:
    """The command by which a user goes on with a sweep of these ``options``."""
    return command(
        "resume",
        options.name,
        options.store,
        tracking_uri=options.tracking_uri,
        address=options.address,
        own_model=options.own_model,
        measured=options.device is not None,
    )
