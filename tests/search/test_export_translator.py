"""A packed translator leaves for ONNX Runtime, and the page's example runs what was written."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rayduce.commands.app import app
from search.sweeps.measuring import latencies_of_all
from trainables import methods
from trainables.compression.compressed_weight import compress
from trainables.interfaces import EncoderDecoder
from trainables.losses import SoftTargets
from trainables.metrics.latency import fingerprint
from trainables.metrics.macs import macs
from trainables.models import LSTM, Transformer
from trainables.models.base import Model
from trainables.origins import Fresh
from trainables.schedules import Constant
from trainables.shipping.evaluation import open_student, ship
from trainables.tasks.phrases import Phrases
from trainables.tasks.vocabulary import Vocabulary, learn
from trainables.training.trial_metrics import TrialSettings, final_metrics, latencies
from trainables.translation.decoding import greedy
from trainables.translation.sentences import END

PAGE = Path(__file__).resolve().parents[2] / "docs" / "onnx.md"
LINES = ["Der Hund schläft im Garten.", "Am 3. Mai kaufte sie zwei Bücher.", "Ein Café in Zürich für 5 €"] * 4


def packed(model: Model, words: np.ndarray) -> bytes:
    """An untrained student of 4 bits, with what it is useless without."""
    task = Phrases(vocabulary_size=Vocabulary(words).size)
    recipe = replace(
        methods.quantized_distillation(
            methods.Setting(task, Fresh(model), epochs=1, teacher="0" * 16),
            imitation=SoftTargets(Constant(1.0)),
        ),
        exempt=(),
    )
    torch.manual_seed(0)
    network = model.build(task.input_shape, task.outputs)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return ship(recipe, compress(network, recipe), assets={"vocabulary": torch.from_numpy(words.copy())})


@pytest.mark.parametrize(
    "model",
    [LSTM(depth=1, units=16, embedding=12), Transformer(depth=1, units=16, heads=2)],
    ids=lambda model: type(model).__name__,
)
def test_the_example_of_the_page_translates_as_the_student(model: Model, tmp_path, monkeypatch) -> None:
    words = learn(LINES, 64, "bpe")
    data = packed(model, words)
    (tmp_path / "student.rdz").write_bytes(data)
    arguments = ["export", str(tmp_path / "student.rdz"), str(tmp_path / "student.onnx")]
    refused = CliRunner().invoke(app, [*arguments, "--full-range"])
    assert refused.exit_code == 2 and "float32" in refused.output and not list(tmp_path.glob("*.onnx"))
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert done.output.count("checked against the student") == 2
    written = sorted(path.name for path in tmp_path.glob("student-*"))
    assert written == ["student-encoder.onnx", "student-step.onnx", "student-vocabulary.model"]
    assert not (tmp_path / "student.onnx").exists()
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2 and "student-encoder.onnx exists" in " ".join(again.output.split())
    assert CliRunner().invoke(app, [*arguments, "--force"]).exit_code == 0

    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (example,) = [each for each in examples if "sentencepiece" in each]
    names: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    exec(example, names)
    _, network = open_student(data)
    vocabulary = Vocabulary(words)
    said = set()
    for text in (*LINES[:3], "  zwei   Cafe\u0301s \n", "Hund", "☃ 5", ""):
        source = [*vocabulary.encode(text), END]
        (expected,) = greedy(cast(Any, network), torch.tensor([source]), torch.tensor([len(source)]))
        assert names["translate"](text) == vocabulary.decode(expected.tokens)
        said.add(expected.tokens)
    assert len(said) > 4


def test_a_translator_is_counted_and_timed_where_others_are(tmp_path) -> None:
    data = packed(LSTM(depth=1, units=8, embedding=8), learn(LINES, 64, "bpe"))
    settings = TrialSettings(tmp_path / "latency", teacher_bytes=10 * len(data))
    recipe, network = open_student(data)
    found = final_metrics(recipe, data, network, settings)
    assert found["compression_ratio"] == 10.0
    assert found["macs"] == macs(network, EncoderDecoder(64)) > 0
    assert found["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    again, machine = cast(Any, latencies_of_all)._function([data, data], settings, None)
    assert json.loads(machine) == fingerprint()
    for row in (latencies(recipe, data, network, settings), *again):
        assert min(row["latency_ms"], row["latency_beam_ms"]) > 0
    assert again[0].keys() == {"latency_ms", "latency_beam_ms"}
