"""A user's own file as a study: their trained network, their data, their task."""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from studies.checkpoints import checkpoints_of
from studies.checks import called, check_augmented, cut_of, exit_layers_of, free_name
from studies.names import StudyError
from studies.own_network import EPOCHS, SPACE, TRIALS, answer_of, check_trainable, of_network, take_weights
from studies.study import Study
from trainables.calling import main_output
from trainables.data.decode import Items
from trainables.data.items import TARGET, Leaf
from trainables.data.telling import Tell
from trainables.foreign import shown
from trainables.metrics import own_quality, spelled
from trainables.metrics.samples import OF_CLASSES, OF_NUMBERS
from trainables.models.own import Own, made_by
from trainables.own_code import CodeError, OwnCode, allow_file, code_of_file
from trainables.signature import Signature
from trainables.slicing.cut import Cut
from trainables.tasks.base import SPLITS, Arrays, DataError, Task
from trainables.tasks.job import Job
from trainables.tasks.job_file import imitated, read_all
from trainables.tasks.notes import DataNotes, Tallies
from trainables.weights import WeightsError

FUNCTIONS = {
    "network": ("network()", 0),
    "data": ("data(split)", 1),
    "augment": ("augment(inputs, generator)", 2),
    "loss": ("loss(output, target)", 2),
    "quality": ("quality(network, batches)", 2),
    "imitate": ("imitate(student, teacher)", 2),
    "checkpoints": ("checkpoints()", 0),
}
NEEDED = ("network", "data")
VIEWS = 16
"""Augmented views in which the teacher's answers are remembered."""
BATCH_BYTES = 64 * 2**20
"""Of one batch's inputs at most, where the file does not say how large a batch is."""
CHUNK = 1024
FEW = 8
"""Samples that everything is tried out on."""
OVERLAP = 0.1
"""Share of a held-out split's samples that training may have, too; more is a mistake."""


@dataclass(frozen=True)
class Tried:
    """A user's file, tried out.

    Attributes:
        task: of its data.
        arrays: these data.
        notes: what was found about them.
        network: as it was given, on the CPU in eval mode.
        code: of the file, and of what it imports from its folder.
        streamed: why the training split is read in every epoch anew; empty if it is not.
        cut: how slices of the network are cut.
        exits: names of the layers after which students may answer early; empty where the file names none.
        checkpoints: its state along its training, as the file gives it; empty where it gives none.
    """

    task: Job
    arrays: Arrays
    notes: DataNotes
    network: nn.Module
    code: OwnCode
    streamed: str
    cut: Cut
    exits: tuple[str, ...]
    checkpoints: tuple[Mapping[str, Tensor], ...]


def study_of_file(
    path: Path,
    tell: Tell = lambda text: None,
    names: Mapping[str, str] | None = None,
    store: Path | None = None,
) -> Study:
    """The study that a user's file defines.

    Args:
        path: of the file, which is imported.
        tell: hears of the progress.
        names: what its functions are called, where that is not ``network``, ``data`` and so on.
        store: folder of the sweeps' files, where decoded data are kept; None (default) keeps them in memory.

    Raises:
        StudyError: one sentence that says what of the file does not fit.
    """
    try:
        module = allow_file(path, names)
    except CodeError as error:  # which names the file
        raise StudyError(f"{str(error).rstrip('.')}.") from error
    try:
        tried = try_out(module, path, tell, tuple(sorted((names or {}).items())), store)
    except (CodeError, WeightsError, DataError, ValueError) as error:
        raise StudyError(f"{shown(str(path))} cannot be used: {str(error).rstrip('.')}.") from error
    views = VIEWS if hasattr(module, "augment") else 1
    return Study(
        name=path.stem,
        task=partial(_examined, tried),
        epochs=EPOCHS,
        trials=TRIALS,
        sampler="freeze-thaw" if tried.task.classes else None,  # measured for networks that tell classes
        space=SPACE if tried.task.classes else replace(SPACE, fixed={"temperature": 1.0}),
        teacher_views=views if "train/target" in tried.arrays else None,  # what is streamed comes once
        arrays=tried.arrays,
        code=tried.code,
        streamed=tried.streamed,
        exit_layers=tried.exits,
        **of_network(
            tried.network,
            lambda weights: Own(path.stem, tried.code.digest, weights),
            tried.cut,
            tried.checkpoints,
        ),
    )


def _examined(tried: Tried, directory: Path | None) -> tuple[Task, DataNotes]:
    """The task, and what was found about its data.

    Raises:
        DataError: a directory was given.
    """
    tried.task.check_directory(directory)
    return tried.task, tried.notes


def try_out(
    module: ModuleType, path: Path, tell: Tell, names: tuple[tuple[str, str], ...], store: Path | None
) -> Tried:
    """Read the data of a file that was imported, and use everything that it defines once.

    Raises:
        CodeError, WeightsError, DataError, ValueError: what does not fit, in one sentence without the file's
            name.
    """
    _check_functions(module)
    tell("making the network")
    network = _network(module, path).cpu().eval()
    check_trainable(network, lambda: made_by(path.stem, "network"))
    tell("reading the data")
    read, digest = read_all(path.stem, store, tell)
    arrays = read.arrays
    if read.streamed:
        tell(f"reading the training split anew in every epoch, since {read.streamed}")
    notes = _check_splits(arrays)
    code = code_of_file(path, names)  # now that functions have imported what they need
    task = _task(module, code, network, arrays, digest)
    route = checkpoints_of(module, network, path)
    cut, exits = cut_of(module, network), exit_layers_of(module, network)
    return Tried(task, arrays, notes, network, code, read.streamed, cut, exits, route)


def _check_functions(module: ModuleType) -> None:
    """Refuse a file that lacks a function, or has one with other arguments."""
    for name, (call_, arguments) in FUNCTIONS.items():
        function = getattr(module, name, None)
        if function is None:
            if name in NEEDED:
                raise CodeError(f"it has no function {call_}")
            continue
        if name == "quality" and isinstance(function, str):
            continue
        if not callable(function):
            raise CodeError(f"{name} must be a function, {call_}, got {type(function).__name__}")
        try:
            inspect.signature(function).bind(*[None] * arguments)
        except TypeError as error:
            raise CodeError(
                f"{name} must take the arguments of {call_}, got {name}{inspect.signature(function)}"
            ) from error


def _network(module: ModuleType, path: Path) -> nn.Module:
    """The trained network: what ``network()`` returns, with the file's ``weights`` if it has them."""
    network = made_by(path.stem, "network")
    weights = getattr(module, "weights", None)
    if weights is not None:
        if not isinstance(weights, (str, Path)):
            raise CodeError(f"weights must be the path of a file, got {type(weights).__name__}")
        place = path.absolute().parent / weights
        take_weights(network, place)
    return network


def _check_splits(arrays: Arrays) -> DataNotes:
    """What is doubtful about the splits.

    Raises:
        DataError: a split has much of another, or numbers that are not finite.
    """
    tallies, seen = Tallies(), dict[bytes, int]()
    for split in SPLITS:
        if f"{split}/target" not in arrays:
            continue  # it is read anew in every epoch
        copies = []
        for number, key in enumerate(_keys(Items(arrays, split), split)):
            if split == "train":
                seen.setdefault(key, number)
            elif key in seen:
                copies.append((number, seen[key]))
        count = len(arrays[f"{split}/target"])
        if len(copies) > OVERLAP * count:
            raise DataError(
                f"{len(copies):,} of {count:,} samples of data({split!r}) are in data('train'), too (such as "
                f"{copies[0][0]} and {copies[0][1]}): what is measured must not be trained on"
            )
        for number, other in copies:
            tallies.add(f"{split} samples that the training split has, too", f"{number} is {other}")
    return DataNotes(doubtful=tallies.all())


def _keys(items: Items, split: str) -> Iterator[bytes]:
    """A hash of each item's input.

    Raises:
        DataError: an item holds what is not finite.
    """
    for index in torch.arange(len(items)).split(CHUNK):
        leaves = list(zip(items.layout.leaves, items.leaves(index), strict=True))
        for leaf, values in leaves:
            odd = ~torch.isfinite(values.reshape(len(index), -1)).all(1)
            if odd.any():
                what = "a target" if leaf.name == TARGET else "an input"
                raise DataError(f"data({split!r})[{int(index[odd][0])}] gives {what} that is not finite")
        inputs = [values.numpy() for leaf, values in leaves if leaf.name != TARGET]
        for row in range(len(index)):
            yield hashlib.blake2b(b"".join(each[row].tobytes() for each in inputs), digest_size=16).digest()


def _task(module: ModuleType, code: OwnCode, network: nn.Module, arrays: Arrays, digest: str) -> Job:
    """The task, after the network has answered a few samples and everything was computed from that."""
    first = "train" if "train/target" in arrays else "validation"
    items = Items(arrays, first)
    inputs, targets = items.batch(torch.arange(min(2, len(items))))
    output = answer_of(network, inputs)
    leaves = [leaf for leaf in items.layout.leaves if leaf.name != TARGET]
    signatures = tuple(_signature(leaf, arrays[f"{first}/{leaf.name}"]) for leaf in leaves)
    classes = _are_classes(output, targets)
    size = getattr(module, "batch_size", None)
    task = Job(
        file=code.name,
        code=code.digest,
        data=digest,
        inputs=signatures,
        output=tuple(output.shape[1:]),
        classes=classes,
        quality=_quality(module, classes, output.dim()),
        batch_size=_batch_size(items) if size is None else size,
        imitates=hasattr(module, "imitate"),
    )
    if classes:
        _check_labels(arrays, output.shape[1])
    elif not hasattr(module, "loss") and output.shape != targets.shape:
        raise ValueError(
            f"the network answers {tuple(output.shape[1:])} to a sample, and targets are "
            f"{_spelled(targets)}: give the number of its class, a target of that shape, or a function "
            "loss(output, target)"
        )
    task.interface.check(network, task.outputs)
    _try_training(module, task, arrays, network)
    return task


def _spelled(targets: Tensor) -> str:
    """Such as ``float32 of shape (4,)``."""
    return f"{str(targets.dtype).removeprefix('torch.')} of shape {tuple(targets.shape[1:])}"


def _signature(leaf: Leaf, values: Any) -> Signature:
    """What one tensor of an input looks like; of whole numbers, from what to what they go."""
    name = leaf.name.removeprefix("input").removeprefix(".")
    if leaf.dtype in ("float32", "bool"):
        return Signature(name, leaf.shape, leaf.dtype)
    return Signature(name, leaf.shape, leaf.dtype, int(values.min()), int(values.max()))


def _are_classes(output: Tensor, targets: Tensor) -> bool:
    """Whether outputs are logits of classes: targets are whole numbers, one for each row of logits."""
    whole = not targets.dtype.is_floating_point and targets.dtype != torch.bool
    return whole and output.dim() >= 2 and tuple(targets.shape) == (len(output), *output.shape[2:])


def _quality(module: ModuleType, classes: bool, rank: int) -> str:
    """By what students are judged, as metrics spell it."""
    function = getattr(module, "quality", None)
    if isinstance(function, str):
        known = OF_CLASSES if classes else OF_NUMBERS
        if function not in known:
            raise ValueError(f"quality must be a function or one of {', '.join(known)}, got {function!r}")
        if classes and rank > 2:
            raise ValueError(f"quality={function!r} is of one class for each sample: define it as a function")
        return function
    if function is None:
        if classes:
            return "accuracy"
        least = (
            None if hasattr(module, "loss") else 0.0
        )  # a mean squared error has an end, an own loss may not
        return spelled(own_quality("mean_loss", "down", label="loss", lowest=least))
    label = str(getattr(function, "label", "quality"))
    name = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in label.lower())
    try:
        return spelled(
            own_quality(
                free_name(name if name[:1].isalpha() else f"q_{name}"),
                getattr(function, "goal", "up"),
                label=label,
                unit=str(getattr(function, "unit", "")),
                scale=getattr(function, "scale", 1.0),
                lowest=getattr(function, "lowest", None),
                highest=getattr(function, "highest", None),
            )
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"quality has an attribute that cannot be used: {error}") from error


def _batch_size(items: Items) -> int:
    """128 samples, or as many as fit into :data:`BATCH_BYTES`."""
    return max(2, min(128, BATCH_BYTES // max(1, items.layout.nbytes)))


def _check_labels(arrays: Arrays, classes: int) -> None:
    """Refuse labels that no logit stands for."""
    for split in SPLITS:
        labels = arrays.get(f"{split}/{TARGET}")
        if labels is None:
            continue
        flat = labels.reshape(len(labels), -1)
        wrong = (flat < 0) | (flat >= classes)
        if wrong.any():
            number = int(np.flatnonzero(wrong.any(1))[0])
            label = int(flat[number][wrong[number]][0])
            raise DataError(
                f"data({split!r})[{number}] has the label {label}, and the network answers {classes} logits: "
                f"labels go from 0 to {classes - 1}"
            )


def _try_training(module: ModuleType, task: Job, arrays: Arrays, network: nn.Module) -> None:
    """Use augmentation, loss, imitation and quality once, on a few samples.

    Raises:
        ValueError: one of them fails, or gives what cannot be trained on or compared.
    """
    whole = (":values", "/layout")
    few = {name: array if name.endswith(whole) else array[:FEW] for name, array in arrays.items()}
    opened = task.open(few, torch.device("cpu"), 0)
    opened.check_augmented(partial(check_augmented, task.inputs))
    batch = next(iter(opened.batches("train", 0)))
    trained = copy.deepcopy(network).train()
    output = called(trained, batch.inputs, " in training mode")
    loss = opened.loss(output, batch)
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"loss(output, target) must return one number with its gradient, got {got}")
    if not math.isfinite(value := float(loss.detach())):
        raise ValueError(f"loss(output, target) is {value} for the network as it is")
    if hasattr(module, "imitate"):
        answer = main_output(output)
        far = imitated(task.file, answer, answer.detach())
        one = isinstance(far, Tensor) and far.numel() == 1 and far.requires_grad
        if not one or not math.isfinite(float(far.detach())):
            said = shown(repr(far), 100)
            raise ValueError(
                f"imitate(student, teacher) must return one finite number with its gradient, got {said}"
            )
    [value] = opened.evaluate(network, "validation").values()
    if not math.isfinite(value):
        raise ValueError(f"quality(network, batches) must be a number, got {value}")
