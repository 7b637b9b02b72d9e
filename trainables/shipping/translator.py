"""A student that translates as its users have it: text in, text out, from the packed file alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import cast

import torch

from trainables.shipping.evaluation import assets_of, rebuild
from trainables.shipping.packed_file import PackedFileError, unpack
from trainables.tasks.vocabulary import Vocabulary, VocabularyError
from trainables.translation.decoding import Search, Translator, beam_search, translate
from trainables.translation.sentences import END

BATCH_TOKENS = 2048


class NoTranslator(Exception):
    """A packed file that holds a student of another kind."""


class PackedTranslator:
    """The translator in a packed file's bytes, on the CPU.

    Args:
        data: of a packed file.

    Raises:
        PackedFileError: ``data`` is no packed file, or is damaged.
        NoTranslator: its student does not translate.
        ValueError: the network cannot be built here (a custom model that was not allowed).
    """

    def __init__(self, data: bytes) -> None:
        recipe, tensors, model = unpack(data)
        assets = assets_of(tensors)
        if "vocabulary" not in assets:
            raise NoTranslator(f"a student of {type(recipe.task).__name__} does not translate")
        try:
            self._vocabulary = Vocabulary(assets["vocabulary"].numpy())
        except VocabularyError as error:
            raise PackedFileError(f"damaged packed file: {error}") from error
        if recipe.task.outputs != self._vocabulary.size:
            raise PackedFileError(
                f"damaged packed file: {recipe.task.outputs} outputs for {self._vocabulary.size} tokens"
            )
        self._network = rebuild(recipe, tensors, model)

    def translate(self, lines: Sequence[str], beam: int = 5) -> list[str]:
        """Translations of ``lines`` in their order; what a line becomes does not depend on the others.

        Args:
            lines: a sentence each; blank ones stay blank.
            beam: hypotheses kept, at least 1; 1 is greedy.
        """
        numbers = [self._vocabulary.encode(line) for line in lines]
        worded = [number for number, tokens in enumerate(numbers) if tokens]
        search: Search = functools.partial(beam_search, beam=beam)
        with torch.inference_mode():
            found = translate(
                cast(Translator, self._network),
                [[*numbers[number], END] for number in worded],
                torch.device("cpu"),
                search,
                BATCH_TOKENS,
            )
        said = dict(zip(worded, found, strict=True))
        return [
            self._vocabulary.decode(said[number].tokens) if number in said else ""
            for number in range(len(lines))
        ]
