"""What the methods are called; loads no torch, so that a help text is there at once."""

from trainables.alike import meant

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
    "diffq": "pseudo_quantization_noise",
    "seqkd": "sequence_level_distillation",
    "pqk": "in_place_distillation",
    "appa": "apprentice_joint",
    "appb": "apprentice_fixed",
    "appc": "apprentice_refined",
    "few": "few_label_distillation",
    "rco": "route_constrained_optimization",
    "rco-gs": "greedy_route",
    "bam": "multi_task_annealing",
    "td": "targeted_dropout",
    "snip": "snip_pruning",
    "fisher": "fisher_pruning",
    "scr-e": "scratch_e",
    "scr-b": "scratch_b",
    "dc": "deep_compression",
    "crd": "contrastive_distillation",
    "hint": "hint_distillation",
    "at": "attention_transfer",
    "sp": "similarity_distillation",
    "ajpq": "joint_pruning_quantization",
    "exits": "early_exits",
    "gates": "decision_gates",
    "dml": "mutual_learning",
    "ens": "online_ensemble",
    "one": "gated_online_ensemble",
}
"""Short name -> name of its function; in the order in which methods are listed."""


def method_name(text: str) -> str:
    """The whole name of a method, short or whole.

    Raises:
        ValueError: there is none; the message lists what there is.
    """
    if text in SHORT_NAMES:
        return SHORT_NAMES[text]
    if text in SHORT_NAMES.values():
        return text
    near = meant(text, [*SHORT_NAMES, *SHORT_NAMES.values()])
    raise ValueError(f"there is no method {text!r}{near}; choose from {', '.join(SHORT_NAMES)}")
