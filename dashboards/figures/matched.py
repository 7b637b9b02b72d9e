"""Students of one shape that two sides trained: fronts compare what was found, pairs what methods do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from search.objectives.certainty import Interval, bootstrap
from trainables.metrics import Quality

CLOSE = 0.05
"""Widths that differ by at most this share count as one."""
_STEPS = 1_000_000
"""Of a width's logarithm, as whole numbers."""
FEWEST = 5
"""Pairs of which a mean has an interval."""


@dataclass(frozen=True)
class Matched:
    """Pairs of students of one architecture, depth and width, one of each of two sides.

    Attributes:
        pairs: columns model, depth, width, then left and right of run_id, trial_id, name, quality (points)
            and size (bytes); and gain, the points that the right one is better (below 0: worse). Sorted by
            width; a student is in one pair only.
        mean: of the gains; NaN if there are no pairs.
        between: its interval, by drawing pairs again; None with fewer than :data:`FEWEST` pairs.
        smaller: the right ones' size as a share of the left ones', the geometric mean; NaN if there are none.
    """

    pairs: pd.DataFrame
    mean: float
    between: Interval | None
    smaller: float


def matched(left: pd.DataFrame, right: pd.DataFrame, quality: Quality, size: str) -> Matched:
    """Pair the finished students of two sides that are within their limits.

    Args:
        left: trials, as :meth:`search.store.store.Store.trials` returns them.
        right: likewise.
        quality: by which both were searched.
        size: the column of their sizes.
    """
    one, other = (_shapes(trials, quality, size) for trials in (left, right))
    pairs = pd.merge_asof(
        one,
        other,
        on="log_width",
        by=["model", "depth"],
        direction="nearest",
        tolerance=round(_STEPS * math.log1p(CLOSE)),
        suffixes=("_left", "_right"),
    )
    pairs = pairs[pairs["run_id_right"].notna() & (pairs["run_id_left"] != pairs["run_id_right"])]
    # Of several that found the same partner, the nearest has it.
    away = (pairs["width_left"] / pairs["width_right"]).map(math.log).abs()
    pairs = pairs.assign(away=away).sort_values("away", kind="stable").drop_duplicates("run_id_right")
    gain = quality.gain(1.0) * (pairs["quality_right"] - pairs["quality_left"])
    pairs = pairs.assign(gain=gain, width=pairs["width_left"]).sort_values(["width", "depth"], kind="stable")
    pairs = pairs.drop(columns=["away", "log_width", "width_left", "width_right"]).reset_index(drop=True)
    gains = pairs["gain"].to_numpy(dtype=float)
    between = bootstrap(lambda drawn: float(drawn.mean()), gains) if len(gains) >= FEWEST else None
    ratios = np.log(pairs["size_right"].to_numpy(dtype=float) / pairs["size_left"].to_numpy(dtype=float))
    if not len(gains):
        return Matched(pairs, math.nan, None, math.nan)
    return Matched(pairs, float(gains.mean()), between, float(np.exp(ratios.mean())))


def _shapes(trials: pd.DataFrame, quality: Quality, size: str) -> pd.DataFrame:
    """What is paired of a side, sorted by width."""
    known = (trials["state"] == "finished").to_numpy(dtype=bool, na_value=False)
    numbers = trials[["depth", "width", quality.validation, size]].to_numpy(dtype=float, na_value=np.nan)
    known &= trials["feasible"].to_numpy(dtype=bool) & trials["model"].notna().to_numpy()
    known &= np.isfinite(numbers).all(axis=1) & (numbers[:, 1] > 0) & (numbers[:, 3] > 0)
    rows = trials[known]
    found = pd.DataFrame(
        {
            "model": rows["model"].astype(str),
            "depth": rows["depth"].astype(float),
            "width": rows["width"].astype(float),
            "run_id": rows["run_id"].astype(str),
            "trial_id": rows["trial_id"].astype(str),
            "name": rows["name"].astype(str),
            "quality": quality.points(1.0) * rows[quality.validation].astype(float),
            "size": rows[size].astype(float),
        }
    )
    steps = np.rint(_STEPS * np.log(found["width"].to_numpy(dtype=float))).astype(np.int64)
    return found.assign(log_width=steps).sort_values("log_width", kind="stable")
