"""The space of compressed image classifiers."""

from spaces.space import Space

images = Space(
    # Of the full-precision methods one with and one without a teacher are enough.
    methods=(
        "full_precision",
        "knowledge_distillation",
        "post_training_quantization",
        "quantized_distillation",
        "differentiable_quantization",
        "learned_step_quantization",
        "quantization_aware_training",
    ),
    learning_rates=(5e-4, 1e-2),
    temperatures=(1.0, 10.0),
)
