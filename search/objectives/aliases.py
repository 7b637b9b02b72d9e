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

ALIASES = frozenset(
    {"smallest", "best", *(f"{how}-within-{words}" for how in ("measured", "surely") for words, _ in DROPS)}
)
"""All there are."""


@dataclass(frozen=True)
class Candidate:
    """A finished student on the front.

    Attributes:
        trial_id: of its trial.
        size: its bytes, in the file by which the sweep searches.
        quality: on the validation split, which selects.
        most_lost: the most points of it that it may lose to the teacher, the worse end of their interval;
            infinite (default) where that is not known.
    """

    trial_id: str
    size: float
    quality: float
    most_lost: float = math.inf

    def lost(self, quality: Quality, teacher: float) -> tuple[float, float]:
        """Points of ``quality`` that it loses to the teacher's value, and the most that they may be."""
        return quality.lost(self.quality, teacher), self.most_lost


def aliases(
    candidates: Mapping[str, Candidate], quality: Quality, teacher_validation: float
) -> dict[str, str]:
    """Alias -> trial id: the students that people ask for by name.

    ``measured-within-<drop>`` is the smallest file that loses at most that many points of validation quality
    to the teacher. That is what was measured, and the smallest of many is the luckier the more there were:
    ``surely-within-<drop>``, which is what ``rayduce choose`` answers where there is one, is the smallest of
    which the 95 % interval of what it loses, on the same samples,
    stays within. ``smallest`` is the smallest of all, ``best`` the one of the best quality, the smaller of
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
        for how, place in (("measured", 0), ("surely", 1)):
            lost = ((each.trial_id, each.lost(quality, teacher_validation)[place]) for each in by_size)
            within = (key for key, points in lost if math.isfinite(points) and points <= drop)
            if (first := next(within, None)) is not None:
                found[f"{how}-within-{words}"] = first
    return found
