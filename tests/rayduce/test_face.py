"""The public Python names: typed, lazy, and the same numbers as the store's."""

import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import rayduce
from rayduce import Front, Sweep, load
from search.options import PHASE_BYTES
from search.problem import Problem
from search.store.mlflow_client import StoreError
from studies.names import StudyError
from tests.recipes import STUDENT
from tests.stores import add_trial, copy_blank, final, kept, make_blank, tracker
from trainables import methods
from trainables.compression.compressed_weight import compress
from trainables.origins import Fresh
from trainables.shipping.evaluation import open_student, ship
from trainables.shipping.packed_file import PackedFileError
from trainables.tasks import Digits

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "python_sweep.py"


@pytest.fixture(scope="module")
def file() -> bytes:
    recipe = methods.post_training_quantization(methods.Setting(Digits(), Fresh(STUDENT), epochs=1))
    return ship(recipe, compress(STUDENT.build((1, 8, 8), 10), recipe))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, file: bytes) -> Path:
    blank = make_blank(tmp_path_factory.mktemp("blank") / "mlflow.db")
    folder = copy_blank(blank, tmp_path_factory.mktemp("store"))
    sweep = tracker(folder)
    sweep.open({}, {"rayduce.metric": "accuracy"})
    sweep.annotate("", {"teacher_packed_bytes": 90_000, "teacher_validation_accuracy": 0.99}, {})
    for number, (quality, size) in enumerate([(0.9, 3000), (0.95, 7000), (0.8, 5000)]):
        add_trial(sweep, f"t{number}", final(quality, size))
        sweep.annotate(f"t{number}", {}, {}, kept(sweep, f"t{number}", {"student.rdz": file}))
    sweep.close()
    return folder


def run(code: str, *arguments: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=120)
    return done.stdout


def test_reading_a_student_needs_neither_ray_nor_mlflow(tmp_path: Path, file: bytes) -> None:
    path = tmp_path / "student.rdz"
    path.write_bytes(file)
    told = run(
        "import sys; from rayduce import load; print(type(load(sys.argv[1])).__name__);"
        "heavy = {'ray', 'mlflow', 'optuna', 'dash', 'onnxruntime', 'pandas', 'plotly', 'sklearn'};"
        "print(sorted(heavy & set(sys.modules)))",
        path,
    )
    assert told.splitlines()[1] == "[]"


def test_names_are_listed_and_imported_when_they_are_used() -> None:
    assert set(rayduce.__all__) <= set(dir(rayduce))
    told = run("import sys, rayduce; print('torch' in sys.modules, 'ray' in sys.modules)")
    assert told.split() == ["False", "False"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rayduce.nothing  # noqa: B018


def test_a_network_from_bytes_and_from_a_path_is_that_of_the_file(tmp_path: Path, file: bytes) -> None:
    path = tmp_path / "student.rdz"
    path.write_bytes(file)
    inputs = torch.randn(3, 1, 8, 8)
    _, expected = open_student(file)
    for source in (file, path, str(path)):
        network = load(source)
        assert not network.training and torch.equal(network(inputs), expected(inputs))
    with pytest.raises(PackedFileError):
        load(file[:-1])


def test_a_front_is_what_the_store_has(store: Path, file: bytes, tmp_path: Path) -> None:
    front = Front.read(store=store)
    assert (front.sweep, front.metric) == ("digits-1", "accuracy")
    assert front.teacher == {"packed_bytes": 90_000, "validation_accuracy": 0.99}
    assert [(each.packed_bytes, each.validation) for each in front] == [(3000, 0.9), (7000, 0.95)]
    assert front[-1] == front[1:][0] and len(front) == 2
    assert front[0].quality is None and front[0].metrics["packed_bytes"] == 3000.0
    assert front[0].file() == file
    assert front[0].save(tmp_path / "out.rdz").read_bytes() == file
    assert torch.equal(front[0].load()(torch.zeros(1, 1, 8, 8)), load(file)(torch.zeros(1, 1, 8, 8)))


def test_limits_and_objectives_are_said_by_the_names_of_metrics(tmp_path: Path) -> None:
    made = Sweep(
        "digits",
        store=tmp_path,
        max_bytes=16_000,
        max_ram=8_000,
        limits={"macs": 2_000_000},
        minimize=("latency_ms",),
        size_of="onnx",
    )
    options = made._options
    assert options.budget.limits == {"packed_bytes": 16_000, "ram_bytes": 8_000, "macs": 2_000_000}
    assert (options.size, options.minimized) == ("onnx_bytes", ("latency_ms",))
    with pytest.raises(ValueError, match="limits must not limit packed_bytes again"):
        Sweep("digits", store=tmp_path, max_bytes=16_000, limits={"packed_bytes": 8_000})
    with pytest.raises(ValueError, match="size_of must be one of packed, onnx, got 'gzip'"):
        Sweep("digits", store=tmp_path, size_of="gzip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="macs must be limited to a number above 0"):
        Sweep("digits", store=tmp_path, limits={"macs": -1})


def test_what_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no store"):
        Front.read(store=tmp_path / "nowhere")
    with pytest.raises(StudyError, match="no study 'diggits'"):
        Sweep("diggits", store=tmp_path)
    with pytest.raises(StudyError, match="bits must be in"):
        Sweep("digits", store=tmp_path, fixed={"bits": 9})
    with pytest.raises(ValueError, match="trials must be at least 1, got 0"):
        Sweep("digits", store=tmp_path, trials=0)
    with pytest.raises(Problem, match="has no sweep named"):
        Sweep.resume("digits-7", store=tmp_path)
    assert not list(tmp_path.iterdir())


RENAMED = """
import os
import torch
from torch import nn
from torch.utils.data import TensorDataset

torch.manual_seed(0)
INPUTS = torch.randn(300, 1, 8, 8)
LABELS = (INPUTS[:, 0, :4].mean((1, 2)) > 0).long()


def my_network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))


def my_data(split):
    part = {"train": slice(0, 200), "validation": slice(200, 250), "test": slice(250, None)}[split]
    return TensorDataset(INPUTS[part], LABELS[part])


def halved(output, target):
    return nn.functional.cross_entropy(output, target) / 2


unnamed = lambda: my_network()


class Other:
    def network(self):
        return my_network()


if __name__ == "__main__":
    from rayduce import Sweep

    sweep = Sweep(network=my_network, data=my_data, loss=halved, trials=2, epochs=2, concurrency=1)
    front = sweep.run()
    again = Sweep.resume(sweep.name, network=my_network, data=my_data, loss=halved)
    print(os.getpid(), sweep.name, len(front), len(again.run()), again.front.metric)
else:
    print("imported by", os.getpid())
"""
"""Functions under names of their own, and a script that searches them."""


@pytest.fixture
def renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module above, imported as a user does it."""
    (tmp_path / "face_functions.py").write_text(RENAMED)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("face_functions")
    sys.modules.pop("face_functions", None)


def test_functions_under_other_names_are_those_of_their_file(renamed: Any, tmp_path: Path) -> None:
    store = tmp_path / "store"
    sweep = Sweep(network=renamed.my_network, data=renamed.my_data, loss=renamed.halved, store=store)
    code = sweep._study.code
    assert sweep.name == "face_functions-1" and code is not None
    assert code.names == (("data", "my_data"), ("loss", "halved"), ("network", "my_network"))
    assert sweep._options.own_model == str(tmp_path / "face_functions.py") and sweep._options.data is None
    plain = Sweep(network=renamed.my_network, data=renamed.my_data, store=store)
    assert plain._study.code is not None and plain._study.code.digest != code.digest
    assert not store.exists()


def test_a_file_is_a_study_in_python_too(tmp_path: Path) -> None:
    path = tmp_path / "face_file.py"
    path.write_text(RENAMED.replace("my_network", "network").replace("my_data", "data"))
    sweep = Sweep(str(path), store=tmp_path / "store", trials=3, epochs=4)
    assert (sweep.name, sweep._study.epochs, sweep._options.trials) == ("face_file-1", 4, 3)
    assert sweep._study.code is not None and sweep._study.code.names == ()
    with pytest.raises(Problem, match="There is no store"):
        Sweep.resume("face_file-1", store=tmp_path / "store", model=str(path))


def test_wrong_calls_say_what_is_wrong(renamed: Any, tmp_path: Path) -> None:
    network, data = renamed.my_network, renamed.my_data
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, r"needs a study, or your own network and data: Sweep\(network=..., data=...\)"),
        ({"study": "digits", "network": network, "data": data}, "not both: got 'digits' and network, data"),
        ({"network": network}, "give data too, a function: got network alone"),
        ({"data": data}, "give network too, a function: got data alone"),
        (
            {"network": network, "data": data, "los": renamed.halved},
            "no argument 'los'; functions are network",
        ),
        ({"network": renamed.Other().network, "data": data}, "network must be a function at the top level"),
        ({"network": network(), "data": data}, "network must be a function at the top level"),
        ({"network": network, "data": functools.partial(data)}, "data must be a function at the top level"),
        ({"network": network, "data": data, "loss": write_none}, "must be of one file, got .*face_functions"),
    ]
    for arguments, message in wrong:
        with pytest.raises(TypeError, match=message):
            Sweep(**arguments, store=tmp_path / "store")
    with pytest.raises(StudyError, match="has no function <lambda> at its top level"):
        Sweep(network=renamed.unnamed, data=data, store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def write_none(output: Any, target: Any) -> None:
    """A function of another file."""


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_a_script_that_searches_its_own_functions_is_imported_by_the_workers(tmp_path: Path) -> None:
    folder = tmp_path / "mein Netz ümlaut"
    folder.mkdir()
    (folder / "face_script.py").write_text(RENAMED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "face_script.py"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    pid, name, count, again, metric = done.stdout.splitlines()[-1].split()
    assert (name, count, metric) == ("face_script-1", again, "accuracy") and int(count) >= 1
    assert f"imported by {pid}" in done.stdout  # once beside __main__, for what is looked up by name


@pytest.mark.slow
def test_the_example_passes_a_users_strict_types(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--config-file=",
        str(EXAMPLE),
    ]
    environment = {**os.environ, "MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_the_example_searches_and_goes_on(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, EXAMPLE], capture_output=True, text=True, env=environment, timeout=600, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "student.rdz").is_file() and "training students" in done.stdout


def test_every_package_says_that_it_is_typed() -> None:
    for package in ("dashboards", "rayduce", "rayduce_reader", "search", "spaces", "studies", "trainables"):
        assert (ROOT / package / "py.typed").is_file()


def test_a_sweep_may_have_a_budget_of_compute(tmp_path: Path) -> None:
    options = Sweep("digits", store=tmp_path, trainings=7, budget=1.5)._options
    assert (options.trainings, options.trials, options.compute) == (7, 70, 1.5)
    options = Sweep("digits", store=tmp_path)._options
    assert (options.sampler, options.trainings, options.trials) == ("freeze-thaw", 30, 300)
    options = Sweep("digits", store=tmp_path, sampler="tpe")._options
    assert (options.sampler, options.trainings, options.trials) == ("tpe", None, 100)
    options = Sweep("phrases", store=tmp_path)._options
    assert (options.sampler, options.trainings, options.trials) == ("tpe", None, 16)
    assert options.phase_bytes == PHASE_BYTES
    assert Sweep("digits", store=tmp_path, phase_bytes=0)._options.phase_bytes == 0
    with pytest.raises(Problem, match="3 trainings cannot be done in 2 trials, of which"):
        Sweep("digits", store=tmp_path, trainings=3, trials=2)
