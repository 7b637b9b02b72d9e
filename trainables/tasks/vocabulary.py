"""A vocabulary of subwords: learnt from text, kept in few bytes, there and back between text and numbers."""

from __future__ import annotations

import io
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]  # made at import; needs protobuf, as onnx does

from trainables.foreign import shown
from trainables.translation.sentences import BEGIN, END, PAD, UNKNOWN

SUBWORDS = ("bpe", "unigram")
WORDS = "word"
KINDS = (*SUBWORDS, WORDS)
"""Of vocabularies; one of whole words says nothing of other ones than that they are unknown."""
SMALLEST, LARGEST = 32, 65_536
"""Tokens of a vocabulary, special ones included."""

UNKNOWN_TEXT = "⁇"
"""What an unknown character is after it went through the vocabulary."""

_SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")  # in the order of PAD, UNKNOWN, BEGIN, END
_HEADER = struct.Struct("<BBI")  # version, kind, tokens
_VERSION = 1
_MOST_BYTES = 16 * 2**20  # of a vocabulary unpacked; a file that claims more is no vocabulary
_LONGEST_LINE = 2**30  # sentencepiece silently leaves out longer lines; none are

# Not printable, or with a meaning of their own for sentencepiece: its blank, and its mark of unknown text.
_CONTROL = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ")
_REPLACED = _CONTROL | {0x2581: "_", 0x2585: "_"}


class VocabularyError(ValueError):
    """Text that does not support the vocabulary asked for, or bytes that are none."""


def normalised(text: str) -> str:
    """What a vocabulary sees of ``text``: composed characters (NFC), single blanks, none at the ends.

    Control characters become blanks, lone surrogates question marks and the blocks U+2581 and U+2585, which
    sentencepiece keeps for itself, underscores.
    """
    clean = text.encode("utf-8", "replace").decode("utf-8").translate(_REPLACED)
    return " ".join(unicodedata.normalize("NFC", clean).split())


def learn(lines: Iterable[str], size: int, subwords: str) -> np.ndarray:
    """A vocabulary of exactly ``size`` tokens for ``lines``, by sentencepiece (Kudo & Richardson 2018).

    The same lines give the same bytes, in every process. All characters of the text get a token, but of whole
    words only the most frequent words do.

    Args:
        lines: text, normalised here.
        size: in [32, 65536], special tokens included.
        subwords: ``bpe`` (Sennrich et al. 2016), ``unigram`` (Kudo 2018), or ``word``: what stands between
            blanks.

    Returns:
        uint8, shape (bytes,), for :class:`Vocabulary`: pieces, and for unigram their scores in half
        precision, compressed. That is a tenth of what sentencepiece writes with its default normalisation.

    Raises:
        VocabularyError: the text has too few different pieces, or more characters than ``size`` has room for.
    """
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=filter(None, map(normalised, lines)),
            model_writer=written,
            vocab_size=size,
            model_type=subwords,
            pad_id=PAD,
            unk_id=UNKNOWN,
            bos_id=BEGIN,
            eos_id=END,
            character_coverage=1.0,
            normalization_rule_name="identity",  # normalised() is smaller and does not lose ½ or ²
            max_sentence_length=_LONGEST_LINE,
            num_threads=1,  # sums of several threads come in any order
            minloglevel=2,
        )
    except RuntimeError as error:
        raise VocabularyError(_refusal(str(error), size)) from error
    model = ModelProto.FromString(written.getvalue())
    pieces = [piece.piece for piece in model.pieces[len(_SPECIAL) :]]
    packed = "\n".join(pieces).encode()
    if subwords == "unigram":
        scores = np.array([piece.score for piece in model.pieces[len(_SPECIAL) :]], dtype="<f2")
        # Low and high bytes apart: the high ones of sorted scores hardly change.
        packed += b"\n\n" + scores.view(np.uint8).reshape(-1, 2).T.tobytes()
    header = _HEADER.pack(_VERSION, KINDS.index(subwords), size)
    return np.frombuffer(header + zlib.compress(packed, 9), dtype=np.uint8)


def sentencepiece_model(data: np.ndarray) -> bytes:
    """What :func:`learn` made as sentencepiece's own file, for use without Rayduce.

    It numbers and joins pieces as :class:`Vocabulary` does, but does not normalise: give it text that went
    through :func:`normalised`, or through NFC and without repeated blanks at least.

    Raises:
        VocabularyError: ``data`` is no vocabulary.
    """
    return _model(*_unpacked(data.tobytes()))


class Vocabulary:
    """Text to token numbers and back; the first four are those of :mod:`trainables.translation.sentences`.

    ``decode(encode(text))`` is ``normalised(text)`` where all its characters are known.

    Attributes:
        size: tokens, special ones included.
    """

    def __init__(self, data: np.ndarray) -> None:
        """Unpack what :func:`learn` made.

        Args:
            data: uint8, shape (bytes,); checked, since it may come from anybody's file.

        Raises:
            VocabularyError: it is no vocabulary.
        """
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(data))
        self.size = self._processor.get_piece_size()

    def encode(self, text: str) -> list[int]:
        """Token numbers of ``text``, normalised; no special token but ``UNKNOWN``, and no ``END``."""
        return self._processor.encode(normalised(text))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token numbers up to the first ``END``; ``PAD`` and ``BEGIN`` are left out.

        Raises:
            ValueError: a number is not below ``size``.
        """
        kept = []
        for token in tokens:
            if not 0 <= token < self.size:
                raise ValueError(f"tokens must be in [0, {self.size - 1}], got {token}")
            if token == END:
                break
            if token not in (PAD, BEGIN):
                kept.append(int(token))
        return self._processor.decode(kept)


def _model(pieces: list[str], scores: Sequence[float], subwords: str) -> bytes:
    """What sentencepiece reads."""
    model = ModelProto()
    kinds = model.SentencePiece
    for number, special in enumerate(_SPECIAL):
        kind = kinds.UNKNOWN if number == UNKNOWN else kinds.CONTROL
        model.pieces.add(piece=special, score=0.0, type=kind)
    for piece, score in zip(pieces, scores, strict=True):
        model.pieces.add(piece=piece, score=score)
    trainer = model.trainer_spec
    trainer.model_type = trainer.ModelType.Value(subwords.upper())
    trainer.vocab_size = len(model.pieces)
    trainer.pad_id, trainer.unk_id, trainer.bos_id, trainer.eos_id = PAD, UNKNOWN, BEGIN, END
    trainer.unk_surface = UNKNOWN_TEXT
    model.normalizer_spec.name = "identity"
    return model.SerializeToString()


def _unpacked(data: bytes) -> tuple[list[str], Sequence[float], str]:
    """Pieces behind the special ones, their scores, and the kind of subwords."""
    if len(data) < _HEADER.size:
        raise VocabularyError(f"a vocabulary has at least {_HEADER.size} bytes, got {len(data)}")
    version, kind, size = _HEADER.unpack_from(data)
    if version != _VERSION or kind >= len(KINDS) or not SMALLEST <= size <= LARGEST:
        raise VocabularyError(f"these bytes are no vocabulary: version {version}, kind {kind}, {size} tokens")
    inflate = zlib.decompressobj()
    try:
        packed = inflate.decompress(data[_HEADER.size :], _MOST_BYTES)
        if not inflate.eof or inflate.unused_data:
            raise VocabularyError("the vocabulary is cut off, too large or followed by other bytes")
        count = size - len(_SPECIAL)
        subwords = KINDS[kind]
        # Merges stand in their order, words by frequency.
        scores: Sequence[float] = [-float(number) for number in range(count)]
        if subwords == "unigram":
            packed, _, tail = packed.partition(b"\n\n")
            planes = np.frombuffer(tail, dtype=np.uint8).reshape(2, count)
            scores = np.ascontiguousarray(planes.T).view("<f2").ravel().astype(float).tolist()
        pieces = packed.decode("utf-8").split("\n")
    except (zlib.error, ValueError) as error:
        raise VocabularyError(f"the vocabulary is damaged ({error})") from error
    if len(pieces) != count or len(set(pieces)) != count or not all(pieces) or set(pieces) & set(_SPECIAL):
        raise VocabularyError(f"the vocabulary must name {count} different pieces, and none that is special")
    for piece in pieces:  # what is said goes to terminals, a line each
        if piece.translate(_CONTROL).split() != [piece]:
            raise VocabularyError(
                f"the vocabulary has a piece with blanks or control characters: '{shown(piece, 80)}'"
            )
    if not all(np.isfinite(scores)):
        raise VocabularyError("the vocabulary has scores that are not finite")
    return pieces, scores, subwords


def _refusal(message: str, size: int) -> str:
    """One sentence for what sentencepiece says over several lines of its source."""
    if most := re.search(r"value <= (\d+)", message):
        return f"the text supports a vocabulary of at most {most[1]} tokens, got vocabulary_size={size}"
    if needed := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return (
            f"the text has so many different characters that its vocabulary needs at least {needed[1]} "
            f"tokens, got vocabulary_size={size}"
        )
    return f"no vocabulary of {size} tokens can be learnt from the text ({' '.join(message.split())})"
