"""The translation table in miniature: a few sentences, tiny networks, everything else as it is."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import sacrebleu
import torch

from benchmarks import translation_table
from benchmarks.jobs import KeptSources, is_done
from benchmarks.translation_table import (
    TranslationSettings,
    main,
    network,
    paper_ratio,
    parameters,
    plan,
    prepare_pairs,
)
from tests.trainables.translation import COUNTS, write_pairs
from trainables.models import LSTM
from trainables.shipping.evaluation import open_student
from trainables.tasks import TextPairs
from trainables.tasks.base import DataError
from trainables.training.trainer import train

BUDGET = 0.5
VOCABULARY = 48
SETTINGS = TranslationSettings((3,), (0, 1), BUDGET, "cpu", units=16, vocabulary=VOCABULARY)


@pytest.fixture
def few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation_table, "FULL_EPOCHS", 4)


def command(data: Path, out: Path) -> list[str]:
    words = ["--data", str(data), "--out", str(out), "--budget", str(BUDGET), "--students", "3"]
    return [*words, "--seeds", "0", "1", "--units", "16", "--vocabulary", str(VOCABULARY)]


def filled(root: Path) -> Path:
    root.mkdir()
    write_pairs(root)
    return root


@pytest.mark.usefixtures("few_epochs")
def test_one_command_gives_the_table_and_the_second_call_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = filled(tmp_path / "data"), tmp_path / "out"
    main(command(data, out))
    report = json.loads((out / "table.json").read_text())
    kinds = {(c["student"], c["method"], c["bits"], c["seed"]) for c in report["cells"]}
    quantized = {(3, m, bits, s) for m in ("pm", "pm256", "qd", "dq") for bits in (2, 4) for s in (0, 1)}
    full = {(3, m, 32, s) for m in ("fp", "kd", "seq") for s in (0, 1)}
    assert kinds == {(0, "fp", 32, 0)} | quantized | full
    references = (data / "test.en").read_text().splitlines()
    pairs, device = prepare_pairs(data, SETTINGS.data_share, out), torch.device("cpu")
    task = TextPairs.scan(pairs, vocabulary_size=VOCABULARY)
    arrays = task.load(pairs)
    loaded = task.open(arrays, device, 0)
    for cell in report["cells"]:
        packed = (out / "cells" / f"{cell['recipe_id']}.rdz").read_bytes()
        recipe, network = open_student(packed)
        assert recipe.recipe_id == cell["recipe_id"] and len(packed) == cell["packed_bytes"]
        scored = sacrebleu.corpus_bleu(loaded.translations(network, "test"), [references]).score
        assert cell["test_bleu"] == pytest.approx(scored)
        assert cell["test_perplexity"] > 1 and 0 <= cell["test_chrf"] <= 100
        assert cell["training_rows_per_second"] > 0
        assert (cell.get("sentences") == COUNTS["test"]) == (cell["method"] == "fp")
    assert all(row["seeds"] == 2 for row in report["orderings"])
    assert "case:mixed" in report["signatures"]["bleu"]
    text = (out / "table.md").read_text()
    assert text in capsys.readouterr().out
    assert report["signatures"]["bleu"] in text
    assert "| teacher | 2 | 16 |" in text and "84.8 M" in text

    monkeypatch.setattr(translation_table, "run_job", lambda *args, **kwargs: pytest.fail("trained again"))
    main(command(data, out))
    assert json.loads((out / "table.json").read_text())["cells"] == report["cells"]

    # A training that starts from another's state, or is taught, gives the bytes of a training of its own.
    jobs = plan(task, SETTINGS)
    assert all(is_done(job, out) for job in jobs)
    sources = KeptSources(out)
    for job in jobs:
        for cell in job.cells if job.cells[0].seed == 1 else ():
            given = arrays if job.lesson is None else {**arrays, **sources.lesson(job.lesson, arrays, device)}
            alone = train(cell.recipe, cell.recipe.task.open(given, device, 1), sources, device)
            assert alone == (out / "cells" / f"{cell.recipe.recipe_id}.rdz").read_bytes(), cell.method


def test_fewer_pairs_are_pairs_of_the_whole_and_other_splits_stay(tmp_path: Path) -> None:
    data = filled(tmp_path / "data")
    whole = {file.name: file.read_bytes() for file in data.iterdir()}
    for name, content in whole.items():  # as Multi30k is published
        (data / name).unlink()
        (data / f"{name}.gz").write_bytes(gzip.compress(content))
    assert prepare_pairs(data, 1.0, tmp_path) == data
    half = prepare_pairs(data, 0.5, tmp_path)
    sides = [whole[f"train.{language}"].decode().splitlines() for language in ("de", "en")]
    pairs = list(zip(*sides, strict=True))
    sides = [(half / f"train.{language}").read_text().splitlines() for language in ("de", "en")]
    kept = list(zip(*sides, strict=True))
    assert len(kept) == round(0.5 * COUNTS["train"]) and set(kept) <= set(pairs)
    for name in ("val.de", "val.en", "test.de", "test.en"):
        assert (half / name).read_bytes() == whole[name]
    (half / "mark").touch()
    assert prepare_pairs(data, 0.5, tmp_path) == half and (half / "mark").exists()


def test_a_folder_without_sentences_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no directory"):
        prepare_pairs(tmp_path / "nothing", 0.5, tmp_path)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [("--vocabulary", "5000", "at most"), ("--units", "0", "units"), ("--budget", "2", "budget")],
)
def test_what_cannot_be_trained_is_said_before_training(
    option: str, value: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command(filled(tmp_path / "data"), tmp_path / "out"), option, value])
    assert reason in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("cells/*"))


def test_students_keep_the_embeddings_and_have_fewer_layers_and_units() -> None:
    settings = TranslationSettings((1, 2, 3), (0,), 1.0, "cpu")
    models = [network(settings, number) for number in range(4)]
    assert [(model.depth, model.units) for model in models] == [(2, 256), (1, 256), (1, 128), (1, 64)]
    assert {model.embedding for model in models} == {256}
    counts = [parameters(model, settings.vocabulary) for model in models]
    assert counts == sorted(counts, reverse=True)


def test_parameters_are_those_of_a_built_network() -> None:
    model = LSTM(depth=1, units=6, embedding=4)
    built = model.build((VOCABULARY,), VOCABULARY)
    assert parameters(model, VOCABULARY) == sum(p.numel() for p in built.parameters())


def test_the_papers_count_of_bits() -> None:
    # methods of 2 and 4 bits in buckets of 256 with two scales of 32 bits each: 14.22 and 7.53 times smaller
    assert round(paper_ratio(("qd", 2)), 2) == 14.22 and round(paper_ratio(("pm256", 4)), 2) == 7.53
    assert paper_ratio(("pm", 2)) == 16 and paper_ratio(("fp", 32)) == 1


@pytest.mark.parametrize("students", [(4,), (0, 1)])
def test_unknown_students_are_refused(students: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="got students"):
        TranslationSettings(students, (0,), 1.0, "cpu")


@pytest.mark.usefixtures("few_epochs")
def test_recipes_of_files_are_the_plans(tmp_path: Path) -> None:
    task = write_pairs(tmp_path)
    jobs = plan(task, SETTINGS)
    names = [job.name for job in jobs]
    assert names[0] == "teacher" and len(set(names)) == len(names)
    assert all(job.needs is None or names.index(job.needs) < number for number, job in enumerate(jobs))
    identities = [cell.recipe.recipe_id for job in jobs for cell in job.cells]
    assert len(set(identities)) == len(identities)
