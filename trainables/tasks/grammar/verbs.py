"""Clauses: German verb-second, verb-first and verb-final order against English subject-verb-object."""

from __future__ import annotations

from typing import NamedTuple

from trainables.tasks.grammar.words import NOTHING, Words, join


class Verb(NamedTuple):
    """A verb of both languages.

    ``german`` is the infinitive without its separable ``prefix``; ``auxiliary`` forms the perfect.
    ``kinds`` say what it may be said of: letters of nouns, ``*`` for any, or a preposition for places.
    """

    german: str
    prefix: str
    german_third: str
    german_participle: str
    english: str
    english_third: str
    english_past: str
    english_participle: str
    kinds: str = ""
    auxiliary: str = "haben"


class Subject(NamedTuple):
    """Who does it; ``person`` is ``ich``, ``third`` (singular) or ``plural``."""

    german: str
    english: str
    person: str


class Modal(NamedTuple):
    """A modal verb; ``english_base`` follows "do", and is empty for those that form questions alone."""

    german: str
    german_plural: str
    english: str
    english_third: str
    english_base: str = ""


MODALS = {
    "can": Modal("kann", "können", "can", "can"),
    "must": Modal("muss", "müssen", "must", "must"),
    "should": Modal("soll", "sollen", "should", "should"),
    "may": Modal("darf", "dürfen", "may", "may"),
    "want": Modal("will", "wollen", "want to", "wants to", "want to"),
}
TENSES = ("present", "perfect", "future", *MODALS)

HAVE = {"ich": "habe", "third": "hat", "plural": "haben"}
BE = {"ich": "bin", "third": "ist", "plural": "sind"}
BECOME = {"ich": "werde", "third": "wird", "plural": "werden"}
BECAME = {"ich": "wurde", "third": "wurde", "plural": "wurden"}
ENGLISH_BE = {"ich": "am", "third": "is", "plural": "are"}
ENGLISH_WAS = {"ich": "was", "third": "was", "plural": "were"}


class Clause(NamedTuple):
    """Who does what to what for whom, where and when; ``tense`` is one of :data:`TENSES`."""

    subject: Subject
    verb: Verb
    tense: str
    object: Words = NOTHING
    dative: Words = NOTHING
    place: Words = NOTHING
    time: Words = NOTHING

    def main(self, time_first: bool = False) -> Words:
        """A statement: the finite verb second in German, whatever comes first."""
        finite, tail = _german_verb(self.subject.person, self.verb, self.tense)
        if time_first:
            german = join(self.time.german, finite, self.subject.german, self._middle(time=False), tail)
        else:
            german = join(self.subject.german, finite, self._middle(), tail)
        return Words(german, self.english())

    def after_clause(self) -> Words:
        """A statement behind a subordinate clause, which takes German's first place."""
        finite, tail = _german_verb(self.subject.person, self.verb, self.tense)
        return Words(join(finite, self.subject.german, self._middle(), tail), self.english())

    def final(self) -> Words:
        """A subordinate clause: all verbs last in German, and a separable prefix joined again."""
        finite, tail = _german_verb(self.subject.person, self.verb, self.tense)
        end = f"{tail}{finite}" if self.tense == "present" else join(tail, finite)
        return Words(join(self.subject.german, self._middle(), end), self.english())

    def infinitive(self) -> Words:
        """The clause without subject; German's ``zu`` stands between prefix and verb."""
        zu = f"{self.verb.prefix}zu{self.verb.german}" if self.verb.prefix else f"zu {self.verb.german}"
        return Words(join(self._middle(), zu), join("to", self.verb.english, self._english_rest()))

    def question(self, asked: Words = NOTHING) -> Words:
        """A question: for yes or no, or for ``asked`` (why, how), which then comes first."""
        finite, tail = _german_verb(self.subject.person, self.verb, self.tense)
        german = join(asked.german, finite, self.subject.german, self._middle(), tail)
        helper, verb = _english_question(self.subject.person, self.verb, self.tense)
        english = join(asked.english, helper, self.subject.english, verb, self._english_rest())
        return Words(german, english)

    def english(self) -> str:
        """The English statement."""
        return join(self.subject.english, self.english_predicate())

    def english_predicate(self) -> str:
        """The English statement without its subject."""
        return join(_english_verb(self.subject.person, self.verb, self.tense), self._english_rest())

    def _middle(self, time: bool = True) -> str:
        when = self.time.german if time else ""
        return join(self.dative.german, when, self.object.german, self.place.german)

    def _english_rest(self) -> str:
        to = f"to {self.dative.english}" if self.dative.english else ""
        return join(self.object.english, to, self.place.english, self.time.english)


def passive(subject: Subject, verb: Verb, tense: str, time: Words) -> Words:
    """What happens to ``subject``; the perfect is told in the preterite."""
    person = subject.person
    match tense:
        case "present":
            finite, tail, helper = BECOME[person], verb.german_participle, ENGLISH_BE[person]
        case "perfect":
            finite, tail, helper = BECAME[person], verb.german_participle, ENGLISH_WAS[person]
        case "future":
            finite, tail, helper = BECOME[person], f"{verb.german_participle} werden", "will be"
        case _:
            modal = MODALS[tense]
            finite = modal.german_plural if person == "plural" else modal.german
            tail, helper = f"{verb.german_participle} werden", f"{modal.english} be"
    return Words(
        join(subject.german, finite, time.german, tail),
        join(subject.english, helper, verb.english_participle, time.english),
    )


def _german_verb(person: str, verb: Verb, tense: str) -> tuple[str, str]:
    """The finite verb, and what closes the clause."""
    infinitive = verb.prefix + verb.german
    match tense:
        case "present":
            return _german_present(person, verb), verb.prefix
        case "perfect":
            return (HAVE if verb.auxiliary == "haben" else BE)[person], verb.german_participle
        case "future":
            return BECOME[person], infinitive
        case _:
            modal = MODALS[tense]
            return modal.german_plural if person == "plural" else modal.german, infinitive


def _german_present(person: str, verb: Verb) -> str:
    if person == "third":
        return verb.german_third
    if person == "plural":
        return verb.german
    return verb.german[:-1] + ("" if verb.german.endswith("en") else "e")  # kaufe, but liefere


def _english_verb(person: str, verb: Verb, tense: str) -> str:
    match tense:
        case "present":
            return verb.english_third if person == "third" else verb.english
        case "perfect":
            return verb.english_past
        case "future":
            return f"will {verb.english}"
        case _:
            modal = MODALS[tense]
            return join(modal.english_third if person == "third" else modal.english, verb.english)


def _english_question(person: str, verb: Verb, tense: str) -> tuple[str, str]:
    """What stands before the subject, and what behind it."""
    do = "does" if person == "third" else "do"
    match tense:
        case "present":
            return do, verb.english
        case "perfect":
            return "did", verb.english
        case "future":
            return "will", verb.english
        case _:
            modal = MODALS[tense]
            if modal.english_base:
                return do, join(modal.english_base, verb.english)
            return modal.english, verb.english
