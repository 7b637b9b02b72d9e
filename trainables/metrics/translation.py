"""Quality of translations as plain text, by sacreBLEU (Post 2018). Importing this loads no torch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any


def bleu(translations: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU in [0, 100] (Papineni et al. 2002): cased, one reference each, tokenised by rule 13a.

    Args:
        translations: detokenised text, in the order of ``references``.
        references: as published, never tokenised nor normalised.

    Raises:
        ValueError: they differ in number, or there are none.
    """
    return _score(_metrics()[0], translations, references)


def chrf(translations: Sequence[str], references: Sequence[str]) -> float:
    """Corpus chrF2 in [0, 100] (Popović 2015): character 1- to 6-grams, recall weighing twice.

    Args:
        translations: as for :func:`bleu`.
        references: likewise.

    Raises:
        ValueError: likewise.
    """
    return _score(_metrics()[1], translations, references)


def signatures() -> dict[str, str]:
    """What to publish beside the numbers: how sacreBLEU was set, and its version."""
    # A metric counts its references when it scores, and its signature then names their number.
    for metric in _metrics():
        metric.corpus_score(["a"], [["a"]])
    return {
        name: str(metric.get_signature()) for name, metric in zip(("bleu", "chrf"), _metrics(), strict=True)
    }


def _score(metric: Any, translations: Sequence[str], references: Sequence[str]) -> float:
    if len(translations) != len(references) or not references:
        raise ValueError(
            f"every reference needs one translation, got {len(translations)} for {len(references)}"
        )
    score = float(metric.corpus_score(list(translations), [list(references)]).score)
    return min(score, 100.0)  # perfect translations come to 100.00000000000004


@functools.cache
def _metrics() -> tuple[Any, Any]:
    from sacrebleu.metrics import BLEU, CHRF  # half a second, for tasks that are no translation

    return BLEU(), CHRF()
