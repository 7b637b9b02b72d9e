"""A trial's own folder: whoever starts the trial, wherever, finds there how far it has come."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainables.exporting.layers import Layer
from trainables.files import TENSORS_FILE, set_aside, write_file
from trainables.predictions import PREDICTIONS_FILE, Answers, student_json
from trainables.recipe import Recipe
from trainables.shipping.contents import contents_json
from trainables.shipping.packed_file import PackedFileError, read_file, read_header
from trainables.training.checkpoint import CHECKPOINT_FILE, CheckpointError, read_checkpoint, write_checkpoint
from trainables.training.trainer import Trainer

STUDENT_FILE = "student.rdz"
LOCK_FILE = "lock"
LOCK_SECONDS = 300.0
LEAST_RATIO = 50.0
"""Training takes at least so many times as long as writing checkpoints does: they cost 2 % at most."""


class StoreTrouble(Exception):
    """The trial is well, but what it has done cannot be written down; the sweep can go on later."""


class TrialInUse(Exception):
    """Another process works on the trial and does not end."""


@dataclass(frozen=True)
class Files:
    """Packed files of the students of one training.

    Attributes:
        own: of the recipe's own student.
        peers: of the others, in the order of ``recipe.results``, or why one has none; None while it trains.
    """

    own: bytes
    peers: Sequence[bytes | str] | None


class TrialFolder:
    """The memory of one trial: a checkpoint while it trains, ``student.rdz`` when it has finished.

    Students that were trained together with the recipe's own are in folders below, from ``2`` on.

    What is damaged there, or another recipe's, is set aside, and the trial begins from its beginning.

    Args:
        path: of the folder; made when first written to.

    Attributes:
        told: what was set aside, in words.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[str] = []
        self._written = time.monotonic()
        self._cost = 0.0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process out.

        A process whose driver was killed goes on until its epoch ends; whoever takes the trial over waits
        for it. The kernel gives the lock back when its process dies, however it does.

        Raises:
            TrialInUse: the other process still works after five minutes.
            StoreTrouble: the folder cannot be written.
        """
        with writing_to_the_store(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            file = open(self.path / LOCK_FILE, "ab")  # noqa: SIM115  # closed below
        with file:
            deadline = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TrialInUse(f"another process still works in {self.path}") from None
                    time.sleep(0.05)
            yield

    def students(self, recipe: Recipe) -> Files | None:
        """The packed files of a finished trial, or None if it has not finished.

        Raises:
            StoreTrouble: one is damaged or another recipe's, and cannot be set aside.
        """
        ids = [each.recipe_id for each in recipe.results]
        own = self._student(self.path, ids[0])
        if own is None:
            return None
        lost = "its file was not written, or is lost"
        return Files(own, [self._student(self.peer(n), each) or lost for n, each in enumerate(ids[1:], 2)])

    def peer(self, number: int) -> Path:
        """Where the file of the trial's second, third, ... student is."""
        return self.path / str(number)

    def _student(self, folder: Path, recipe_id: str) -> bytes | None:
        path = folder / STUDENT_FILE
        if not os.path.lexists(path):
            return None
        try:
            data = read_file(path)
            found = read_header(data).recipe_id
        except PackedFileError as error:
            self._set_aside(path, f"{path} is damaged: {error}")
            return None
        if found != recipe_id:
            self._set_aside(path, f"{path} is of recipe {found}, not {recipe_id}")
            return None
        return data

    def take_over(self, other: Path) -> None:
        """Go on from the checkpoint of the ended trial in ``other``, unless this one has its own already.

        It is copied whole and checked, and then it is removed there: a process that is killed in between
        leaves both, and that here counts. The seconds it took stay the other trial's. Where there is none,
        or a damaged one, this trial begins from its beginning.

        Raises:
            StoreTrouble: it cannot be written.
        """
        there = other / CHECKPOINT_FILE
        if (self.path / CHECKPOINT_FILE).exists() or not there.exists():
            return
        try:
            tensors, facts = read_checkpoint(other)
        except CheckpointError as error:
            self._set_aside(there, str(error))
            return
        with writing_to_the_store(self.path):
            write_checkpoint(self.path, tensors, {**facts, "seconds": 0.0})
            there.unlink()

    def load(self, trainer: Trainer) -> float:
        """Continue ``trainer`` from the checkpoint, if there is one; returns the seconds of training so far.

        Raises:
            CheckpointError: it was damaged, or another recipe's. It is set aside now; ``trainer`` may have
                taken a part of it, so a fresh one is to begin.
            StoreTrouble: it cannot be set aside.
        """
        path = self.path / CHECKPOINT_FILE
        if not os.path.lexists(path):
            return 0.0
        try:
            return trainer.load(self.path)
        except CheckpointError as error:
            self._set_aside(path, str(error))
            raise

    def save(self, trainer: Trainer, seconds: float) -> None:
        """Write a checkpoint, unless the last one is so recent that writing would slow the training.

        Training again what came after the last checkpoint changes no bit, so little is lost.

        Raises:
            StoreTrouble: it cannot be written.
        """
        started = time.monotonic()
        if started - self._written < LEAST_RATIO * self._cost:
            return
        with writing_to_the_store(self.path):
            trainer.save(self.path, seconds)
        self._written = time.monotonic()
        self._cost = self._written - started

    def finish(
        self, files: Files, layers: Sequence[Sequence[Layer] | None] = (), said: Sequence[Answers | None] = ()
    ) -> None:
        """Keep the students, with what is in them and what they say, and nothing else.

        Args:
            files: of all students.
            layers: of each student, its own first; none (default) where they are not known.
            said: what is kept of each student on the validation split, likewise.

        Raises:
            StoreTrouble: they cannot be written.
        """
        known, answers = dict(enumerate(layers, 1)), dict(enumerate(said, 1))
        with writing_to_the_store(self.path):
            for number, file in enumerate(files.peers or (), 2):
                if isinstance(file, bytes):
                    content = contents_json(file, known.get(number) or ())
                    self.peer(number).mkdir(exist_ok=True)
                    write_file(self.peer(number) / TENSORS_FILE, content)
                    _keep(self.peer(number), answers.get(number))
                    write_file(self.peer(number) / STUDENT_FILE, file)
            write_file(self.path / TENSORS_FILE, contents_json(files.own, known.get(1) or ()))
            _keep(self.path, answers.get(1))
            write_file(self.path / STUDENT_FILE, files.own)  # last: who finds it takes the trial for finished
            (self.path / CHECKPOINT_FILE).unlink(missing_ok=True)
            (self.path / LOCK_FILE).unlink(missing_ok=True)

    def _set_aside(self, path: Path, why: str) -> None:
        with writing_to_the_store(path):
            beside = set_aside(path)
        what = "a student is left out" if path.parent.parent == self.path else "begun anew"
        self.told.append(f"{what}, as {why}; it is {beside.name} now")


def _keep(folder: Path, said: Answers | None) -> None:
    """Keep what a student says of the validation split beside it."""
    if said is not None:
        write_file(folder / PREDICTIONS_FILE, student_json({"validation": said}))


@contextmanager
def writing_to_the_store(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` into :class:`StoreTrouble` that names its file, or else ``path``."""
    try:
        yield
    except OSError as error:
        raise StoreTrouble(f"{error.strerror or error}: {error.filename or path}") from error
