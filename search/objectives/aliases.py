"""Which students of a sweep get a name in MLflow's model registry. Imports neither torch nor ray."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from trainables.metrics import Quality

REGISTERED_PREFIX = "rayduce-"
"""Begins the names of registered models; the study's name follows."""

DROPS = (("half-a-point", 0.5), ("1-point", 1.0), ("2-points", 2.0), ("5-points", 5.0))
"""How many points of validation quality a student may lose to the teacher, in words and as a number."""

ALIASES = frozenset({"smallest", "best", *(f"smallest-within-{words}" for words, _ in DROPS)})
"""All there are."""


@dataclass(frozen=True)
class Candidate:
    """A finished student on the front.

    Attributes:
        trial_id: of its trial.
        size: its bytes, in the file by which the sweep searches.
        quality: on the validation split, which selects.
    """

    trial_id: str
    size: float
    quality: float


def aliases(
    candidates: Mapping[str, Candidate], quality: Quality, teacher_validation: float
) -> dict[str, str]:
    """Alias -> trial id: the students that people ask for by name.

    ``smallest-within-<drop>`` is the smallest file that loses at most that many points of validation quality
    to the teacher, ``smallest`` the smallest of all, ``best`` the one of the best quality, the smaller of
    two. An alias that no student earns is left out.

    Args:
        candidates: the sweep's front by trial id; a budget is the front's business.
        quality: by which the sweep selects.
        teacher_validation: the teacher's, on the validation split.
    """
    by_size = sorted(
        candidates.values(), key=lambda each: (each.size, -quality.gain(each.quality), each.trial_id)
    )
    if not by_size:
        return {}
    found = {"smallest": by_size[0].trial_id}
    best = max(by_size, key=lambda each: (quality.gain(each.quality), -each.size))
    found["best"] = best.trial_id
    for words, drop in DROPS:
        for each in by_size:
            lost = quality.lost(each.quality, teacher_validation)
            if math.isfinite(lost) and lost <= drop:
                found[f"smallest-within-{words}"] = each.trial_id
                break
    return found
