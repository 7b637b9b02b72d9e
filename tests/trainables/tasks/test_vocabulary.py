"""Subwords: there and back, the same bytes everywhere, and no trust in anybody's bytes."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zlib

import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from trainables.tasks.vocabulary import (
    KINDS,
    SUBWORDS,
    UNKNOWN_TEXT,
    Vocabulary,
    VocabularyError,
    learn,
    normalised,
    sentencepiece_model,
)
from trainables.translation.sentences import BEGIN, END, PAD, UNKNOWN

STEMS = [
    "alt",
    "neu",
    "klein",
    "öffn",
    "kauf",
    "prüf",
    "such",
    "bestell",
    "liefer",
    "Koffer",
    "Brief",
    "Stuhl",
    "Œuvre",
    "naïv",
    "daß",
]
ENDINGS = ["", "e", "en", "er", "es", "em", "est", "ung", "ungen", "lich"]
WORDS = [stem + ending for stem in STEMS for ending in ENDINGS] + ["12", "3,5", "€", "km²", "Złoty", "½"]
TEXT = [" ".join(WORDS[i * j % len(WORDS)] for j in range(1, 9)) + "." for i in range(1, 200)]
KNOWN = sorted(set("".join(TEXT)))


@pytest.fixture(scope="module", params=SUBWORDS)
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    return Vocabulary(learn(TEXT, 100, request.param))


@given(text=st.text(st.sampled_from([*KNOWN, "\t", "\u00a0", "\n"]), max_size=60))
def test_known_text_there_and_back(vocabulary: Vocabulary, text: str) -> None:
    tokens = vocabulary.encode(text)
    assert UNKNOWN not in tokens
    assert vocabulary.decode(tokens) == normalised(text)
    assert vocabulary.decode([BEGIN, *tokens, END, PAD, PAD, tokens[0] if tokens else PAD]) == normalised(
        text
    )


@pytest.mark.parametrize("subwords", KINDS)
def test_sentencepiece_reads_it_as_its_own(subwords: str) -> None:
    data = learn(TEXT, 100, subwords)
    theirs, ours = (
        sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(data)),
        Vocabulary(data),
    )
    assert theirs.get_piece_size() == ours.size == 100
    assert (theirs.pad_id(), theirs.unk_id(), theirs.bos_id(), theirs.eos_id()) == (PAD, UNKNOWN, BEGIN, END)
    for text in (*TEXT[:20], "\u2603 alt"):
        assert theirs.encode(text) == ours.encode(text)
        assert theirs.decode(theirs.encode(text)) == ours.decode(ours.encode(text))


@given(text=st.text(max_size=60))
def test_any_text_is_encoded(vocabulary: Vocabulary, text: str) -> None:
    tokens = vocabulary.encode(text)
    assert all(0 <= token < vocabulary.size and token not in (PAD, BEGIN, END) for token in tokens)
    unknown = set(normalised(text)) - set(KNOWN)
    assert (UNKNOWN in tokens) == bool(unknown)
    assert (UNKNOWN_TEXT in vocabulary.decode(tokens)) == bool(unknown)


@given(text=st.text(max_size=60))
def test_normalised_text_stays(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert "  " not in once and once == once.strip() and once.isprintable() <= ("\n" not in once)


def test_normalised_examples() -> None:
    assert normalised("  a\u00a0\tb\u202f\r\n") == "a b"
    assert normalised("u\u0308ber ½ km²") == "über ½ km²"
    assert normalised("a▁b \ud800 \x00") == "a_b ?"


def test_sizes_and_special_tokens(vocabulary: Vocabulary) -> None:
    assert vocabulary.size == 100
    assert vocabulary.decode([]) == "" and vocabulary.encode("") == []
    for text in ("<s>", "</s>", "<pad>", "<unk>"):
        assert not {PAD, BEGIN, END} & set(vocabulary.encode(text))
    for token in (-1, 100):
        with pytest.raises(ValueError, match=str(token)):
            vocabulary.decode([token])


@pytest.mark.parametrize("subwords", KINDS)
def test_segmentation_is_that_of_sentencepiece(subwords: str) -> None:
    """Packed and unpacked, it cuts words as the library's own model does; unigram up to rounded scores."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_writer=written,
        vocab_size=100,
        model_type=subwords,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        character_coverage=1.0,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    original = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    ours = Vocabulary(learn(TEXT, 100, subwords))
    same = [ours.encode(line) == original.encode(line) for line in TEXT]
    assert all(same) if subwords != "unigram" else sum(same) >= 0.95 * len(same)


def test_words_are_whole_or_unknown() -> None:
    lines = ["what is the name ?", "what is a name ?"] + [f"word{n}" for n in range(30)]
    vocabulary = Vocabulary(learn(lines, 40, "word"))
    what, unknown, name = vocabulary.encode("what names name")
    assert unknown == UNKNOWN and what != name and UNKNOWN not in (what, name)
    assert vocabulary.decode([what, name]) == "what name"


def test_the_same_bytes_in_another_process() -> None:
    program = (
        "import sys, hashlib; from trainables.tasks.vocabulary import learn\n"
        "text = sys.stdin.read().split('\\n')\n"
        "for kind in ('bpe', 'unigram', 'word'):\n"
        "    print(hashlib.sha256(learn(text, 100, kind).tobytes()).hexdigest())"
    )
    ours = [hashlib.sha256(learn(TEXT, 100, kind).tobytes()).hexdigest() for kind in KINDS]
    process = subprocess.run(
        [sys.executable, "-c", program], input="\n".join(TEXT), text=True, capture_output=True, check=True
    )
    assert process.stdout.split() == ours


@pytest.mark.parametrize("subwords", SUBWORDS)
def test_sizes_the_text_does_not_support(subwords: str) -> None:
    with pytest.raises(VocabularyError, match=r"at most \d+ tokens, got vocabulary_size=60000"):
        learn(TEXT, 60_000, subwords)
    with pytest.raises(VocabularyError, match=r"needs at least \d+ tokens, got vocabulary_size=32"):
        learn(TEXT, 32, subwords)


def packed(pieces: bytes, kind: int = 0, size: int = 100, version: int = 1) -> bytes:
    return bytes([version, kind]) + size.to_bytes(4, "little") + zlib.compress(pieces)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x00",
        packed(b"a\nb"),
        packed(b"\n".join(b"%d" % i for i in range(96)), version=2),
        packed(b"\n".join(b"%d" % i for i in range(96)), kind=3),
        packed(b"\n".join(b"%d" % i for i in range(96)), kind=1),
        packed(b"\n".join(b"%d" % (i // 2) for i in range(96))),
        packed(b"\n".join([b"</s>", *(b"%d" % i for i in range(95))])),
        packed(b"\n".join([b"\xff", *(b"%d" % i for i in range(95))])),
        packed(b"\n".join([b"\x1b[2J", *(b"%d" % i for i in range(95))])),
        packed("\n".join(["a\u2028b", *(str(i) for i in range(95))]).encode()),
        packed(b"\n".join(b"%d" % i for i in range(96)) + b"\n\n" + b"\xff" * 192, kind=1),
        packed(b"\n".join(b"%d" % i for i in range(96)))[:-3],
        packed(b"\n".join(b"%d" % i for i in range(96))) + b"x",
        packed(b"a" * (20 * 2**20)),
        packed(b"", size=2**32 - 1),
    ],
)
def test_damaged_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(VocabularyError):
        Vocabulary(np.frombuffer(data, dtype=np.uint8))


SMALL = learn(TEXT[:20], 60, "bpe")


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_never_breaks_more(position: int, value: int) -> None:
    data = SMALL.copy()
    data[position % len(data)] = value
    try:
        changed = Vocabulary(data)
    except VocabularyError:
        return
    changed.decode(changed.encode("der alte Koffer"))
