"""What the methods are called; loads no torch, so that a help text is there at once."""

SHORT_NAMES: dict[str, str] = {
    "fp": "full_precision",
    "kd": "knowledge_distillation",
    "ta": "teacher_annealing",
    "ptq": "post_training_quantization",
    "rtn": "round_to_nearest",
    "qd": "quantized_distillation",
    "dq": "differentiable_quantization",
    "qd+dq": "alternating_quantization",
    "lsq": "learned_step_quantization",
    "int8": "int8_post_training_quantization",
    "qat": "quantization_aware_training",
    "pact": "parameterized_clipping",
    "seqkd": "sequence_level_distillation",
    "exits": "early_exits",
    "gates": "decision_gates",
}
"""Short name -> name of its function; in the order in which methods are listed."""
