"""What data cost a trial: memory, time of an epoch from mapped files, and of one that is streamed.

    python benchmarks/data_memory.py IMAGES --work DIR [--parts small large epoch stream resume]

IMAGES is a folder of class folders (the CIFAR-10 images as JPEG, 55,000 of them in ``train`` and ``test``).
DIR holds the store and ``results.json``; parts that are in there are not measured again.

``small`` and ``large``: a process imports torch and trainables, then opens the data, trains some steps,
passes over all of the training split, ships the student and measures it on validation. What counts is the
peak of its resident memory less what it had after the imports: on all images at their 32 pixels, and on
5,000 of them resized to 224. ``epoch``: some steps of training, from the mapped arrays and from the same in
memory, in turns; the ratio is the median of the turns'. ``stream``: an epoch of a dataset that decodes the
files, read by :class:`Stream` and by a plain ``DataLoader``, both with two workers, in turns. ``resume``: the
batches of one epoch, from streams that begin there with 0, 1 and 2 workers, and from one that passed through
the epochs before.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from studies.known import find_study
from trainables.data.stream import Stream, epoch_order
from trainables.files import write_file
from trainables.models import ResNet
from trainables.origins import Fresh
from trainables.shipping.evaluation import evaluate_file
from trainables.tasks import ImageFolder
from trainables.tasks.base import Arrays, LoadedTask
from trainables.teachers.sources import NoSources
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
STUDENT = ResNet(depth=2, width=1.0)
LARGE_IMAGES, LARGE_SIDE = 5_000, 224
BARS = {"small": 600.0, "large": 900.0, "epoch": 1.05, "stream": 1.3}
UNITS = {"small": "MB", "large": "MB"}


class Files(Dataset[tuple[Tensor, int]]):
    """Decodes JPEG files, as users' datasets do: floats from 0 to 1, flipped at random."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self._paths[index]) as image:
            pixels = np.asarray(image.convert("RGB").resize((LARGE_SIDE // 2, LARGE_SIDE // 2)))
        values = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div(255)
        return (values.flip(2) if torch.rand(()) < 0.5 else values), index % 10


def resident_mb(field: str) -> float:
    """``VmRSS`` or ``VmHWM`` (the peak) of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(value) * 1024 / 1e6


def trial_memory(images: Path, work: Path, side: int | None, steps: int) -> float:
    """Peak of this process in MB beside its imports. To be called in a process of its own.

    The data come as Ray gives them to a trial: pickled, which is a path.
    """
    torch.set_num_threads(1)
    task, shipped = kept_task(images, work, side), (work / f"arrays-{side}.pickle").read_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # begins the peak anew
    before = resident_mb("VmRSS")
    loaded = task.open(pickle.loads(shipped), CPU, 0)  # what this script wrote itself
    trainer = trainer_of(task, loaded)
    train(trainer, steps)
    for _ in loaded.batches("train", 0):
        pass
    evaluate_file(trainer.ship(), loaded, "validation")
    return resident_mb("VmHWM") - before


def kept_task(images: Path, work: Path, side: int | None) -> ImageFolder:
    """The task of the images, as an earlier process found it."""
    path = work / f"task-{side}.json"
    if path.exists():
        facts = json.loads(path.read_text())
        return ImageFolder(
            tuple(facts["classes"]), facts["channels"], tuple(facts["image_size"]), facts["digest"],
            facts["batch_size"],
        )  # fmt: skip
    task = ImageFolder.scan(images, None if side is None else (side, side))
    arrays = task.load_kept(images, work / "store", print)
    write_file(work / f"arrays-{side}.pickle", pickle.dumps(arrays))
    names = ("classes", "channels", "image_size", "digest", "batch_size")
    write_file(path, json.dumps({name: getattr(task, name) for name in names}).encode())
    return task


def trainer_of(task: ImageFolder, loaded: LoadedTask) -> Trainer:
    """A student that learns from the labels."""
    recipe = replace(find_study("image_folder").teacher_recipe(task), origin=Fresh(STUDENT))
    return Trainer(recipe, loaded, NoSources(), CPU)


class Few:
    """A loaded task whose epochs are their first steps."""

    def __init__(self, task: LoadedTask, steps: int) -> None:
        self._task, self._steps = task, steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def batches(self, split: str, epoch: int, view: int | None = None) -> Iterator[Any]:
        for number, batch in enumerate(self._task.batches(split, epoch, view)):
            if number == self._steps:
                return
            yield batch

    def steps(self, split: str) -> int:
        return self._steps


def train(trainer: Trainer, steps: int) -> float:
    """Seconds of processor time of so many steps."""
    whole = trainer.task
    trainer.task = Few(whole, steps)
    begun = time.process_time()
    trainer.train_epoch()
    trainer.task = whole
    return time.process_time() - begun


def epoch_ratio(images: Path, work: Path, rounds: int, steps: int) -> float:
    """Training from mapped arrays over training from memory."""
    torch.set_num_threads(1)
    task = kept_task(images, work, None)
    mapped = task.load_kept(images, work / "store", print)
    held: Arrays = {name: array.copy() for name, array in mapped.items()}
    trainers = [trainer_of(task, task.open(arrays, CPU, 0)) for arrays in (mapped, held)]
    ratios = []
    for turn in range(rounds + 1):
        order = (0, 1) if turn % 2 else (1, 0)
        seconds = {number: train(trainers[number], steps) for number in order}
        if turn:  # the first one allocates
            ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)


def stream_ratio(files: Files, rounds: int) -> float:
    """An epoch by :class:`Stream` over one by a plain loader, both with two workers."""
    order = epoch_order(len(files), 64, 1)
    stream = Stream(files, "train", workers=2)
    plain = DataLoader(
        files, batch_sampler=[each.tolist() for each in order], num_workers=2, persistent_workers=True
    )

    def ours(epoch: int) -> None:
        for _ in stream.batches(order, (0, epoch)):
            pass

    def theirs(epoch: int) -> None:
        for _ in plain:
            pass

    ratios = []
    for turn in range(rounds + 1):
        seconds = {}
        for work in (ours, theirs) if turn % 2 else (theirs, ours):
            begun = time.perf_counter()
            work(turn)
            seconds[work] = time.perf_counter() - begun
        if turn:
            ratios.append(seconds[ours] / seconds[theirs])
    return statistics.median(ratios)


def resumed_alike(files: Files) -> float:
    """1 where all streams give the same bits in epoch 2."""

    def digest(stream: Stream, epoch: int) -> str:
        found = hashlib.sha256()
        for inputs, targets, index in stream.batches(epoch_order(len(files), 64, epoch), (3, epoch)):
            for values in (inputs, targets, index):
                found.update(values.numpy().tobytes())
        return found.hexdigest()

    through = Stream(files, "train", workers=2)
    digests = [[digest(through, epoch) for epoch in range(3)][-1]]
    digests += [digest(Stream(files, "train", workers=workers), 2) for workers in (0, 1, 2)]
    return float(len(set(digests)) == 1)


def some_images(images: Path, work: Path) -> Path:
    """A folder of links to 5,000 of the images, as many of each class."""
    folder = work / "some"
    classes = sorted(path for path in (images / "train").iterdir() if path.is_dir())
    for path in classes:
        (folder / path.name).mkdir(parents=True, exist_ok=True)
        for file in sorted(path.iterdir())[: LARGE_IMAGES // len(classes)]:
            link = folder / path.name / file.name
            if not link.exists():
                link.symlink_to(file.resolve())
    return folder


def measured(part: str, arguments: argparse.Namespace) -> float:
    """What a part measures."""
    images, work = arguments.images, arguments.work
    if part in ("small", "large"):
        folder, side = (images, None) if part == "small" else (some_images(images, work), LARGE_SIDE)
        kept_task(folder, work, side)
        command = [sys.executable, __file__, str(folder), "--work", str(work), "--memory", str(side or 0)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    if part == "epoch":
        return epoch_ratio(images, work, arguments.rounds, arguments.steps)
    files = Files(sorted(some_images(images, work).rglob("*.*"))[:2_000])
    return stream_ratio(files, min(arguments.rounds, 7)) if part == "stream" else resumed_alike(files)


def main() -> None:
    """Measure the parts that are not measured yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=["small", "large", "epoch", "stream", "resume"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory is not None:
        side = arguments.memory or None
        print(trial_memory(arguments.images, arguments.work, side, arguments.steps))
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    path = arguments.work / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for part in arguments.parts:
        if part not in results:
            results[part] = measured(part, arguments)
            write_file(path, json.dumps(results, indent=1).encode())
        bar = f" (at most {BARS[part]:g})" if part in BARS else " (1 is right)"
        print(f"{part}: {results[part]:.3f} {UNITS.get(part, '')}{bar}", flush=True)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
