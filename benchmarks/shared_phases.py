"""What siblings save that begin where another one's first phases ended: real trials on the digits.

Of each method one training and its siblings, which differ in bits alone, are trained in turn with and without
a cache of first phases, in this process and without Ray. Students are compared bit for bit.

    python benchmarks/shared_phases.py [--epochs 12] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from search.teaching.on_demand import OnDemand
from studies.known import find_study
from trainables import methods
from trainables.methods import Setting
from trainables.metrics.latency import fingerprint
from trainables.quantizers import LearnedPoints, LearnedStep, Symmetric, Uniform
from trainables.recipe import Recipe, canonical_json
from trainables.teachers.sources import NoSources
from trainables.trainable import StudentTrial
from trainables.training.prefixes import shared_prefix
from trainables.training.shared_phases import PhaseFolder
from trainables.training.trainer import train
from trainables.training.trial_metrics import TrialSettings

BITS = (2, 3, 4, 8)
TEACHER_EPOCHS = 8
"""What siblings save does not depend on how good their teacher is."""


def families(given: Setting) -> dict[str, list[Recipe]]:
    """Siblings by their method."""
    return {
        "ptq": [methods.post_training_quantization(given, quantizer=Uniform(bits)) for bits in BITS],
        "dq": [methods.differentiable_quantization(given, quantizer=LearnedPoints(bits)) for bits in BITS],
        "qat": [methods.quantization_aware_training(given, quantizer=Symmetric(bits)) for bits in BITS],
        "lsq": [methods.learned_step_quantization(given, quantizer=LearnedStep(bits)) for bits in BITS],
        "qd": [methods.quantized_distillation(given, quantizer=Uniform(bits)) for bits in BITS],
    }


class Trials:
    """Trains recipes one after the other, each as a trial of a sweep would."""

    def __init__(self, arrays: Mapping[str, Any], file: bytes, products: OnDemand, folder: Path) -> None:
        self._arrays, self._file, self._products, self._folder = arrays, file, products, folder

    def run(self, recipe: Recipe, phases: PhaseFolder | None) -> tuple[float, bytes, int]:
        """Seconds of the trial, its student, and the epochs that it took over."""
        name = f"{recipe.recipe_id}-{time.monotonic_ns()}"
        settings = TrialSettings(None, len(self._file), trials=self._folder, phases=phases)
        arrays, file, products = self._arrays, self._file, self._products

        class Local(StudentTrial):
            def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]  # as Ray calls it
                teachers = {products.recipe_id: file}
                super().setup(config, arrays, teachers, [], settings, products=products)

        begun = time.perf_counter()
        trial = Local({"recipe": canonical_json(recipe), "trial": name})
        result, shared = trial.step(), 0
        while not result["done"]:
            result = trial.step()
            shared = max(shared, int(result.get("shared_epochs", 0)))
        if result["state"] != "finished":
            raise RuntimeError(f"{recipe.method}: {result.get('reason')}")
        return time.perf_counter() - begun, (self._folder / name / "student.rdz").read_bytes(), shared


def measure(epochs: int, folder: Path) -> list[dict[str, Any]]:
    """A row for each method."""
    study = find_study("digits")
    task = study.make_task(None, {})
    arrays = task.load(None)
    opened = task.open(arrays, torch.device("cpu"), 0)
    teacher = replace(study, teacher_epochs=TEACHER_EPOCHS).teacher_recipe(task)
    file = train(teacher, opened, NoSources(), torch.device("cpu"))
    products = OnDemand(teacher, file, opened.fingerprint(), folder)
    products.outputs(min(16, epochs), arrays, "cpu", 1)  # before any clock runs
    context = study.context(task, teacher.recipe_id, 0)
    given = Setting(task, dict(context.origins)["fresh"], epochs, teacher.recipe_id, min(16, epochs))
    trials = Trials(arrays, file, products, folder / "trials")
    trials.run(methods.full_precision(replace(given, epochs=1)), None)  # the first loads what it needs
    rows: list[dict[str, Any]] = []
    for method, recipes in families(given).items():
        phases = PhaseFolder(folder / f"phases-{method}", 10**9, "")
        alone, begun = [], []
        for recipe in recipes:  # in turn, so that whatever else the machine does hits both
            alone.append(trials.run(recipe, None))
            begun.append(trials.run(recipe, phases))
        prefix = shared_prefix(recipes[0])
        rows.append(
            {
                "method": method,
                "siblings": len(recipes),
                "shared_epochs": 0 if prefix is None else prefix[1],
                "epochs": epochs,
                "first_alone": alone[0][0],
                "first_kept": begun[0][0],
                "sibling_alone": sum(each[0] for each in alone[1:]) / (len(alone) - 1),
                "sibling_shared": sum(each[0] for each in begun[1:]) / (len(begun) - 1),
                "saved_by_a_sibling": 1
                - sum(each[0] for each in begun[1:]) / sum(each[0] for each in alone[1:]),
                "saved_by_all": 1 - sum(each[0] for each in begun) / sum(each[0] for each in alone),
                "taken_over": [each[2] for each in begun],
                "equal": all(one[1] == other[1] for one, other in zip(alone, begun, strict=True)),
            }
        )
        print(
            f"{method:4s} {rows[-1]['shared_epochs']:2d} of {epochs} epochs shared; a sibling takes "
            f"{rows[-1]['sibling_shared']:.2f} s in place of {rows[-1]['sibling_alone']:.2f} s "
            f"({100 * rows[-1]['saved_by_a_sibling']:.0f} % saved; all {len(recipes)}: "
            f"{100 * rows[-1]['saved_by_all']:.0f} %); students equal: {rows[-1]['equal']}",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12, help="of each trial")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.epochs, Path(folder))
    found = {
        "machine": fingerprint(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "rows": rows,
    }
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
