"""The paper's table in miniature: two classes of small images, tiny networks, everything else as it is."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import paper_table
from benchmarks.jobs import KeptSources, Settings, is_done
from benchmarks.paper_table import BATCH_SIZE, LAYOUT, main, plan, training
from trainables.models.convnet import ConvNet
from trainables.shipping.packed_file import unpack
from trainables.tasks import ImageFolder
from trainables.training.trainer import train

BUDGET = 0.5


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks and epochs of the table, shrunk."""
    student = ConvNet(depth=1, stages=((4,), (6,)), hidden=(12,), kernel_size=3)
    teacher = ConvNet(depth=1, stages=((6,), (8,)), hidden=(16,), kernel_size=3, dropout=(0.1, 0.1, 0.1))
    monkeypatch.setattr(paper_table, "STUDENTS", {2: student, 3: student})
    monkeypatch.setattr(paper_table, "PAPER_TEACHER", teacher)
    monkeypatch.setattr(paper_table, "FULL_EPOCHS", 4)


def fill(root: Path) -> Path:
    """Bright and dark noise: 24 training and 6 test images of each class."""
    random = np.random.RandomState(0)
    for split, count in (("train", 24), ("test", 6)):
        for label, low in (("bright", 100), ("dark", 0)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.randint(low, low + 156, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def command(data: Path, out: Path) -> list[str]:
    words = ["--data", str(data), "--out", str(out), "--budget", str(BUDGET), "--students", "3"]
    return [*words, "--seeds", "0", "1"]


@pytest.mark.usefixtures("tiny")
def test_one_command_gives_the_table_and_the_second_call_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = fill(tmp_path / "data"), tmp_path / "out"
    main(command(data, out))
    report = json.loads((out / "table.json").read_text())
    kinds = {(c["student"], c["method"], c["bits"], c["seed"]) for c in report["cells"]}
    rounded = {(3, m, bits, s) for m in ("pm", "pm256", "qd") for bits in (2, 4, 8) for s in (0, 1)}
    learned = {(3, "dq", bits, s) for bits in (2, 4) for s in (0, 1)}
    full = {(3, m, 32, s) for m in ("fp", "kd") for s in (0, 1)}
    assert kinds == {(0, "fp", 32, 0)} | rounded | learned | full
    for cell in report["cells"]:
        packed = (out / "cells" / f"{cell['recipe_id']}.rdz").read_bytes()
        recipe, _, _ = unpack(packed)
        assert recipe.recipe_id == cell["recipe_id"] and len(packed) == cell["packed_bytes"]
        assert cell["test_accuracy"] * 12 == pytest.approx(round(cell["test_accuracy"] * 12))
    assert all(row["seeds"] == 2 for row in report["orderings"])
    assert (out / "table.md").read_text() in capsys.readouterr().out

    monkeypatch.setattr(paper_table, "run_job", lambda *args, **kwargs: pytest.fail("trained again"))
    main(command(data, out))
    assert json.loads((out / "table.json").read_text())["cells"] == report["cells"]


@pytest.mark.usefixtures("tiny")
def test_a_shared_training_gives_the_bytes_of_a_training_of_its_own(tmp_path: Path) -> None:
    data, out = fill(tmp_path / "data"), tmp_path / "out"
    main(command(data, out))
    settings = Settings((3,), (0, 1), BUDGET, "cpu")
    images = paper_table.prepare_images(data, settings.data_share, out)
    task = ImageFolder.scan(images, batch_size=BATCH_SIZE[settings.device], padding=4, flip=True)
    arrays, device = task.load(images), torch.device("cpu")
    jobs = plan(task, settings)
    assert all(is_done(job, out) for job in jobs)
    cells = [cell for job in jobs for cell in job.cells if cell.seed == 1]
    assert {cell.method for cell in cells} == set(LAYOUT.methods)
    for cell in cells:
        loaded = task.open(arrays, device, cell.seed)
        alone = train(cell.recipe, loaded, KeptSources(out), device)
        assert alone == (out / "cells" / f"{cell.recipe.recipe_id}.rdz").read_bytes(), cell.method


def archive(path: Path, source: Path | None, *extra: str) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        if source is not None:
            tar.add(source, "pictures")
        for name in extra:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    return path


def test_an_archive_is_unpacked_once_and_thinned(tmp_path: Path) -> None:
    packed = archive(tmp_path / "data.tar.xz", fill(tmp_path / "data"))
    out = tmp_path / "out"
    out.mkdir()
    whole = paper_table.prepare_images(packed, 1.0, out)
    assert len(list(whole.glob("train/*/*.png"))) == 48
    half = paper_table.prepare_images(packed, 0.5, out)
    assert [len(list(half.glob(f"train/{label}/*"))) for label in ("bright", "dark")] == [12, 12]
    assert len(list(half.glob("test/*/*"))) == 12
    (half / "train" / "bright" / "mark").touch()
    assert paper_table.prepare_images(packed, 0.5, out) == half
    assert (half / "train" / "bright" / "mark").exists()


@pytest.mark.parametrize("name", ["../outside.png", "train/../../outside.png"])
def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(tarfile.FilterError):
        paper_table.prepare_images(archive(tmp_path / "bad.tar.xz", None, name), 1.0, out)
    assert list(out.iterdir()) == [] and not list(tmp_path.glob("**/outside.png"))


def test_an_archive_without_training_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder train"):
        paper_table.prepare_images(archive(tmp_path / "bad.tar.xz", None, "pictures/a.png"), 1.0, tmp_path)


@pytest.mark.parametrize("budget", [1.0, 0.1, 0.01])
def test_the_budget_is_the_cost_of_a_training(budget: float) -> None:
    settings = Settings((3,), (0,), budget, "cpu")
    cost = settings.data_share * training(settings).epochs / paper_table.FULL_EPOCHS
    assert cost == pytest.approx(budget, rel=0.06)


def test_the_published_figures_stand_where_they_were_printed() -> None:
    assert LAYOUT.published[1, "qd", 2] == 82.4 and LAYOUT.published[3, "dq", 4] == 77.36
    assert LAYOUT.published[2, "pm256", 8] == 84.38 and LAYOUT.published[0, "fp", 32] == 89.71
    assert len(LAYOUT.published) == 1 + 3 * (2 + 3 * 3 + 2)
