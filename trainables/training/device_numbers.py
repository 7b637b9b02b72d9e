"""What a device of the user's says of students, as metrics of trials."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from trainables.exporting.checking import ExportError
from trainables.exporting.export import to_onnx
from trainables.exporting.kind import stored_kind
from trainables.metrics.asking import NoAnswer
from trainables.metrics.base import DEVICE
from trainables.metrics.device import Device, known_numbers, mean_numbers, numbers_of
from trainables.recipe import Recipe
from trainables.routes import routes_of
from trainables.shipping.packed_file import Packed, unpack
from trainables.training.export_costs import export_key
from trainables.training.trial_folder import writing_to_the_store
from trainables.training.trial_metrics import TrialSettings

_NO_NUMBERS = "no numbers of "


def device_numbers(recipe: Recipe, data: bytes, student: nn.Module, device: Device) -> dict[str, float]:
    """``device_latency_ms`` and whatever else the ``device`` says of a student: kept, or asked for now.

    It is asked about what :func:`trainables.exporting.export.to_onnx` makes of the file. Of a student that
    takes several routes each is a student of its own, see
    :func:`trainables.metrics.device.mean_numbers`.

    Args:
        recipe: of the student.
        data: its packed file.
        student: rebuilt from that, on the CPU.
        device: to ask.

    Raises:
        ExportError: the student has no ONNX form that does what it does.
        NoAnswer: the device gave no numbers.
        OSError: its table cannot be read or written.
    """
    interface, packed, found = recipe.task.interface, unpack(data), []
    for share, route in routes_of(student):
        if share:
            export = partial(to_onnx, route, interface, {}, packed.tensors)
            found.append((share, numbers_of(device, _key(packed, route), export)))
    return _as_metrics(mean_numbers(found), device)


def known_of_device(
    recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings
) -> dict[str, float]:
    """What :func:`device_numbers` gives, as far as it is known before the student trains.

    That is what is kept, or all of it where a metric of the device is among ``settings.first``, on which it
    depends whether the student trains. A student that gets no numbers has none; why is said at its end, when
    the device is asked again. Nor has one that takes several routes: which ones, training decides. Nothing
    without a device.

    Raises:
        StoreTrouble: the device's table cannot be read or written.
    """
    device = settings.measured_on
    if device is None or len(routes_of(student)) > 1:
        return {}
    with writing_to_the_store(device.table):
        try:
            if any(name.startswith(DEVICE) for name in settings.first):
                return device_numbers(recipe, data, student, device)
            return kept_numbers(data, student, device)
        except (ExportError, NoAnswer):
            return {}


def said_by_device(
    recipe: Recipe, data: bytes, student: nn.Module, settings: TrialSettings
) -> tuple[dict[str, float], str]:
    """What :func:`device_numbers` gives, and why there is nothing; both empty without a device.

    Raises:
        StoreTrouble: the device's table cannot be read or written.
    """
    device = settings.measured_on
    if device is None:
        return {}, ""
    try:
        with writing_to_the_store(device.table):
            return device_numbers(recipe, data, student, device), ""
    except (ExportError, NoAnswer) as error:  # the student is what it is; only numbers are missing
        return {}, f"{_NO_NUMBERS}{device.name}: {error}"


def kept_numbers(data: bytes, student: nn.Module, device: Device) -> dict[str, float]:
    """What the ``device`` has said of a ``student`` that takes one route, by metric; it is not asked.

    Raises:
        OSError: the device's table cannot be read.
    """
    known = known_numbers(device, _key(unpack(data), student))
    return {} if known is None else _as_metrics(known, device)


def without_device(result: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's last ``result`` without what a device said of its student, or why it said nothing."""
    reason = result.get("reason", "").partition(_NO_NUMBERS)[0].removesuffix("; ")
    known = {name: value for name, value in result.items() if not name.startswith(DEVICE)}
    return {**known, "reason": reason}


def _key(packed: Packed, route: nn.Module) -> str:
    """Names what decides a device's answer: the architecture and what is in integers, and the weights' types.

    ONNX Runtime makes float32 of weights of few bits as it loads them; another runtime need not.
    """
    return f"{export_key(packed, route)}-{stored_kind(packed.tensors)}"


def _as_metrics(numbers: Mapping[str, float], device: Device) -> dict[str, float]:
    names = device.numbers or numbers
    return {DEVICE + name: numbers[name] for name in names}
