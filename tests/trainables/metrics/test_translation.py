"""BLEU and chrF of plain text."""

from __future__ import annotations

import math
import re
from collections import Counter

import pytest

from trainables.metrics.translation import bleu, chrf, signatures

REFERENCES = ["The new suitcase costs 12 euros.", "He says that the old letter was found.", "A dog runs!"]
TRANSLATIONS = [
    "The new suitcase costs 12 dollars.",
    "He says the old letter was found.",
    "A dog is running!",
]


def published_bleu(translations: list[str], references: list[str]) -> float:
    """Papineni et al. (2002) by counting, words and punctuation apart; all orders match something."""
    cut = [[re.findall(r"\w+|[^\w\s]", text) for text in texts] for texts in (translations, references)]
    logs = 0.0
    for n in range(1, 5):
        right = total = 0
        for ours, theirs in zip(*cut, strict=True):
            grams = [Counter(zip(*(words[i:] for i in range(n)), strict=False)) for words in (ours, theirs)]
            right += sum((grams[0] & grams[1]).values())
            total += sum(grams[0].values())
        logs += math.log(right / total) / 4
    ours, theirs = (sum(map(len, words)) for words in cut)
    return 100 * math.exp(logs + min(0.0, 1 - theirs / ours))


def test_bleu_is_what_was_published() -> None:
    assert bleu(TRANSLATIONS, REFERENCES) == pytest.approx(published_bleu(TRANSLATIONS, REFERENCES))


def test_perfect_and_useless() -> None:
    assert bleu(REFERENCES, REFERENCES) == chrf(REFERENCES, REFERENCES) == 100.0
    assert bleu(["", "", ""], REFERENCES) == chrf(["", "", ""], REFERENCES) == 0.0
    lower = [text.lower() for text in REFERENCES]
    assert bleu(lower, REFERENCES) < 100.0
    assert 0.0 < chrf(TRANSLATIONS, REFERENCES) < 100.0


def test_signatures() -> None:
    bleu(TRANSLATIONS, REFERENCES)
    found = signatures()
    assert found["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.")
    assert found["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.")


@pytest.mark.parametrize("metric", [bleu, chrf])
def test_every_reference_needs_a_translation(metric) -> None:
    for translations, references in ((["a"], ["a", "b"]), ([], [])):
        with pytest.raises(ValueError, match=str(len(references))):
            metric(translations, references)
