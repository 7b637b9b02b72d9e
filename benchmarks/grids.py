"""The grids of which there are tables."""

from __future__ import annotations

import os
import runpy
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.grid import Axes, Grid
from benchmarks.own_front.network import NETWORKS
from benchmarks.own_front.teacher import HELD_OUT
from spaces.architectures import SLICE
from studies.job import study_of_file
from studies.known import find_study
from studies.study import Study
from trainables.metrics import quality_of
from trainables.origins import Slice
from trainables.tasks import SoundFolder

EPOCHS = 12
"""Of the digits study's trials here; the study itself has 35. Phases keep their shares of the whole."""


def digits(folder: Path | None) -> Study:
    """The digits study, cut to :data:`EPOCHS` epochs."""
    return replace(find_study("digits"), epochs=EPOCHS, teacher_views=EPOCHS)


_COMMON = ("learning_rate", "depth", "width", "prune", "sparsity")
_DIGITS: Axes = {
    "depth": (1, 2),
    "width": (0.1, 0.16, 0.25, 0.4),
    "learning_rate": (1.5e-3, 5e-3),
    "prune": (False, True),
    "sparsity": (0.5, 0.85),
    "bits": (1, 3, 5, 7),
    "log2_bucket_size": (6, 9),
    "symmetric_bits": (2, 4, 6, 8),
}
"""Widths are about equally far apart in their logarithms; bits are every second of the space's; learning
rates are the study's own and a third of it. The study's depths go on to 3 and its widths to 0.5."""

_DIGITS_FIRST: Mapping[str, object] = {"learning_rate": 5e-3, "prune": False}

DIGITS = Grid(
    name="digits-grid",
    study=digits,
    axes=_DIGITS,
    half={**_DIGITS, "learning_rate": (5e-3,)},
    fixed={"temperature": 2.0, "distillation_weight": 0.7, "points_learning_rate": 1e-5},
    methods={
        "full_precision": _COMMON,
        "knowledge_distillation": _COMMON,
        "post_training_quantization": (*_COMMON, "bits", "log2_bucket_size"),
        "quantized_distillation": (*_COMMON, "bits", "log2_bucket_size"),
        "differentiable_quantization": (*_COMMON, "bits", "log2_bucket_size"),
        "learned_step_quantization": (*_COMMON, "symmetric_bits"),
        "quantization_aware_training": (*_COMMON, "symmetric_bits"),
    },
    first=tuple(
        {**point, **_DIGITS_FIRST}
        for point in (
            {
                "method": "post_training_quantization",
                "depth": 1,
                "width": 0.1,
                "bits": 3,
                "log2_bucket_size": 9,
            },
            {"method": "quantized_distillation", "depth": 2, "width": 0.1, "bits": 3, "log2_bucket_size": 9},
            {"method": "learned_step_quantization", "depth": 1, "width": 0.16, "symmetric_bits": 4},
            {"method": "quantization_aware_training", "depth": 2, "width": 0.25, "symmetric_bits": 4},
        )
    ),
)

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_network.py"


def own_network(folder: Path | None) -> Study:
    """The network of the example, which trains it itself; beside slices with its weights, new ones.

    The study's own students begin as slices with weights, or as the whole network, here a slice of width 1.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            return _own_network(Path(temporary), trained=False)
    return _own_network(folder, trained=True)


def _own_network(folder: Path, *, trained: bool) -> Study:
    file = folder / EXAMPLE.name
    shutil.copy(EXAMPLE, file)
    weights = file.with_suffix(".pt")
    if not weights.exists():
        told = runpy.run_path(str(file), run_name="__main__" if trained else EXAMPLE.stem)
        if not trained:
            torch.save(told["network"]().state_dict(), weights)
    study = study_of_file(file)
    inherited = dict(study.students)[SLICE]
    assert isinstance(inherited, Slice)
    return replace(study, students=((SLICE, inherited), ("fresh", replace(inherited, restart=True))))


_TRAINED = ("width", "prune", "learning_rate")
_OWN_FIRST: Mapping[str, object] = {"prune": False, "learning_rate": 1.5e-3}

OWN_NETWORK = Grid(
    name="own-network",
    study=own_network,
    axes={
        "start": ("slice", "fresh"),
        "width": (0.1, 0.2, 0.28, 0.4, 0.56, 1.0),  # each another shape, as channels are kept in fours
        "prune": (False, True),
        "learning_rate": (1.5e-3, 5e-3),
        "bits": (2, 3, 5),
        "log2_bucket_size": (6, 9),
        "symmetric_bits": (2, 3, 5),
        "quantizer.penalty": (2.0, 20.0),
        "quantizer.middle": (0.1, 0.4),
    },
    fixed={
        "start": "slice",
        "depth_share": 1.0,
        "width_first": 1.0,
        "width_last": 1.0,
        "prune": False,
        "sparsity": 0.6,
        "learning_rate": 1.5e-3,
        "temperature": 2.0,
        "distillation_weight": 0.7,
        "log2_bucket_size": 8,
        "log2_group_size": 3,
        "quantizer.first": 0.5,
        "quantizer.last": 0.5,
        "quantizer.spread": 0.25,
        "quantizer.removed": 0.0,
    },
    methods={
        "full_precision": ("start", *_TRAINED),
        "post_training_quantization": ("start", *_TRAINED, "bits", "log2_bucket_size"),
        "round_to_nearest": ("width", "prune", "bits", "log2_bucket_size"),
        "quantized_distillation": ("start", *_TRAINED, "bits"),
        "learned_step_quantization": (*_TRAINED, "symmetric_bits"),
        "quantization_aware_training": (*_TRAINED, "symmetric_bits"),
        "pseudo_quantization_noise": ("width", "learning_rate", "quantizer.penalty"),
        "in_place_distillation": ("width", "symmetric_bits"),
        "joint_pruning_quantization": ("width", "quantizer.middle"),
    },
    first=tuple(
        {**point, **_OWN_FIRST}
        for point in (
            {
                "method": "post_training_quantization",
                "start": "slice",
                "width": 0.1,
                "bits": 3,
                "log2_bucket_size": 9,
            },
            {"method": "quantized_distillation", "start": "slice", "width": 0.1, "bits": 3},
            {"method": "learned_step_quantization", "width": 0.2, "symmetric_bits": 3},
            {"method": "quantization_aware_training", "width": 0.28, "symmetric_bits": 3},
        )
    ),
)


def spoken_digits(folder: Path | None) -> Study:
    """The study of spoken words, cut from 60 epochs to 24: after 12 most students know little."""
    return replace(find_study("keywords"), epochs=24)


_SPOKEN = ("time_cnn.depth", "time_cnn.width", "prune", "learning_rate")
_SPOKEN_FIRST: Mapping[str, object] = {"prune": False, "learning_rate": 1e-2}

SPOKEN_DIGITS = Grid(
    name="spoken-digits",
    study=spoken_digits,
    task=SoundFolder(
        classes=tuple("0123456789"),
        digest="e9d04b063a115c3b",
        sample_rate=8000,
        mean=-9.05,
        std=5.55,
        split="recordings",
    ),
    axes={
        "time_cnn.depth": (2, 3),
        "time_cnn.width": (0.2, 0.4, 0.8),
        "prune": (False, True),
        "learning_rate": (3e-3, 1e-2),
        "bits": (2, 3, 5),
        "symmetric_bits": (2, 3, 5),
    },
    fixed={
        "start": "time_cnn",
        "sparsity": 0.6,
        "temperature": 2.0,
        "distillation_weight": 0.7,
        "log2_bucket_size": 8,
    },
    methods={
        "full_precision": _SPOKEN,
        "post_training_quantization": (*_SPOKEN, "bits"),
        "quantized_distillation": (*_SPOKEN, "bits"),
        "learned_step_quantization": (*_SPOKEN, "symmetric_bits"),
        "quantization_aware_training": (*_SPOKEN, "symmetric_bits"),
    },
    first=tuple(
        {**point, **_SPOKEN_FIRST}
        for point in (
            {
                "method": "post_training_quantization",
                "time_cnn.depth": 2,
                "time_cnn.width": 0.2,
                "bits": 3,
            },
            {"method": "quantized_distillation", "time_cnn.depth": 3, "time_cnn.width": 0.2, "bits": 3},
            {
                "method": "learned_step_quantization",
                "time_cnn.depth": 2,
                "time_cnn.width": 0.4,
                "symmetric_bits": 3,
            },
            {
                "method": "quantization_aware_training",
                "time_cnn.depth": 3,
                "time_cnn.width": 0.4,
                "symmetric_bits": 3,
            },
        )
    ),
)
"""Of the free spoken digit dataset, ten folders of recordings of 8 kHz."""

CIFAR_JOB = Path(__file__).parent / "own_front" / "job.py"
CIFAR = {"CIFAR_NETWORK": "resnet8", "CIFAR_SIDE": "16", "CIFAR_EVERY": "10"}


def cifar_slices(folder: Path | None) -> Study:
    """The ResNet-8 of MLPerf Tiny on CIFAR-10 images of 16 pixels, of which students train on 4,500.

    The environment says where images and checkpoint are, see :mod:`benchmarks.own_front.job`.
    """
    os.environ.update(CIFAR)
    if folder is not None:
        return study_of_file(CIFAR_JOB)
    with tempfile.TemporaryDirectory() as temporary:
        _imitate_cifar(Path(temporary))
        return study_of_file(CIFAR_JOB)


def _imitate_cifar(folder: Path) -> None:
    """Noise in the place of the images, and a network that was not trained."""
    draw = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", 10 * (HELD_OUT + 1)), ("test", 100)):
        arrays[f"{split}_images"] = draw.integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 10
    np.savez(folder / "pixels-16.npz", **arrays)  # type: ignore[arg-type]  # numpy's annotation of keywords
    torch.save(NETWORKS[CIFAR["CIFAR_NETWORK"]]().state_dict(), folder / "network.pt")
    os.environ |= {"CIFAR_IMAGES": str(folder), "CIFAR_CHECKPOINT": str(folder / "network.pt")}


CIFAR_SLICES = Grid(
    name="cifar-slices",
    study=cifar_slices,
    axes={
        "width": (0.25, 0.4, 0.65, 1.0),
        "prune": (False, True),
        "learning_rate": (1.5e-3, 5e-3),
        "bits": (2, 3, 5),
        "symmetric_bits": (2, 3, 5),
    },
    fixed={**OWN_NETWORK.fixed, "sparsity": 0.5},
    methods={
        "full_precision": ("width", "prune", "learning_rate"),
        "post_training_quantization": ("width", "prune", "learning_rate", "bits"),
        "round_to_nearest": ("width", "prune", "bits"),
        "quantized_distillation": ("width", "prune", "bits"),
        "learned_step_quantization": ("width", "learning_rate", "symmetric_bits"),
        "quantization_aware_training": ("width", "prune", "symmetric_bits"),
    },
    first=(
        {
            "method": "post_training_quantization",
            "width": 0.25,
            "prune": False,
            "learning_rate": 1.5e-3,
            "bits": 3,
        },
        {"method": "quantized_distillation", "width": 0.4, "prune": False, "bits": 3},
        {
            "method": "learned_step_quantization",
            "width": 0.4,
            "learning_rate": 1.5e-3,
            "symmetric_bits": 3,
        },
        {"method": "quantization_aware_training", "width": 0.65, "prune": False, "symmetric_bits": 3},
    ),
)


def phrases(folder: Path | None) -> Study:
    """The study of phrases as it is, whose students train for two epochs."""
    return find_study("phrases")


_PHRASES = ("depth", "width", "learning_rate")

PHRASES = Grid(
    name="phrases",
    study=phrases,
    quality=quality_of("bleu"),
    guessing=0.0,
    axes={
        "depth": (1, 2),
        "width": (0.25, 0.4, 0.64, 1.0),
        "learning_rate": (3e-3, 1e-2),
        "bits": (2, 3, 4, 6),
        "symmetric_bits": (2, 3, 4, 6),
    },
    fixed={
        "start": "fresh",
        "prune": False,
        "distillation_weight": 0.7,
        "log2_bucket_size": 8,
    },
    methods={
        "full_precision": _PHRASES,
        "post_training_quantization": (*_PHRASES, "bits"),
        "quantized_distillation": (*_PHRASES, "bits"),
        "learned_step_quantization": (*_PHRASES, "symmetric_bits"),
    },
    first=(
        {"method": "post_training_quantization", "depth": 1, "width": 0.25, "learning_rate": 3e-3, "bits": 4},
        {"method": "quantized_distillation", "depth": 2, "width": 0.25, "learning_rate": 3e-3, "bits": 4},
        {
            "method": "learned_step_quantization",
            "depth": 1,
            "width": 0.4,
            "learning_rate": 3e-3,
            "symmetric_bits": 4,
        },
    ),
)
"""Of German sentences translated into English; BLEU is the quality."""

GRIDS: Mapping[str, Grid] = {
    grid.name: grid for grid in (DIGITS, OWN_NETWORK, SPOKEN_DIGITS, CIFAR_SLICES, PHRASES)
}
RECORDED = tuple(name for name, grid in GRIDS.items() if grid.path.exists())
"""Those that can be replayed."""
