"""The device of a sweep before anything is trained: whether it answers, and whether limits can be met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from search.objectives.costs import cost_of, option_of, show_cost, with_unit
from search.objectives.yardstick import Yardstick
from search.options import Options
from search.planning.limits import untrained
from search.problem import Problem
from search.reporter import Reporter
from spaces import Context, Space
from trainables.exporting.checking import ExportError
from trainables.foreign import shown
from trainables.metrics import quality_of
from trainables.metrics.asking import FILE, NoAnswer
from trainables.metrics.base import DEVICE
from trainables.metrics.device import DEFAULT_NAME, Device, begin
from trainables.recipe import Recipe
from trainables.routes import routes_of
from trainables.shipping.evaluation import open_student
from trainables.tasks.base import LoadedTask
from trainables.training.device_numbers import device_numbers, kept_numbers


def meet(
    options: Options, teacher: Recipe, space: Space, context: Context, task: LoadedTask, reporter: Reporter
) -> tuple[Options, Device | None, Mapping[str, float]]:
    """Ask the device of a sweep about the teacher, before anything is trained.

    A sweep that goes on knows what its device gives, and does not ask.

    Args:
        options: of the sweep.
        teacher: its recipe.
        space: of the students.
        context: of the sweep.
        task: its data, on the CPU.
        reporter: hears what the device says.

    Returns:
        The options, in which a name that the device gives a number means that number; the device; and what it
        says of the teacher, by metric. Without a device the options as they are, None, and nothing.

    Raises:
        Problem: the device gives no numbers, or none of the fastest students is within a limit of them.
    """
    if options.device is None:
        return options, None, {}
    device = Device(
        options.device,
        options.measure,
        Path.cwd(),
        options.store / "devices",
        options.measure_seconds,
        options.device_numbers,
    )
    if told := _begin(device):
        reporter.remark(told)
    if device.numbers:
        return options, device, _known_of(device, teacher, task)
    reporter.say(f"asking the device {device.name} about the teacher")
    asked, answers = _ask_first(device, (teacher, *space.fastest(context)), task)
    device = replace(device, numbers=tuple(name.removeprefix(DEVICE) for name in answers))
    told = ", ".join(show_cost(metric, answers[metric.name]) for metric in device.metrics)
    reporter.remark(f"{'the teacher' if asked is teacher else 'a student'}: {told}")
    for name in sorted({*device.numbers} & {*options.budget.limits, *options.minimized}):
        reporter.remark(f"{name} is what {device.name} says of it: {DEVICE}{name}")
    options = on_device(options, device)
    yardstick = options.yardstick(quality_of(context.task.metric))
    _check_limits(device, yardstick, space, context, task)
    return options, device, answers if asked is teacher else {}


def _begin(device: Device) -> str:
    """As :func:`trainables.metrics.device.begin`, for somebody who can choose another name."""
    try:
        return begin(device)
    except ValueError as error:
        raise Problem(f"{error}: name this device with --device, any name but {DEFAULT_NAME}.") from error
    except OSError as error:
        raise Problem(
            f"What the device {device.name} said is kept in {shown(str(device.table), 300)}, which cannot be "
            f"used ({error.strerror})."
        ) from error


def _ask_first(
    device: Device, recipes: Sequence[Recipe], task: LoadedTask
) -> tuple[Recipe, dict[str, float]]:
    """The first of ``recipes`` that has an ONNX form, and what the ``device`` says of it, untrained."""
    why = ""
    for recipe in recipes:
        try:
            return recipe, _numbers(device, recipe, task)
        except ExportError as error:
            why = why or str(error)
        except NoAnswer as error:
            what = "the teacher" if recipe is recipes[0] else "a student"
            raise Problem(
                f"The device {device.name} gave no numbers for {what}: {error}. Try the command of --measure "
                f"by itself, with an ONNX file in place of {FILE}."
            ) from error
    raise Problem(f"--measure cannot be used: neither teacher nor students have an ONNX form ({why}).")


def _known_of(device: Device, teacher: Recipe, task: LoadedTask) -> dict[str, float]:
    """What is kept of :func:`_ask_first`; nothing if that is lost."""
    data = untrained(teacher, task)
    return kept_numbers(data, open_student(data)[1].cpu(), device)


def _check_limits(
    device: Device, yardstick: Yardstick, space: Space, context: Context, task: LoadedTask
) -> None:
    """Refuse limits of the device's numbers that none of the fastest students keeps."""
    limits = {name: limit for name, limit in yardstick.budget.limits.items() if name.startswith(DEVICE)}
    if not limits:
        return
    found = list(_fastest(device, space, context, task))
    for name, limit in limits.items():
        metric = cost_of(yardstick.quality, name)
        least = min((numbers[name] for numbers in found), default=None)
        if least is not None and least > limit:
            raise Problem(
                f"No student of this study keeps its {metric.label} to {with_unit(metric, limit)}: that of "
                f"the fastest is about {with_unit(metric, least)}; give a larger {option_of(name)}."
            )


def on_device(options: Options, device: Device) -> Options:
    """``options`` in which a name that the ``device`` gives a number means that number.

    ``--minimize latency_ms`` is then ``device_latency_ms``: who lets a device be measured means the device.

    Raises:
        Problem: two limits or objectives are then the same.
    """
    names = {name: DEVICE + name for name in device.numbers}
    limits: dict[str, float] = {}
    for name, limit in options.budget.limits.items():
        meant = names.get(name, name)
        if meant in limits:
            raise Problem(f"{option_of(name)} limits {meant}, which is limited already; leave out one.")
        limits[meant] = limit
    minimized = tuple(dict.fromkeys(names.get(name, name) for name in options.minimized))
    budget = replace(options.budget, limits=limits)
    return replace(options, budget=budget, minimized=minimized, device_numbers=device.numbers)


def _fastest(device: Device, space: Space, context: Context, task: LoadedTask) -> Iterator[dict[str, float]]:
    for recipe in space.fastest(context):
        try:
            yield _numbers(device, recipe, task)
        except ExportError:
            continue
        except NoAnswer as error:
            raise Problem(f"The device {device.name} gave no numbers for a student: {error}.") from error


def _numbers(device: Device, recipe: Recipe, task: LoadedTask) -> dict[str, float]:
    """Of the shortest route: nobody knows before training how many inputs will take it."""
    data = untrained(recipe, task)
    made, student = open_student(data)
    _, shortest = routes_of(student.cpu())[0]
    return device_numbers(made, data, shortest, device)
