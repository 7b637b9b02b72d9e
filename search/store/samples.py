"""Samples that students get wrong, as a sweep left them in the store's folder: no MLflow has them."""

from __future__ import annotations

import os
from pathlib import Path

from search.store.mlflow_client import StoreError
from trainables.files import open_inside
from trainables.foreign import shown
from trainables.samples import MOST_BYTES, SAMPLES_FILE, Samples, read_samples

LARGEST = 6 * MOST_BYTES
"""Bytes of a file that is read: two splits, in letters and with sentences' signs escaped."""


def samples_of(folder: Path, sweep: str) -> Samples | None:
    """What is kept of a sweep's samples; None if nothing is, as where nothing can be shown.

    Args:
        folder: of the store.
        sweep: name of the sweep.

    Raises:
        StoreError: the file is damaged, too large, or cannot be read.
    """
    try:
        handle = open_inside(folder, f"sweeps/{sweep}/{SAMPLES_FILE}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unread(sweep, error) from error
    with open(handle, "rb") as file:
        try:
            if os.fstat(handle).st_size > LARGEST:
                raise ValueError(f"it has more than {LARGEST:,} bytes")
            return read_samples(file.read(LARGEST))
        except (OSError, ValueError) as error:
            raise _unread(sweep, error) from error


def _unread(sweep: str, error: Exception) -> StoreError:
    return StoreError(
        f"The file {SAMPLES_FILE} of the sweep {shown(sweep)} cannot be read ({shown(str(error), 300)}): "
        "remove it, and its mistakes are shown by their numbers alone."
    )
