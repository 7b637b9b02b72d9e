"""Students whose inner representations are made like their teacher's.

The defaults are those of the published scripts that compare these methods (Tian et al. 2020): the term of the
labels has weight 1, and each method's own the weight of its script. The scripts leave soft targets out, but
for CRD + KD, where they have weight 1 at temperature 4. That is the default of all methods here;
``imitation=SoftTargets(weight=Constant(0.0))`` leaves them out.
"""

from __future__ import annotations

from trainables.losses import AttentionMaps, Contrastive, Hints, Similarity, SoftTargets
from trainables.losses.base import Loss
from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.recipe import Recipe
from trainables.schedules import Constant
from trainables.tasks.base import Task

SOFT = SoftTargets(Constant(4.0), Constant(1.0))


@published("CRD, Tian et al. 2020", "features")
def contrastive_distillation(
    given: Setting,
    *,
    contrast: Contrastive = Contrastive(),
    imitation: SoftTargets = SOFT,
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """Penultimate features that tell each sample from others as the teacher's do, beside soft targets."""
    _check_samples(given.task)
    return _beside(given, imitation, contrast, optimizer)


@published("FitNets, Romero et al. 2015", "features")
def hint_distillation(
    given: Setting, *, hint: Hints = Hints(), imitation: SoftTargets = SOFT, optimizer: AdamW = AdamW()
) -> Recipe:
    """A middle layer near the teacher's, through a regressor, beside soft targets; in one stage, not two."""
    return _beside(given, imitation, hint, optimizer)


@published("Zagoruyko & Komodakis 2017", "features")
def attention_transfer(
    given: Setting,
    *,
    attention: AttentionMaps = AttentionMaps(),
    imitation: SoftTargets = SOFT,
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """Maps of where the network is active, at the ends of stages, like the teacher's; beside soft targets."""
    if len(given.task.input_shape) != 3:
        raise ValueError(f"it compares maps of images, and inputs here have shape {given.task.input_shape}")
    return _beside(given, imitation, attention, optimizer)


@published("Tung & Mori 2019", "features")
def similarity_distillation(
    given: Setting,
    *,
    similarity: Similarity = Similarity(),
    imitation: SoftTargets = SOFT,
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """Samples of a batch that are as alike as they are for the teacher, beside soft targets."""
    _check_samples(given.task)
    return _beside(given, imitation, similarity, optimizer)


def _beside(given: Setting, imitation: SoftTargets, term: Loss, optimizer: AdamW) -> Recipe:
    """Labels with weight 1, soft targets, and one term more; stored as float32."""
    losses = (imitation, term)
    return given.recipe(given.phase(optimizer), imitation=imitation, losses=losses, task_weight=Constant(1.0))


def _check_samples(task: Task) -> None:
    if task.interface.pads:
        raise ValueError(
            f"it compares whole samples, and networks of {type(task).__name__} answer token by token"
        )
