"""A trial that sleeps: for the processes of benchmarks/scaling.py, which have no room for torch."""

from __future__ import annotations

import os
import time
from typing import Any

from ray import tune


class Sleeper(tune.Trainable):
    """Reports as a student would, without being one.

    ``arrays`` holds ``epochs``, how many results each trial has; ``seconds``, how long each epoch sleeps;
    ``packed_bytes``, the length of the file that it leaves; and ``trials``, where their folders are.
    """

    def setup(self, config: dict[str, Any], arrays: Any = None, **shared: Any) -> None:
        """Called once per actor."""
        self._given = arrays
        self._name = config["trial"]
        self._epoch = 0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Serve another trial."""
        self._name = new_config["trial"]
        self._epoch = 0
        return True

    def step(self) -> dict[str, Any]:
        """Sleep one epoch."""
        time.sleep(self._given["seconds"])
        self._epoch += 1
        done = self._epoch == self._given["epochs"]
        if done:
            folder = self._given["trials"] / self._name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "student.rdz").write_bytes(os.urandom(self._given["packed_bytes"]))
        return {
            "epoch": self._epoch,
            "loss": 1 / self._epoch,
            "validation_accuracy": 1 - 1 / (1 + self._epoch),
            "packed_bytes": self._given["packed_bytes"],
            "seconds": self._epoch * self._given["seconds"],
            "state": "finished" if done else "running",
            "done": done,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing."""

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]  # Ray: "a dict or a path"
        """There is nothing to go on with."""
