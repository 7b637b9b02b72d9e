"""Students that imitate a teacher."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from trainables.losses import SoftTargets
from trainables.methods.setting import Setting, published
from trainables.optimizers import SGD, AdamW
from trainables.quantizers import LearnedPoints, NoQuantizer, Uniform
from trainables.quantizers.base import Quantizer
from trainables.ranges import Range
from trainables.recipe import Recipe
from trainables.schedules import Constant, Cosine, Linear
from trainables.tasks import TeacherTranslations
from trainables.tasks.text import TextTask

PointsRate = Annotated[float, Range(0, 100, (1e-6, 1e-3), log=True, excluded="low")]


@published("Hinton et al. 2015", "answers")
def knowledge_distillation(
    given: Setting, *, imitation: SoftTargets = SoftTargets(), optimizer: AdamW = AdamW()
) -> Recipe:
    """Soft targets of a trained teacher beside the labels, stored as float32."""
    return given.recipe(given.phase(optimizer), imitation=imitation)


@published("BAM, Clark et al. 2019", "answers")
def teacher_annealing(
    given: Setting,
    *,
    imitation: SoftTargets = SoftTargets(Constant(1.0), Linear(1.0, 0.0)),
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """From the teacher's outputs alone to the labels alone, stored as float32.

    With progress p the loss is p times that of the labels plus 1 - p times that of the soft targets. The
    paper mixes the targets instead; at its temperature of 1 the gradients are the same.
    """
    return given.recipe(given.phase(optimizer), imitation=imitation)


@published("Polino et al. 2018, section 3", "distilled grid")
def quantized_distillation(
    given: Setting,
    *,
    quantizer: Uniform = Uniform(),
    imitation: SoftTargets = SoftTargets(),
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """Distillation with the weights on their grid in every forward pass.

    Gradients taken at the quantized weights are applied to a full-precision copy. Weights of two or more
    dimensions are quantized; biases and normalisation stay in float16.
    """
    return given.recipe(given.phase(optimizer, quantize=True), quantizer=quantizer, imitation=imitation)


@published("Polino et al. 2018, section 4", "distilled grid")
def differentiable_quantization(
    given: Setting,
    *,
    quantizer: LearnedPoints = LearnedPoints(),
    imitation: SoftTargets = SoftTargets(),
    optimizer: AdamW = AdamW(),
    points_learning_rate: PointsRate = 1e-5,
    points_epochs: int | None = None,
) -> Recipe:
    """A distilled full-precision student whose levels are then learned.

    The points start at the quantiles of the trained weights and are moved by SGD with Nesterov momentum
    under the same distillation loss, while the weights stand still. ``points_epochs`` of the epochs go to
    them, a fifth (at least one) by default.
    """
    count = late_epochs(given, "points_epochs", points_epochs, 5)
    points = SGD(points_learning_rate, momentum=0.9, weight_decay=0.0)
    return given.recipe(
        given.phase(optimizer, given.epochs - count),
        given.phase(points, count, train="quantizer", prune=False, quantize=True),
        quantizer=quantizer,
        imitation=imitation,
    )


@published("Polino et al. 2018, published code", "distilled grid")
def alternating_quantization(
    given: Setting,
    *,
    quantizer: Uniform = Uniform(),
    imitation: SoftTargets = SoftTargets(),
    optimizer: AdamW = AdamW(),
    points_learning_rate: PointsRate = 1e-5,
) -> Recipe:
    """Quantized distillation with an epoch of differentiable quantization after each.

    In the published code's ``mix_with_differentiable_quantization``, every epoch of quantized distillation
    but the last is followed by one that learns points for the weights it left, starting at their
    quantiles and shared out by gradients; the weights then become what those points make of them. It
    ends on quantized distillation, so the student is stored on a uniform grid. The epochs are of both
    kinds; of an even number the last two are quantized distillation. The rate of the weights follows half
    a cosine over all epochs, step by step, because each epoch starts a fresh optimizer, as published.
    """
    epochs, rate, held = given.epochs, optimizer.learning_rate, Constant(1.0)
    if epochs < 3:
        raise ValueError(f"epochs must be at least 3, one of them with learned points, got {epochs=}")
    levels = LearnedPoints(quantizer.bits, quantizer.bucket_size, "quantile", quantizer.scale_dtype, True)
    points = given.phase(
        SGD(points_learning_rate, momentum=0.9, weight_decay=0.0, decay=held),
        1,
        **{"train": "quantizer", "prune": False, "quantize": True, "quantizer": levels},
    )
    steps = [replace(optimizer, learning_rate=rate * Cosine()(n / epochs), decay=held) for n in range(epochs)]
    phases = [
        points if n % 2 == 1 and n < epochs - 1 else given.phase(step, 1, quantize=True)
        for n, step in enumerate(steps)
    ]
    return given.recipe(*phases, quantizer=quantizer, imitation=imitation)


@published("Kim & Rush 2016", "answers")
def sequence_level_distillation(
    given: Setting,
    *,
    quantizer: Quantizer = Uniform(),
    optimizer: AdamW = AdamW(),
    beam: int = 5,
) -> Recipe:
    """Training on the teacher's own translations of the training sources.

    A beam search of ``beam`` hypotheses finds them, once for all students. The weights are on their grid in
    every forward pass, as in quantized distillation; with ``NoQuantizer()`` they are stored as float32.
    """
    if not isinstance(given.task, TextTask):
        raise ValueError(f"it is for tasks that translate, got {type(given.task).__name__}")
    task = TeacherTranslations(given.task, given.known_teacher, beam)
    phase = given.phase(optimizer, quantize=quantizer != NoQuantizer())
    return given.recipe(phase, quantizer=quantizer, task=task)


def late_epochs(given: Setting, name: str, wanted: int | None, share: int) -> int:
    """How many of the last epochs are different: ``wanted``, or one in ``share`` and at least one."""
    count = max(1, given.epochs // share) if wanted is None else wanted
    if not 1 <= count < given.epochs:
        raise ValueError(f"{name} must be in [1, epochs - 1], got {name}={wanted} of epochs={given.epochs}")
    return count
