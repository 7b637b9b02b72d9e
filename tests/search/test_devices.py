"""Students on a device of the user's: asked before the sweep, by each trial, and never in their way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from dashboards.axes import axes_of
from dashboards.table import columns_of
from rayduce.commands.results import front_table
from search.log.folder import SweepFolder
from search.objectives.budget import Budget
from search.options import Options, command
from search.planning import devices
from search.planning.devices import meet
from search.problem import Problem
from search.store.frames import trials_frame
from search.store.mlflow_client import StoreError
from search.store.sweep import Sweep
from search.sweeps.preparing import _needed_first
from search.sweeps.request import Request, read_request
from search.sweeps.resume import Earlier
from search.sweeps.settings import from_json
from studies.known import find_study
from tests.recipes import STUDENT
from trainables import methods
from trainables.exporting.checking import ExportError
from trainables.metrics import device_costs, quality_of
from trainables.metrics.asking import read_command
from trainables.metrics.device import Device
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.recipe import Recipe, canonical_json
from trainables.tasks import Digits
from trainables.trainable import Copy, StudentTrial
from trainables.training.trial_metrics import TrialSettings

ANSWER = """echo '{"latency_ms": 3.5, "energy_mj": 11}'"""
STUDY = find_study("digits")
CPU = torch.device("cpu")


class Heard:
    """What a sweep says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def changed(self, records: Mapping[str, Any]) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)

    remark = say


def script(tmp_path: Path, text: str) -> tuple[str, ...]:
    """The words of a command that runs ``text``, and notes that it did."""
    path = tmp_path / "ask-board.sh"
    path.write_text(f"echo x >> {tmp_path}/log\n{text}\n")
    return read_command(f"sh {path} --key hunter2-board {{onnx}}")


def times(tmp_path: Path) -> int:
    log = tmp_path / "log"
    return len(log.read_text().split()) if log.exists() else 0


def options_of(tmp_path: Path, text: str = ANSWER, **changes: Any) -> Options:
    made = Options("s", 1, 0, tmp_path / "store", "", device="pi", measure=script(tmp_path, text))
    return replace(made, **changes)


def met(options: Options) -> tuple[Options, Device | None, Mapping[str, float], list[str]]:
    heard, task = Heard(), Digits()
    opened = task.open(task.load(None), CPU, 0)
    teacher = STUDY.teacher_recipe(task)
    context = STUDY.context(task, teacher.recipe_id, 0)
    return *meet(options, teacher, STUDY.space, context, opened, heard), heard.said


def test_the_teacher_is_asked_and_names_mean_the_device(tmp_path: Path) -> None:
    budget = Budget({"packed_bytes": 20_000, "latency_ms": 5.0, "device_energy_mj": 12.0}, 1.0)
    asked = options_of(tmp_path, budget=budget, minimized=("latency_ms", "macs"))
    options, device, answers, said = met(asked)
    assert answers == {"device_latency_ms": 3.5, "device_energy_mj": 11.0}
    assert device is not None and device.numbers == options.device_numbers == ("latency_ms", "energy_mj")
    assert options.budget.limits == {
        "packed_bytes": 20_000,
        "device_latency_ms": 5.0,
        "device_energy_mj": 12.0,
    }
    assert options.budget.max_drop == 1.0
    assert options.minimized == ("device_latency_ms", "macs")
    assert "the teacher: 3.5 ms latency on pi, 11 mJ energy on pi" in said
    assert "latency_ms is what pi says of it: device_latency_ms" in said
    yardstick = options.yardstick(quality_of("accuracy"))
    assert yardstick.names == ("validation_accuracy", "packed_bytes", "device_latency_ms", "macs")
    assert "over" not in yardstick.over({"packed_bytes": 1, **answers, "validation_accuracy": 1.0})

    before = times(tmp_path)
    again, device, answers, said = met(replace(options, measure=asked.measure))
    assert (again, answers) == (options, {"device_latency_ms": 3.5, "device_energy_mj": 11.0})
    assert device is not None and device.numbers == ("latency_ms", "energy_mj") and said == []
    assert times(tmp_path) == before  # it goes on, and knows


def test_without_a_device_nothing_is_another(tmp_path: Path) -> None:
    options = Options("s", 1, 0, tmp_path, "", minimized=("latency_ms",))
    assert met(options) == (options, None, {}, [])
    assert options.yardstick(quality_of("accuracy")).quality == quality_of("accuracy")


@pytest.mark.parametrize(
    ("text", "changes", "told"),
    [
        (
            "echo hunter2-board has no route >&2; exit 255",
            {},
            r"The device pi gave no numbers for the teacher: its command ended with exit code 255: \*\*\* "
            r"has no route\. Try the command of --measure by itself, with an ONNX file in place of "
            r"\{onnx\}\.",
        ),
        ("sleep 60", {"measure_seconds": 0.2}, r"took longer than 0\.2 s and was stopped\. Try"),
        ("echo NaN", {}, r"printed no JSON \(NaN is no number of JSON\): NaN\. Try"),
        (
            ANSWER,
            {"budget": Budget({"latency_ms": 2.0})},
            r"No student of this study keeps its latency on pi to 2 ms: that of the fastest is about "
            r"3\.5 ms; give a larger --max device_latency_ms\.",
        ),
        (
            ANSWER,
            {"budget": Budget({"heat_j": 2.0})},
            r"--max heat_j cannot be used: there is no such metric: use one of .*device_latency_ms, "
            r"device_energy_mj",
        ),
        (
            ANSWER,
            {"budget": Budget({"latency_ms": 9.0, "device_latency_ms": 9.0})},
            r"limits device_latency_ms, which is limited already; leave out one",
        ),
    ],
)
def test_a_device_that_does_not_answer_and_limits_that_none_keeps(
    text: str, changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(Problem, match=told):
        met(options_of(tmp_path, text, **changes))


def test_another_command_of_a_device_without_a_name_is_told(tmp_path: Path) -> None:
    options = options_of(tmp_path, device="device")
    met(options)
    with pytest.raises(Problem, match=r"another command, .*: name this device with --device"):
        met(replace(options, measure=(*options.measure, "more")))


def test_what_is_said_of_a_student_is_not_the_teachers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = devices.device_numbers, ["no form"]

    def fails_once(*given: Any) -> dict[str, float]:
        if failures:
            raise ExportError(failures.pop())
        return real(*given)

    monkeypatch.setattr(devices, "device_numbers", fails_once)
    options, _, answers, said = met(options_of(tmp_path))
    assert options.device_numbers == ("latency_ms", "energy_mj") and answers == {}
    assert "a student: 3.5 ms latency on pi, 11 mJ energy on pi" in said

    def fails(*given: Any) -> dict[str, float]:
        raise ExportError("no form")

    monkeypatch.setattr(devices, "device_numbers", fails)
    with pytest.raises(Problem, match=r"neither teacher nor students have an ONNX form \(no form\)"):
        met(options_of(tmp_path))


def request_of(options: Options) -> Request:
    return read_request(STUDY, options, Heard(), resume=False)


def test_the_command_is_kept_nowhere_and_what_it_says_is_told(tmp_path: Path) -> None:
    options = options_of(tmp_path, minimized=("energy_mj",), budget=Budget({"latency_ms": 5.0}))
    request = request_of(options)
    kept = request.to_go_on()
    everything = json.dumps([kept, request.params, request.note])
    assert "hunter2" not in everything and "ask-board" not in everything and str(tmp_path) not in everything
    assert "hunter2" not in repr(request)
    assert request.params["device"] == "pi"
    assert request.params["device_numbers"] == ("latency_ms", "energy_mj")
    assert request.params["limits"] == {"device_latency_ms": 5.0}
    assert request.answers == {"device_latency_ms": 3.5, "device_energy_mj": 11.0}
    assert _needed_first(request) >= {"device_latency_ms", "device_energy_mj"}
    assert "at most 5 ms latency on pi" in request.note and "energy on pi" in request.note

    here = {"store": str(options.store), "tracking_uri": ""}
    read = from_json(Options, {**json.loads(json.dumps(kept["options"])), **here})
    assert read == replace(request.options, measure=())


def log_of(tmp_path: Path, options: Options) -> Earlier:
    from search.sweeps.settings import to_json

    kept = to_json(options)
    del kept["store"], kept["measure"]
    event: Any = {"settings": {"options": {**kept, "tracking_uri": None}}}
    return Earlier(SweepFolder(tmp_path, "s"), [event])


def test_who_goes_on_gives_the_command_again(tmp_path: Path) -> None:
    measured = log_of(tmp_path, options_of(tmp_path, device_numbers=("latency_ms",)))
    with pytest.raises(Problem) as error:
        measured.going_on(None, address=None, model=None)
    assert "on the device pi, by a command that is kept nowhere: give it again: rayduce resume s" in str(
        error.value
    )
    assert "--measure 'COMMAND {onnx}'" in str(error.value)
    options = measured.going_on(None, address=None, model=None, measured=True)
    assert (options.device, options.device_numbers, options.measure) == ("pi", ("latency_ms",), ())
    unmeasured = log_of(tmp_path, options_of(tmp_path, device=None))
    with pytest.raises(Problem, match="on no device; leave out --measure"):
        unmeasured.going_on(None, address=None, model=None, measured=True)
    assert unmeasured.going_on(None, address=None, model=None).device is None
    assert command("resume", "s", tmp_path, measured=True).endswith("--measure 'COMMAND {onnx}'")


def recipe_of(epochs: int = 1) -> Recipe:
    given = methods.Setting(Digits(), Fresh(STUDENT), epochs=epochs)
    return methods.post_training_quantization(given, quantizer=Uniform(4))


def trial_of(
    tmp_path: Path, text: str, first: tuple[str, ...] = (), measured: Any = None, name: str = "pi"
) -> StudentTrial:
    """A trial whose device says what ``text`` does."""
    numbers = ("latency_ms", "energy_mj")
    device = Device(name, script(tmp_path, text), tmp_path, tmp_path / "devices", 60.0, numbers)
    settings = TrialSettings(None, 100_000, first=frozenset(first), measured_on=device)

    class Local(StudentTrial):
        def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]
            super().setup(config, Digits().load(None), {}, [], settings, measured)

    return Local({"recipe": canonical_json(recipe_of()), "trial": "00000"})


SAID = {"device_latency_ms": 3.5, "device_energy_mj": 11.0}


def device_of(result: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in result.items() if name.startswith("device_")}


def test_a_trial_asks_once_per_architecture_after_training(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, ANSWER)
    assert device_of(trial.step()) == {} and times(tmp_path) == 0
    last = trial.step()
    assert last["done"] and device_of(last) == SAID and "reason" not in last
    assert times(tmp_path) == 1
    again = trial_of(tmp_path, "exit 9")
    assert device_of(again.step()) == SAID  # what is kept is known before it trains
    assert device_of(again.step()) == SAID and times(tmp_path) == 1


def test_a_trial_asks_before_training_where_it_decides(tmp_path: Path) -> None:
    assert device_of(trial_of(tmp_path, ANSWER, first=("device_energy_mj",)).step()) == SAID
    assert times(tmp_path) == 1
    first = trial_of(tmp_path, "exit 9", first=("device_energy_mj",)).step()
    assert device_of(first) == SAID and times(tmp_path) == 1


def test_a_student_is_what_it_is_though_the_device_fails(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, "echo hunter2-board is down >&2; exit 255", first=("device_latency_ms",))
    first = trial.step()
    assert device_of(first) == {} and first["state"] == "running" and "reason" not in first
    last = trial.step()
    assert last["state"] == "finished" and last["packed_bytes"] > 0
    assert device_of(last) == {}
    assert last["reason"] == "no numbers of pi: its command ended with exit code 255: *** is down"
    assert times(tmp_path) == 2  # before it trained, and after
    assert device_of(trial_of(tmp_path, ANSWER).step()) == {}
    assert device_of(trial_of(tmp_path, ANSWER, first=("device_latency_ms",)).step()) == SAID


def test_a_student_of_an_earlier_sweep_is_measured_on_this_ones_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "trials"
    trial = trial_of(tmp_path, ANSWER)
    trial._settings = replace(trial._settings, trials=folder)
    trial.reset_config({"recipe": canonical_json(recipe_of()), "trial": "00000"})
    while not (last := trial.step())["done"]:
        pass
    file = (folder / "00000" / "student.rdz").read_bytes()
    theirs = {**last, "device_latency_ms": 99.0, "device_heat_j": 1.0}
    theirs["reason"] = "no latency: x; no numbers of pi: y; z"
    copy = Copy("s/00000", theirs, file)
    monkeypatch.setattr("trainables.trainable.ray.get", lambda given: given)
    other = trial_of(tmp_path, ANSWER, measured={recipe_of().recipe_id: copy}, name="pi5")
    copied = other.step()
    assert copied["copied_from"] == "s/00000" and device_of(copied) == SAID
    assert copied["reason"] == "no latency: x"


def sweep_of(params: Mapping[str, str]) -> Sweep:
    start = pd.Timestamp(0, unit="ms", tz="UTC")
    return Sweep("r", "s", "digits", "finished", "accuracy", start, 1.0, params=params)


def test_what_a_device_says_is_read_again_with_units(tmp_path: Path) -> None:
    params = {"device": "pi", "device_numbers": "latency_ms energy_mj", "minimized": "device_energy_mj"}
    sweep = sweep_of({**params, "limits.device_latency_ms": "5.0"})
    quality = sweep.quality
    assert [cost.name for cost in device_costs(quality)] == list(SAID)
    assert sweep.costs == ("packed_bytes", "device_energy_mj")
    assert sweep.over_budget({"device_latency_ms": 6.0}) == "its latency on pi is 6 ms, 1 more than 5"
    trials = trials_frame([], sweep)
    assert {"device_latency_ms", "device_energy_mj"} <= {*trials.columns}
    axes = {axis.key: axis for axis in axes_of(quality)}
    assert axes["device_energy_mj"].title == "Energy on pi (mJ)"
    others = trials_frame([], sweep_of({}))
    assert len(axes["device_energy_mj"].values(others)) == 0  # of a sweep that has no such column
    titles = [column.title for column in columns_of(quality)]
    assert "Latency on pi, ms" in titles and "Energy on pi, mJ" in titles
    row = {
        "run_id": "0" * 32, "name": "n", "accuracy": 0.9, "validation_accuracy": 0.9, "packed_bytes": 1000,
        "compression_ratio": 2.0, "latency_ms": 0.1, "onnx_bytes": 2000, "ram_bytes": 10, **SAID,
    }  # fmt: skip
    table = front_table([row, {**row, "device_energy_mj": None}], quality, "Front")
    assert [list(column.cells) for column in table.columns][-2:] == [["3.5", "3.5"], ["11", "-"]]
    assert str(table.columns[-1].header) == "energy on\npi, mJ"


@pytest.mark.parametrize(
    "params",
    [
        {"device": "<b>", "device_numbers": "latency_ms"},
        {"device": "pi", "device_numbers": "latency_ms latency_ms"},
        {"device": "pi", "device_numbers": "<script>"},
    ],
)
def test_foreign_params_name_no_device(params: dict[str, str]) -> None:
    with pytest.raises(StoreError, match="The sweep s was measured on what is no device"):
        _ = sweep_of(params).quality
