"""What is kept of a sweep's samples, so that pages show those that students get wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainables.files import write_file
from trainables.predictions import Classes
from trainables.samples import MOST_BYTES, MOST_SAMPLES, Samples, mark_of, samples_json
from trainables.tasks.base import Arrays, Task

CHUNK = 64
"""Samples that are asked for at a time."""
SEED = 20_180_215
"""Of the order in which samples are taken where not all of them fit."""


class Exhibits:
    """Samples of the validation and the test split, in a file of the sweep's folder.

    All of them where they fit into :data:`trainables.samples.MOST_BYTES`, as small data do; else those that
    are asked for, in an order drawn once, as many as fit.

    Args:
        path: of the file.
        task: whose samples they are.
        arrays: its data.
    """

    def __init__(self, path: Path, task: Task, arrays: Arrays) -> None:
        self._path, self._task, self._arrays = path, task, arrays
        self._kept: Samples | None = None

    def whole(self, split: str, samples: int) -> bool:
        """Whether all ``samples`` of ``split`` are kept."""
        return self._kept is not None and len(self._kept.splits.get(split, ())) == samples

    def keep(self, split: str, wanted: Classes, true: Classes) -> None:
        """Keep samples of ``split``, in place of those that are kept of it.

        Args:
            split: ``validation`` or ``test``.
            wanted: numbers of samples.
            true: the classes of the split.

        Raises:
            OSError: they cannot be written.
        """
        order = np.random.RandomState(SEED).permutation(wanted)[:MOST_SAMPLES]
        items: dict[int, bytes | str] = {}
        used, about = 0, None
        for start in range(0, len(order), CHUNK):
            about = self._task.shown_samples(self._arrays, split, order[start : start + CHUNK])
            if about is None:
                return
            for number, item in about.splits[split].items():
                used += len(item if isinstance(item, bytes) else item.encode())
                if used > MOST_BYTES:
                    break
                items[number] = item
            if used > MOST_BYTES:
                break
        if about is None:
            return
        before = self._kept or Samples(about.kind, about.classes)
        self._kept = Samples(
            about.kind,
            about.classes,
            {**before.splits, split: dict(sorted(items.items()))},
            {**before.marks, split: mark_of(true)},
        )
        write_file(self._path, samples_json(self._kept))
