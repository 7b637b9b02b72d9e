"""Deep Compression."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from trainables.methods.distillation import PointsRate
from trainables.methods.setting import Setting, published
from trainables.optimizers import SGD, AdamW
from trainables.pruners import Magnitude
from trainables.quantizers import LearnedPoints
from trainables.ranges import Range
from trainables.recipe import Recipe
from trainables.schedules import Constant

SHARED = LearnedPoints(5, None, "kmeans", "float32")
AT_ONCE = Magnitude(0.9, Constant(1.0), updates=1000)


@published("Han et al. 2016")
def deep_compression(
    given: Setting,
    *,
    pruner: Magnitude = AT_ONCE,
    quantizer: LearnedPoints = SHARED,
    optimizer: AdamW = AdamW(),
    retraining_rate: Annotated[float, Range(0.0, 1.0)] = 0.1,
    points_learning_rate: PointsRate = 1e-4,
) -> Recipe:
    """Trained, pruned and retrained, then few shared weights per layer, which are trained as well.

    A third of the epochs each; a network that is trained already is pruned at once, and retrained for two
    thirds. The smallest weights of each layer go at the first step of retraining, which is at
    ``retraining_rate`` times the rate (a choice of ours). Survivors are clustered by k-means from evenly
    spaced centres; centres then take the summed gradients of their weights, as published, but each weight
    goes to the centre nearest to it at every step, where the paper keeps it where it was, and the rate is
    that of centres on a scale from 0 to 1. ``rayduce inspect`` counts the size as published beside our file's.
    """
    given = given.pruned_by(pruner)
    points = max(1, given.epochs // 3)
    first = 0 if given.origin.parent is not None else given.epochs // 3
    again = replace(optimizer, learning_rate=retraining_rate * optimizer.learning_rate)
    centres = SGD(points_learning_rate, momentum=0.9, weight_decay=0.0)
    return given.recipe(
        given.phase(optimizer, first, prune=False),
        given.phase(again, given.epochs - first - points),
        given.phase(centres, points, train="quantizer", prune=False, quantize=True),
        quantizer=quantizer,
    )
