"""The public Python names: typed, lazy, and the same numbers as the store's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rayduce
from rayduce import Front, Sweep, load
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
    for package in ("dashboards", "rayduce", "search", "spaces", "studies", "trainables"):
        assert (ROOT / package / "py.typed").is_file()
