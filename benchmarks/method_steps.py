"""What each method adds to a training step over the same training without it.

ResNet-20 on batches of 128 images, real trainers that take turns, ratios within rounds: measured as
:mod:`benchmarks.step_time` says. A method has one row in :func:`pairs`.

    python -m benchmarks.method_steps [--only NAME] [--rounds 9] [--steps 2] [--device cuda]
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from typing import NamedTuple

import torch

from benchmarks.step_time import BATCH_SIZE, EPOCHS, STUDENT, TEACHER_ID, Variant, measure, report
from trainables import methods
from trainables.methods.together import Companions
from trainables.metrics.latency import fingerprint
from trainables.origins import Fresh
from trainables.pruners import Magnitude
from trainables.recipe import Recipe
from trainables.tasks import CIFAR10
from trainables.teachers import Unpruned

NEGATIVES = 16_384  # of the contrast, as published: the data must have as many


class Pair(NamedTuple):
    """A method's training, the same without it, and the largest ratio of their steps that is good enough.

    ``images`` are the training images at least; a step sees a batch of them.
    """

    name: str
    recipe: Recipe
    without: Recipe
    bar: float
    images: int = 0


def pairs() -> list[Pair]:
    """What is compared."""
    given = methods.Setting(CIFAR10(batch_size=BATCH_SIZE), Fresh(STUDENT), EPOCHS)
    taught = replace(given, teacher=TEACHER_ID, teacher_views=1)
    plain, distilled = methods.full_precision(given), methods.knowledge_distillation(taught)
    pruned = methods.learned_step_quantization(given.pruned_by(Magnitude(0.8)))
    in_place = methods.in_place_distillation(given)
    speaking = replace(in_place, teacher=Unpruned(begin=0.0))
    return [
        Pair("learned bits", methods.pseudo_quantization_noise(given), plain, 1.2),
        Pair("targeted dropout", methods.targeted_dropout(given), plain, 1.2),
        Pair("SNIP", methods.snip_pruning(given), plain, 1.2),
        Pair("Fisher, by channel", methods.fisher_pruning(given), plain, 1.2),
        Pair(
            "CRD, remembered",
            methods.contrastive_distillation(taught),
            distilled,
            1.3,
            NEGATIVES + BATCH_SIZE,
        ),
        Pair("mutual learning of 2", mutual(given, 2), mutual(given, 1), 2.2),
        Pair("mutual learning of 3", mutual(given, 3), mutual(given, 1), 3.2),
        Pair("PQK, second phase", last_phase(speaking), last_phase(pruned), 2.2),
    ]


def last_phase(recipe: Recipe) -> Recipe:
    """The recipe in its last phase from the first step to the last."""
    return replace(recipe, phases=(replace(recipe.phases[-1], epochs=EPOCHS),))


def mutual(given: methods.Setting, students: int) -> Recipe:
    """So many students of the same size."""
    return methods.mutual_learning(given, companions=Companions(students, width_ratio=1.0))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="the name of one row")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=9, help="at least 2")
    parser.add_argument("--steps", type=int, default=2, help="per epoch, at least 1")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    print(f"machine: {json.dumps(fingerprint())}, torch {torch.__version__}")
    for pair in pairs():
        if arguments.only in (None, pair.name):
            base = f"without {pair.name}"
            chosen = [Variant(base, pair.without), Variant(pair.name, pair.recipe, base, pair.bar)]
            taken = measure(chosen, device, arguments.steps, arguments.rounds, clock, STUDENT, pair.images)
            print(report(chosen, taken), flush=True)


if __name__ == "__main__":
    main()
