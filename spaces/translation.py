"""The spaces of compressed translators."""

from dataclasses import replace

from spaces.space import Space

word_level_translation = Space(
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

# The teacher has to translate the training split, which takes about as long as training it for some epochs.
translation = replace(
    word_level_translation, methods=(*word_level_translation.methods, "sequence_level_distillation")
)
