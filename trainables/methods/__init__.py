"""Published methods: functions of a :class:`Setting` and of parts.

A new one is its function, imported here, and its line in :data:`trainables.method_names.SHORT_NAMES`.
"""

from typing import Any

from trainables.method_names import SHORT_NAMES
from trainables.methods.baseline import full_precision as full_precision
from trainables.methods.distillation import (
    alternating_quantization as alternating_quantization,
)
from trainables.methods.distillation import (
    differentiable_quantization as differentiable_quantization,
)
from trainables.methods.distillation import (
    knowledge_distillation as knowledge_distillation,
)
from trainables.methods.distillation import (
    quantized_distillation as quantized_distillation,
)
from trainables.methods.distillation import (
    sequence_level_distillation as sequence_level_distillation,
)
from trainables.methods.distillation import (
    teacher_annealing as teacher_annealing,
)
from trainables.methods.exits import (
    decision_gates as decision_gates,
)
from trainables.methods.exits import (
    early_exits as early_exits,
)
from trainables.methods.quantization import (
    int8_post_training_quantization as int8_post_training_quantization,
)
from trainables.methods.quantization import (
    learned_step_quantization as learned_step_quantization,
)
from trainables.methods.quantization import (
    parameterized_clipping as parameterized_clipping,
)
from trainables.methods.quantization import (
    post_training_quantization as post_training_quantization,
)
from trainables.methods.quantization import (
    quantization_aware_training as quantization_aware_training,
)
from trainables.methods.quantization import (
    round_to_nearest as round_to_nearest,
)
from trainables.methods.setting import (
    PRUNING as PRUNING,
)
from trainables.methods.setting import (
    Method as Method,
)
from trainables.methods.setting import (
    Setting as Setting,
)
from trainables.methods.setting import (
    published as published,
)

METHODS: dict[str, Method[Any]] = {short: globals()[name] for short, name in SHORT_NAMES.items()}
"""Short name -> method."""
