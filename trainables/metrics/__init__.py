"""What a trial reports, and how it is measured; one measurement per file. Importing this loads no torch."""

from trainables.foreign import shown
from trainables.metrics.base import DEVICE, LATENCY, Metric, Quality, span
from trainables.metrics.known import COSTS, METRICS, QUALITIES
from trainables.metrics.own import MEAN_QUALITY, own_quality, own_spelling, read_spelling

__all__ = [
    "COSTS",
    "LATENCY",
    "MEAN_QUALITY",
    "METRICS",
    "QUALITIES",
    "Metric",
    "Quality",
    "costs_of",
    "device_costs",
    "own_quality",
    "quality_of",
    "span",
    "spelled",
]


def costs_of(quality: Quality) -> tuple[Metric, ...]:
    """What every trial of a sweep reports beside its qualities: :data:`COSTS`, then the quality's own.

    What else a sweep measures of its students, such as on a device, stands in ``quality.costs``, so that
    tables, pages, limits and objectives have it, too.
    """
    return (*COSTS, *quality.costs)


def device_costs(quality: Quality) -> tuple[Metric, ...]:
    """Those of :func:`costs_of` that a device of the user's says, such as ``device_latency_ms``."""
    return tuple(metric for metric in quality.costs if metric.name.startswith(DEVICE))


def spelled(quality: Quality) -> str:
    """The text that stands for ``quality`` in tasks, tags and logs; inverse of :func:`quality_of`.

    Of one in :data:`QUALITIES` that is its name; of one of :func:`own_quality` it is
    JSON with sorted keys and no spaces, such as
    ``{"goal":"down","label":"RMSE","name":"rmse","scale":1.0,"unit":"m"}``, with ``lowest`` and ``highest``
    where they are finite.

    Raises:
        ValueError: it is neither of these.
    """
    return quality.name if quality in QUALITIES else own_spelling(quality)


def quality_of(metric: str) -> Quality:
    """The quality that selects the students of tasks and sweeps whose ``metric`` it is.

    Args:
        metric: from anywhere: a name in :data:`QUALITIES`, or what :func:`spelled` makes of another quality.

    Raises:
        ValueError: it is neither; the message is a clause that says why.
    """
    found = next((quality for quality in QUALITIES if quality.name == metric), None)
    if found is not None:
        return found
    if isinstance(metric, str) and metric.startswith("{"):
        return read_spelling(metric)
    known = ", ".join(quality.name for quality in QUALITIES)
    raise ValueError(
        f"metric must be one of {known}, or spell a quality of one's own, "
        f"got metric={shown(repr(metric), 60)}"
    )
