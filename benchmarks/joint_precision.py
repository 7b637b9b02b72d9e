"""Joint pruning and quantization beside uniform widths and bits, at equal packed bytes.

Three kinds of students of one trained network, all trained alike (soft targets, quantized from the start):

- ``uniform``: slices with one share of the channels in all layers, and one number of bits;
- ``joint``: slices whose widths and bits a sampler finds (``joint_pruning_quantization``), each with a budget
  of bytes so that its weights take no more than those of a uniform one;
- ``whole``: the whole network, its smallest weights pruned one by one, with one number of bits. Its channels
  stay, so it is what slices are faster than.

    python -m benchmarks.joint_precision RUNS digits
    CIFAR_IMAGES=DIR CIFAR_CHECKPOINT=FILE \\
        python -m benchmarks.joint_precision RUNS benchmarks/own_front/job.py --share 10 --epochs 2

The validation split chooses, for each target the best uniform and the best joint student whose file is no
larger; these are trained again with further seeds, and the test split reports. A finished student is kept in
``RUNS``, so the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from search.sampling.samplers import Sampler, find_sampler
from spaces.architectures import TEACHER
from studies.job import study_of_file
from studies.known import find_study
from trainables import methods
from trainables.compression.compressed_weight import compressible
from trainables.exporting.export import to_onnx
from trainables.files import write_file
from trainables.losses import SoftTargets
from trainables.metrics.latency import fingerprint, measure_latencies
from trainables.metrics.macs import macs
from trainables.optimizers import AdamW
from trainables.origins import Slice, Trained
from trainables.origins.base import Origin
from trainables.pruners import Magnitude
from trainables.quantizers import Graded, Symmetric
from trainables.recipe import Recipe
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.shipping.packed_file import unpack
from trainables.slicing.cut import Cut
from trainables.tasks.base import Arrays, LoadedTask
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
SLACK = 1.5
"""Weights may take so much more than those of the uniform student before entropy coding, which makes few bits
shorter than many; the file may not be larger."""


@dataclass(frozen=True)
class Options:
    """What is compared at which cost; see ``--help``."""

    runs: Path
    study: str
    share: int
    epochs: int
    trials: int
    seeds: int
    targets: tuple[tuple[float, int], ...]
    whole: tuple[tuple[float, int], ...]
    widths: tuple[float, ...]
    bits: tuple[int, ...]
    sampler: str
    learning_rate: float
    work: float


class Bench:
    """A study's network and data, and students of it that are trained once and kept."""

    def __init__(self, options: Options) -> None:
        self.options = options
        options.runs.mkdir(parents=True, exist_ok=True)
        own = options.study.endswith(".py")
        study = study_of_file(Path(options.study), print) if own else find_study(options.study)
        self.task = study.make_task(None, {})
        self.arrays = thinned(study.arrays or self.task.load(None), options.share)
        recipe = study.teacher_recipe(self.task)
        self.teacher_id = recipe.recipe_id
        path = options.runs / "teacher.rdz"
        if not path.exists():
            alone = LocalSources(NoSources().network, study.given)
            write_file(path, self._trained(recipe, alone))
        teacher = open_student(path.read_bytes())[1]
        self.teacher = path.read_bytes()
        self.sources = LocalSources(lambda recipe_id: teacher, study.given)
        trained = Trained(study.teacher.model, self.teacher_id)
        self.whole = dict(study.students).get(TEACHER, trained)

    @cached_property
    def loaded(self) -> LoadedTask:
        """The data as evaluation reads them."""
        return self.task.open(self.arrays, CPU, 0)

    def setting(self, origin: Origin, seed: int = 0) -> methods.Setting:
        """What all students have in common."""
        epochs = self.options.epochs
        return methods.Setting(self.task, origin, epochs, self.teacher_id, min(epochs, 16), seed=seed)

    def joint(self, cut: Cut, part: Graded, seed: int = 0) -> Recipe:
        """A slice with graded bits; of one width and one number of bits it is a uniform student."""
        given = self.setting(Slice(self.whole, cut), seed)
        optimizer = AdamW(self.options.learning_rate)
        return methods.joint_pruning_quantization(given, quantizer=part, optimizer=optimizer)

    def pruned(self, sparsity: float, bits: int) -> Recipe:
        """The whole network, pruned weight by weight."""
        given = replace(self.setting(self.whole), pruner=Magnitude(sparsity))
        phase = given.phase(AdamW(self.options.learning_rate), quantize=True)
        return given.recipe(phase, quantizer=Symmetric(bits), imitation=SoftTargets())

    def shapes(self, cut: Cut) -> dict[str, tuple[int, ...]]:
        """Of the weights that a slice's quantizer will be given."""
        network = Slice(self.whole, cut).outline(self.task, self.loaded)[1]
        names = compressible(network, self.joint(cut, Graded()))
        return {name: tuple(each.shape) for name, each in network.named_parameters() if name in names}

    def macs(self, cut: Cut) -> int:
        """Multiply-accumulates of a slice for one input."""
        return macs(Slice(self.whole, cut).outline(self.task, self.loaded)[1], self.task.interface)

    def result(self, recipe: Recipe) -> dict[str, float]:
        """Validation accuracy and bytes of a student, trained now or before."""
        path = self.options.runs / f"{recipe.recipe_id}.json"
        if not path.exists():
            begun = time.perf_counter()
            data = self._trained(recipe, self.sources)
            write_file(path.with_suffix(".rdz"), data)
            found = dict(evaluate_file(data, self.loaded, "validation")) | {"bytes": len(data)}
            write_file(path, json.dumps(found | {"seconds": time.perf_counter() - begun}).encode())
            print(f"  {found['accuracy']:.4f} {len(data):>8,} bytes {recipe.quantizer}", flush=True)
        loaded: dict[str, float] = json.loads(path.read_text())
        return loaded

    def tested(self, recipe: Recipe) -> float:
        """Test accuracy of a student."""
        self.result(recipe)
        data = (self.options.runs / f"{recipe.recipe_id}.rdz").read_bytes()
        return float(evaluate_file(data, self.loaded, "test")["accuracy"])

    def milliseconds(self, recipe: Recipe) -> float:
        """Of one image in ONNX Runtime, one thread."""
        data = (self.options.runs / f"{recipe.recipe_id}.rdz").read_bytes()
        student = open_student(data)[1]
        graphs = to_onnx(student, self.task.interface, {}, unpack(data)[1])
        (latency,) = measure_latencies(graphs, self.task.interface).values()
        return latency.p10_ms

    def _trained(self, recipe: Recipe, sources: LocalSources) -> bytes:
        trainer = Trainer(recipe, self.task.open(self.arrays, CPU, recipe.seed), sources, CPU)
        while not trainer.finished:
            trainer.train_epoch()
        return trainer.ship()


def thinned(arrays: Arrays, share: int) -> Arrays:
    """One in ``share`` of the training samples, and all others as they are."""
    trained = {name: array for name, array in arrays.items() if name.startswith("train")}
    samples = max(map(len, trained.values()))  # what is shorter says how they are laid out
    return dict(arrays) | {name: array[::share] for name, array in trained.items() if len(array) == samples}


def uniform(bits: int) -> Graded:
    """The same bits for all rows of all tensors."""
    return Graded(spread=0.0, least=bits, most=bits)


def drawn(bench: Bench, sampler: Sampler, budget: int, target: float, work: int) -> list[Recipe]:
    """Students that a sampler finds, whose weights take at most ``budget`` bytes before entropy coding.

    None multiplies more than ``work`` times. The sampler is told the accuracy, less what the file is larger
    than ``target`` bytes.
    """
    study = optuna.create_study(direction="maximize")
    found = []
    for number in range(bench.options.trials):
        study.sampler = sampler.make(0, number, 0)
        trial = study.ask()
        wide: dict[str, Any] = {
            name: trial.suggest_float(name, low, high, log=True)
            for name, low, high in (("width", 0.3, 0.9), ("first", 0.5, 2.0), ("last", 0.5, 2.0))
        }
        names = ("bits_first", "bits_middle", "bits_last", "spread")
        first, middle, last, spread = (trial.suggest_float(name, 0.0, 1.0) for name in names)
        cut = Cut(wide["width"], first=wide["first"], last=wide["last"], round_to=1)
        if bench.macs(cut) > work:
            study.tell(trial, 0.0)
            continue
        shapes = bench.shapes(cut)
        full = Graded(1.0, 1.0, 1.0, 0.0).stored_bytes(shapes)
        part = Graded(first, middle, last, spread, budget=min(budget / full, 1.0))
        try:
            part.grades(shapes)
        except ValueError:  # so wide that it does not fit at two bits
            study.tell(trial, 0.0)
            continue
        recipe = bench.joint(cut, part)
        seen = bench.result(recipe)
        study.tell(trial, seen["accuracy"] - max(seen["bytes"] / target - 1, 0.0))
        found.append(recipe)
    return found


def best(bench: Bench, recipes: Sequence[Recipe], target: float) -> Recipe:
    """The most accurate on the validation split of those no larger than ``target`` bytes."""
    fitting = [each for each in recipes if bench.result(each)["bytes"] <= target]
    return max(fitting, key=lambda each: bench.result(each)["accuracy"])


def fastest(bench: Bench, recipes: Sequence[Recipe], than: Mapping[str, float]) -> list[Recipe]:
    """The fastest of those as accurate on the validation split as another student, and no larger, if any."""
    fitting = [
        each
        for each in recipes
        if bench.result(each)["accuracy"] >= than["accuracy"] and bench.result(each)["bytes"] <= than["bytes"]
    ]
    return sorted(fitting, key=bench.milliseconds)[:1]


def row(bench: Bench, kind: str, recipe: Recipe, seeds: int) -> str:
    """One line of the table."""
    again = [replace(recipe, seed=seed) for seed in range(seeds)]
    seen = [bench.result(each) for each in again]
    tests = np.array([bench.tested(each) for each in again])
    size = np.mean([each["bytes"] for each in seen])
    validation = np.mean([each["accuracy"] for each in seen])
    return (
        f"{kind:<10}{size:>10,.0f}{100 * validation:>12.2f}{100 * tests.mean():>9.2f} ± "
        f"{100 * tests.std(ddof=1) if seeds > 1 else 0:.2f}{bench.milliseconds(recipe):>10.3f}"
    )


def table(bench: Bench) -> None:
    """Train what is missing, and print the comparison."""
    options = bench.options
    grid = [
        bench.joint(Cut(width, round_to=1), uniform(bits))
        for width, bits in product(options.widths, options.bits)
    ]
    for recipe in grid:
        bench.result(recipe)
    whole = [bench.pruned(sparsity, bits) for sparsity, bits in options.whole]
    sampler = find_sampler(options.sampler)
    every: list[Recipe] = []
    lines = [f"{'':<10}{'bytes':>10}{'validation':>12}{'test':>9}{'':>7}{'ms':>10}"]
    for width, bits in options.targets:
        cut = Cut(width, round_to=1)
        target = bench.result(bench.joint(cut, uniform(bits)))["bytes"]
        budget = round(SLACK * uniform(bits).stored_bytes(bench.shapes(cut)))
        joint = drawn(bench, sampler, budget, target, round(options.work * bench.macs(cut)))
        every += joint
        lines += [f"at most {target:,.0f} bytes (width {width}, {bits} bits), {len(joint)} joint trials"]
        for kind, recipes in (("uniform", grid), ("joint", joint)):
            lines.append(row(bench, kind, best(bench, recipes, target), options.seeds))
    for recipe in whole:
        seen = bench.result(recipe)
        lines += ["whole network, and the fastest joint student that is as accurate in no more bytes"]
        lines.append(row(bench, "pruned", recipe, options.seeds))
        lines += [row(bench, "joint", found, options.seeds) for found in fastest(bench, every, seen)]
    test = evaluate_file(bench.teacher, bench.loaded, "test")["accuracy"]
    names = ", ".join(f"{name} {version(name)}" for name in ("torch", "optuna", "onnxruntime"))
    print(f"\n{fingerprint()}, {names}\n{options}\nnetwork as given: {100 * test:.2f} on test\n")
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("study", help="name of a study, or a job file")
    parser.add_argument("--share", type=int, default=1, help="use one training sample in so many")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--trials", type=int, default=16, help="of the sampler, for each target")
    parser.add_argument("--seeds", type=int, default=3, help="of the students that are reported")
    parser.add_argument("--targets", nargs="+", type=pair, default=[(0.5, 3)], metavar="WIDTH:BITS")
    parser.add_argument("--whole", nargs="+", type=pair, default=[(0.8, 3)], metavar="SPARSITY:BITS")
    parser.add_argument("--widths", nargs="+", type=float, default=[0.35, 0.5, 0.7], help="of uniform slices")
    parser.add_argument("--bits", nargs="+", type=int, default=[2, 3, 4, 6], help="of uniform slices")
    parser.add_argument(
        "--work", type=float, default=1.0, help="multiplications of joint students, of the uniform one's"
    )
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    given: dict[str, Any] = vars(parser.parse_args())
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings: Any = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    table(Bench(Options(**settings)))


def pair(text: str) -> tuple[float, int]:
    """``0.5:3`` as numbers."""
    share, bits = text.split(":")
    return float(share), int(bits)


if __name__ == "__main__":
    main()
