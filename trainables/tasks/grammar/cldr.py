"""What CLDR (by Babel) says in both languages: places, languages, amounts, dates and times."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from babel import Locale
from babel.dates import format_date, format_time, format_timedelta
from babel.lists import format_list
from babel.numbers import format_currency
from babel.units import format_unit

from trainables.tasks.grammar.nouns import ACCUSATIVE, DATIVE, DEFINITE, GENDERS
from trainables.tasks.grammar.words import NOTHING, Draw, Words

LOCALES = GERMAN, ENGLISH = Locale("de"), Locale("en")


def _codes(table: str) -> tuple[str, ...]:
    return tuple(table.split())


# CLDR does not say which names take an article; most take none.
GERMAN_ARTICLES = {
    "f": _codes("CF CH DO EH MN SK TR UA VA"),
    "m": _codes("IQ IR LB NE SD SN SS TD XK YE"),
    "n": _codes("GB"),
    "p": _codes("AE AX BS CK FK FO IC KM KY MH MP MV NL PH PN SB SC US VG VI"),
}
GENDER = {code: gender for gender, codes in GERMAN_ARTICLES.items() for code in codes}
ENGLISH_ARTICLE = _codes("AE AX BS CF CK DO FK FO GB IC KM KY MH MP MV NL PH PN SB SC US VG VI")
NO_ISLANDS = _codes("AE NL US")
LEFT_OUT = (
    *_codes("AC BQ BV CC CP CX DG GS HK HM IM IO MD MM MO NF PS TA TC TF UM"),  # ask for rules of their own
    *_codes("EU EZ QO UN XA XB ZZ"),  # are no territories
)
SPOKEN = _codes("""
    af am ar az be bg bn ca cs cy da de el en es et eu fa fi fr ga gl gu he hi hr hu hy id is it ja ka kk km
    ko ku lo lt lv mk ml mn mr ms mt my ne nl no pl pt ro ru sa sk sl so sq sr sv sw ta te tg th tr uk ur uz
    vi yi zh
""")

MEASURES = {
    "weigh": ("mass-gram", "mass-kilogram", "mass-tonne", "mass-pound", "mass-ounce"),
    "long": ("length-meter", "length-centimeter", "length-millimeter", "length-foot", "length-inch"),
    "use": ("power-watt", "power-kilowatt", "energy-kilowatt-hour"),
    "hold": ("volume-liter", "volume-milliliter", "volume-cubic-meter", "volume-gallon", "volume-cup"),
}
"""Units by what is said of a thing."""
DURATIONS = ("duration-minute", "duration-hour", "duration-day", "duration-week")
DISTANCES = ("length-kilometer", "length-mile", "length-nautical-mile")

SYMBOLS = _codes("EUR USD GBP JPY INR KRW")
MONEY = _codes("""
    AUD BRL CAD CHF CNY COP CZK DKK EGP EUR GBP HUF IDR INR ISK JPY KES MXN NOK NZD PHP PLN RUB SEK THB TRY
    TWD UAH USD ZAR
""")


class Territory(NamedTuple):
    """A territory's names; ``gender`` is that of its German article, or ``""`` where it takes none."""

    german: str
    english: str
    gender: str
    english_article: bool
    islands: bool

    def place(self, relation: str) -> Words:
        """``to``, ``in`` or ``from`` the territory. Germans are on islands, and in other places."""
        english = f"{relation} {'the ' if self.english_article else ''}{self.english}"
        if not self.gender:
            return Words(f"{ {'to': 'nach', 'in': 'in', 'from': 'aus'}[relation] } {self.german}", english)
        case = ACCUSATIVE if relation == "to" else DATIVE
        near, away = ("auf", "von") if self.islands else ("in", "aus")
        first = f"{away if relation == 'from' else near} {DEFINITE[case][GENDERS.index(self.gender)]}"
        first = {"in dem": "im", "in das": "ins"}.get(first, first)
        return Words(f"{first} {_weak(self.german, self.gender, case)}", english)


@functools.cache
def territories() -> tuple[Territory, ...]:
    """Those that can be said with one name, in the order of their codes."""
    german, english = (locale.territories for locale in LOCALES)
    return tuple(
        Territory(
            german[code],
            english[code],
            GENDER.get(code, ""),
            code in ENGLISH_ARTICLE,
            GENDER.get(code) == "p" and code not in NO_ISLANDS,
        )
        for code in sorted(german)
        if len(code) == 2
        and code not in LEFT_OUT
        and not any(mark in name for name in (german[code], english[code]) for mark in ("&", "(", " - "))
    )


@functools.cache
def languages() -> tuple[Words, ...]:
    """Widely spoken languages."""
    german, english = (locale.languages for locale in LOCALES)
    return tuple(Words(german[code], english[code]) for code in SPOKEN)


def inflected(language: str, ending: str) -> str:
    """A German language name with an adjective's ending (``Französischen``), where it is made from one."""
    return language + ending if language.endswith("sch") else language


def amount(draw: Draw, unit: str) -> Words:
    """A quantity with its unit, such as ``2,5 Kilogramm``."""
    number = draw.one((draw.between(1, 20), draw.between(2, 900), draw.between(11, 99) / 10))
    return _both(lambda locale: format_unit(number, unit, length="long", locale=locale))


def money(draw: Draw, currency: str, named: bool) -> Words:
    """A sum by the currency's name, or by its symbol, which German writes last and English first."""
    number = draw.one((draw.between(1, 99), draw.between(100, 9_999), draw.between(101, 9_999) / 100))
    style: Literal["name", "standard"] = "name" if named else "standard"
    return _both(
        lambda locale: format_currency(
            number, currency, locale=locale, format_type=style, currency_digits=not named
        )
    )


def listed(items: Sequence[Words], style: Literal["standard", "or"] = "standard") -> Words:
    """``a, b und c``; with style ``or``, ``a, b oder c``."""
    german, english = zip(*items, strict=True)
    return Words(format_list(german, style, GERMAN), format_list(english, style, ENGLISH))


def moment(draw: Draw, tense: str) -> Words:
    """When it happens: past in the perfect, else to come."""
    past = tense == "perfect"
    kind = draw.below(6)
    if kind == 0:
        return _relative(draw, past)
    if kind == 1:
        clock = datetime.time(draw.between(0, 23), draw.between(0, 59))
        time = _both(lambda locale: format_time(clock, "short", locale=locale))
        return Words(f"um {time.german} Uhr", f"at {time.english}")
    day = datetime.date(2001, 1, 1) + datetime.timedelta(draw.below(25 * 365) + (0 if past else 26 * 365))
    if kind == 2:
        date = _both(lambda locale: format_date(day, "full", locale=locale))
        return Words(f"am {date.german}", f"on {date.english}")
    german, english = {3: ("EEEE", "EEEE"), 4: ("d. MMMM", "MMMM d"), 5: ("MMMM y", "MMMM y")}[kind]
    first, second = format_date(day, german, GERMAN), format_date(day, english, ENGLISH)
    return Words(f"{'im' if kind == 5 else 'am'} {first}", f"{'in' if kind == 5 else 'on'} {second}")


def perhaps(draw: Draw, tense: str, probability: float) -> Words:
    """A moment with ``probability``, else nothing."""
    return moment(draw, tense) if draw.chance(probability) else NOTHING


SECONDS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_629_800, "year": 31_557_600}
MOST = {"minute": 44, "hour": 21, "day": 6, "week": 3, "month": 10, "year": 30}


def _relative(draw: Draw, past: bool) -> Words:
    unit = draw.one(tuple(SECONDS))
    count = draw.between(1, MOST[unit]) * (-1 if past else 1)
    return _both(
        lambda locale: format_timedelta(
            datetime.timedelta(seconds=count * SECONDS[unit]),
            granularity=unit,  # type: ignore[arg-type]  # a literal of the same names
            add_direction=True,
            threshold=10_000,
            locale=locale,
        )
    )


def _both(say: Callable[[Locale], str]) -> Words:
    """``say(locale)`` in both, with plain spaces: which of them cannot be broken is typography."""
    german, english = (" ".join(say(locale).split()) for locale in LOCALES)
    return Words(german, english)


def _weak(name: str, gender: str, case: int) -> str:
    """A German name behind its article: adjectives in it change their ending, and plurals in the dative."""
    *adjectives, noun = name.split()
    ending = "en" if gender == "p" or case == DATIVE else "e"
    stems = [adjective.rstrip("s").removesuffix("e") for adjective in adjectives]
    if gender == "p" and case == DATIVE and noun[-1] not in "ns":
        noun += "n"
    return " ".join([*(stem + ending for stem in stems), noun])
