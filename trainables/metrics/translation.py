"""Quality of translations as plain text, by sacreBLEU (Post 2018). Importing this loads no torch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ORDERS = 4
"""The longest n-grams that BLEU counts."""


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


def bleu_counts(translations: Sequence[str], references: Sequence[str]) -> NDArray[np.int64]:
    """What BLEU adds up over sentences, shape (sentences, 10).

    Words of the translation, words of the reference, then of 1- to 4-grams how many are right, and how many
    there are.

    Args:
        translations: as for :func:`bleu`.
        references: likewise.
    """
    from sacrebleu.metrics import BLEU

    # The order changes a sentence's score, which nobody asks for, and no count; without, there are warnings.
    metric = BLEU(effective_order=True)
    pairs = zip(translations, references, strict=True)
    found = [metric.sentence_score(translation, [reference]) for translation, reference in pairs]
    return np.array([[each.sys_len, each.ref_len, *each.counts, *each.totals] for each in found], np.int64)


def bleu_of_counts(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """:func:`bleu` of sums of :func:`bleu_counts`.

    Args:
        sums: whole numbers, shape (corpora, 10).

    Returns:
        In [0, 100], shape (corpora,).
    """
    metric = _metrics()[0]
    scores = [
        metric.compute_bleu(
            correct=row[2 : 2 + ORDERS],
            total=row[2 + ORDERS :],
            sys_len=row[0],
            ref_len=row[1],
            smooth_method=metric.smooth_method,
            smooth_value=metric.smooth_value,
        ).score
        for row in sums.astype(np.int64).tolist()
    ]
    return np.minimum(scores, 100.0)


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
