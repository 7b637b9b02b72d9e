"""Deep Compression."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from trainables.methods.distillation import PointsRate, late_epochs
from trainables.methods.setting import Setting, published
from trainables.optimizers import SGD, AdamW
from trainables.pruners import Magnitude
from trainables.quantizers import LearnedPoints
from trainables.ranges import Range
from trainables.recipe import Recipe
from trainables.schedules import Constant

AT_ONCE = Magnitude(0.9, Constant(1.0), updates=1000)


@published("Han et al. 2016", "pruning")
def deep_compression(
    given: Setting,
    *,
    pruner: Magnitude = AT_ONCE,
    bits: Annotated[int, Range(1, 8, (1, 8), smaller="low", name="bits")] = 5,
    clustering: str = "kmeans_published",
    optimizer: AdamW = AdamW(),
    retraining_rate: Annotated[float, Range(0.0, 1.0)] = 1.0,
    points_learning_rate: PointsRate = 1e-4,
) -> Recipe:
    """Trained, pruned and retrained; then each layer shares few values, which are trained as well.

    A third of the epochs each; a network that is trained already is pruned at once, and retrained for two
    thirds. The smallest weights of each layer go at the first steps of retraining, which has
    ``retraining_rate`` times the rate (a choice of ours, all of it by default). Survivors are clustered by
    k-means from evenly spaced centres; ``clustering`` is ``kmeans_published``, which stops as a published
    code does, or ``kmeans``, which goes on until nothing moves. Centres take the summed gradients of their
    weights, as published, but each weight goes to the centre that is nearest at each step, where the paper
    keeps it where it was, the rate is that of centres on a scale from 0 to 1, and all layers have as many
    bits.
    ``rayduce inspect --account`` counts the published sizes, by Huffman codes of values and gaps.
    """
    given = given.pruned_by(pruner)
    points = late_epochs(given, "points_epochs", None, 3)
    first = 0 if given.origin.parent is not None else given.epochs // 3
    again = replace(optimizer, learning_rate=retraining_rate * optimizer.learning_rate)
    centres = SGD(points_learning_rate, momentum=0.9, weight_decay=0.0)
    return given.recipe(
        given.phase(optimizer, first, prune=False),
        given.phase(again, given.epochs - first - points),
        given.phase(centres, points, train="quantizer", prune=False, quantize=True),
        quantizer=LearnedPoints(bits, None, clustering, "float32"),
    )
