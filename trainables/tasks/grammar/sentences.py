"""Sentences about given contents: which words meet in a sentence is decided outside, how they do is here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from trainables.tasks.grammar import cldr
from trainables.tasks.grammar.cldr import DISTANCES, DURATIONS, MEASURES, MONEY, SYMBOLS, Territory
from trainables.tasks.grammar.lexicon import (
    ACTIONS,
    ADJECTIVES,
    GIVING,
    HOPING,
    LINKS,
    PEOPLE,
    PLURAL,
    PRONOUNS,
    QUESTIONS,
    SAYING,
    SINGULAR,
    SPEAKING,
    THINGS,
    TRAITS,
    TRANSLATE,
    TRAVELLING,
)
from trainables.tasks.grammar.nouns import (
    ACCUSATIVE,
    DATIVE,
    GENITIVE,
    NOMINATIVE,
    THE,
    Adjective,
    Noun,
    NounPhrase,
    relative_pronoun,
)
from trainables.tasks.grammar.verbs import TENSES, Clause, Subject, Verb, passive
from trainables.tasks.grammar.words import NOTHING, Draw, Words, sentence

MEASURED = {"cost": "*", "weigh": "*", "long": "ro", "use": "d", "hold": "o"}
"""Kinds of nouns of which the measure is said."""

# What is said of a thing: its verb; what follows the amount; and the noun for it.
SAID = {
    "cost": (Words("kostet", "costs"), NOTHING, Words("der Preis", "the price")),
    "weigh": (Words("wiegt", "weighs"), NOTHING, Words("das Gewicht", "the weight")),
    "long": (Words("ist", "is"), Words(" lang", " long"), Words("die Länge", "the length")),
    "use": (
        Words("braucht", "needs"),
        Words(" Strom", " of power"),
        Words("der Verbrauch", "the consumption"),
    ),
    "hold": (Words("fasst", "holds"), NOTHING, Words("der Inhalt", "the volume")),
}
COMPARED = {
    "cost": Words("teurer", "more expensive"),
    "weigh": Words("schwerer", "heavier"),
    "long": Words("länger", "longer"),
}

NATIONS = tuple(
    Adjective(language.german.lower(), language.english)
    for language in cldr.languages()
    if language.german.endswith("sch")
)


class Contents(NamedTuple):
    """The pairs of words that sentences may state.

    Something is done to a thing; somebody is or goes somewhere; a language is used, or
    translated into; a thing
    costs or measures so much, where the third is the unit, or the currency with or without `` symbol``.
    """

    events: tuple[tuple[Verb, Noun], ...]
    trips: tuple[tuple[Verb, Territory], ...]
    languages: tuple[tuple[Verb, Words], ...]
    measures: tuple[tuple[Noun, str, str], ...]


def all_contents() -> Contents:
    """Every pair of words that makes sense together."""
    money = (*MONEY, *(f"{currency} symbol" for currency in SYMBOLS))
    return Contents(
        events=tuple(
            (verb, noun) for verb in (*ACTIONS, *GIVING) for noun in THINGS if _fit(verb.kinds, noun)
        ),
        trips=tuple((verb, place) for verb in TRAVELLING for place in cldr.territories()),
        languages=tuple((verb, language) for verb in (*SPEAKING, TRANSLATE) for language in cldr.languages()),
        measures=tuple(
            (noun, said, unit)
            for noun in THINGS
            for said, kinds in MEASURED.items()
            if _fit(kinds, noun)
            for unit in (money if said == "cost" else MEASURES[said])
        ),
    )


class Speaker:
    """Says one thing after another about ``contents``, as ``draw`` will have it."""

    def __init__(self, draw: Draw, contents: Contents) -> None:
        self._draw = draw
        self._contents = contents
        self._spoken = [pair for pair in contents.languages if pair[0] is not TRANSLATE]
        self._translated = [language for verb, language in contents.languages if verb is TRANSLATE]
        self._compared = [measure for measure in contents.measures if measure[1] in COMPARED]
        self._destinations = [place for verb, place in contents.trips if verb.german == "reisen"]
        kinds: tuple[tuple[int, Callable[[], Words]], ...] = (
            (20, self._event),
            (12, self._report),
            (8, self._two_clauses),
            (8, self._relative_object),
            (6, self._relative_subject),
            (8, self._passive),
            (10, self._question),
            (9, self._trip),
            (4, self._language),
            (3, self._translation),
            (4, self._many_places),
            (8, self._measure),
            (5, self._price_of),
            (4, self._comparison),
            (4, self._distance),
            (7, self._infinitive),
        )
        self._kinds = [kind for weight, kind in kinds for _ in range(weight)]

    def say(self) -> Words:
        """The next sentence."""
        return self._draw.one(self._kinds)()

    def _event(self) -> Words:
        clause = self._clause(time=0.5, place=0.15)
        return sentence(*clause.main(time_first=clause.time != NOTHING and self._draw.chance(0.5)))

    def _trip(self) -> Words:
        clause = self._journey(time=0.6)
        return sentence(*clause.main(time_first=clause.time != NOTHING and self._draw.chance(0.5)))

    def _report(self) -> Words:
        said = self._draw.one(SAYING)
        clause = self._any_clause(time=0.3).final()
        return sentence(f"{said.german} {clause.german}", f"{said.english} {clause.english}")

    def _two_clauses(self) -> Words:
        link = self._draw.one(LINKS)
        main, other = self._any_clause(time=0.1), self._any_clause(time=0.1).final()
        if self._draw.chance(0.5):
            first = main.main()
            return sentence(
                f"{first.german}, {link.german} {other.german}",
                f"{first.english} {link.english} {other.english}",
            )
        second = main.after_clause()
        return sentence(
            f"{link.german} {other.german}, {second.german}",
            f"{link.english} {other.english}, {second.english}",
        )

    def _relative_object(self) -> Words:
        event = self._draw.one(self._contents.events)
        said = self._clause(time=0.3, event=event)._replace(object=NOTHING).final()
        thing = self._phrase(event[1], ADJECTIVES, adjective=0.45)._replace(determiner=THE)
        owner = self._person(DATIVE)
        belongs = Words("gehören", "belong to") if thing.plural else Words("gehört", "belongs to")
        return sentence(
            f"{thing.german(NOMINATIVE)}, {relative_pronoun(thing, ACCUSATIVE)} {said.german}, "
            f"{belongs.german} {owner.german}",
            f"{thing.english()} that {said.english} {belongs.english} {owner.english}",
        )

    def _relative_subject(self) -> Words:
        person = self._person_phrase()
        subject = _subject(person)
        event = self._clause(time=0.2)._replace(subject=Subject("", "", subject.person))
        relative = f"{relative_pronoun(person, NOMINATIVE)} {event.final().german}"
        trip = self._journey(time=0.0)
        trip = trip._replace(subject=subject._replace(german=f"{subject.german}, {relative},"))
        who = "that" if "g" in person.noun.kinds else "who"
        return sentence(
            trip.main().german,
            f"{subject.english} {who} {event.english_predicate()} {trip.english_predicate()}",
        )

    def _passive(self) -> Words:
        verb, noun = self._draw.one(self._contents.events)
        tense = self._draw.one([tense for tense in TENSES if tense != "want"])
        time = cldr.perhaps(self._draw, tense, 0.6)
        return sentence(*passive(_subject(self._thing(noun)), verb, tense, time))

    def _question(self) -> Words:
        clause = self._any_clause(time=0.3)
        return sentence(*clause.question(self._draw.one((NOTHING, NOTHING, *QUESTIONS))), mark="?")

    def _language(self) -> Words:
        verb, language = self._draw.one(self._spoken)
        others = [other for spoken, other in self._spoken if spoken is verb and other != language]
        count = min(self._draw.below(3), len(others))
        named = cldr.listed([language, *self._draw.some(others, count)])
        tense = self._draw.one(TENSES)
        time = cldr.perhaps(self._draw, tense, 0.3)
        return sentence(*Clause(self._subject(), verb, tense, object=named, time=time).main())

    def _translation(self) -> Words:
        second = self._draw.one(self._translated)
        first = self._draw.one([language for language in cldr.languages() if language != second])
        between = Words(
            f"aus dem {cldr.inflected(first.german, 'en')} ins {cldr.inflected(second.german, 'e')}",
            f"from {first.english} into {second.english}",
        )
        texts = [noun for noun in THINGS if "t" in noun.kinds]
        clause = self._clause(time=0.0, event=(TRANSLATE, self._draw.one(texts)))
        return sentence(*clause._replace(place=between).main())

    def _many_places(self) -> Words:
        verb, place = self._draw.one(self._contents.trips)
        others = [other for travelled, other in self._contents.trips if travelled is verb and other != place]
        places = [place, *self._draw.some(others, self._draw.between(1, 3))]
        style: Literal["standard", "or"] = "or" if self._draw.chance(0.5) else "standard"
        german, _ = cldr.listed([place.place(verb.kinds) for place in places], style)
        # English has its preposition once, German every time, since it depends on the place.
        bare = [place.place(verb.kinds).english.removeprefix(f"{verb.kinds} ") for place in places]
        _, english = cldr.listed([Words(name, name) for name in bare], style)
        where = Words(german, f"{verb.kinds} {english}")
        return sentence(*Clause(self._subject(), verb, self._draw.one(TENSES), place=where).main())

    def _measure(self) -> Words:
        noun, said, unit = self._draw.one(self._contents.measures)
        verb, behind, _ = SAID[said]
        thing = self._thing(noun, singular=True).words(NOMINATIVE)
        amount = self._amount(said, unit)
        return sentence(
            f"{thing.german} {verb.german} {amount.german}{behind.german}",
            f"{thing.english} {verb.english} {amount.english}{behind.english}",
        )

    def _price_of(self) -> Words:
        noun, said, unit = self._draw.one(self._contents.measures)
        name = SAID[said][2]
        thing = self._thing(noun).words(GENITIVE)
        amount = self._amount(said, unit)
        return sentence(
            f"{name.german} {thing.german} beträgt {amount.german}",
            f"{name.english} of {thing.english} is {amount.english}",
        )

    def _comparison(self) -> Words:
        noun, said, unit = self._draw.one(self._compared)
        first = self._thing(noun, singular=True).words(NOMINATIVE)
        second = self._thing(self._draw.one(THINGS), singular=True).words(NOMINATIVE)
        amount = self._amount(said, unit)
        more = COMPARED[said]
        return sentence(
            f"{first.german} ist {amount.german} {more.german} als {second.german}",
            f"{first.english} is {amount.english} {more.english} than {second.english}",
        )

    def _distance(self) -> Words:
        where = self._draw.one(self._destinations).place("to")
        if self._draw.chance(0.5):
            duration = cldr.amount(self._draw, self._draw.one(DURATIONS))
            return sentence(
                f"die Reise {where.german} dauert {duration.german}",
                f"the journey {where.english} takes {duration.english}",
            )
        distance = cldr.amount(self._draw, self._draw.one(DISTANCES))
        return sentence(
            f"bis {where.german} sind es {distance.german}", f"it is {distance.english} {where.english}"
        )

    def _infinitive(self) -> Words:
        hope = self._draw.one(HOPING)
        clause = self._any_clause(time=0.3).infinitive()
        return sentence(f"{hope.german}, {clause.german}", f"{hope.english} {clause.english}")

    def _any_clause(self, time: float) -> Clause:
        return self._journey(time) if self._draw.chance(0.25) else self._clause(time)

    def _clause(self, time: float, place: float = 0.0, event: tuple[Verb, Noun] | None = None) -> Clause:
        """Something done to a thing; ``time`` and ``place`` are how probable it is that they are said."""
        verb, noun = event or self._draw.one(self._contents.events)
        tense = self._tense()
        return Clause(
            subject=self._subject(),
            verb=verb,
            tense=tense,
            object=self._thing(noun).words(ACCUSATIVE),
            dative=self._person(DATIVE) if verb in GIVING else NOTHING,
            place=self._draw.one(cldr.territories()).place("in") if self._draw.chance(place) else NOTHING,
            time=cldr.perhaps(self._draw, tense, time),
        )

    def _journey(self, time: float) -> Clause:
        verb, place = self._draw.one(self._contents.trips)
        tense = self._tense()
        when = cldr.perhaps(self._draw, tense, time)
        return Clause(self._subject(), verb, tense, place=place.place(verb.kinds), time=when)

    def _tense(self) -> str:
        return self._draw.one(("present", "perfect", *TENSES))

    def _subject(self) -> Subject:
        return self._draw.one(PRONOUNS) if self._draw.chance(0.35) else _subject(self._person_phrase())

    def _person(self, case: int) -> Words:
        return self._person_phrase().words(case)

    def _person_phrase(self) -> NounPhrase:
        return self._phrase(self._draw.one(PEOPLE), TRAITS, adjective=0.25)

    def _thing(self, noun: Noun, singular: bool = False) -> NounPhrase:
        adjectives = NATIONS if "t" in noun.kinds and self._draw.chance(0.3) else ADJECTIVES
        return self._phrase(noun, adjectives, adjective=0.45, singular=singular)

    def _phrase(
        self, noun: Noun, adjectives: tuple[Adjective, ...], *, adjective: float, singular: bool = False
    ) -> NounPhrase:
        described = self._draw.one(adjectives) if self._draw.chance(adjective) else None
        plural = not singular and self._draw.chance(0.25)
        return NounPhrase(self._draw.one(PLURAL if plural else SINGULAR), described, noun, plural)

    def _amount(self, said: str, unit: str) -> Words:
        if said != "cost":
            return cldr.amount(self._draw, unit)
        code, _, symbol = unit.partition(" ")
        return cldr.money(self._draw, code, named=not symbol)


def _subject(phrase: NounPhrase) -> Subject:
    return Subject(*phrase.words(NOMINATIVE), "plural" if phrase.plural else "third")


def _fit(kinds: str, noun: Noun) -> bool:
    return kinds == "*" or bool(set(kinds) & set(noun.kinds))
