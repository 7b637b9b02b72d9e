"""What students that begin with trained weights may take of compute, before a sweep is begun."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from search.problem import Problem
from search.units import count
from spaces import Context
from studies.study import Study
from trainables.foreign import shown
from trainables.methods.computation import work_share


def with_compute(context: Context, study: Study, asked: float | None, tell: Callable[[str], None]) -> Context:
    """The context with the compute of each student, by which its epochs follow from its size.

    Where what slices compute cannot be counted, the study's own number is left out, and that is told.

    Args:
        context: of the sweep.
        study: says how much where nobody does.
        asked: in epochs of the whole network; 0 gives every student all epochs; None leaves it to the study.
        tell: hears why it is left out.

    Raises:
        Problem: it was asked for, and means nothing here.
    """
    own = None if study.compute is None else study.compute * study.epochs
    compute = own if asked is None else asked
    if not compute:
        return context
    trained = [origin for _, origin in context.origins if origin.parent is not None]
    if not trained:
        raise Problem(
            f"--budget is for students that begin with trained weights, and those of the study {study.name} "
            "do not: leave it out, or say by --epochs how long they train."
        )
    try:
        for origin in trained:
            work_share(origin, context.task)
    except ValueError as error:
        why = shown(str(error).rstrip("."))
        if asked is not None:
            raise Problem(f"--budget cannot be kept: {why}; leave it out.") from error
        tell(f"every student trains {count(context.epochs, 'epoch')}, as its compute cannot be told: {why}")
        return context
    return replace(context, compute=float(compute))


def epochs_in_words(epochs: int, compute: float | None) -> str:
    """``20 epochs``, or how many students with trained weights have of them."""
    if compute is None:
        return count(epochs, "epoch")
    whole = "an epoch" if compute == 1 else f"{compute:.3g} epochs"
    return f"at most {count(epochs, 'epoch')}, with the compute of {whole} of the whole network"
