"""First phases that were trained already, kept in the store for recipes that have the same ones."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.recipe import Recipe, canonical_json
from trainables.training.checkpoint import CheckpointError, read_state, write_state
from trainables.training.prefixes import Prefix, prefixes

SUFFIX = ".safetensors"
PARTIAL = ".partial"
ABANDONED_SECONDS = 3600.0
"""After which a file that was being written belongs to a process that was killed."""


@dataclass(frozen=True)
class PhaseFolder:
    """Where the ends of first phases are kept.

    Attributes:
        path: of a folder in the store, which all nodes see; made when first written to.
        limit: bytes that they may take together; 0 keeps none.
        basis: what their bits depend on beside the recipe and the machine: fingerprints of data and code.
    """

    path: Path
    limit: int
    basis: str


@dataclass(frozen=True)
class Shared:
    """First phases that another trial trained.

    Attributes:
        prefix: of the recipe that goes on from there.
        tensors: what training had come to.
        loss: of their last epoch.
        seconds: that they took.
    """

    prefix: Prefix
    tensors: dict[str, Tensor]
    loss: float
    seconds: float


class SharedPhases:
    """What a process keeps there, and finds.

    Whoever writes does so at once or not at all, and two who keep the same keep equal bits, so nobody waits
    for anybody. What was not used for the longest goes first when there is too much.

    Args:
        folder: where they are; None neither keeps nor finds anything.
        device: on which trials train, ``cpu`` or ``cuda``.
        threads: of a trial on the CPU, which decide in which order sums are added.
        teachers: packed files of trained networks by recipe id.

    Attributes:
        told: what could not be used or kept, in words.
    """

    def __init__(
        self, folder: PhaseFolder | None, device: str, threads: int, teachers: Mapping[str, bytes]
    ) -> None:
        self.told: list[str] = []
        self._folder = folder
        self._machine = [device, threads, torch.__version__, torch.backends.cpu.get_cpu_capability()]
        if device == "cuda":
            self._machine.append(torch.cuda.get_device_name())
        self._teachers = {name: hashlib.sha256(file).hexdigest() for name, file in teachers.items()}

    def find(self, recipe: Recipe) -> Shared | None:
        """The longest first phases of ``recipe`` that are kept; None if none are.

        One that is damaged is removed, and told.
        """
        if self._folder is None:
            return None
        for prefix in reversed(prefixes(recipe)):
            path = self._path(self._folder, prefix, recipe)
            if not os.path.lexists(path):
                continue
            try:
                tensors, facts = read_state(path)
                loss, seconds = _checked(facts, prefix)
            except CheckpointError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    continue  # another process made room in this moment
                self._forget(path, str(error))
                continue
            with contextlib.suppress(OSError):  # a store that can only be read still gives what it has
                os.utime(path)
            return Shared(prefix, tensors, loss, seconds)
        return None

    def keep(
        self, recipe: Recipe, prefix: Prefix, tensors: Mapping[str, Tensor], loss: float, seconds: float
    ) -> None:
        """Keep what ``prefix`` of ``recipe`` has come to, if it is not there yet and there is room for it.

        Training goes on where it cannot be written; that is told.

        Args:
            recipe: that was trained.
            prefix: one of its own.
            tensors: of :meth:`trainables.training.trainer.Trainer.shared`.
            loss: of its last epoch.
            seconds: that training took until then.
        """
        if self._folder is None or self._folder.limit <= 0:
            return
        path = self._path(self._folder, prefix, recipe)
        if path.exists() or sum(tensor.nbytes for tensor in tensors.values()) > self._folder.limit:
            return
        facts = {"key": prefix.key, "epochs": prefix.epochs, "loss": loss, "seconds": seconds}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_state(path, tensors, facts)
            make_room(path.parent, self._folder.limit)
        except OSError as error:
            self.told.append(f"its first phases are not kept for others ({error.strerror or error})")

    def _path(self, folder: PhaseFolder, prefix: Prefix, recipe: Recipe) -> Path:
        text = canonical_json(recipe)
        asked = {name: digest for name, digest in self._teachers.items() if name in text}
        key = json.dumps([prefix.key, folder.basis, self._machine, asked], sort_keys=True)
        return folder.path / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}{SUFFIX}"

    def _forget(self, path: Path, why: str) -> None:
        with contextlib.suppress(OSError):  # it is read once more the next time, and no more used than now
            path.unlink(missing_ok=True)
        self.told.append(f"first phases are trained anew, as {why}")


def _checked(facts: Mapping[str, Any], prefix: Prefix) -> tuple[float, float]:
    """Loss and seconds of what is kept of ``prefix``.

    Raises:
        CheckpointError: it is of something else.
    """
    try:
        loss, seconds = float(facts["loss"]), float(facts["seconds"])
        if (facts["key"], facts["epochs"]) != (prefix.key, prefix.epochs):
            raise ValueError("it is of other phases")
        if not math.isfinite(loss) or not 0 <= seconds < math.inf:
            raise ValueError(f"{loss=}, {seconds=}")
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"what is kept of the phases {prefix.key[:16]} is damaged: {error}") from error
    return loss, seconds


def make_room(folder: Path, limit: int) -> None:
    """Remove what was not used for the longest until the rest takes at most ``limit`` bytes.

    What a killed process left half written goes, too.
    """
    found = sorted(_files(folder), key=lambda each: each[0])
    total = sum(size for _, size, _ in found)
    for used, size, path in found:
        if path.name.endswith(PARTIAL):
            if time.time() - used < ABANDONED_SECONDS:
                continue
        elif total <= limit:
            continue
        path.unlink(missing_ok=True)
        total -= size


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Of each file: when it was last used, its bytes, where it is."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.endswith((SUFFIX, PARTIAL)):
                continue
            try:
                facts = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # another process removed it meanwhile
                continue
            yield facts.st_mtime, facts.st_size, Path(entry.path)
