"""Run the programs of docs/deploy.md as they stand, each in a new environment with nothing of Rayduce in it.

A small int8 student of pictures, such as a sweep of ``image_folder`` finds, is trained, exported in each
format whose libraries are installed here, and asked by the page's own program about pictures that it has not
seen; the classes that it says, and how sure it is of them, have to be the student's.

    python docs/check_deploy.py [--formats onnx pt2 ...] [--constraint constraints.txt] [--here]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trainables import methods
from trainables.exporting.formats import FORMATS, format_of
from trainables.exporting.formats.base import Shipped, Wishes
from trainables.models import ResNet
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.recipe import Recipe
from trainables.shipping.evaluation import rebuild
from trainables.shipping.packed_file import unpack
from trainables.tasks import ImageFolder
from trainables.teachers.sources import NoSources
from trainables.training.export_costs import facts_of
from trainables.training.trainer import Trainer

PAGE = Path(__file__).with_name("deploy.md")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
CLOSE = 1.0
"""Percentage points; integers are rounded in another order than in the student."""
OURS = ("dashboards", "rayduce", "search", "spaces", "studies", "trainables")


@dataclass(frozen=True)
class Way:
    """How the page says to use a format.

    Attributes:
        program: the Python program.
        packages: what it says to install where the student runs.
    """

    program: str
    packages: tuple[str, ...]


def files_of(page: str) -> dict[str, str]:
    """The programs of a page by the names in their first lines."""
    programs = [text for kind, text in BLOCK.findall(page) if kind == "python"]
    return {text.partition("\n")[0].removeprefix("# "): text for text in programs}


def ways_of(page: str) -> dict[str, Way]:
    """The formats of a page by name: the program that follows the last line about installing."""
    found: dict[str, Way] = {}
    packages: tuple[str, ...] = ()
    for kind, text in BLOCK.findall(page):
        if kind == "sh" and (lines := re.findall(r"^pip install ([^'\n]+)$", text, re.MULTILINE)):
            packages = tuple(lines[-1].split())
        program = text.partition("\n")[0].removeprefix("# ")
        if kind == "python" and program.startswith("predict_"):
            found[program.removeprefix("predict_").removesuffix(".py")] = Way(program, packages)
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


def train(pictures: Path, method: Callable[..., Recipe] = methods.int8_post_training_quantization) -> bytes:
    """The packed file of a small student."""
    torch.set_num_threads(1)
    task = ImageFolder.scan(pictures, batch_size=16)
    setting = methods.Setting(task, Fresh(ResNet(depth=2, width=0.25)), epochs=20)
    recipe = method(setting, optimizer=AdamW(1e-2))
    trainer = Trainer(
        recipe, task.open(task.load(pictures), torch.device("cpu"), 0), NoSources(), torch.device("cpu")
    )
    while not trainer.finished:
        trainer.train_epoch()
    return trainer.ship()


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


def check(name: str, content: bytes, folder: Path, python: list[str]) -> list[str]:
    """Run a format's program on pictures.

    Args:
        name: of the format.
        content: the packed student.
        folder: is empty.
        python: the interpreter, and what is to stand before the program's name.

    Returns:
        What it said of each picture.

    Raises:
        RuntimeError: it failed, or said something else than the student.
    """
    programs = files_of(PAGE.read_text())
    way = ways_of(PAGE.read_text())[name]
    for file in ("pictures.py", way.program):
        (folder / file).write_text(programs[file])
    draw_pictures(folder / "unseen", 2)
    student = export(content, name, folder)
    said = []
    for picture in sorted((folder / "unseen").rglob("*.png")):
        command = [*python, way.program, str(picture)]
        here = python[0] == sys.executable
        environment = {**os.environ} if here else without_path()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        lines = done.stdout.strip().splitlines()
        if done.returncode or not lines or not agrees(lines[-1], student, picture):
            raise RuntimeError(f"{way.program} of {picture.name}: {done.stdout} {done.stderr[-2000:]}")
        said.append(lines[-1])
    return said


def without_path() -> dict[str, str]:
    """The variables of this process, but for what would bring its packages into another environment."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def new_environment(folder: Path, packages: tuple[str, ...], constraint: Path | None) -> list[str]:
    """The interpreter of an environment with ``packages`` alone, in versions that ``constraint`` allows."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    limits = [] if constraint is None else ["--constraint", str(constraint.resolve())]
    command = [python, "-m", "pip", "install", "--quiet", *limits, *packages]
    subprocess.run(command, cwd=PAGE.parents[1], env=without_path(), check=True)
    return [python]


def without_ours() -> list[str]:
    """This interpreter, in which nothing of Rayduce can be imported."""
    hide = f"import sys; sys.modules.update(dict.fromkeys({OURS!r})); sys.path.insert(0, '.')"
    run = "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    return [sys.executable, "-c", f"{hide}; {run}"]


def main() -> None:
    """Check and print."""
    ways = ways_of(PAGE.read_text())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--formats", nargs="+", choices=list(ways), default=list(ways))
    parser.add_argument("--constraint", type=Path, help="versions to install; default: the newest")
    parser.add_argument("--here", action="store_true", help="in this environment, with Rayduce hidden")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        draw_pictures(Path(base) / "pictures")
        content = train(Path(base) / "pictures")
        for name in arguments.formats:
            if missing := format_of(name).lacking():
                print(f"{name}: not checked, since {missing[0]} is not installed")
                continue
            folder = Path(base) / name
            folder.mkdir()
            packages = ways[name].packages
            if arguments.here:
                python = without_ours()
            else:
                python = new_environment(folder / "clean", packages, arguments.constraint)
            print(f"{name} ({', '.join(packages)}): {'; '.join(check(name, content, folder, python))}")


if __name__ == "__main__":
    main()
