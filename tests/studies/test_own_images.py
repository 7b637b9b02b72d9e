"""A trained network and a folder of images."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import rayduce
from rayduce import Sweep
from rayduce.commands.app import app
from search.problem import Problem
from search.teaching.given import packed_as_given
from spaces.architectures import SLICE, TEACHER
from studies.known import find_study
from studies.names import StudyError
from tests.studies.image_files import network_of, write_images, write_net
from trainables import methods
from trainables.models import Own, Published
from trainables.origins import Given
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.slicing.cut import Cut
from trainables.tasks.base import DataError
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import train
from trainables.weights import digest_of

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
names = (f"image_net_{number}" for number in itertools.count())


def invoke(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("photos") / "data")


@pytest.fixture
def net(tmp_path):
    """A file with ``make(classes)``, and its weights beside it."""
    path = write_net(tmp_path, next(names))
    torch.save(network_of(path).state_dict(), path.with_suffix(".pt"))
    return path


def study_of(photos, network, weights, **about):
    about |= {"network": network, "weights": str(weights)}
    return find_study("image_folder", data=photos, about_data=about), about


class Opened:
    """A study of a network, opened as a sweep does it."""

    def __init__(self, photos, network, weights, **about):
        self.study, about = study_of(photos, network, weights, **about)
        self.task, _ = self.study.examine(photos, about)
        self.loaded = self.task.open(self.task.load(photos), CPU, 0)
        self.recipe = self.study.teacher_recipe(self.task)
        self.file = packed_as_given(self.recipe, self.loaded, self.study.given)
        self.sources = LocalSources(lambda recipe_id: open_student(self.file)[1], self.study.given)

    def train(self, method, start, epochs=2, width=0.5):
        origin = dict(self.study.students)[start]
        if start == SLICE:
            origin = replace(origin, cut=replace(origin.cut, width=width))
        setting = methods.Setting(self.task, origin, epochs, self.recipe.recipe_id, 16)
        return train(getattr(methods, method)(setting), self.loaded, self.sources, CPU)


def by_hand(photos, network, mean, std):
    """Share of all images whose class is found, with Pillow and arithmetic alone."""
    right, paths = [], sorted(photos.rglob("*.png"))
    for path in paths:
        pixels = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()).permute(2, 0, 1) / 255
        inputs = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        found = int(network(inputs[None]).argmax())
        right.append(sorted(p.name for p in photos.iterdir())[found] == path.parent.name)
    return sum(right) / len(right)


def test_the_teacher_is_the_network_with_its_weights_and_scaled_inputs(photos, net):
    opened = Opened(photos, f"{net}:make", net.with_suffix(".pt"), mean=MEAN, std=STD)
    splits = {split: opened.loaded.samples(split) for split in ("train", "validation", "test")}
    found = sum(
        evaluate_file(opened.file, opened.loaded, split)["accuracy"] * n for split, n in splits.items()
    )
    with torch.no_grad():
        assert found / sum(splits.values()) == pytest.approx(by_hand(photos, network_of(net), MEAN, STD))
    assert opened.recipe.epochs == 0 and opened.recipe.model == Own(
        net.stem, opened.study.code.digest, opened.recipe.origin.parent, "make", 2
    )
    own = network_of(net)
    inputs = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(open_student(opened.file)[1](inputs), own(inputs), atol=1e-5)


FUNCTIONS = (
    ("num_classes=1000", "num_classes"),
    ("*, classes", "classes"),
    ("number", "number"),
    ("", "2"),
    ("width=1", "2"),
)


@pytest.mark.parametrize("argument, classes", FUNCTIONS)
def test_a_function_is_told_the_classes_where_it_wants_to_know_them(photos, tmp_path, argument, classes):
    path = write_net(tmp_path, next(names), argument, classes)
    safetensors.torch.save_file(network_of(path).state_dict(), tmp_path / "w.safetensors")
    opened = Opened(photos, f"{path}:make", tmp_path / "w.safetensors")
    assert opened.recipe.model.classes == (None if classes == "2" else 2)
    assert open_student(opened.file)[1].head.out_features == 2


@pytest.mark.parametrize("start", [SLICE, TEACHER])
def test_students_are_rebuilt_from_the_file_and_the_code_alone(photos, net, tmp_path, start):
    opened = Opened(photos, f"{net}:make", net.with_suffix(".pt"), mean=MEAN, std=STD)
    data = opened.train("quantized_distillation", start)
    packed = tmp_path / "student.rdz"
    packed.write_bytes(data)
    measured = evaluate_file(data, opened.loaded, "test")["accuracy"]
    net.with_suffix(".pt").unlink()
    code = (
        "import sys, rayduce, torch; network = rayduce.load(sys.argv[1], model=sys.argv[2]); "
        "print(network(torch.ones(1, 3, 8, 8)).sum().item())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, packed, net], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(
        open_student(data)[1](torch.ones(1, 3, 8, 8)).sum().item(), abs=1e-5
    )
    told = invoke("evaluate", packed, "--data", photos, "--model", net, "--json")
    assert json.loads(told.output)["accuracy"] == measured
    done = invoke("export", packed, tmp_path / "s.onnx", "--model", net)
    assert done.exit_code == 0, done.output
    graph = onnx.load(tmp_path / "s.onnx")
    facts = {each.key: each.value for each in graph.metadata_props}
    told = json.loads(facts["preprocessing"])
    assert told == {"inputs": "(pixels / 255 - mean) / std", "mean": list(MEAN), "std": list(STD)}
    assert "mean 0.485,0.456,0.406, std 0.229,0.224,0.225" in invoke("inspect", packed).output


def test_an_architecture_of_torchvision_needs_no_code(photos, tmp_path):
    opened, network = of_torchvision(photos, tmp_path)
    assert isinstance(opened.recipe.model, Published) and opened.study.code is None
    inputs = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(open_student(opened.file)[1](inputs), network(inputs), atol=1e-4)
    data = opened.train("post_training_quantization", SLICE, epochs=1)
    assert len(data) < len(opened.file) / 4
    student = rayduce.load(data)
    assert student.features[0].out_channels < network.features[0].out_channels
    assert student(inputs).shape == (2, 2)


def of_torchvision(photos, folder):
    from trainables.models.published import published

    torch.manual_seed(0)
    network = published("torchvision", "squeezenet1_1", 3, 2).eval()
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}},
        folder / "w.pt",
    )
    return Opened(photos, "torchvision:squeezenet1_1", folder / "w.pt", image_size=32), network


def test_grey_images_are_given_as_the_network_takes_them(tmp_path):
    photos = write_images(tmp_path / "grey", mode="L")
    for channels in (1, 3):
        path = write_net(tmp_path, next(names), channels=channels)
        torch.save(network_of(path).state_dict(), tmp_path / "w.pt")
        assert Opened(photos, f"{path}:make", tmp_path / "w.pt").task.channels == channels
    told = Opened(photos, f"{path}:make", tmp_path / "w.pt", mean=MEAN, std=STD)
    assert told.task.channels == 3 and told.task.scaling == (MEAN, STD)


def test_options_change_the_task_and_who_its_teacher_is(photos, net):
    def identity(**about):
        study, about = study_of(photos, f"{net}:make", net.with_suffix(".pt"), **about)
        task = study.make_task(photos, about)
        return task, study.teacher_recipe(task).recipe_id

    plain, first = identity()
    changed = {"batch_size": 16, "flip": True, "crop": 1, "image_size": 6}
    for name, value in changed.items():
        task, recipe_id = identity(**{name: value})
        assert task != plain and recipe_id != first
    assert identity(crop=1)[0].padding == 1 and identity(flip=True)[0].flip
    assert identity(mean=MEAN, std=STD)[1] != first
    assert identity(mean=(0.5,) * 3, std=(0.5,) * 3)[1] == first


def test_the_teacher_of_a_folder_is_trained_as_long_as_asked(photos):
    study = find_study("image_folder", data=photos, about_data={"teacher_epochs": 3})
    assert study.teacher_recipe(study.make_task(photos, {"teacher_epochs": 3})).epochs == 3


WRONG = {
    "no weights": ({"network": "NET:make"}, "needs --weights FILE"),
    "no network": ({"weights": "WEIGHTS"}, "--weights needs --network"),
    "teacher": (
        {"network": "NET:make", "weights": "WEIGHTS", "teacher_epochs": 3},
        "leave out --teacher-epochs",
    ),
    "unknown": (
        {"network": "torchvision:mobilnet_v2", "weights": "WEIGHTS"},
        "no network for images called 'mobilnet_v2'; the nearest names are mobilenet_v2",
    ),
    "no name": ({"network": "NET", "weights": "WEIGHTS"}, "named as FILE.py:function, torchvision:NAME"),
    "no function": ({"network": "NET:build", "weights": "WEIGHTS"}, r"has no function build\(\)"),
    "no class": ({"network": "NET:Tiny.forward", "weights": "WEIGHTS"}, "named as FILE.py:function"),
    "no file": ({"network": "nowhere.py:make", "weights": "WEIGHTS"}, "nowhere.py is no file"),
    "no weights there": ({"network": "NET:make", "weights": "nothing.pt"}, "there is no file of weights"),
    "other weights": (
        {"network": "torchvision:squeezenet1_1", "weights": "WEIGHTS"},
        "does not fit the network: it has no features",
    ),
    "mean alone": ({"mean": MEAN}, "--mean and --std go together"),
    "mean of two": ({"mean": (0.5, 0.4), "std": (0.5, 0.4)}, "a number for each of the images' channels"),
    "counts": ({"mean": (0.5, 0.4, 0.1), "std": (0.5,)}, "as many numbers, got 3 and 1"),
    "std 0": ({"mean": MEAN, "std": (0.0, 0.5, 0.5)}, "std must be above 0"),
    "std nan": ({"mean": MEAN, "std": (float("nan"), 0.5, 0.5)}, "std must be"),
    "mean text": ({"mean": "0.5", "std": "0.5"}, "--mean must be a number per channel"),
    "batch": ({"batch_size": 1}, "batch_size must be"),
    "crop": ({"crop": 65}, "padding must be"),
    "epochs": ({"teacher_epochs": 0}, "--teacher-epochs must be a number of at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_does_not_fit_is_one_sentence(photos, net, kind):
    given, expected = WRONG[kind]
    places = {"NET": str(net), "WEIGHTS": str(net.with_suffix(".pt"))}
    about = {
        name: value.replace("NET", places["NET"]).replace("WEIGHTS", places["WEIGHTS"])
        if name in ("network", "weights")
        else value
        for name, value in given.items()
    }
    with pytest.raises(StudyError, match=expected) as found:
        find_study("image_folder", data=photos, about_data=about).examine(photos, about)
    assert str(found.value).endswith(".") and "\n" not in str(found.value)


def refused(photos, path, **about):
    with pytest.raises(StudyError) as found:
        study_of(photos, f"{path}:make", path.with_suffix(".pt"), **about)
    return str(found.value)


def test_a_network_of_other_classes_channels_or_images_is_one_sentence(photos, tmp_path):
    five = write_net(tmp_path, next(names), "", "5")
    torch.save(network_of(five, 5).state_dict(), five.with_suffix(".pt"))
    assert "answers (5,) numbers for an image, and the folder has 2 classes: bright, dark." in refused(
        photos, five
    )
    grey = write_net(tmp_path, next(names), channels=1)
    torch.save(network_of(grey).state_dict(), grey.with_suffix(".pt"))
    assert "fails on inputs of shape (2, 3, 8, 8): RuntimeError" in refused(photos, grey)
    flat = tmp_path / f"{next(names)}.py"
    flat.write_text(
        "from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(192, 2))\n"
    )
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    torch.save(network.state_dict(), flat.with_suffix(".pt"))
    assert "fails on inputs of shape (2, 3, 16, 16)" in refused(photos, flat, image_size=16)
    bad = tmp_path / f"{next(names)}.py"
    bad.write_text("def make(a, b):\n    return a\n")
    assert "must take nothing or the number of classes" in refused(photos, bad)


def test_other_studies_and_empty_folders_are_refused(photos, tmp_path):
    with pytest.raises(StudyError, match="--network is not for the study digits"):
        find_study("digits", about_data={"network": "torchvision:vgg11", "weights": "w.pt"})
    with pytest.raises(DataError):
        find_study("image_folder", data=tmp_path, about_data={"network": "torchvision:vgg11", "weights": "w"})


def test_a_packed_file_of_a_users_code_runs_none_unasked(photos, net):
    data = Opened(photos, f"{net}:make", net.with_suffix(".pt")).file
    code = "import sys, rayduce; rayduce.load(sys.stdin.buffer.read())"
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True)
    assert f"pass --model {net.stem}.py".encode() in done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_a_sweep_of_a_network_from_the_command_line_to_a_student(photos, net, tmp_path):
    def rayduce_(*arguments):
        command = [
            sys.executable,
            "-m",
            "rayduce.commands.app",
            *map(str, arguments),
            "--store",
            tmp_path / "s",
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=400)

    done = rayduce_(
        "sweep", "image_folder", "--data", photos, "--network", f"{net}:make",
        "--weights", net.with_suffix(".pt"),
        "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "--crop", 1, "--batch-size", 16,
        "--trials", 2, "--epochs", 2, "--concurrency", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "your network: accuracy" in done.stdout + done.stderr
    front = rayduce.Front.read(store=tmp_path / "s")
    assert front[0].load(model=str(net))(torch.zeros(1, 3, 8, 8)).shape == (1, 2)
    log = tmp_path / "s" / "sweeps" / "image_folder-1" / "events.jsonl"
    log.write_text(log.read_text().splitlines(keepends=True)[0])  # as if it had been killed at once
    with pytest.raises(Problem, match=f"of {net}, which .*: rayduce resume image_folder-1 .* --model {net}"):
        Sweep.resume("image_folder-1", store=tmp_path / "s")
    going = Sweep.resume("image_folder-1", store=tmp_path / "s", model=str(net))
    task = going._study.make_task(photos, going._options.about_data)
    assert task.scaling == (MEAN, STD) and (task.padding, task.batch_size) == (1, 16)
    assert going._study.teacher == Given(
        Own(net.stem, going._study.code.digest, digest_of(network_of(net).state_dict()), "make", 2)
    )


def test_python_has_it_the_same(photos, net, tmp_path):
    sweep = Sweep(
        "image_folder",
        data=photos,
        network=f"{net}:make",
        weights=net.with_suffix(".pt"),
        store=tmp_path / "s",
    )
    assert sweep._options.own_model == str(net) and isinstance(sweep._study.teacher.model, Own)
    assert sweep._options.about_data == {"network": f"{net}:make", "weights": str(net.with_suffix(".pt"))}


def test_cut_is_the_default_size(photos, net):
    study, _ = study_of(photos, f"{net}:make", net.with_suffix(".pt"))
    assert dict(study.students)[SLICE].cut == Cut() and Path(study.code.folder) == net.parent.resolve()
