"""Run the programs of docs/deploy.md as they stand, each in a new environment with nothing of Rayduce in it.

A small int8 student of pictures, such as a sweep of ``image_folder`` finds, is trained, exported in each
format whose libraries are installed here, and asked by the page's own program about pictures that it has not
seen; the classes that it says, and how sure it is of them, have to be the student's. So is a student of the
page's own network about days that it has not seen; it is not trained, and one of its programs reads it by
``rayduce.load``.

    python docs/check_deploy.py [--programs predict_onnx.py ...] [--constraint constraints.txt] [--here]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from search.teaching.given import packed_as_given
from spaces.architectures import SLICE
from studies.job import study_of_file
from trainables import methods
from trainables.exporting.formats import FORMATS, format_of
from trainables.exporting.formats.base import Shipped, Wishes
from trainables.models import ResNet
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.own_code import allow_file, module_of
from trainables.recipe import Recipe
from trainables.shipping.evaluation import open_student, rebuild
from trainables.shipping.packed_file import unpack
from trainables.tasks import ImageFolder
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training.export_costs import facts_of
from trainables.training.trainer import Trainer

PAGE = Path(__file__).with_name("deploy.md")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
CLOSE = 1.0
"""Percentage points; integers are rounded in another order than in the student."""
CLOSE_DEGREES = 0.03
"""The same of the answers of the page's own network; programs round theirs to 0.01."""
OURS = ("dashboards", "rayduce", "search", "spaces", "studies", "trainables")
NOT_FOR_READING = ("dash", "mlflow", "onnx", "onnxruntime", "optuna", "pandas", "ray", "scipy", "sklearn")
"""Of what is installed with Rayduce, what ``rayduce.load`` does without."""
PICTURES, OWN = "predict_", "forecast_"
"""Begin the names of programs: of students of pictures, and of the page's own network."""


@dataclass(frozen=True)
class Way:
    """How the page says to use a student.

    Attributes:
        program: the name of the Python program.
        installs: what it says to install where the student runs, each what follows ``pip install``.
    """

    program: str
    installs: tuple[tuple[str, ...], ...]

    @property
    def format(self) -> str:
        """What the student is exported as: that of the name, or the packed file for one's own network."""
        name = self.program.partition("_")[2].removesuffix(".py")
        return "rdz" if name == "net" else name

    @property
    def with_rayduce(self) -> bool:
        """Whether Rayduce is among what it says to install."""
        return any("." in each for each in self.installs)


def files_of(page: str) -> dict[str, str]:
    """The programs and modules of a page by the names in their first lines."""
    programs = [text for kind, text in BLOCK.findall(page) if kind == "python"]
    return {text.partition("\n")[0].removeprefix("# "): text for text in programs}


def needed_by(program: str, files: dict[str, str]) -> dict[str, str]:
    """A program of the page with the modules of the page that it imports or names."""
    found = {program: files[program]}
    for name, text in files.items():
        module = name.removesuffix(".py")
        if re.search(rf'^from {module} import|"{name}"', files[program], re.MULTILINE):
            found |= {name: text, **needed_by(name, files)}
    return found


def ways_of(page: str) -> dict[str, Way]:
    """The programs of a page by name, each with what the last block about installing says."""
    found: dict[str, Way] = {}
    installs: tuple[tuple[str, ...], ...] = ()
    for kind, text in BLOCK.findall(page):
        if kind == "sh" and (lines := re.findall(r"^pip install ([^'\n]+)$", text, re.MULTILINE)):
            installs = tuple(tuple(line.split()) for line in lines)
        program = text.partition("\n")[0].removeprefix("# ")
        if kind == "python" and program.startswith((PICTURES, OWN)):
            found[program] = Way(program, installs)
    return found


def draw_pictures(folder: Path, count: int = 24) -> None:
    """Pictures of two classes, told apart by where they are bright."""
    random = np.random.default_rng(0)
    for name, half in (("bright above", slice(0, 8)), ("bright below", slice(8, 16))):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 120, (16, 16, 3), dtype=np.uint8)
            pixels[half] += 100
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")


def train(
    pictures: Path,
    method: Callable[..., Recipe] = methods.int8_post_training_quantization,
    epochs: int = 20,
) -> bytes:
    """The packed file of a small student."""
    torch.set_num_threads(1)
    task = ImageFolder.scan(pictures, batch_size=16)
    setting = methods.Setting(task, Fresh(ResNet(depth=2, width=0.25)), epochs=epochs)
    recipe = method(setting, optimizer=AdamW(1e-2))
    trainer = Trainer(
        recipe, task.open(task.load(pictures), torch.device("cpu"), 0), NoSources(), torch.device("cpu")
    )
    while not trainer.finished:
        trainer.train_epoch()
    return trainer.ship()


def own_student(
    folder: Path, method: Callable[..., Recipe] = methods.int8_post_training_quantization
) -> bytes:
    """The packed file of a student of half the width of the page's own network, without any training.

    The network's files are written to ``folder``; from now on this process uses them.
    """
    torch.set_num_threads(1)
    for name, text in needed_by("net.py", files_of(PAGE.read_text())).items():
        (folder / name).write_text(text)
    torch.manual_seed(0)
    drawn = allow_file(folder / "net.py").network()
    torch.save({name: 4 * values for name, values in drawn.state_dict().items()}, folder / "net.pt")
    study = study_of_file(folder / "net.py")
    task = study.make_task(None, {})
    loaded = task.open(task.load(None), torch.device("cpu"), 0)
    recipe = study.teacher_recipe(task)
    teacher = open_student(packed_as_given(recipe, loaded, study.given))[1]
    whole = dict(study.students)[SLICE]
    half = replace(whole, cut=replace(whole.cut, width=0.5))
    setting = methods.Setting(task, half, 1, recipe.recipe_id, study.teacher_views)
    sources = LocalSources(lambda recipe_id: teacher, study.given)
    return Trainer(method(setting), loaded, sources, torch.device("cpu")).ship()


def draw_days(folder: Path, count: int) -> None:
    """Days of stations, as the page's own network is asked about them."""
    random = np.random.default_rng(3)
    folder.mkdir()
    for number in range(count):
        degrees = (15 + 10 * random.standard_normal(24)).round(1).tolist()
        day = {"station": int(random.integers(12)), "degrees": degrees}
        (folder / f"{number:02}.json").write_text(json.dumps(day))


def export(content: bytes, name: str, folder: Path) -> Shipped:
    """Write a packed student in a format; returns it."""
    recipe, tensors, model = unpack(content)
    facts = facts_of(recipe, len(content))
    student = Shipped(recipe, tensors, content, facts, {}, lambda: rebuild(recipe, tensors, model))
    written = format_of(name).write(student, folder / f"student{FORMATS[name]}", Wishes())
    for path, data in written.files.items():
        path.write_bytes(data)
    return student


def expected(student: Shipped, picture: Path) -> tuple[str, float]:
    """The class that the student itself finds in a picture, and its share in percent."""
    pixels = torch.from_numpy(np.asarray(Image.open(picture), np.float32) / 255).permute(2, 0, 1)
    shares = student.build()((pixels[None] - 0.5) / 0.5).softmax(1)[0]
    best = int(shares.argmax())
    return str(student.recipe.task.to_dict()["classes"][best]), 100 * float(shares[best])


def agrees(line: str, student: Shipped, picture: Path) -> bool:
    """Whether a program says of a picture what the student does, but for roundings."""
    said, _, share = line.rpartition(" ")
    name, wanted = expected(student, picture)
    return said == name and abs(float(share.removesuffix("%")) - wanted) <= CLOSE


def forecast(student: Shipped, day: Path) -> list[float]:
    """The degrees that the student itself finds for a day."""
    prepared = module_of("net").prepared(json.loads(day.read_text()))
    inputs = {name: torch.from_numpy(rows) for name, rows in prepared.items()}
    found: list[float] = student.build()(**inputs)[0].tolist()
    return found


def forecasts(line: str, student: Shipped, day: Path) -> bool:
    """Whether a program says of a day what the student does, but for roundings."""
    return bool(np.allclose([float(each) for each in line.split()], forecast(student, day), 0, CLOSE_DEGREES))


def check(program: str, content: bytes, folder: Path, python: list[str]) -> list[str]:
    """Run a program of the page on inputs that the student has not seen.

    Args:
        program: its name.
        content: the packed student, of pictures or of :func:`own_student`.
        folder: is empty.
        python: the interpreter, and what is to stand before the program's name.

    Returns:
        What it said of each input.

    Raises:
        RuntimeError: it failed, or said something else than the student.
    """
    for name, text in needed_by(program, files_of(PAGE.read_text())).items():
        (folder / name).write_text(text)
    own = program.startswith(OWN)
    if own:
        draw_days(folder / "unseen", 1)
    else:
        draw_pictures(folder / "unseen", 2)
    student = export(content, Way(program, ()).format, folder)
    said = []
    for path in sorted(each for each in (folder / "unseen").rglob("*.*") if each.is_file()):
        here = python[0] == sys.executable
        environment = {**os.environ} if here else without_path()
        done = subprocess.run(
            [*python, program, str(path)], cwd=folder, env=environment, capture_output=True, text=True
        )
        lines = done.stdout.strip().splitlines()
        right = forecasts if own else agrees
        if done.returncode or not lines or not right(lines[-1], student, path):
            raise RuntimeError(f"{program} of {path.name}: {done.stdout} {done.stderr[-2000:]}")
        said.append(lines[-1])
    return said


def without_path() -> dict[str, str]:
    """The variables of this process, but for what would bring its packages into another environment."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def new_environment(folder: Path, way: Way, constraint: Path | None) -> list[str]:
    """The interpreter of an environment with what ``way`` installs, in the versions of ``constraint``."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    limits = [] if constraint is None else ["--constraint", str(constraint.resolve())]
    for packages in way.installs:
        command = [python, "-m", "pip", "install", "--quiet", *limits, *packages]
        subprocess.run(command, cwd=PAGE.parents[1], env=without_path(), check=True)
    return [python]


def this_one(way: Way) -> list[str]:
    """This interpreter, in which nothing of Rayduce can be imported, or nothing that reading does without."""
    hidden = NOT_FOR_READING if way.with_rayduce else OURS
    hide = f"import sys; sys.modules.update(dict.fromkeys({hidden!r})); sys.path.insert(0, '.')"
    run = "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    return [sys.executable, "-c", f"{hide}; {run}"]


def main() -> None:
    """Check and print."""
    ways = ways_of(PAGE.read_text())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--programs", nargs="+", choices=list(ways), default=list(ways))
    parser.add_argument("--constraint", type=Path, help="versions to install; default: the newest")
    parser.add_argument("--here", action="store_true", help="in this environment, with Rayduce hidden")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        draw_pictures(Path(base) / "pictures")
        contents = {PICTURES: train(Path(base) / "pictures")}
        (Path(base) / "own").mkdir()
        contents[OWN] = own_student(Path(base) / "own")
        for name in arguments.programs:
            way = ways[name]
            if missing := format_of(way.format).lacking():
                print(f"{name}: not checked, since {missing[0]} is not installed")
                continue
            folder = Path(base) / way.program.removesuffix(".py")
            folder.mkdir()
            if arguments.here:
                python = this_one(way)
            else:
                python = new_environment(folder / "clean", way, arguments.constraint)
            said = check(name, contents[OWN if name.startswith(OWN) else PICTURES], folder, python)
            installed = ", ".join(package for packages in way.installs for package in packages)
            print(f"{name} ({installed}): {'; '.join(said)}")


if __name__ == "__main__":
    main()
