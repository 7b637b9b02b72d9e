"""The space of compressed translators."""

from spaces.space import Space

translation = Space(
    # Inputs of layers stay in full precision: sentences are padded, and padding would enter their ranges.
    methods=(
        "full_precision",
        "knowledge_distillation",
        "post_training_quantization",
        "quantized_distillation",
        "differentiable_quantization",
        "learned_step_quantization",
    ),
    learning_rates=(1e-3, 2e-2),
    temperatures=None,
)
