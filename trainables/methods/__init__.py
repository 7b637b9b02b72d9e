"""Published methods, functions of a :class:`Setting` and of parts: a new one is its function and a line."""

from typing import Any

from trainables.methods.baseline import full_precision
from trainables.methods.distillation import (
    alternating_quantization,
    differentiable_quantization,
    knowledge_distillation,
    quantized_distillation,
    sequence_level_distillation,
    teacher_annealing,
)
from trainables.methods.quantization import (
    int8_post_training_quantization,
    learned_step_quantization,
    parameterized_clipping,
    post_training_quantization,
    quantization_aware_training,
)
from trainables.methods.setting import PRUNING, Method, Setting, published

METHODS: dict[str, Method[Any]] = {
    "fp": full_precision,
    "kd": knowledge_distillation,
    "ta": teacher_annealing,
    "ptq": post_training_quantization,
    "qd": quantized_distillation,
    "dq": differentiable_quantization,
    "qd+dq": alternating_quantization,
    "lsq": learned_step_quantization,
    "int8": int8_post_training_quantization,
    "qat": quantization_aware_training,
    "pact": parameterized_clipping,
    "seqkd": sequence_level_distillation,
}
"""Short name -> method."""

__all__ = ["METHODS", "PRUNING", "Method", "Setting", "published", *(each.name for each in METHODS.values())]
