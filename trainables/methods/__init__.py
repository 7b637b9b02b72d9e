"""Published methods: functions of a :class:`Setting` and of parts.

A new one is its function, imported here, and its line in :data:`trainables.method_names.SHORT_NAMES`.
"""

from typing import Any

from trainables.method_names import SHORT_NAMES
from trainables.methods.apprentice import (
    apprentice_fixed as apprentice_fixed,
)
from trainables.methods.apprentice import (
    apprentice_joint as apprentice_joint,
)
from trainables.methods.apprentice import (
    apprentice_refined as apprentice_refined,
)
from trainables.methods.baseline import (
    full_precision as full_precision,
)
from trainables.methods.deep_compression import (
    deep_compression as deep_compression,
)
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
from trainables.methods.few_labels import (
    few_label_distillation as few_label_distillation,
)
from trainables.methods.in_place import (
    in_place_distillation as in_place_distillation,
)
from trainables.methods.learned_bits import (
    pseudo_quantization_noise as pseudo_quantization_noise,
)
from trainables.methods.mixed_precision import (
    joint_pruning_quantization as joint_pruning_quantization,
)
from trainables.methods.pruning import (
    fisher_pruning as fisher_pruning,
)
from trainables.methods.pruning import (
    scratch_b as scratch_b,
)
from trainables.methods.pruning import (
    scratch_e as scratch_e,
)
from trainables.methods.pruning import (
    snip_pruning as snip_pruning,
)
from trainables.methods.pruning import (
    targeted_dropout as targeted_dropout,
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
from trainables.methods.representation import (
    attention_transfer as attention_transfer,
)
from trainables.methods.representation import (
    contrastive_distillation as contrastive_distillation,
)
from trainables.methods.representation import (
    hint_distillation as hint_distillation,
)
from trainables.methods.representation import (
    similarity_distillation as similarity_distillation,
)
from trainables.methods.route import (
    greedy_route as greedy_route,
)
from trainables.methods.route import (
    route_constrained_optimization as route_constrained_optimization,
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
from trainables.methods.several import (
    multi_task_annealing as multi_task_annealing,
)
from trainables.methods.together import (
    gated_online_ensemble as gated_online_ensemble,
)
from trainables.methods.together import (
    mutual_learning as mutual_learning,
)
from trainables.methods.together import (
    online_ensemble as online_ensemble,
)

METHODS: dict[str, Method[Any]] = {short: globals()[name] for short, name in SHORT_NAMES.items()}
"""Short name -> method."""
