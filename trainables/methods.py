"""Published methods, each a function that returns a recipe.

They share their arguments: ``task`` and ``model`` say what is trained, ``teacher_id`` is the
``recipe_id`` of a trained teacher, ``teacher_views`` the number of augmentation views in which its outputs
are remembered (None asks it at every step, in views that never come again), ``epochs`` is the whole
training in epochs, ``sparsity`` above 0 adds gradual magnitude pruning (Zhu & Gupta 2017), and ``seed``
drives all randomness but that of the remembered views, which all runs share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainables.activations import LearnedClip, MovingRange
from trainables.codecs import Smallest
from trainables.losses import SoftTargets
from trainables.models.base import Model
from trainables.optimizers import SGD, AdamW, Optimizer
from trainables.origins import Fresh
from trainables.pruners import Magnitude, NoPruner
from trainables.pruners.base import Pruner
from trainables.quantizers import LearnedPoints, LearnedStep, NoQuantizer, Symmetric, Uniform
from trainables.recipe import Phase, Recipe
from trainables.schedules import Constant, Cosine, Linear
from trainables.tasks import TeacherTranslations
from trainables.tasks.base import Task
from trainables.tasks.text import TextTask
from trainables.teachers import Fixed, NoTeacher, Remembered
from trainables.teachers.base import Teacher


def full_precision(
    task: Task,
    model: Model,
    *,
    epochs: int,
    learning_rate: float = 2e-3,
    sparsity: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """Training from labels alone, stored as float32: the baseline, and how teachers are made."""
    return Recipe(
        method="full_precision",
        task=task,
        origin=Fresh(model),
        teacher=NoTeacher(),
        losses=(),
        pruner=_pruner(sparsity),
        quantizer=NoQuantizer(),
        phases=(Phase(epochs, AdamW(learning_rate), prune=sparsity > 0),),
        codec=Smallest(),
        exempt_dtype="float32",
        seed=seed,
    )


def knowledge_distillation(
    task: Task,
    model: Model,
    *,
    teacher_id: str,
    epochs: int,
    learning_rate: float = 2e-3,
    temperature: float = 2.0,
    distillation_weight: float = 0.7,
    teacher_views: int | None = 16,
    sparsity: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """Soft targets of a trained teacher beside the labels (Hinton et al. 2015), stored as float32."""
    return Recipe(
        method="knowledge_distillation",
        task=task,
        origin=Fresh(model),
        **_imitating(teacher_id, teacher_views, temperature, distillation_weight),
        pruner=_pruner(sparsity),
        quantizer=NoQuantizer(),
        phases=(Phase(epochs, AdamW(learning_rate), prune=sparsity > 0),),
        codec=Smallest(),
        exempt_dtype="float32",
        seed=seed,
    )


def teacher_annealing(
    task: Task,
    model: Model,
    *,
    teacher_id: str,
    epochs: int,
    learning_rate: float = 2e-3,
    temperature: float = 1.0,
    teacher_views: int | None = 16,
    sparsity: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """From the teacher's outputs alone to the labels alone (BAM, Clark et al. 2019), stored as float32.

    With progress p the loss is p times that of the labels plus 1 - p times that of the soft targets. The
    paper mixes the targets instead; at its temperature of 1 the gradients are the same.
    """
    return Recipe(
        method="teacher_annealing",
        task=task,
        origin=Fresh(model),
        teacher=_teacher(teacher_id, teacher_views),
        losses=(SoftTargets(Constant(temperature), Linear(1.0, 0.0)),),
        task_weight=Linear(0.0, 1.0),
        pruner=_pruner(sparsity),
        quantizer=NoQuantizer(),
        phases=(Phase(epochs, AdamW(learning_rate), prune=sparsity > 0),),
        codec=Smallest(),
        exempt_dtype="float32",
        seed=seed,
    )


def post_training_quantization(
    task: Task,
    model: Model,
    *,
    epochs: int,
    bits: int = 8,
    bucket_size: int | None = 256,
    learning_rate: float = 2e-3,
    sparsity: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """Full-precision training, then one rounding to a uniform grid per bucket (the paper's "post-mortem")."""
    return Recipe(
        method="post_training_quantization",
        task=task,
        origin=Fresh(model),
        teacher=NoTeacher(),
        losses=(),
        pruner=_pruner(sparsity),
        quantizer=Uniform(bits, bucket_size, scale_dtype="float16"),
        phases=(Phase(epochs, AdamW(learning_rate), prune=sparsity > 0),),
        codec=Smallest(),
        seed=seed,
    )


def quantized_distillation(
    task: Task,
    model: Model,
    *,
    teacher_id: str,
    epochs: int,
    bits: int = 4,
    bucket_size: int | None = 256,
    learning_rate: float = 2e-3,
    temperature: float = 2.0,
    distillation_weight: float = 0.7,
    teacher_views: int | None = 16,
    sparsity: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """Distillation with the weights on their grid in every forward pass (Polino et al. 2018, section 3).

    Gradients taken at the quantized weights are applied to a full-precision copy. Weights of two or more
    dimensions are quantized; biases and normalisation stay in float16.
    """
    return Recipe(
        method="quantized_distillation",
        task=task,
        origin=Fresh(model),
        **_imitating(teacher_id, teacher_views, temperature, distillation_weight),
        pruner=_pruner(sparsity),
        quantizer=Uniform(bits, bucket_size, scale_dtype="float16"),
        phases=(Phase(epochs, AdamW(learning_rate), prune=sparsity > 0, quantize=True),),
        codec=Smallest(),
        seed=seed,
    )


def differentiable_quantization(
    task: Task,
    model: Model,
    *,
    teacher_id: str,
    epochs: int,
    bits: int = 4,
    bucket_size: int | None = 256,
    learning_rate: float = 2e-3,
    points_learning_rate: float = 1e-5,
    points_epochs: int | None = None,
    share_levels: bool = False,
    temperature: float = 2.0,
    distillation_weight: float = 0.7,
    teacher_views: int | None = 16,
    sparsity: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """A distilled full-precision student whose levels are then learned (Polino et al. 2018, section 4).

    The points start at the quantiles of the trained weights and are moved by SGD with Nesterov momentum
    under the same distillation loss, while the weights stand still. ``points_epochs`` of the ``epochs``
    go to them, a fifth (at least one) by default. With ``share_levels``, tensors share their levels out
    by gradient before the points start, at the same total of bits.
    """
    points = max(1, epochs // 5) if points_epochs is None else points_epochs
    if not 1 <= points < epochs:
        raise ValueError(f"points_epochs must be in [1, epochs - 1], got {points_epochs=} of {epochs=}")
    return Recipe(
        method="differentiable_quantization",
        task=task,
        origin=Fresh(model),
        **_imitating(teacher_id, teacher_views, temperature, distillation_weight),
        pruner=_pruner(sparsity),
        quantizer=LearnedPoints(bits, bucket_size, scale_dtype="float16", share=share_levels),
        phases=(
            Phase(epochs - points, AdamW(learning_rate), prune=sparsity > 0),
            Phase(
                points,
                SGD(points_learning_rate, momentum=0.9, weight_decay=0.0),
                train="quantizer",
                quantize=True,
            ),
        ),
        codec=Smallest(),
        seed=seed,
    )


def alternating_quantization(
    task: Task,
    model: Model,
    *,
    teacher_id: str,
    epochs: int,
    bits: int = 4,
    bucket_size: int | None = 256,
    learning_rate: float = 2e-3,
    points_learning_rate: float = 1e-5,
    temperature: float = 2.0,
    distillation_weight: float = 0.7,
    teacher_views: int | None = 16,
    sparsity: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """Quantized distillation with an epoch of differentiable quantization after each (Polino et al. 2018).

    In the published code's ``mix_with_differentiable_quantization``, every epoch of quantized distillation
    but the last is followed by one that learns points for the weights it left, starting at their
    quantiles and shared out by gradients; the weights then become what those points make of them. It
    ends on quantized distillation, so the student is stored on a uniform grid. ``epochs`` counts both
    kinds; of an even number the last two are quantized distillation. The rate of the weights follows half
    a cosine over all epochs, step by step, because each epoch starts a fresh optimizer, as published.
    """
    if epochs < 3:
        raise ValueError(f"epochs must be at least 3, one of them with learned points, got {epochs=}")
    phases: list[Phase] = []
    for epoch in range(epochs):
        if epoch % 2 == 1 and epoch < epochs - 1:
            optimizer: Optimizer = SGD(
                points_learning_rate, momentum=0.9, weight_decay=0.0, decay=Constant(1.0)
            )
            points = LearnedPoints(bits, bucket_size, scale_dtype="float16", share=True)
            phases.append(Phase(1, optimizer, train="quantizer", quantize=True, quantizer=points))
        else:
            rate = learning_rate * Cosine()(epoch / epochs)
            optimizer = AdamW(rate, decay=Constant(1.0))
            phases.append(Phase(1, optimizer, prune=sparsity > 0, quantize=True))
    return Recipe(
        method="alternating_quantization",
        task=task,
        origin=Fresh(model),
        **_imitating(teacher_id, teacher_views, temperature, distillation_weight),
        pruner=_pruner(sparsity),
        quantizer=Uniform(bits, bucket_size, scale_dtype="float16"),
        phases=tuple(phases),
        codec=Smallest(),
        seed=seed,
    )


def learned_step_quantization(
    task: Task,
    model: Model,
    *,
    epochs: int,
    bits: int = 4,
    quantized_epochs: int | None = None,
    learning_rate: float = 2e-3,
    quantized_learning_rate: float | None = None,
    sparsity: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """LSQ (Esser et al. 2020): a trained network goes on with quantized weights whose steps are learned.

    ``quantized_epochs`` of the ``epochs`` are quantized, half (at least one) by default, at
    ``quantized_learning_rate``, half of ``learning_rate`` by default. Pruning happens before: the grid has
    an exact zero, so pruned weights cost no mask. Inputs of layers stay in full precision.
    """
    quantized = max(1, epochs // 2) if quantized_epochs is None else quantized_epochs
    if not 1 <= quantized < epochs:
        raise ValueError(f"quantized_epochs must be in [1, epochs - 1], got {quantized_epochs=} of {epochs=}")
    rate = 0.5 * learning_rate if quantized_learning_rate is None else quantized_learning_rate
    return Recipe(
        method="learned_step_quantization",
        task=task,
        origin=Fresh(model),
        teacher=NoTeacher(),
        losses=(),
        pruner=_pruner(sparsity),
        quantizer=LearnedStep(bits),
        phases=(
            Phase(epochs - quantized, AdamW(learning_rate), prune=sparsity > 0),
            Phase(quantized, AdamW(rate), train="all", quantize=True),
        ),
        codec=Smallest(),
        seed=seed,
    )


def int8_post_training_quantization(
    task: Task,
    model: Model,
    *,
    epochs: int,
    learning_rate: float = 2e-3,
    sparsity: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """Full-precision training, then 8-bit weights and inputs of layers, for integer hardware.

    Weights get one symmetric scale per output channel, inputs of layers one range each (Jacob et al. 2018),
    calibrated on 512 training inputs whenever the student is packed. Exported as ONNX it is int8.
    """
    return Recipe(
        method="int8_post_training_quantization",
        task=task,
        origin=Fresh(model),
        teacher=NoTeacher(),
        losses=(),
        pruner=_pruner(sparsity),
        quantizer=Symmetric(8, scale_dtype="float16"),
        activations=MovingRange(8),
        phases=(Phase(epochs, AdamW(learning_rate), prune=sparsity > 0),),
        codec=Smallest(),
        seed=seed,
    )


def quantization_aware_training(
    task: Task,
    model: Model,
    *,
    epochs: int,
    bits: int = 8,
    activation_bits: int = 8,
    quantized_epochs: int | None = None,
    learning_rate: float = 2e-3,
    quantized_learning_rate: float | None = None,
    sparsity: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """A trained network goes on with quantized weights and inputs of layers (Jacob et al. 2018).

    Symmetric weights per output channel, moving averages of the inputs' ranges, gradients straight through.
    ``quantized_epochs`` of the ``epochs`` are quantized, a quarter (at least one) by default, at
    ``quantized_learning_rate``, a tenth of ``learning_rate`` by default. Batch normalisation is folded into
    the weights after training and not, as in the paper, before they are quantized: it stays a scale and a
    shift per channel, which symmetric scales per channel absorb exactly.
    """
    quantized = max(1, epochs // 4) if quantized_epochs is None else quantized_epochs
    if not 1 <= quantized < epochs:
        raise ValueError(f"quantized_epochs must be in [1, epochs - 1], got {quantized_epochs=} of {epochs=}")
    rate = 0.1 * learning_rate if quantized_learning_rate is None else quantized_learning_rate
    return Recipe(
        method="quantization_aware_training",
        task=task,
        origin=Fresh(model),
        teacher=NoTeacher(),
        losses=(),
        pruner=_pruner(sparsity),
        quantizer=Symmetric(bits, scale_dtype="float16"),
        activations=MovingRange(activation_bits),
        phases=(
            Phase(epochs - quantized, AdamW(learning_rate), prune=sparsity > 0),
            Phase(quantized, AdamW(rate), quantize=True),
        ),
        codec=Smallest(),
        seed=seed,
    )


def parameterized_clipping(
    task: Task,
    model: Model,
    *,
    epochs: int,
    bits: int = 4,
    activation_bits: int = 4,
    initial_clip: float | None = None,
    clip_decay: float = 2e-4,
    learning_rate: float = 2e-3,
    sparsity: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """PACT (Choi et al. 2018): inputs of layers are clipped where training says, quantized from the start.

    The weights' steps are learned as in LSQ, where the paper quantizes them as DoReFa does, and all layers
    are quantized, where the paper leaves out the first and the last. Clips start at what a calibration sees.
    """
    return Recipe(
        method="parameterized_clipping",
        task=task,
        origin=Fresh(model),
        teacher=NoTeacher(),
        losses=(),
        pruner=_pruner(sparsity),
        quantizer=LearnedStep(bits),
        activations=LearnedClip(activation_bits, initial_clip, clip_decay),
        phases=(Phase(epochs, AdamW(learning_rate), train="all", prune=sparsity > 0, quantize=True),),
        codec=Smallest(),
        seed=seed,
    )


def sequence_level_distillation(
    task: TextTask,
    model: Model,
    *,
    teacher_id: str,
    epochs: int,
    bits: int | None = None,
    bucket_size: int | None = 256,
    beam: int = 5,
    learning_rate: float = 2e-3,
    sparsity: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """Training on the teacher's own translations of the training sources (Kim & Rush 2016).

    A beam search of ``beam`` hypotheses finds them, once for all students. With ``bits``, the weights are on
    a uniform grid in every forward pass, as in quantized distillation; by default they are stored as float32.
    """
    quantized = bits is not None
    return Recipe(
        method="sequence_level_distillation",
        task=TeacherTranslations(task, teacher_id, beam),
        origin=Fresh(model),
        teacher=NoTeacher(),
        losses=(),
        pruner=_pruner(sparsity),
        quantizer=NoQuantizer() if bits is None else Uniform(bits, bucket_size, scale_dtype="float16"),
        phases=(Phase(epochs, AdamW(learning_rate), prune=sparsity > 0, quantize=quantized),),
        codec=Smallest(),
        exempt_dtype="float16" if quantized else "float32",
        seed=seed,
    )


METHODS: tuple[Callable[..., Recipe], ...] = (
    full_precision,
    knowledge_distillation,
    teacher_annealing,
    post_training_quantization,
    quantized_distillation,
    differentiable_quantization,
    alternating_quantization,
    learned_step_quantization,
    int8_post_training_quantization,
    quantization_aware_training,
    parameterized_clipping,
    sequence_level_distillation,
)


def _pruner(sparsity: float) -> Pruner:
    return NoPruner() if sparsity == 0 else Magnitude(sparsity)


def _teacher(recipe_id: str, views: int | None) -> Teacher:
    return Fixed(recipe_id) if views is None else Remembered(recipe_id, views)


def _imitating(recipe_id: str, views: int | None, temperature: float, weight: float) -> dict[str, Any]:
    """The parts of a recipe whose loss is ``weight`` times soft targets plus the rest times labels."""
    return {
        "teacher": _teacher(recipe_id, views),
        "losses": (SoftTargets(Constant(temperature), Constant(weight)),),
        "task_weight": Constant(1.0 - weight),
    }
