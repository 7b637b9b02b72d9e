"""A tiny translation task in files, students for it, and every method that trains on it."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.recipes import setting
from trainables import methods
from trainables.models import LSTM, Transformer
from trainables.optimizers import AdamW
from trainables.quantizers import NoQuantizer
from trainables.recipe import Recipe
from trainables.schedules import Constant
from trainables.tasks import TextPairs

NOUNS = {"hund": "dog", "vogel": "bird", "baum": "tree", "fisch": "fish", "stein": "stone", "esel": "donkey"}
VERBS = {"sieht": "sees", "sucht": "seeks", "malt": "paints"}
COUNTS = {"train": 40, "val": 9, "test": 7}

STUDENTS = (
    LSTM(depth=1, units=12, embedding=10, dropout=0.1, tied="nothing"),
    Transformer(depth=1, units=8, heads=2, feed_forward=2, dropout=0.1, tied="all"),
)

WITHOUT_QUANTIZED_INPUTS = tuple(
    method
    for method in methods.METHODS.values()
    if method.name
    not in (
        "int8_post_training_quantization",
        "quantization_aware_training",
        "parameterized_clipping",
        "round_to_nearest",
        "multi_task_annealing",
        "scratch_e",
        "scratch_b",
        "contrastive_distillation",
        "similarity_distillation",
        "attention_transfer",
        "early_exits",
        "decision_gates",
    )
)
"""Those that take new networks which translate; tests of spaces say why the others do not."""


def write_pairs(directory: Path) -> TextPairs:
    """Sentences of one or two clauses whose verb moves, and their task."""
    random = np.random.RandomState(0)
    for split, count in COUNTS.items():
        lines: dict[str, list[str]] = {"de": [], "en": []}
        for _ in range(count):
            clauses = [
                (*random.choice(list(NOUNS), 2), random.choice(list(VERBS)))
                for _ in range(random.randint(1, 3))
            ]
            lines["de"].append(" und ".join(f"der {a} den {b} {v}" for a, b, v in clauses))
            english = (f"the {NOUNS[a]} {VERBS[v]} the {NOUNS[b]}" for a, b, v in clauses)
            lines["en"].append(" and ".join(english))
        for language, text in lines.items():
            (directory / f"{split}.{language}").write_text("\n".join(text) + "\n")
    return TextPairs.scan(directory, vocabulary_size=64, batch_tokens=400, max_length=40)


def every_translation_method(
    task: TextPairs, model: LSTM | Transformer, epochs: int = 4, sparsity: float = 0.0
) -> list[Recipe]:
    """One recipe per method, and sequence-level distillation once more in full precision."""
    recipes: list[Recipe] = []
    for method in WITHOUT_QUANTIZED_INPUTS:
        enough = max(epochs, 3) if method is methods.alternating_quantization else epochs
        accepted = inspect.signature(method).parameters
        arguments: dict[str, Any] = {"optimizer": AdamW(5e-3)}
        if "imitation" in accepted:
            arguments["imitation"] = replace(accepted["imitation"].default, temperature=Constant(1.0))
        if "points_learning_rate" in accepted:
            arguments["points_learning_rate"] = 1e-4
        given = setting(task, model, enough, 0.0 if "pruner" in accepted else sparsity)
        recipes.append(method(given, **arguments))
    plain = methods.sequence_level_distillation(
        setting(task, model, epochs, sparsity), quantizer=NoQuantizer(), optimizer=AdamW(5e-3)
    )
    return [*recipes, plain]
