"""Noun phrases: German agreement of article, adjective and noun in gender, number and case."""

from __future__ import annotations

import re
from typing import NamedTuple

from trainables.tasks.grammar.words import Words, join

NOMINATIVE, ACCUSATIVE, DATIVE, GENITIVE = range(4)
GENDERS = "mfnp"  # masculine, feminine, neuter; plurals have one paradigm, whatever the gender

# One row per case, one column per gender.
DEFINITE = (
    ("der", "die", "das", "die"),
    ("den", "die", "das", "die"),
    ("dem", "der", "dem", "den"),
    ("des", "der", "des", "der"),
)
DER_ENDINGS = (
    ("er", "e", "es", "e"),
    ("en", "e", "es", "e"),
    ("em", "er", "em", "en"),
    ("es", "er", "es", "er"),
)
EIN_ENDINGS = (
    ("", "e", "", "e"),
    ("en", "e", "", "e"),
    ("em", "er", "em", "en"),
    ("es", "er", "es", "er"),
)
WEAK = (("e", "e", "e", "en"), ("en", "e", "e", "en"), ("en",) * 4, ("en",) * 4)
MIXED = (("er", "e", "es", "en"), ("en", "e", "es", "en"), ("en",) * 4, ("en",) * 4)
STRONG_PLURAL = ("e", "e", "en", "er")


class Noun(NamedTuple):
    """A noun that inflects regularly; ``kinds`` are the letters of what may be done with it."""

    german: str
    gender: str
    german_plural: str
    english: str
    english_plural: str
    kinds: str = ""


class Adjective(NamedTuple):
    """An adjective; ``german`` is the stem that endings are added to."""

    german: str
    english: str


class Determiner(NamedTuple):
    """``paradigm`` says how it and the adjectives behind it inflect: definite, der, ein or number."""

    paradigm: str
    german: str
    english: str
    english_plural: str = ""


THE = Determiner("definite", "", "the", "the")
A = Determiner("ein", "ein", "a")


class NounPhrase(NamedTuple):
    """Determiner, adjective (or None) and noun, in the singular or the plural."""

    determiner: Determiner
    adjective: Adjective | None
    noun: Noun
    plural: bool

    @property
    def gender(self) -> str:
        """One of :data:`GENDERS`."""
        return "p" if self.plural else self.noun.gender

    def german(self, case: int) -> str:
        """The phrase in ``case``."""
        article, ending = _inflected(self.determiner, case, GENDERS.index(self.gender))
        adjective = self.adjective.german + ending if self.adjective else ""
        return join(article, adjective, _german_noun(self.noun, case, self.plural))

    def english(self) -> str:
        """The phrase; English has no cases here."""
        adjective = self.adjective.english if self.adjective else ""
        noun = self.noun.english_plural if self.plural else self.noun.english
        article = self.determiner.english_plural if self.plural else self.determiner.english
        if self.determiner is A:
            article = indefinite(adjective or noun)
        return join(article, adjective, noun)

    def words(self, case: int) -> Words:
        """Both."""
        return Words(self.german(case), self.english())


def relative_pronoun(phrase: NounPhrase, case: int) -> str:
    """What a German relative clause about ``phrase`` begins with, in the nominative or accusative."""
    return DEFINITE[case][GENDERS.index(phrase.gender)]


def indefinite(following: str) -> str:
    """``a`` or ``an``, by the sound that follows."""
    spoken_y = re.match("uk|uni|use|eu", following.lower())
    return "an" if re.match("[aeiou]", following.lower()) and not spoken_y else "a"


def _inflected(determiner: Determiner, case: int, column: int) -> tuple[str, str]:
    """The determiner's form and the ending of adjectives behind it."""
    match determiner.paradigm:
        case "definite":
            return DEFINITE[case][column], WEAK[case][column]
        case "der":
            return determiner.german + DER_ENDINGS[case][column], WEAK[case][column]
        case "ein":
            return determiner.german + EIN_ENDINGS[case][column], MIXED[case][column]
        case "number":
            return determiner.german, STRONG_PLURAL[case]
        case other:
            raise ValueError(f"paradigm must be definite, der, ein or number, got {other!r}")


def _german_noun(noun: Noun, case: int, plural: bool) -> str:
    if plural:
        needs_n = case == DATIVE and noun.german_plural[-1] not in "ns"
        return noun.german_plural + "n" * needs_n
    if case != GENITIVE or noun.gender == "f":
        return noun.german
    one_syllable = len(re.findall("[aeiouyäöü]+", noun.german.lower())) == 1
    return noun.german + ("es" if one_syllable or noun.german[-1] in "sßxz" else "s")
