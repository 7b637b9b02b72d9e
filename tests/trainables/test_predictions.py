"""The small file of what a network says of each sample, and how it is asked."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from tests.trainables.translation import STUDENTS, write_pairs
from trainables.metrics.evidence import EVIDENCE
from trainables.metrics.translation import bleu_of_counts
from trainables.models import LSTM
from trainables.predictions import (
    MOST_NUMBERS,
    MOST_ROWS,
    Answers,
    predictions_json,
    read_predictions,
    read_tables,
    student_json,
)
from trainables.sealed import sealed
from trainables.tasks import Digits
from trainables.tasks.images import LoadedImages
from trainables.tasks.loaded_text import LoadedText
from trainables.tasks.scoring import classes_of


@given(arrays(np.int64, st.integers(0, 50), elements=st.integers(0, 2**31 - 1)))
def test_what_is_written_is_read(classes: np.ndarray) -> None:
    found = read_predictions(predictions_json({"validation": classes, "test": classes[:0]}))
    assert found.keys() == {"validation", "test"} and not len(found["test"])
    assert found["validation"].dtype == np.int64 and np.array_equal(found["validation"], classes)


def test_ten_thousand_answers_are_a_few_kilobytes() -> None:
    classes = np.random.default_rng(0).integers(0, 10, 10_000)
    assert len(predictions_json({"validation": classes})) < 7_000


@pytest.mark.parametrize(
    "column",
    [
        {"samples": 5, "kind": "uint8", "classes": ""},
        {"samples": 5, "kind": "float", "classes": "eJwDAAAAAAE="},
        {"samples": -1, "kind": "uint8", "classes": "eJwDAAAAAAE="},
        {"samples": 1, "kind": "uint8", "classes": "eJwDAAAAAAE="},
        {"samples": 1, "kind": "uint8"},
        "text",
    ],
)
def test_what_is_damaged_is_refused(column: object) -> None:
    with pytest.raises(ValueError, match="column"):
        read_predictions(sealed({"columns": {"validation": column}}))


def test_a_flipped_digit_is_damage() -> None:
    content = json.loads(predictions_json({"validation": np.arange(5)}))
    content["columns"]["validation"]["samples"] = 4
    with pytest.raises(ValueError, match="checksum"):
        read_predictions(json.dumps(content).encode())


class Third(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.eye(10)[torch.full((len(images),), 3)]


def test_answers_are_in_the_order_of_the_split_and_agree_with_the_quality() -> None:
    task = Digits()
    loaded = task.open(task.load(None), torch.device("cpu"), 0)
    qualities, found = loaded.measure(Third(), "validation")
    labels = loaded.labels("validation")
    assert found is not None and found.said is not None and labels is not None
    assert len(found.said) == loaded.samples("validation") and set(found.said) == {3}
    assert found.true is not None and np.array_equal(found.true, labels.numpy()) and found.table is None
    assert qualities == loaded.evaluate(Third(), "validation") == {"accuracy": pytest.approx(found.right)}


class Ink(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, 20:30].round(decimals=1)


def opened_for_area(arrays: dict[str, np.ndarray]) -> LoadedImages:
    return LoadedImages(
        arrays, torch.device("cpu"), 0, batch_size=64, padding=0, flip=False, quality="area_under_curve"
    )


def test_what_an_area_follows_from_is_kept_of_samples_that_have_a_class() -> None:
    arrays = dict(Digits().load(None))
    opened = opened_for_area(arrays)
    qualities, found = opened.measure(Ink(), "test")
    assert qualities == opened.evaluate(Ink(), "test") and found is not None and found.table is not None
    assert found.table.shape == (opened.samples("test"), 10)
    each = np.ones((len(found.table), 1), dtype=np.float32)
    area = EVIDENCE["area_under_curve"].of_draws(found, each)
    assert area == pytest.approx(qualities["area_under_curve"])
    arrays["test_labels"] = arrays["test_labels"].copy()
    arrays["test_labels"][3] = -1
    assert opened_for_area(arrays).measure(Ink(), "test").answers is None


class Pairs(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), 10, 2)


def test_a_network_without_one_row_per_sample_has_no_answers() -> None:
    task = Digits()
    loaded = task.open(task.load(None), torch.device("cpu"), 0)
    assert classes_of(Pairs(), loaded.in_order("test")) is None
    assert classes_of(Third(), loaded.in_order("test")) is not None


TABLES = {
    "ranks": np.arange(600).reshape(200, 3),
    "counts": np.random.default_rng(0).integers(0, 30, (50, 10)),
    "errors": np.random.default_rng(0).exponential(size=(70, 1)).astype(np.float32).astype(np.float64),
}


def test_tables_that_are_written_are_read() -> None:
    content = predictions_json({"validation": np.arange(5)}, TABLES)
    found = read_tables(content)
    assert found.keys() == TABLES.keys()
    for name, table in TABLES.items():
        assert found[name].dtype == (np.float64 if name == "errors" else np.int64)
        assert np.array_equal(found[name], table)
    assert list(read_predictions(content)) == ["validation"]
    assert read_tables(predictions_json({"validation": np.arange(5)})) == {}
    assert read_predictions(student_json({"test": Answers(table=TABLES["errors"])})) == {}


def test_what_is_kept_of_a_thousand_samples_is_small() -> None:
    random = np.random.default_rng(0)
    ranks = np.stack([random.permutation(1_000) for _ in range(10)], 1)
    assert len(student_json({"validation": Answers(table=ranks)})) < 25_000
    counts = random.integers(0, 20, (1_000, 10))
    assert len(student_json({"validation": Answers(table=counts)})) < 10_000


def packed(values: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(values.tobytes())).decode()


GOOD = {"samples": 2, "numbers": 1, "kind": "float32", "values": packed(np.ones(2, dtype="<f4"))}


@pytest.mark.parametrize(
    "change",
    [
        {"samples": True},
        {"samples": 0},
        {"samples": 3},
        {"samples": MOST_ROWS + 1},
        {"numbers": MOST_NUMBERS},
        {"numbers": 0},
        {"numbers": 1.0},
        {"numbers": None},
        {"kind": "float64"},
        {"kind": ["float32"]},
        {"kind": "uint8"},
        {"values": ""},
        {"values": "\u00e4"},
        {"values": packed(np.zeros(2**22, dtype="u1"))},
        {"values": packed(np.array([1.0, np.nan], dtype="<f4"))},
        {"values": packed(np.array([1.0, np.inf], dtype="<f4"))},
        {"values": packed(np.array([1.0, -1.0], dtype="<f4"))},
        {"kind": "int32", "values": packed(np.array([1, -1], dtype="<i4"))},
        {"more": 1},
    ],
)
def test_a_damaged_table_is_one_sentence(change: dict[str, object]) -> None:
    assert read_tables(sealed({"columns": {}, "tables": {"test": GOOD}}))["test"].tolist() == [[1.0], [1.0]]
    with pytest.raises(ValueError, match="a table") as found:
        read_tables(sealed({"columns": {}, "tables": {"test": GOOD | change}}))
    assert "\n" not in str(found.value)


def test_more_columns_and_tables_than_a_network_has_are_refused() -> None:
    column = json.loads(predictions_json({"validation": np.arange(5)}))["columns"]["validation"]
    many = {str(number): column for number in range(5)}
    with pytest.raises(ValueError, match="5 columns"):
        read_predictions(sealed({"columns": many}))
    with pytest.raises(ValueError, match="5 tables"):
        read_tables(sealed({"columns": {}, "tables": dict.fromkeys("abcde", GOOD)}))
    odds: list[object] = [[], None, "text"]
    for odd in odds:
        with pytest.raises(ValueError, match="it has no tables"):
            read_tables(sealed({"columns": {}, "tables": odd}))


@pytest.mark.parametrize(
    "table", [np.zeros((0, 1)), np.array([[-1]]), np.array([[np.nan]]), np.zeros(3), np.array([[2**31]])]
)
def test_a_table_that_could_not_be_read_is_not_written(table: np.ndarray) -> None:
    with pytest.raises(ValueError, match="of test"):
        predictions_json({}, {"test": table})


@pytest.fixture(scope="module")
def translating(tmp_path_factory: pytest.TempPathFactory) -> LoadedText:
    folder = tmp_path_factory.mktemp("pairs")
    task = write_pairs(folder)
    return task.open(task.load(folder), torch.device("cpu"), 0)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_bleu_counts_are_of_the_translations_that_are_reported(
    translating: LoadedText, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = STUDENTS[0]
    assert isinstance(model, LSTM)
    size = translating.vocabulary.size
    network = model.build((size,), size).eval()
    decoded: list[str] = []
    once = LoadedText.translations

    def counted(self: LoadedText, network: nn.Module, split: str) -> list[str]:
        decoded.append(split)
        # An untrained network says nothing that is right.
        references = self.references(split)
        return [*references[:3], *once(self, network, split)[3:]]

    monkeypatch.setattr(LoadedText, "translations", counted)
    qualities, found = translating.measure(network, split)
    assert decoded == [split], "decoded once"
    assert found is not None and found.said is None and found.table is not None
    assert found.table.shape == (translating.samples(split), 10)
    assert bleu_of_counts(found.table.sum(0)[None]) == [qualities["bleu"]] and qualities["bleu"] > 1
    assert qualities == translating.evaluate(network, split)
