"""Sequence-level distillation: a teacher's own translations as targets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from trainables.interfaces import EncoderDecoder
from trainables.memory import Memory
from trainables.ranges import Range
from trainables.tasks.base import Arrays, TaughtTask
from trainables.tasks.loaded_text import EVALUATION_TOKENS, LoadedText
from trainables.tasks.text import TextTask
from trainables.translation.decoding import Translation, Translator, beam_search, length_limits, translate
from trainables.translation.sentences import END


@dataclass(frozen=True)
class TeacherTranslations(TaughtTask):
    """Another task of translating, whose training targets are what a teacher makes of the sources.

    What a beam search finds is close to the teacher's most probable translation, so training on it is
    training on the mode of the teacher's distribution over whole sentences (Kim & Rush 2016, section 3.2).
    It says one thing in fewer ways than people do, which a small student can learn.

    Sources, vocabulary, validation, test and metric are those of the other task. Only training needs the
    translations: what it trained is evaluated, and translates, with the other task's data or none.

    Attributes:
        of: the other task.
        teacher_id: 16 hex digits, the identity of the teacher's recipe.
        beam: hypotheses of the search, in [1, 64]; default 5, the paper's.
    """

    of: TextTask
    teacher_id: str
    beam: Annotated[int, Range(1, 64)] = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch("[0-9a-f]{16}", self.teacher_id):
            raise ValueError(f"teacher_id must be 16 hex digits, got teacher_id={self.teacher_id!r}")

    @property
    def metric(self) -> str:
        """The other task's."""
        return self.of.metric

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The other task's."""
        return self.of.input_shape

    @property
    def outputs(self) -> int:
        """The other task's."""
        return self.of.outputs

    @property
    def memory(self) -> Memory:
        """The other task's."""
        return self.of.memory

    @property
    def interface(self) -> EncoderDecoder:
        """The other task's."""
        return self.of.interface

    def companions(self, assets: Mapping[str, Tensor]) -> dict[str, bytes]:
        """The other task's."""
        return self.of.companions(assets)

    def signatures(self) -> dict[str, str]:
        """The other task's."""
        return self.of.signatures()

    @property
    def product(self) -> str:
        """Such as ``beam5``."""
        return f"beam{self.beam}"

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """The other task's data, without the teacher's translations."""
        return self.of.load(directory, download=download)

    def open(self, arrays: Arrays, device: torch.device, seed: int) -> LoadedText:
        """The other task with the teacher's translations in place of the training targets.

        Where ``arrays`` lack them, there is no training split.
        """
        theirs = {name: array for name, array in arrays.items() if name not in TARGETS}
        ours = dict(zip(TARGETS, self._names, strict=True))
        made = {name: arrays[ours[name]] for name in TARGETS if ours[name] in arrays}
        return self.of.open({**theirs, **made}, device, seed)

    def taught(self, network: nn.Module, arrays: Arrays, device: torch.device) -> Arrays:
        """What ``network`` makes of the training sources, as tokens; see the contract.

        No translation is longer than the other task's ``max_length``, its ``END`` included.
        """
        ends = np.cumsum(arrays["train_source_lengths"])[:-1]
        sources = [part.tolist() for part in np.split(arrays["train_source"], ends)]

        def search(network: Translator, source: Tensor, lengths: Tensor) -> list[Translation]:
            limits = length_limits(lengths).clamp(max=self.of.max_length)
            return beam_search(network, source, lengths, beam=self.beam, limits=limits)

        network.to(device).eval()
        found = translate(
            network,  # type: ignore[arg-type]  # what a text task's recipe builds is a Translator
            sources,
            device,
            search,
            EVALUATION_TOKENS // self.beam,
        )
        rows = [[*translation.tokens, END] for translation in found]
        tokens, lengths = self._names
        return {
            tokens: np.array([token for row in rows for token in row], dtype=np.int32),
            lengths: np.array([len(row) for row in rows], dtype=np.int64),
        }

    @property
    def _names(self) -> tuple[str, str]:
        """Of the translations among the arrays: their tokens, and how many each has."""
        name = f"train_{self.product}_{self.teacher_id}"
        return name, f"{name}_lengths"


TARGETS = ("train_target", "train_target_lengths")
