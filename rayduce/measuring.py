"""What a user says of a device to measure students on; checked, as a sweep's options have it."""

from __future__ import annotations

import math
from typing import Any

from search.problem import Problem
from trainables.metrics.asking import FILE, read_command
from trainables.metrics.device import DEFAULT_NAME, check_device_name


def measuring(measure: str | None, device: str | None, seconds: float | None) -> dict[str, Any]:
    """What was asked for of a device, as :class:`search.options.Options` has it.

    Args:
        measure: the command; None without a device.
        device: its name; None for one that has none.
        seconds: when the command is stopped; None for the default.

    Raises:
        Problem: the command, the name or the time cannot be used, or the command is missing.
    """
    if measure is None:
        given = "--device" if device is not None else "--measure-timeout" if seconds is not None else None
        if given is not None:
            raise Problem(f"{given} is about what --measure asks: give --measure 'COMMAND {FILE}', too.")
        return {}
    name = DEFAULT_NAME if device is None else device
    try:
        check_device_name(name)
    except ValueError as error:
        raise Problem(f"--device cannot be used: {error}.") from error
    return {"device": name, **asking(measure, seconds)}


def asking(measure: str, seconds: float | None) -> dict[str, Any]:
    """How a device is asked, as :class:`search.options.Options` has it.

    Raises:
        Problem: the command or the time cannot be used.
    """
    try:
        found: dict[str, Any] = {"measure": read_command(measure)}
    except ValueError as error:
        raise Problem(f"--measure cannot be used: {error}.") from error
    if seconds is None:
        return found
    if not 0 < seconds < math.inf:
        raise Problem(f"--measure-timeout must be above 0 and finite, got {seconds:g}.")
    return {**found, "measure_seconds": seconds}
