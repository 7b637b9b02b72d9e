"""How long the mark of a sweep takes: ONNX Runtime's own quantization of the teacher."""

from __future__ import annotations

import time
from functools import partial

from trainables.calibration import CALIBRATION_INPUTS
from trainables.exporting.static_int8 import (
    NotQuantized,
    calibration_inputs,
    evaluate_graphs,
    runtime_int8,
)
from trainables.shipping.evaluation import open_student
from trainables.tasks.base import LoadedTask

FEW_INPUTS = (8, 40)
"""Of which calibration is timed; what one more takes is the difference between them, over their number."""


def time_mark(teacher_file: bytes, task: LoadedTask) -> float:
    """Seconds of processor time to make the mark and to evaluate it on validation and test.

    Args:
        teacher_file: packed; trained or not.
        task: with its data, on the CPU.
    """
    recipe, network = open_student(teacher_file)
    interface, seconds = recipe.task.interface, []
    for count in FEW_INPUTS:
        begun = time.process_time()
        try:
            made = runtime_int8(network, interface, partial(calibration_inputs, task, count))
        except NotQuantized:
            return time.process_time() - begun  # what it takes to find that out
        seconds.append(time.process_time() - begun)
    fewer, more = FEW_INPUTS
    each = max(0.0, seconds[1] - seconds[0]) / (more - fewer)
    begun = time.process_time()
    try:
        evaluate_graphs(made.graphs, network, interface, task, "validation")
    except Exception:  # what is the user's own may fail in any way, which the sweep then says
        return seconds[0]
    evaluated = (time.process_time() - begun) * (1 + task.samples("test") / task.samples("validation"))
    return seconds[0] + each * (CALIBRATION_INPUTS - fewer) + evaluated
