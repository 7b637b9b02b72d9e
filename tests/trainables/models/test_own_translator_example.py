"""The example of a user's own translator, and what is said of one that breaks the contract."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trainables import methods
from trainables.exporting.export import to_onnx
from trainables.interfaces import EncoderDecoder
from trainables.losses import SoftTargets
from trainables.metrics.macs import macs
from trainables.models.custom import Custom, allow
from trainables.origins import Fresh
from trainables.schedules import Constant
from trainables.tasks import Digits, Phrases
from trainables.translation.sentences import Sentences

VOCABULARY = 40
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def translator(monkeypatch: pytest.MonkeyPatch) -> type[nn.Module]:
    monkeypatch.syspath_prepend(ROOT)
    from examples.own_translator import Translator

    return Translator


def built(cls: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return cls(input_shape=(VOCABULARY,), outputs=VOCABULARY, depth=2, width=0.1)


def test_the_example_is_built_exported_and_counted(translator: type[nn.Module]) -> None:
    allow("examples.own_translator:Translator")
    model = Custom("examples.own_translator:Translator", depth=2, width=0.1)
    recipe = methods.quantized_distillation(
        methods.Setting(Phrases(vocabulary_size=300), Fresh(model), epochs=1, teacher="0" * 16),
        imitation=SoftTargets(Constant(1.0)),
    )
    network = recipe.build().eval()
    assert dict(network.named_parameters())["output.weight"].shape[0] == 300
    assert set(to_onnx(network, recipe.task.interface, {})) == {"encoder", "step"}
    assert macs(network, recipe.task.interface) > 0
    with pytest.raises(ValueError, match="input_shape must be a vocabulary"):
        methods.full_precision(methods.Setting(Digits(), Fresh(model), epochs=1)).build()


def test_a_translator_that_breaks_the_contract_says_how(translator: type[nn.Module]) -> None:
    class ReadsPadding(translator):  # type: ignore[misc,valid-type]
        def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
            return super().encode(source, torch.full_like(lengths, source.shape[1]))

    class LooksAhead(translator):  # type: ignore[misc,valid-type]
        def forward(self, sentences: Sentences) -> Tensor:
            return super().forward(sentences).flip(1)

    class TooFew(translator):  # type: ignore[misc,valid-type]
        def step(self, token: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
            logits, state = super().step(token, state)
            return logits[:, 1:], state

    class Unnamed(translator):  # type: ignore[misc,valid-type]
        state_tensors = ()

    interface = EncoderDecoder(VOCABULARY)
    interface.check(built(translator), VOCABULARY)
    for network, message in (
        (built(ReadsPadding), "ReadsPadding, asked sentence by sentence, must give the logits"),
        (built(LooksAhead), "LooksAhead, asked token by token, must give the logits"),
        (built(TooFew), r"must return logits of shape \(3, 4, 40\), got \(3, 4, 39\)"),
        (built(Unnamed), "state_tensors names 0 tensors of 3"),
        (nn.Linear(3, 3), "Linear cannot translate: it has no encode and no step and no state_tensors"),
    ):
        with pytest.raises(ValueError, match=message):
            interface.check(network, VOCABULARY)
