"""What is reported is measured on what is shipped: pack, read back, rebuild, evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from trainables.batch import Batch
from trainables.calibration import InputBatches
from trainables.calling import tensors_of
from trainables.compression.compressed_weight import check_finite, compressible, narrowed, stored_tensors
from trainables.compression.places import Layout, layout
from trainables.compression.quantized_inputs import (
    attach,
    calibrate,
    input_quantizers,
    of_quantizer,
    quantizes,
)
from trainables.folding import fold_batch_norms
from trainables.foreign import shown
from trainables.models.base import Model
from trainables.quantizers.base import Dense, Stored, joined
from trainables.recipe import Recipe
from trainables.shipping.packed_file import PackedFileError, pack, unpack
from trainables.slicing.unread import Left
from trainables.tasks.base import LoadedTask, Measured
from trainables.ties import aliases

ASSET = "task:"
"""Begins the names of a task's assets among a file's tensors; no module's name holds a colon."""


def ship(
    recipe: Recipe,
    student: nn.Module,
    inputs: InputBatches | None = None,
    assets: Mapping[str, Tensor] | None = None,
    model: Model | None = None,
    left: Mapping[str, Left] | None = None,
    validation: Callable[[], Iterable[Batch]] | None = None,
) -> bytes:
    """The packed file of ``student`` as it stands, final mask and quantizers applied.

    Where its inputs are not quantized yet, the ranges are taken from the network that the file rebuilds. So
    is what the validation split decides, see :meth:`trainables.origins.base.Origin.settled`.

    Args:
        recipe: of the student.
        student: with its compressed weights.
        inputs: training inputs to take ranges from; needed only in that case.
        assets: of the task, see :meth:`trainables.tasks.base.LoadedTask.assets`; None are none.
        model: the architecture of what ships; None is the recipe's.
        left: what ships of tensors of which not all does, see :class:`trainables.slicing.unread.Unread`.
        validation: gives the batches of the validation split; None leaves undecided what it decides.

    Raises:
        NotFinite: a tensor or a range is not finite.
        ValueError: ranges are to be taken, but there are no ``inputs``.
    """
    tensors = stored_tensors(student, recipe, left)
    if not all(quantizer.quantizing for _, quantizer in input_quantizers(student)):
        if inputs is None:
            raise ValueError(f"{recipe.activations} needs inputs to take its ranges from")
        tensors |= _ranges(recipe, tensors, inputs, model)
    if validation is not None:
        made = partial(rebuild, recipe, tensors, model)
        settled = recipe.origin.settled(made, recipe.task, validation)
        tensors |= {name: Dense(values) for name, values in settled.items()}
    return pack(recipe, tensors | _as_tensors(assets), model=model)


def bytes_without_ranges(
    recipe: Recipe, student: nn.Module, assets: Mapping[str, Tensor], model: Model | None = None
) -> int:
    """Bytes of the file that :func:`ship` would make, less those of the ranges of the inputs.

    It is what can be said before any input has gone through the network; without quantized inputs it is the
    size of the file itself.
    """
    tensors = stored_tensors(student, recipe)
    ranges = [f"{prefix}.range" for prefix, _ in input_quantizers(student)]
    tensors |= {name: Dense(torch.zeros(0)) for name in ranges}
    return len(pack(recipe, tensors | _as_tensors(assets), model=model))


def _as_tensors(assets: Mapping[str, Tensor] | None) -> dict[str, Stored]:
    return {f"{ASSET}{name}": Dense(values) for name, values in (assets or {}).items()}


def assets_of(tensors: Mapping[str, Stored]) -> dict[str, Tensor]:
    """The task's assets among the tensors of a packed file."""
    found = {name: tensor for name, tensor in tensors.items() if name.startswith(ASSET)}
    return {name.removeprefix(ASSET): tensor.decode() for name, tensor in found.items()}


def weights_of(tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    """The network's own tensors among those of a packed file."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(ASSET)}


def _ranges(
    recipe: Recipe, tensors: Mapping[str, Stored], inputs: InputBatches, model: Model | None
) -> dict[str, Stored]:
    """The ranges of the inputs of the network that ``tensors`` rebuild, on the inputs' device."""
    network = rebuild(recipe, tensors, model).to(tensors_of(next(iter(inputs())))[0].device)
    calibrate(network, inputs)
    ranges: dict[str, Stored] = {}
    for prefix, quantizer in input_quantizers(network):
        name = f"{prefix}.range"
        check_finite(name, quantizer.range)
        ranges[name] = Dense(narrowed(quantizer.range.detach().cpu(), recipe.exempt_dtype))
    return ranges


def rebuild(recipe: Recipe, tensors: Mapping[str, Stored], model: Model | None = None) -> nn.Module:
    """A fresh network in eval mode on the CPU, holding the decoded ``tensors`` as float32.

    The inputs of its layers are quantized if the recipe says so. Assets are left aside. A tensor that the
    network has under several names is in the file under the first of them. Where the code of a user's class
    is not the one that the recipe names, a warning says so.

    Args:
        recipe: of the student.
        tensors: of :func:`trainables.shipping.packed_file.unpack`.
        model: the architecture that ships; None is the recipe's.

    Raises:
        PackedFileError: the tensors are not those of the recipe's network.
        ValueError: the network cannot be built here (a custom model that was not allowed).
    """
    try:
        tensors = joined(weights_of(tensors))
    except ValueError as error:
        raise PackedFileError(f"damaged packed file: {error}") from error
    model = model or recipe.model
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items() if not of_quantizer(name)}
    places = None
    if model.imports is None:  # a recipe may claim any size: look before allocating
        with torch.device("meta"):
            outline, places = _built(model, recipe, shapes)
            _check_shapes(outline, tensors)
    with torch.random.fork_rng(devices=[]):  # building must not move the caller's random state
        network, _ = _built(model, recipe, shapes, places)
    _check_shapes(network, tensors)
    decoded = {name: tensor.decode() for name, tensor in tensors.items()}
    tied = {name: decoded[first] for name, first in aliases(network).items()}
    network.load_state_dict(decoded | tied)
    return network.eval().requires_grad_(False)


def _built(
    model: Model, recipe: Recipe, shapes: Mapping[str, tuple[int, ...]], places: Layout | None = None
) -> tuple[nn.Module, Layout]:
    """The network, and where its inputs are quantized, which one that was built so before knows already."""
    network = model.rebuilt(recipe.task.input_shape, recipe.task.outputs, shapes)
    if model.imports is not None:
        recipe.task.interface.check(network, recipe.task.outputs)
    try:
        names = compressible(network, recipe)
    except ValueError as error:
        raise PackedFileError(f"the recipe does not fit its network: {shown(str(error))}") from error
    fold_batch_norms(network)
    if places is None:
        places = layout(network, names) if quantizes(network, recipe, names) else Layout()
    attach(network, recipe.activations, places, quantizing=True)
    return network, places


def _check_shapes(network: nn.Module, tensors: Mapping[str, Stored]) -> None:
    tied = aliases(network)
    expected = {name: each for name, each in network.state_dict().items() if name not in tied}
    if expected.keys() != tensors.keys():
        odd = sorted(expected.keys() ^ tensors.keys())
        raise PackedFileError(
            f"the tensors do not fit the recipe's network; first difference: {shown(odd[0])}"
        )
    for name, tensor in tensors.items():
        ours, theirs = tuple(expected[name].shape), tuple(tensor.shape)
        if ours != theirs:
            raise PackedFileError(f"{shown(name)} has shape {theirs}, but the recipe's network has {ours}")


def open_student(data: bytes) -> tuple[Recipe, nn.Module]:
    """Recipe and network of a packed file's bytes.

    Raises:
        PackedFileError: ``data`` is no packed file, or is damaged.
    """
    recipe, tensors, model = unpack(data)
    return recipe, rebuild(recipe, tensors, model)


def evaluate_file(data: bytes, task: LoadedTask, split: str) -> dict[str, float]:
    """Quality of the student in a packed file's bytes on ``split``.

    Raises:
        PackedFileError: ``data`` is no packed file, is damaged, or was made with other assets than
            the task's, such as a vocabulary that another version of a library learnt from the same text.
    """
    return task.evaluate(_on_task(data, task), split)


def measure_file(data: bytes, task: LoadedTask, split: str) -> Measured:
    """What :func:`evaluate_file` says, and what of each sample it follows from.

    Raises:
        PackedFileError: likewise.
    """
    return task.measure(_on_task(data, task), split)


def _on_task(data: bytes, task: LoadedTask) -> nn.Module:
    """The network of a packed file that was made with the task's assets, on its device."""
    recipe, tensors, model = unpack(data)
    stored, wanted = assets_of(tensors), task.assets()
    for name in sorted({*stored, *wanted}):
        if name not in stored or name not in wanted or not torch.equal(stored[name], wanted[name]):
            raise PackedFileError(
                f"the student's {shown(name)} is not that of the data it is to be evaluated on"
            )
    return rebuild(recipe, tensors, model).to(task.device)
