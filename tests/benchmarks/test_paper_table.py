"""The paper's table in miniature: two classes of small images, tiny networks, everything else as it is."""

from __future__ import annotations

import functools
import io
import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks import paper_table
from benchmarks.paper_table import KeptSources, Settings, is_done, main, plan, thinned
from trainables.models.convnet import ConvNet
from trainables.packed_file import unpack
from trainables.tasks import ImageFolder
from trainables.trainer import train

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
        recipe, _ = unpack(packed)
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
    images = paper_table.prepare_images(data, settings.image_share, out)
    task = ImageFolder.scan(images, batch_size=settings.batch_size, padding=4, flip=True)
    arrays, device = task.load(images), torch.device("cpu")
    jobs = plan(task, settings)
    assert all(is_done(job, out) for job in jobs)
    cells = [cell for job in jobs for cell in job.cells if cell.seed == 1]
    assert {cell.method for cell in cells} == set(paper_table.METHODS)
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


@given(st.sets(st.text(), min_size=1), st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_smaller_shares_lie_within_larger_ones(names: set[str], one: float, other: float) -> None:
    smaller, larger = thinned(names, min(one, other)), thinned(names, max(one, other))
    assert larger[: len(smaller)] == smaller and set(larger) <= names
    assert len(larger) == max(1, round(max(one, other) * len(names)))


@pytest.mark.parametrize("budget", [1.0, 0.1, 0.01])
def test_the_budget_is_the_cost_of_a_training(budget: float) -> None:
    settings = Settings((3,), (0,), budget, "cpu")
    cost = settings.image_share * settings.epochs / paper_table.FULL_EPOCHS
    assert cost == pytest.approx(budget, rel=0.06)


@pytest.mark.parametrize(
    "settings", [((3,), (0,), 0.0), ((3,), (0,), 1.5), ((4,), (0,), 1.0), ((3,), (), 1.0)]
)
def test_settings_out_of_range_are_refused(
    settings: tuple[tuple[int, ...], tuple[int, ...], float],
) -> None:
    with pytest.raises(ValueError, match="got"):
        Settings(*settings, "cpu")


def test_orderings_count_the_seeds_that_have_both_sides() -> None:
    def cell(method: str, bits: int, seed: int, accuracy: float) -> dict[str, object]:
        return {"student": 3, "method": method, "bits": bits, "seed": seed, "test_accuracy": accuracy}

    cells = [cell("qd", 2, 0, 0.50), cell("qd", 2, 1, 0.40), cell("qd", 2, 2, 0.9)]
    cells += [cell("dq", 2, 0, 0.45), cell("dq", 2, 1, 0.41)]
    found = {row["claim"]: row for row in paper_table.orderings(cells, [3])}
    row = found["QD, bucket 256, 2 bits > DQ, bucket 256, 2 bits"]
    assert (row["seeds"], row["agree"]) == (2, 1)
    assert math.isclose(row["mean_difference"], 2.0, abs_tol=1e-9)
    assert math.isclose(row["published_difference"], 67.02 - 57.84)
    assert found["full precision, distilled > full precision, normal"]["mean_difference"] is None


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_training_is_not_swallowed(tmp_path: Path, workers: int) -> None:
    task = ImageFolder.scan(fill(tmp_path / "data"))
    jobs = plan(task, Settings((3,), (0,), BUDGET, "cpu"))
    with pytest.raises(FileNotFoundError, match="missing"):
        paper_table.run_all(jobs, functools.partial(_open, tmp_path / "missing"), tmp_path, workers)


def _open(path: Path, job: paper_table.Job) -> None:
    path.read_bytes()
