"""The embedded phrases: right German and English, and splits that share no statement."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.tasks.base import SPLITS, DataError
from trainables.tasks.grammar import cldr
from trainables.tasks.grammar.lexicon import ADJECTIVES, PEOPLE, PLURAL, SINGULAR, THINGS
from trainables.tasks.grammar.nouns import ACCUSATIVE, DATIVE, GENITIVE, NOMINATIVE, NounPhrase, indefinite
from trainables.tasks.grammar.sentences import Speaker, all_contents
from trainables.tasks.grammar.splits import Phrasebook, contents, phrasebook
from trainables.tasks.grammar.verbs import Clause, Subject, Verb, passive
from trainables.tasks.grammar.words import Draw, Words
from trainables.tasks.phrases import DIGEST, SEED, SIZES, Phrases

CASES = (NOMINATIVE, ACCUSATIVE, DATIVE, GENITIVE)
SUITCASE, INVOICE, PACKAGE = (
    next(t for t in THINGS if t.english == e) for e in ("suitcase", "invoice", "package")
)
NEW = ADJECTIVES[0]
PICK_UP = Verb("holen", "ab", "holt", "abgeholt", "pick up", "picks up", "picked up", "picked up")
ARRIVE = Verb("kommen", "an", "kommt", "angekommen", "arrive", "arrives", "arrived", "arrived", "in", "sein")
DOCTOR = Subject("die Ärztin", "the doctor", "third")
LETTER = Words("den Brief", "the letter")
MONDAY = Words("am Montag", "on Monday")


@pytest.fixture(scope="module")
def book() -> Phrasebook:
    return phrasebook(SEED, SIZES)


def determiner(german: str, english: str, plural: bool = False):
    known = PLURAL if plural else SINGULAR
    return next(
        d for d in known if (d.german, d.english_plural if plural else d.english) == (german, english)
    )


@pytest.mark.parametrize(
    ("phrase", "forms"),
    [
        (
            NounPhrase(determiner("", "the"), NEW, SUITCASE, False),
            ["der neue Koffer", "den neuen Koffer", "dem neuen Koffer", "des neuen Koffers"],
        ),
        (
            NounPhrase(determiner("ein", "a"), NEW, SUITCASE, False),
            ["ein neuer Koffer", "einen neuen Koffer", "einem neuen Koffer", "eines neuen Koffers"],
        ),
        (
            NounPhrase(determiner("mein", "my"), NEW, INVOICE, False),
            ["meine neue Rechnung", "meine neue Rechnung", "meiner neuen Rechnung", "meiner neuen Rechnung"],
        ),
        (
            NounPhrase(determiner("kein", "no"), NEW, PACKAGE, False),
            ["kein neues Paket", "kein neues Paket", "keinem neuen Paket", "keines neuen Pakets"],
        ),
        (
            NounPhrase(determiner("dies", "this"), NEW, PACKAGE, False),
            ["dieses neue Paket", "dieses neue Paket", "diesem neuen Paket", "dieses neuen Pakets"],
        ),
        (
            NounPhrase(determiner("unser", "our", True), NEW, PACKAGE, True),
            ["unsere neuen Pakete", "unsere neuen Pakete", "unseren neuen Paketen", "unserer neuen Pakete"],
        ),
        (
            NounPhrase(determiner("drei", "three", True), NEW, PACKAGE, True),
            ["drei neue Pakete", "drei neue Pakete", "drei neuen Paketen", "drei neuer Pakete"],
        ),
    ],
)
def test_declension(phrase: NounPhrase, forms: list[str]) -> None:
    assert [phrase.german(case) for case in CASES] == forms


def test_nouns_inflect() -> None:
    def of(english: str, case: int, plural: bool = False) -> str:
        noun = next(noun for noun in (*THINGS, *PEOPLE) if noun.english == english)
        return NounPhrase(determiner("", "the", plural), None, noun, plural).german(case)

    assert of("book", GENITIVE) == "des Buches" and of("guest", GENITIVE) == "des Gastes"
    assert of("car", GENITIVE) == "des Wagens" and of("doctor", GENITIVE) == "der Ärztin"
    assert of("child", DATIVE, True) == "den Kindern" and of("team", DATIVE, True) == "den Teams"
    assert of("car", DATIVE, True) == "den Wagen" and of("doctor", DATIVE, True) == "den Ärztinnen"
    assert [indefinite(w) for w in ("old", "Ukrainian", "Urdu", "invoice", "new")] == [
        "an",
        "a",
        "an",
        "an",
        "a",
    ]


def test_verbs_find_their_places() -> None:
    clause = Clause(DOCTOR, PICK_UP, "present", object=LETTER, time=MONDAY)
    assert clause.main() == (
        "die Ärztin holt am Montag den Brief ab",
        "the doctor picks up the letter on Monday",
    )
    assert clause.main(time_first=True).german == "am Montag holt die Ärztin den Brief ab"
    assert clause.final().german == "die Ärztin am Montag den Brief abholt"
    assert clause.after_clause().german == "holt die Ärztin am Montag den Brief ab"
    assert clause.infinitive() == ("am Montag den Brief abzuholen", "to pick up the letter on Monday")
    assert clause.question() == (
        "holt die Ärztin am Montag den Brief ab",
        "does the doctor pick up the letter on Monday",
    )
    past, wanted = clause._replace(tense="perfect"), clause._replace(tense="want")
    assert past.final().german == "die Ärztin am Montag den Brief abgeholt hat"
    assert past.question(Words("warum", "why")).english == "why did the doctor pick up the letter on Monday"
    assert wanted.final().german == "die Ärztin am Montag den Brief abholen will"
    assert wanted.question().english == "does the doctor want to pick up the letter on Monday"
    assert (
        clause._replace(subject=Subject("ich", "I", "ich")).main().german == "ich hole am Montag den Brief ab"
    )
    arrived = Clause(DOCTOR, ARRIVE, "perfect", place=Words("in der Schweiz", "in Switzerland"))
    assert arrived.main() == ("die Ärztin ist in der Schweiz angekommen", "the doctor arrived in Switzerland")
    letters = Subject("die Briefe", "the letters", "plural")
    assert passive(letters, PICK_UP, "perfect", MONDAY) == (
        "die Briefe wurden am Montag abgeholt",
        "the letters were picked up on Monday",
    )
    assert passive(letters, PICK_UP, "must", Words("", "")).german == "die Briefe müssen abgeholt werden"


def test_what_cldr_says() -> None:
    places = {place.english: place for place in cldr.territories()}
    assert places["Switzerland"].place("to") == ("in die Schweiz", "to Switzerland")
    assert places["United States"].place("in") == ("in den Vereinigten Staaten", "in the United States")
    assert places["United Kingdom"].place("in").german == "im Vereinigten Königreich"
    assert places["Bahamas"].place("from") == ("von den Bahamas", "from the Bahamas")
    assert places["France"].place("to").german == "nach Frankreich"
    assert cldr.inflected("Französisch", "en") == "Französischen" and cldr.inflected("Hindi", "en") == "Hindi"
    assert cldr.listed([Words(*"aA"), Words(*"bB"), Words(*"cC")]) == ("a, b und c", "A, B, and C")


@given(st.integers(0, 2**31), st.sampled_from(["perfect", "present"]))
def test_moments_say_the_same_in_both(seed: int, tense: str) -> None:
    german, english = cldr.moment(Draw(seed), tense)
    if clock := re.fullmatch(r"um (\d\d):(\d\d) Uhr", german):
        hour = int(clock[1])
        assert english == f"at {(hour - 1) % 12 + 1}:{clock[2]} {'PM' if hour >= 12 else 'AM'}"
    elif german.startswith("vor "):
        assert tense == "perfect" and english.endswith(" ago")
    else:
        assert re.findall(r"\d{4}", german) == re.findall(r"\d{4}", english)
        assert sorted(re.findall(r"\d+", german)) == sorted(re.findall(r"\d+", english))
        assert english.startswith(("on ", "in "))


@given(st.integers(0, 2**31))
def test_sentences_are_clean(seed: int) -> None:
    for text in Speaker(Draw(seed), all_contents_once()).say():
        assert text[0].isupper() and text[-1] in ".?" and text == " ".join(text.split())
        assert " ," not in text and ",," not in text and " ." not in text


def all_contents_once(kept: list = []):  # noqa: B006  # made once, not for each example
    if not kept:
        kept.append(all_contents())
    return kept[0]


def test_statements_belong_to_one_split() -> None:
    pairs = {split: [set(kind) for kind in contents(split)] for split in SPLITS}
    for kind, everything in enumerate(all_contents()):
        parts = [pairs[split][kind] for split in SPLITS]
        assert set.union(*parts) == set(everything) and sum(map(len, parts)) == len(everything)
        assert all(parts)
        for place in range(len(everything[0])):  # ... but every word is seen in training
            assert {pair[place] for pair in parts[0]} == {pair[place] for pair in everything}


def test_splits_share_no_sentence(book: Phrasebook) -> None:
    for side in (0, 1):
        texts = [pair[side] for split in SPLITS for pair in book.pairs[split]]
        assert len(texts) == len(set(texts)) == 20_000
    assert {split: len(pairs) for split, pairs in book.pairs.items()} == SIZES


def stated(sentences: list[Words]) -> Iterator[tuple[str, ...]]:
    """What can be read off English sentences without the grammar: prices, weights, passives, translations."""
    for _, text in sentences:
        if match := re.fullmatch(r"\w+ (?:\w+ )?(\w+) (costs|weighs) [\d,.]+ ([^\d]+)\.", text):
            yield match[1], match[2], match[3].rstrip("s")
        elif match := re.match(r"(?:.* )?translate[ds]? .* from [\w ]+ into ([\w ]+)\.", text):
            yield "translate", match[1]
        elif match := re.fullmatch(r"\w+ (?:\w+ )?(\w+) (?:is|was|can be|must be|will be) (\w+)\.", text):
            yield match[1], match[2]


def test_statements_are_disjoint_as_read(book: Phrasebook) -> None:
    found = [set(stated(book.pairs[split])) for split in SPLITS]
    assert all(len(part) > 20 for part in found)
    assert not found[0] & found[1] and not found[0] & found[2] and not found[1] & found[2]


def test_the_same_phrases_in_another_process() -> None:
    program = (
        "from trainables.tasks.grammar.splits import phrasebook\n"
        "print(phrasebook(5, {'train': 300, 'validation': 50, 'test': 50}).digest)"
    )
    environment = os.environ | {
        "PYTHONHASHSEED": "12345",
        "LC_ALL": "C",
        "LANG": "fr_FR.UTF-8",
        "TZ": "Asia/Tokyo",
    }
    process = subprocess.run(
        [sys.executable, "-c", program], env=environment, text=True, capture_output=True, check=True
    )
    assert process.stdout.strip() == phrasebook(5, {"train": 300, "validation": 50, "test": 50}).digest


def test_the_digest_is_that_of_the_pinned_cldr(book: Phrasebook) -> None:
    assert book.digest == DIGEST, (
        "other words, another grammar or another Babel: a new digest, or the old data"
    )
    assert phrasebook(SEED + 100, {"train": 10, "validation": 1, "test": 1}).digest != book.digest


def test_loaded_phrases(book: Phrasebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.tasks.grammar.splits.phrasebook", lambda seed, sizes: book)
    task = Phrases()
    loaded = task.open(task.load(None), torch.device("cpu"), 0)
    assert [loaded.samples(split) for split in SPLITS] == [18_000, 1_000, 1_000]
    assert loaded.references("test") == [pair.english for pair in book.pairs["test"]]
    assert loaded.vocabulary.size == task.outputs == 2000
    assert len(loaded.assets()["vocabulary"]) < 8_000
    for split in SPLITS:  # the training split has every character there is
        for pair in book.pairs[split][:200]:
            assert [loaded.vocabulary.decode(loaded.vocabulary.encode(text)) for text in pair] == list(pair)
    with pytest.raises(DataError, match=r"other phrases .*install babel=="):
        dataclasses.replace(task, digest="0" * 16).load(None)
    with pytest.raises(DataError, match="leave out --data"):
        task.load(Path("anywhere"))
    with pytest.raises(ValueError, match="digest"):
        Phrases(digest="x")
